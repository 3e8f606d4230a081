#include "adapters/manifest.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <sstream>

using namespace annal;

namespace {

const std::string note = "{\"content\":\"one\"}\n", outcome = "{\"content\":\"two\",\"kind\":\"outcome\"}\n";

Manifest of_both() {
    ManifestBuilder builder;
    builder.add(Kind::note, note);
    builder.add(Kind::outcome, outcome);
    return builder.finish(Seq{7});
}

std::string what_differs(const std::string& file, const Manifest& manifest = of_both()) {
    std::istringstream in(file);
    const auto checked = check_manifest(in, manifest);
    if (checked) return {};
    CHECK(checked.error().code == ErrorCode::data_loss);
    return checked.error().message;
}

}  // namespace

TEST_CASE("a manifest is what sha256sum says of each kind's lines", "[adapters][manifest]") {
    const auto json = to_json(of_both());
    CHECK(json["memories"] == 2);
    CHECK(json["kinds"].size() == 2);
    CHECK(json["kinds"]["note"]["count"] == 1);
    // printf '{"content":"one"}\n' | sha256sum
    CHECK(json["kinds"]["note"]["sha256"].get<std::string>() ==
          "28e471aa12c9b395d93d8021a7c97f7df8392f4e677ae481aac38a7e3579cc4b");
    const auto back = manifest_from_json(json.dump());
    REQUIRE(back);
    CHECK(back->seq == Seq{7});
    CHECK(back->kinds == of_both().kinds);
}

TEST_CASE("a file that is not what its manifest says is told by the first kind that differs", "[adapters][manifest]") {
    CHECK(what_differs(note + outcome).empty());
    CHECK(what_differs("\n" + outcome + " \n" + note).empty());  // Kinds are on their own, and empty lines are none.
    CHECK(what_differs(note + outcome.substr(0, outcome.size() - 1)).empty());
    CHECK(what_differs(outcome) == "the file has 0 memories of kind note, its manifest says 1; nothing was written");
    CHECK(what_differs(note + outcome + outcome) ==
          "the file has 2 memories of kind outcome, its manifest says 1; nothing was written");
    CHECK(what_differs("{\"content\":\"One\"}\n" + outcome) ==
          "a memory of kind note is not as it was when the manifest was made; nothing was written");
    CHECK(what_differs(note + "half a li") == "line 2 of the file is no memory; nothing was written");
    CHECK(what_differs(note + "{\"kind\":\"idea\"}\n") ==
          "line 2 of the file is of a kind that there is not; nothing was written");
}

TEST_CASE("what is no manifest is refused", "[adapters][manifest]") {
    for (const std::string text : {"", "[]", "{}", R"({"format":1,"seq":1,"kinds":{"idea":{"count":1,"sha256":""}}})",
                                   R"({"format":1,"seq":1,"kinds":{"note":{"count":"1","sha256":""}}})",
                                   R"({"format":1,"seq":1,"kinds":[1]})"}) {
        INFO(text);
        const auto manifest = manifest_from_json(text);
        REQUIRE_FALSE(manifest);
        CHECK(manifest.error().code == ErrorCode::invalid_argument);
    }
    const auto newer = manifest_from_json(R"({"format":2})");
    REQUIRE_FALSE(newer);
    CHECK(newer.error().code == ErrorCode::unimplemented);
}
