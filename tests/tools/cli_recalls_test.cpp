// What agents were given, on the command line.
#include "cli.h"

using annal::testing::Cli;
using annal::testing::Json;

TEST_CASE("search puts down what a run was given; history and explain tell it", "[tools][recalls]") {
    const Cli cli;
    const std::string id = cli.remember("the checkout waits 2 s", {"--agent", "qa"});
    const std::string other = cli.remember("the checkout is flaky on Mondays, and it is long", {"--agent", "qa"});
    const Json plain = cli({"search", "checkout", "--agent", "qa"}).json();
    CHECK_FALSE(plain.contains("recalled_seq"));
    CHECK(cli.head() == 2);
    const Json found = cli({"search", "checkout", "--agent", "qa", "--limit", "1", "--run-id", "run-42"}).json();
    CHECK(found["recalled_seq"] == 3);
    REQUIRE(found["hits"].size() == 1);
    REQUIRE(found["hits"][0]["memory"]["memory_id"] == id);
    REQUIRE(cli({"revise", id, "--content", "the basket waits 3 s", "--expected-version", "1"}).code == 0);
    REQUIRE(cli({"forget", id, "--reason", "rewritten"}).code == 0);

    const Json recalls = cli({"history", id, "--recalls"}).json();
    REQUIRE(recalls["recalls"].size() == 1);
    CHECK(recalls["next"].is_null());
    const Json& recall = recalls["recalls"][0];
    CHECK(recall["seq"] == 3);
    CHECK(recall["run_id"] == "run-42");
    CHECK(recall["query"] == "checkout");
    CHECK(recall["rank"] == 1);
    CHECK(recall["score"] == found["hits"][0]["score"]);
    CHECK(recall["scope"] == Json{{"project", "default"}, {"agent", "qa"}});
    CHECK(recall["as_of"] == 2);
    CHECK(recall["mode"] == "hybrid");
    CHECK(cli({"history", other, "--recalls"}).json()["recalls"].empty());
    CHECK(cli({"history", id, "--recalls", "--as-of", "2"}).json()["recalls"].empty());
    CHECK(cli({"history", id}).json()["events"].size() == 3);

    const Json run = cli({"explain", "run-42"}).json();
    REQUIRE(run["contexts"].size() == 1);
    const Json& context = run["contexts"][0];
    CHECK(context["query"] == "checkout");
    CHECK(context["mode"] == "hybrid");
    REQUIRE(context["given"].size() == 1);
    CHECK(context["given"][0]["memory"]["content"] == "the checkout waits 2 s");
    CHECK(context["given"][0]["since"] == "forgotten");
    CHECK(context["given"][0]["parts"]["own"].get<double>() > 0);
    REQUIRE(context["not_given"].size() == 1);
    CHECK(context["not_given"][0]["memory_id"] == other);
    CHECK(context["not_given"][0]["rank"] == 2);
    CHECK(context["not_given"][0]["since"] == "same");
    CHECK(run["erased"] == 0);
    CHECK(run["sealed"] == 0);
    CHECK(run["next"].is_null());
    CHECK(run["seq"] == 5);
    CHECK(cli({"explain", "run-42", "--limit", "0"}).json()["contexts"][0]["not_given"].empty());

    CHECK(cli({"explain", "run-43"}).error()["code"] == "not_found");
    CHECK(cli({"explain", "run-42", "--agent", "dev"}).error()["code"] == "not_found");
    CHECK(cli({"explain", "run-42", "--limit", "1001"}).code == 2);
    CHECK(cli({"explain"}).code == 2);
    CHECK(cli({"history", id, "--limit", "5"}).code == 2);  // Of recalls alone.
    CHECK(cli({"search", "checkout", "--limit", "257", "--run-id", "run-42"}).code == 2);
}

TEST_CASE("what a run was given is told to people, page by page", "[tools][recalls]") {
    const Cli cli;
    const std::string id = cli.remember("the checkout waits 2 s");
    cli.remember("the checkout is flaky on Mondays, and it is long");
    for (const char* run : {"run-1", "run-2", "run-1"})
        REQUIRE(cli({"search", "checkout", "--limit", "1", "--run-id", run}).code == 0);
    REQUIRE(cli({"revise", id, "--content", "the basket waits"}).code == 0);
    const auto told = [&](std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {"--store", cli.store().string()});
        const auto ran = cli.run(arguments);
        INFO(ran.err);
        REQUIRE(ran.code == 0);
        return ran.out;
    };
    const auto shows = [&](const std::string& text, std::initializer_list<const char*> parts) {
        INFO(text);
        for (const char* part : parts) CHECK(text.find(part) != std::string::npos);
    };
    shows(told({"search", "flaky", "--run-id", "run-3"}), {"recorded up to seq 7"});
    const auto page = told({"history", id, "--recalls", "--limit", "2"});
    shows(page, {"seq 5", "#1", "run run-1", "run run-2", "checkout", "more: --before 4"});
    const auto rest = told({"history", id, "--recalls", "--before", "4"});
    shows(rest, {"seq 3", "run run-1"});
    CHECK(rest.find("run-2") == std::string::npos);
    CHECK(rest.find("more") == std::string::npos);
    shows(told({"history", cli.remember("unasked"), "--recalls"}), {"never given"});

    shows(told({"explain", "run-1"}), {"seq 3", "seq 5", "given", "the checkout waits 2 s", "since then changed",
                                       "known, not given", "flaky on Mondays"});
    const auto second = told({"explain", "run-1", "--after", "3"});
    shows(second, {"seq 5"});
    CHECK(second.find("seq 3") == std::string::npos);
}
