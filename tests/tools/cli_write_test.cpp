#include "cli.h"

using annal::testing::Cli;
using annal::testing::Json;

namespace {

const std::string nobody = "01970e2c-7b1e-7c3a-9f00-0123456789ab";

}

TEST_CASE("a memory lives its life on the command line, each write with its receipt", "[tools]") {
    const Cli cli;
    const Json receipt = cli({"remember",      "checkout needs a 2 s wait",
                              "--project",     "shop",
                              "--agent",       "qa",
                              "--kind",        "heuristic",
                              "--field",       "condition=flaky checkout",
                              "--tag",         "checkout",
                              "--tag",         "slow",
                              "--claim",       "inference",
                              "--confidence",  "0.5",
                              "--metadata",    R"({"run":7})",
                              "--source",      "test_result:run-7",
                              "--reason",      "seen twice",
                              "--occurred-at", "2026-01-01T12:00:00+14:00"})
                             .json();
    const std::string id = receipt["memory_id"];
    CHECK(receipt["seq"] == 1);
    CHECK(receipt["version"] == 1);
    CHECK(receipt["hash"].get<std::string>().size() == 64);
    CHECK(receipt["event_id"].get<std::string>().size() == 36);

    const Json memory = cli({"get", id, "--project", "shop"}).json();
    CHECK(memory["memory_id"] == id);
    CHECK(memory["kind"] == "heuristic");
    CHECK(memory["content"] == "checkout needs a 2 s wait");
    CHECK(memory["condition"] == "flaky checkout");
    CHECK(memory["tags"] == Json{"checkout", "slow"});
    CHECK(memory["metadata"] == Json{{"run", 7}});
    CHECK(memory["claim"] == "inference");
    CHECK(memory["confidence"] == 0.5);
    CHECK(memory["scope"] == Json{{"project", "shop"}, {"agent", "qa"}});
    CHECK(memory["actor"] == "qa");
    CHECK(memory["source"] == Json{{"type", "test_result"}, {"ref", "run-7"}});
    CHECK(memory["occurred_at"] == "2025-12-31T22:00:00Z");

    const std::vector<std::string> in_shop{"--project", "shop"};
    CHECK(cli({"revise", id, "--content", "checkout needs a 3 s wait", "--field", "strategy=wait", "--project", "shop"})
              .json()["version"] == 2);
    CHECK(cli({"reinforce", id, "--project", "shop"}).json()["version"] == 3);
    CHECK(cli({"reinforce", id, "--failed", "--project", "shop"}).json()["version"] == 4);
    const Json revised = cli({"get", id, "--project", "shop"}).json();
    CHECK(revised["content"] == "checkout needs a 3 s wait");
    CHECK(revised["condition"] == "flaky checkout");  // Not named, so it stays.
    CHECK(revised["strategy"] == "wait");
    CHECK(revised["occurrence_count"] == 2);
    CHECK(revised["success_count"] == 1);

    CHECK(cli({"forget", id, "--reason", "rewritten", "--project", "shop"}).json()["version"] == 5);
    CHECK(cli({"get", id, "--project", "shop"}).error()["code"] == "not_found");
    CHECK(cli({"get", id, "--project", "shop", "--forgotten"}).json()["forgotten"] == true);
    CHECK(cli({"search", "checkout", "--project", "shop"}).json()["hits"].empty());
    CHECK(cli({"restore", id, "--project", "shop"}).json()["version"] == 6);
    CHECK(cli({"search", "checkout", "--project", "shop"}).json()["hits"].size() == 1);

    const Json events = cli({"history", id, "--project", "shop"}).json()["events"];
    std::vector<std::string> types;
    for (const auto& event : events) types.push_back(event["type"]);
    CHECK(types == std::vector<std::string>{"MemoryRecorded", "MemoryRevised", "MemoryReinforced", "MemoryReinforced",
                                            "MemoryForgotten", "MemoryRestored"});
    CHECK(events[4]["reason"] == "rewritten");
    CHECK(events[0]["changes"]["content"] == "checkout needs a 2 s wait");
}

TEST_CASE("text comes from standard input when asked to", "[tools]") {
    const Cli cli;
    const std::string id = cli({"remember", "-"}, "two\nlines\n").json()["memory_id"];
    CHECK(cli({"get", id}).json()["content"] == "two\nlines");
}

TEST_CASE("the same idempotency key writes once, and another request with it is a conflict", "[tools]") {
    const Cli cli;
    const Json first = cli({"remember", "one", "--idempotency-key", "k1"}).json();
    const Json again = cli({"remember", "one", "--idempotency-key", "k1"}).json();
    CHECK(again["memory_id"] == first["memory_id"]);
    CHECK(again["seq"] == first["seq"]);
    CHECK(again["replayed"] == true);
    const auto other = cli({"remember", "two", "--idempotency-key", "k1"});
    CHECK(other.code == 4);
    CHECK(other.error()["code"] == "conflict");
    CHECK(cli.head() == 1);
}

TEST_CASE("a version that has moved on is a conflict, and nothing is written", "[tools]") {
    const Cli cli;
    const std::string id = cli.remember("one");
    REQUIRE(cli({"revise", id, "--content", "two", "--expected-version", "1"}).code == 0);
    const auto late = cli({"revise", id, "--content", "three", "--expected-version", "1"});
    CHECK(late.code == 4);
    CHECK(late.error()["details"]["actual"] == "2");
    CHECK(cli.head() == 2);
}

TEST_CASE("a memory of another project or scope is not there", "[tools]") {
    const Cli cli;
    const std::string id = cli.remember("one", {"--project", "shop", "--agent", "qa"});
    for (const auto& arguments :
         std::vector<std::vector<std::string>>{{"get", id, "--project", "bank"},
                                               {"get", id, "--project", "shop", "--agent", "ops"},
                                               {"history", id, "--project", "bank"},
                                               {"forget", id, "--reason", "x", "--project", "bank"},
                                               {"revise", id, "--content", "x", "--project", "bank"},
                                               {"reinforce", id, "--project", "bank"},
                                               {"restore", id, "--project", "bank"},
                                               {"get", nobody, "--project", "shop"},
                                               {"forget", nobody, "--reason", "x", "--project", "shop"}}) {
        const auto ran = cli(arguments);
        INFO(arguments[0]);
        CHECK(ran.code == 3);
        CHECK(ran.error()["code"] == "not_found");
    }
    CHECK(cli({"search", "one", "--project", "bank"}).json()["hits"].empty());
    CHECK(cli({"list", "--project", "bank"}).json()["memories"].empty());
    CHECK(cli.head() == 1);
}

TEST_CASE("an id that is taken is refused", "[tools]") {
    const Cli cli;
    CHECK(cli.remember("one", {"--id", nobody}) == nobody);
    const auto again = cli({"remember", "two", "--id", nobody});
    CHECK(again.code == 5);
    CHECK(again.error()["code"] == "already_exists");
}
