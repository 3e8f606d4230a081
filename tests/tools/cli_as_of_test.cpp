// Reads as of an earlier moment, and what is made of them, on the command line.
#include "cli.h"

#include <sstream>

using annal::testing::Cli;
using annal::testing::Json;

TEST_CASE("reads as of an earlier moment see what was, by seq and by time", "[tools][as_of]") {
    const Cli cli;
    const auto vector = cli.write_file("v.json", R"({"model":"m","values":[1,0]})").string();
    const std::string id = cli.remember("the checkout waits 2 s", {"--vector-file", vector});
    cli.remember("refunds take five days");
    REQUIRE(cli({"revise", id, "--content", "the basket waits 3 s"}).code == 0);
    REQUIRE(cli({"forget", id, "--reason", "rewritten"}).code == 0);
    const Json events = cli({"history", id}).json()["events"];
    const std::string recorded = events[0]["recorded_at"];

    CHECK(cli({"get", id, "--as-of", "2"}).json()["content"] == "the checkout waits 2 s");
    CHECK(cli({"get", id, "--as-of", recorded}).json()["content"] == "the checkout waits 2 s");
    CHECK(cli({"get", id, "--as-of", "3"}).json()["content"] == "the basket waits 3 s");
    CHECK(cli({"get", id, "--as-of", "4"}).error()["code"] == "not_found");
    CHECK(cli({"history", id, "--as-of", "3"}).json()["events"].size() == 2);
    CHECK(cli({"list", "--as-of", "1"}).json()["memories"].size() == 1);
    CHECK(cli({"list", "--as-of", "3"}).json()["memories"].size() == 2);
    CHECK(cli({"list"}).json()["memories"].size() == 1);
    const Json then = cli({"search", "checkout", "--as-of", "2", "--mode", "text"}).json();
    REQUIRE(then["hits"].size() == 1);
    CHECK(then["seq"] == 2);
    CHECK(cli({"search", "checkout", "--as-of", "3", "--mode", "text"}).json()["hits"].empty());
    const std::vector<std::string> nearest{"search", "--mode", "vector", "--vector-file", vector, "--as-of"};
    const auto at = [&](const char* moment) {
        auto arguments = nearest;
        arguments.emplace_back(moment);
        return cli(arguments).json()["hits"].size();
    };
    CHECK(at("2") == 1);
    CHECK(at("3") == 0);  // The new content came without a vector.

    const Json before = cli({"list", "--as-of", "1971-01-01T00:00:00Z"}).json();
    CHECK(before["memories"].empty());
    CHECK(before["seq"] == 0);
    const Json after = cli({"search", "checkout", "--as-of", "5"}).error();
    CHECK(after["code"] == "invalid_argument");
    CHECK(after["details"]["head"] == "4");
    for (const char* wrong : {"yesterday", "-1", "2026-01-01", "1x", ""})
        if (*wrong != 0) CHECK(cli({"list", std::string("--as-of=") + wrong}).code == 2);
}

TEST_CASE("history shows people what was and what is, with who, why and the evidence", "[tools][as_of]") {
    const Cli cli;
    const std::string id = cli.remember("waits 2 s", {"--actor", "qa", "--source", "test_result:run-7"});
    REQUIRE(
        cli({"revise", id, "--content", "waits 3 s", "--tag", "slow", "--actor", "ann", "--reason", "2 s was short"})
            .code == 0);
    const auto shown = cli.run({"--store", cli.store().string(), "history", id}).out;
    INFO(shown);
    for (const char* part : {"by qa", "from test_result:run-7", "by ann", "because 2 s was short",
                             "content: waits 2 s -> waits 3 s", R"(tags: [] -> ["slow"])"})
        CHECK(shown.find(part) != std::string::npos);
    const Json events = cli({"history", id}).json()["events"];
    CHECK(events[1]["changes"] == Json{{"content", "waits 3 s"}, {"tags", {"slow"}}});
    CHECK(events[1]["differences"][0] == Json{{"field", "content"}, {"was", "waits 2 s"}, {"is", "waits 3 s"}});
    CHECK_FALSE(events[0].contains("differences"));
}

TEST_CASE("diff prints what became of each memory, one a line", "[tools][as_of]") {
    const Cli cli;
    const std::string first = cli.remember("first");
    const std::string second = cli.remember("second");
    REQUIRE(cli({"revise", first, "--content", "first, revised"}).code == 0);
    REQUIRE(cli({"forget", second, "--reason", "wrong"}).code == 0);
    cli.remember("third");
    cli.remember("elsewhere", {"--project", "other"});
    const auto lines = [&](std::vector<std::string> more) {
        more.insert(more.begin(), "diff");
        const auto ran = cli(more);
        INFO(ran.err);
        REQUIRE(ran.code == 0);
        std::vector<Json> all;
        std::istringstream text(ran.out);
        for (std::string line; std::getline(text, line);) all.push_back(Json::parse(line));
        return all;
    };
    const auto all = lines({"--from", "2"});
    REQUIRE(all.size() == 3);
    CHECK(all[0]["change"] == "changed");
    CHECK(all[0]["memory_id"] == first);
    CHECK(all[0]["from_version"] == 1);
    CHECK(all[0]["to_version"] == 2);
    CHECK(all[0]["differences"] == Json::array({{{"field", "content"}, {"was", "first"}, {"is", "first, revised"}}}));
    CHECK(all[1]["change"] == "forgotten");
    CHECK(all[2]["change"] == "added");
    CHECK(all[2]["memory"]["content"] == "third");
    CHECK(lines({"--from", "2", "--to", "3"}).size() == 1);
    CHECK(lines({"--from", "1971-01-01T00:00:00Z", "--to", "2"}).size() == 2);
    CHECK(lines({"--from", "0", "--project", "other"}).size() == 1);
    CHECK(cli({"diff"}).code == 2);
    CHECK(cli({"diff", "--from", "3", "--to", "2"}).code == 2);
    CHECK(cli({"diff", "--from", "99"}).error()["details"]["head"] == "6");
    const auto shown = cli.run({"--store", cli.store().string(), "diff", "--from", "2"}).out;
    CHECK(shown.find("content: first -> first, revised") != std::string::npos);
}

TEST_CASE("revert brings an earlier version back, as a new event", "[tools][as_of]") {
    const Cli cli;
    const std::string id = cli.remember("first", {"--tag", "a"});
    REQUIRE(cli({"revise", id, "--content", "second", "--no-tags"}).code == 0);
    CHECK(cli({"revert", id, "--to-version", "1", "--expected-version", "7"}).code == 4);
    CHECK(cli({"revert", id, "--to-version", "1", "--idempotency-key", "k"}).json()["version"] == 3);
    CHECK(cli({"revert", id, "--to-version", "1", "--idempotency-key", "k"}).json()["replayed"] == true);
    CHECK(cli({"get", id}).json()["content"] == "first");
    CHECK(cli({"get", id}).json()["tags"] == Json{"a"});
    CHECK(cli({"history", id}).json()["events"][2]["reason"] == "reverted to version 1");
    CHECK(cli({"revert", id, "--to-version", "1"}).code == 2);  // It says that already.
    CHECK(cli({"revert", id, "--to-version", "9"}).code == 3);
    CHECK(cli({"revert", id}).code == 2);
}
