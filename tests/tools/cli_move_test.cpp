#include "cli.h"

#include "adapters/locomo_sample.h"

#include <algorithm>

using annal::testing::Cli;
using annal::testing::Json;
using annal::testing::read_file;

namespace {

const std::string example = ANNAL_SOURCE_DIR "/examples/shop.jsonl";

// What a store alone decides is left out.
std::vector<std::string> contents_of(const std::string& exported) {
    std::vector<std::string> lines;
    std::istringstream in(exported);
    for (std::string line; std::getline(in, line);) {
        Json memory = Json::parse(line);
        for (const char* name : {"seq", "created_seq", "version", "recorded_at", "updated_at"}) memory.erase(name);
        lines.push_back(memory.dump());
    }
    return lines;
}

}  // namespace

TEST_CASE("an import is reported, and done again it adds nothing", "[tools]") {
    const Cli cli;
    const Json first = cli({"import", example, "--format", "jsonl", "--project", "shop"}).json();
    CHECK(first["accepted"] == 267);
    CHECK(first["unchanged"] == 0);
    CHECK(first["rejected"].empty());
    CHECK(first["seq"] == 267);
    const Json second = cli({"import", example, "--project", "shop"}).json();
    CHECK(second["accepted"] == 0);
    CHECK(second["unchanged"] == 267);
    CHECK(second["seq"] == 267);
    // Into another project it is something else.
    CHECK(cli({"import", example, "--project", "other"}).json()["accepted"] == 267);
}

TEST_CASE("an import names each line it refuses, and takes the others", "[tools]") {
    const Cli cli;
    const std::string lines =
        "{\"content\":\"one\"}\n"
        "{\"content\":\"\"}\n"
        "{\"content\":\"two\",\"kind\":\"idea\"}\n"
        "\n"
        "{\"content\":\"three\",\"scope\":{\"project\":\"../etc\\u0000\"}}\n"
        "{\"content\":\"four\",\"metadata\":{\"n\":123456789012345678901234567890}}\n"
        "{\"content\":\"" +
        std::string(8193, 'x') +
        "\"}\n"
        "{\"content\":\"five\",\"tags\":[\"a\"]}";
    const auto ran = cli({"import", "-"}, lines);
    CHECK(ran.code == 2);
    const Json report = Json::parse(ran.out);
    CHECK(report["accepted"] == 2);
    CHECK(report["seq"] == 2);
    std::vector<int> refused;
    for (const auto& line : report["rejected"]) {
        refused.push_back(line["line"]);
        CHECK(line["code"] == "invalid_argument");
        CHECK_FALSE(line["message"].get<std::string>().empty());
    }
    CHECK(refused == std::vector<int>{2, 3, 5, 6, 7});
    CHECK(report["rejected"][4]["details"]["limit"] == "8192");

    const auto shown = cli.run({"--store", cli.store().string(), "import", "-"}, lines);
    CHECK(shown.code == 2);
    CHECK(shown.err.find("line 3: invalid_argument: kind") != std::string::npos);
    CHECK(shown.out.find("accepted 0, unchanged 2, rejected 5") != std::string::npos);
}

TEST_CASE("an export imported into another store says the same", "[tools]") {
    const Cli first, second;
    REQUIRE(first({"import", example, "--project", "shop"}).code == 0);
    const std::string id =
        first({"list", "--project", "shop", "--limit", "1"}).json()["memories"][0]["memory_id"].get<std::string>();
    REQUIRE(first({"revise", id, "--tag", "revised", "--project", "shop"}).code == 0);

    const std::string exported = first({"export", "--format", "jsonl", "--project", "shop"}).out;
    CHECK(std::ranges::count(exported, '\n') == 267);
    CHECK(second({"import", "-", "--project", "unused"}, exported).json()["accepted"] == 267);
    CHECK(contents_of(second({"export", "--project", "shop"}).out) == contents_of(exported));
    CHECK(first({"import", "-"}, exported).json()["unchanged"] == 267);

    const auto file = second.directory() / "out.jsonl";
    const Json report = second({"export", "--project", "shop", "--output", file.string()}).json();
    CHECK(report["exported"] == 267);
    CHECK(contents_of(read_file(file)) == contents_of(exported));
}

TEST_CASE("a vector comes out and in with its bits", "[tools]") {
    const Cli first, second;
    const std::string line = R"({"content":"near","embedding":{"model":"m","values":[0.1,-2.7,3.00001,1e-20]}})";
    REQUIRE(first({"import", "-"}, line + "\n").code == 0);
    const std::string exported = first({"export"}).out;
    const Json embedding = Json::parse(exported)["embedding"];
    CHECK(embedding["model"] == "m");
    CHECK(embedding["values"].size() == 4);
    REQUIRE(second({"import", "-"}, exported).json()["accepted"] == 1);
    CHECK(Json::parse(second({"export"}).out)["embedding"] == embedding);
    CHECK(first({"import", "-"}, exported).json()["unchanged"] == 1);
}

TEST_CASE("a file that is not what its manifest says does not come in", "[tools]") {
    const Cli first, second;
    REQUIRE(first({"import", "-"}, "{\"content\":\"one\"}\n{\"content\":\"two\",\"kind\":\"outcome\"}\n").code == 0);
    const auto file = first.directory() / "out.jsonl";
    REQUIRE(first({"export", "--output", file.string()}).code == 0);
    const Json manifest = Json::parse(read_file(first.directory() / "out.jsonl.manifest.json"));
    CHECK(manifest["memories"] == 2);
    CHECK(manifest["kinds"]["outcome"]["count"] == 1);

    const std::string whole = read_file(file);
    const auto put = [&](const std::string& text) { first.write_file("out.jsonl", text); };
    put(whole.substr(0, whole.find('\n') + 1));
    const auto cut = second({"import", file.string()});
    CHECK(cut.code == 11);
    CHECK(cut.err.find("the file has 0 memories of kind outcome, its manifest says 1") != std::string::npos);
    CHECK(second({"list"}).code == 3);  // There is not even a store.
    CHECK(second({"import", file.string(), "--no-manifest"}).json()["accepted"] == 1);
    put(whole);
    CHECK(second({"import", file.string()}).json()["accepted"] == 1);
}

TEST_CASE("what was forgotten is neither exported nor brought back by the same import", "[tools]") {
    const Cli cli;
    const std::string lines = "{\"content\":\"one secret\"}\n{\"content\":\"two\"}\n";
    REQUIRE(cli({"import", "-"}, lines).code == 0);
    const Json hits = cli({"search", "secret"}).json()["hits"];
    REQUIRE(hits.size() == 1);
    REQUIRE(cli({"forget", hits[0]["memory"]["memory_id"], "--reason", "private"}).code == 0);
    CHECK(cli({"export"}).out.find("secret") == std::string::npos);
    CHECK(cli({"import", "-"}, lines).json()["unchanged"] == 2);
    CHECK(cli({"search", "secret"}).json()["hits"].empty());
}

TEST_CASE("LoCoMo conversations come in turn by turn, once", "[tools]") {
    const Cli cli;
    const auto file = cli.write_file("talks.json", annal::testing::locomo_sample).string();
    const Json report = cli({"import", file, "--format", "locomo", "--project", "talks"}).json();
    CHECK(report["accepted"] == 7);
    CHECK(cli({"import", file, "--format", "locomo", "--project", "talks"}).json()["unchanged"] == 7);
    const Json hits = cli({"search", "greyhound", "--project", "talks", "--agent", "conv-1"}).json()["hits"];
    REQUIRE_FALSE(hits.empty());
    CHECK(hits[0]["memory"]["actor"] == "Ines");
    CHECK(hits[0]["memory"]["metadata"]["caption"] == "a grey dog on a sofa");
}

TEST_CASE("eval measures in a store of its own and leaves nothing behind", "[tools]") {
    Cli cli;
    const auto temporary = cli.directory() / "tmp";
    std::filesystem::create_directory(temporary);
    cli.environment = {"TMPDIR=" + temporary.string(), "ANNAL_STORE=" + cli.store().string()};
    const auto file = cli.write_file("talks.json", annal::testing::locomo_sample).string();
    for (const std::string& mode : {std::string("text"), std::string("hybrid")}) {
        const Json report = cli.run({"eval", file, "--format", "locomo", "--mode", mode, "--json"}).json();
        CHECK(report["mode"] == mode);
        CHECK(report["questions"] == 3);
        CHECK(report["recall_at_10"].get<double>() > 0.6);
        CHECK(report["by_category"]["1"]["recall_at_10"] == 1.0);
        for (const char* name : {"recall_at_5", "mrr"}) CHECK(report[name].is_number());
    }
    CHECK(cli.run({"eval", file, "--together", "--json"}).json()["questions"] == 3);
    CHECK(std::filesystem::is_empty(temporary));
    CHECK_FALSE(std::filesystem::exists(cli.store()));
}

TEST_CASE("output that cannot be written is an error, not silence", "[tools]") {
    Cli cli;
    cli.remember("one");
    cli.stdout_path = "/dev/full";
    for (const char* command : {"list", "export", "status", "log"}) CHECK(cli({command}).code == 9);
}
