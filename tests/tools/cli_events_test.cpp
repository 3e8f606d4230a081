// The log as a file: out of one store and into another, event for event.
#include "cli.h"

using annal::testing::Cli;
using annal::testing::Json;
using annal::testing::Ran;
using annal::testing::read_file;

namespace {

struct Pair {
    Cli from, to;

    std::string file(const std::string& name) const { return (from.directory() / name).string(); }
    Json export_to(const std::string& name, std::vector<std::string> more = {}) const {
        more.insert(more.begin(), {"export", "--format", "events", "--output", file(name)});
        return from(more).json();
    }
    Ran import_from(const std::string& name) const { return to({"import", file(name), "--format", "events"}); }
};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("an export of events makes an empty store the same log, with the same root", "[tools][events]") {
    const Pair pair;
    const auto first = pair.from.remember("one", {"--project", "shop", "--tag", "a"});
    const auto second = pair.from.remember("two", {"--project", "talks"});
    REQUIRE(pair.from({"revise", first, "--project", "shop", "--content", "one, revised"}).code == 0);
    REQUIRE(pair.from({"forget", second, "--project", "talks", "--reason", "wrong"}).code == 0);
    const Json exported = pair.export_to("log.events");
    CHECK(exported["accepted"] == 4);

    const Json imported = pair.import_from("log.events").json();
    CHECK(imported["accepted"] == 4);
    CHECK(imported["root"] == exported["root"]);
    for (const auto& command : std::vector<std::vector<std::string>>{{"history", first, "--project", "shop"},
                                                                     {"history", second, "--project", "talks"},
                                                                     {"get", first, "--project", "shop"},
                                                                     {"log"},
                                                                     {"list", "--project", "talks"}})
        CHECK(pair.to(command).out == pair.from(command).out);
    CHECK(pair.import_from("log.events").json()["unchanged"] == 4);  // Once more changes nothing.

    pair.from.remember("three");  // The copy follows.
    pair.export_to("log.events");
    const Json more = pair.import_from("log.events").json();
    CHECK(more["accepted"] == 1);
    CHECK(more["unchanged"] == 4);
    const Json part = pair.export_to("part.events", {"--to", "2"});
    CHECK(part["seq"] == 2);
    CHECK(part["root"] != exported["root"]);
    CHECK(pair.from({"export", "--format", "events", "--to", "99"}).error()["code"] == "invalid_argument");
    CHECK(pair.from({"export", "--to", "2"}).error()["code"] == "invalid_argument");

    pair.to.remember("its own");  // Now they part.
    pair.from.remember("four");
    pair.export_to("log.events");
    CHECK(pair.import_from("log.events").error()["code"] == "conflict");
}

TEST_CASE("a file of events that was changed is refused, with the line and what came in", "[tools][events]") {
    const Pair pair;
    for (int i = 0; i < 5; ++i) pair.from.remember("memory " + std::to_string(i));
    pair.export_to("log.events");
    const auto text = read_file(pair.file("log.events"));
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
        lines.push_back(text.substr(at, text.find('\n', at) + 1 - at));
    REQUIRE(lines.size() == 7);
    const auto joined = [](std::vector<std::string> of) {
        std::string all;
        for (const auto& line : of) all += line;
        return all;
    };
    const auto refused = [&](const std::string& changed) {
        const Cli into;
        const auto error = into({"import", into.write_file("bad", changed), "--format", "events"}).error();
        CHECK(error["code"] == "invalid_argument");
        return error;
    };
    auto without = lines;
    without.erase(without.begin() + 2);
    CHECK(refused(joined(without))["details"]["line"] == "3");
    auto swapped = lines;
    std::swap(swapped[2], swapped[3]);
    refused(joined(swapped));
    auto other_hash = lines;
    other_hash[2] = replaced(lines[2], lines[2].substr(lines[2].find("hash") + 7, 64), std::string(64, 'a'));
    refused(joined(other_hash));
    auto other_bytes = lines;
    other_bytes[2] =
        replaced(lines[2], lines[2].substr(lines[2].find("event") + 8), lines[3].substr(lines[3].find("event") + 8));
    refused(joined(other_bytes));
    refused(joined({lines.begin(), lines.end() - 1}));
    CHECK(refused(text + lines[1])["details"]["line"] == "8");
    refused(replaced(text, "\"events\":5", "\"events\":4"));
    refused(lines[1] + lines[2]);
    refused("");
    refused("{\"content\": \"a memory\"}\n");

    const Cli cut;  // What was cut off goes on.
    const auto half = cut.write_file("half", joined({lines.begin(), lines.begin() + 4}));
    CHECK(cut({"import", half, "--format", "events"}).error()["details"]["seq"] == "3");
    const auto whole = cut.write_file("whole", text);
    const Json done = cut({"import", whole, "--format", "events"}).json();
    CHECK(done["accepted"] == 2);
    CHECK(done["unchanged"] == 3);
}
