#include "cli.h"

#include <annal/engine.h>

using annal::testing::Cli;
using annal::testing::Json;

TEST_CASE("global flags stand before or after the command", "[tools]") {
    const Cli cli;
    const std::string store = cli.store().string();
    REQUIRE(cli.run({"--store", store, "--project", "shop", "remember", "one", "--json"}).json()["seq"] == 1);
    CHECK(cli.run({"list", "--json", "--project", "shop", "--store", store}).json()["memories"].size() == 1);
    CHECK(cli.run({"list", "--project=shop", "--store=" + store, "--json"}).json()["memories"].size() == 1);
}

TEST_CASE("ANNAL_STORE names the store, and --store overrides it", "[tools]") {
    Cli cli;
    cli.environment = {"ANNAL_STORE=" + cli.store().string()};
    REQUIRE(cli.run({"remember", "one"}).code == 0);
    CHECK(cli.run({"list", "--json"}).json()["memories"].size() == 1);
    CHECK(cli.run({"list", "--store", (cli.directory() / "other").string()}).code == 3);
}

TEST_CASE("a read of a store that is not there says so and makes none", "[tools]") {
    const Cli cli;
    const std::string id = "01970e2c-7b1e-7c3a-9f00-0123456789ab";
    for (const auto& arguments : std::vector<std::vector<std::string>>{{"search", "x"},
                                                                       {"get", id},
                                                                       {"list"},
                                                                       {"history", id},
                                                                       {"export"},
                                                                       {"log"},
                                                                       {"status"},
                                                                       {"rebuild"},
                                                                       {"verify"},
                                                                       {"forget", id, "--reason", "x"},
                                                                       {"restore", id},
                                                                       {"reinforce", id},
                                                                       {"revise", id, "--content", "x"}}) {
        const auto ran = cli(arguments);
        INFO(arguments[0]);
        CHECK(ran.code == 3);
        CHECK(ran.error()["code"] == "not_found");
        CHECK(ran.out.empty());
        CHECK_FALSE(std::filesystem::exists(cli.store()));
    }
}

TEST_CASE("search answers with hits, their scores and their reasons", "[tools]") {
    const Cli cli;
    cli.remember("the checkout test is flaky",
                 {"--kind", "heuristic", "--tag", "tests", "--metadata", R"({"env":"ci"})"});
    cli.remember("refunds take five days", {"--confidence", "0.4", "--occurred-at", "2026-01-05T00:00:00Z"});
    cli.remember("the checkout page was redesigned");

    const Json answer = cli({"search", "flaky checkout", "--mode", "text"}).json();
    REQUIRE(answer["hits"].size() == 2);
    CHECK(answer["hits"][0]["memory"]["content"] == "the checkout test is flaky");
    CHECK(answer["hits"][0]["score"].get<double>() > answer["hits"][1]["score"].get<double>());
    CHECK(answer["hits"][0]["parts"]["text_rank"] == 1);
    CHECK(answer["seq"] == 3);
    CHECK(answer["degraded"].is_array());

    const auto contents = [&](std::vector<std::string> filter) {
        filter.insert(filter.begin(), {"list", "--order", "oldest"});
        std::string all;
        const Json page = cli(filter).json();
        for (const auto& memory : page["memories"]) all += memory["content"].get<std::string>().substr(0, 12) + "|";
        return all;
    };
    CHECK(contents({}) == "the checkout|refunds take|the checkout|");
    CHECK(contents({"--kind", "heuristic"}) == "the checkout|");
    CHECK(contents({"--tag", "tests"}) == "the checkout|");
    CHECK(contents({"--tag", "tests", "--tag", "other"}).empty());
    CHECK(contents({"--where", "env=ci"}) == "the checkout|");
    CHECK(contents({"--where", "env"}) == "the checkout|");
    CHECK(contents({"--min-confidence", "0.9"}) == "the checkout|the checkout|");
    CHECK(contents({"--until", "2026-02-01T00:00:00Z"}) == "refunds take|");
    CHECK(contents({"--claim", "verified"}).empty());
    CHECK(cli({"search", "checkout", "--kind", "note"}).json()["hits"].size() == 1);
    CHECK(cli({"search", "checkout", "--limit", "1"}).json()["hits"].size() == 1);

    const auto shown = cli.run({"--store", cli.store().string(), "search", "flaky checkout", "--explain"});
    CHECK(shown.code == 0);
    CHECK(shown.out.find("the checkout test is flaky") != std::string::npos);
    CHECK(shown.out.find("neighbours") != std::string::npos);
}

TEST_CASE("a list goes on from its cursor, without a gap or a repeat", "[tools]") {
    const Cli cli;
    std::string lines;
    for (int i = 0; i < 7; ++i) lines += "{\"content\":\"memory " + std::to_string(i) + "\"}\n";
    REQUIRE(cli({"import", "-"}, lines).json()["accepted"] == 7);
    std::string seen, cursor;
    int pages = 0;
    do {
        std::vector<std::string> arguments{"list", "--limit", "3", "--order", "oldest"};
        if (!cursor.empty()) arguments.insert(arguments.end(), {"--cursor", cursor});
        const Json page = cli(arguments).json();
        for (const auto& memory : page["memories"]) seen += memory["content"].get<std::string>().back();
        cursor = page["next_cursor"];
        ++pages;
    } while (!cursor.empty() && pages < 9);
    CHECK(seen == "0123456");
    CHECK(cli({"list", "--cursor", "made-up"}).code == 2);
}

TEST_CASE("the hashing embedder finds a misspelt word by its vector", "[tools]") {
    const Cli cli;
    REQUIRE(cli({"remember", "kubernetes deployment failed", "--embedder", "hashing"}).code == 0);
    REQUIRE(cli({"remember", "birthday cake recipe", "--embedder", "hashing"}).code == 0);
    const Json answer = cli({"search", "kubernets deploymnt", "--mode", "vector", "--embedder", "hashing"}).json();
    REQUIRE_FALSE(answer["hits"].empty());
    CHECK(answer["hits"][0]["memory"]["content"] == "kubernetes deployment failed");
}

TEST_CASE("vectors come from a file, with what is remembered and with what is asked", "[tools]") {
    const Cli cli;
    const auto east = cli.write_file("east.json", R"({"model":"compass","values":[1,0,0]})").string();
    const auto north = cli.write_file("north.json", R"({"model":"compass","values":[0,1,0]})").string();
    cli.remember("sunrise", {"--vector-file", east});
    cli.remember("polar star", {"--vector-file", north});
    const Json answer = cli({"search", "--mode", "vector", "--vector-file", north}).json();
    REQUIRE(answer["hits"].size() == 2);
    CHECK(answer["hits"][0]["memory"]["content"] == "polar star");
}

TEST_CASE("the log is shown in order, one event a line, narrowed when asked", "[tools]") {
    const Cli cli;
    cli.remember("one", {"--project", "a"});
    cli.remember("two", {"--project", "b"});
    const std::string id = cli.remember("three", {"--project", "a", "--agent", "qa"});
    const auto seqs = [&](std::vector<std::string> more) {
        more.insert(more.begin(), "log");
        const auto ran = cli(more);
        REQUIRE(ran.code == 0);
        std::istringstream lines(ran.out);
        std::string all;
        for (std::string line; std::getline(lines, line);) all += std::to_string(Json::parse(line)["seq"].get<int>());
        return all;
    };
    CHECK(seqs({}) == "123");
    CHECK(seqs({"--after", "1"}) == "23");
    CHECK(seqs({"--limit", "2"}) == "12");
    CHECK(seqs({"--project", "a"}) == "13");
    CHECK(seqs({"--project", "a", "--agent", "qa"}) == "3");
    CHECK(seqs({"--agent", "qa"}) == "3");
}

TEST_CASE("a rebuild gives the same state, in a new generation", "[tools]") {
    const Cli cli;
    const std::string id = cli.remember("one");
    cli.remember("two");
    REQUIRE(cli({"forget", id, "--reason", "x"}).code == 0);
    const Json before = cli({"status", "--digests"}).json();
    const Json rebuilt = cli({"rebuild"}).json();
    const Json after = cli({"status", "--digests"}).json();
    REQUIRE(before["projections"].size() == after["projections"].size());
    REQUIRE_FALSE(after["projections"].empty());
    for (std::size_t i = 0; i < after["projections"].size(); ++i) {
        const Json &was = before["projections"][i], &is = after["projections"][i];
        INFO(is.dump());
        CHECK(is["digest"] == was["digest"]);
        CHECK(is["digest"].get<std::string>().size() == 64);
        CHECK(is["generation"].get<int>() > was["generation"].get<int>());
        CHECK(is["lag_events"] == 0);
        CHECK(is["applied_seq"] == 3);
        CHECK(is["error"] == "");
    }
    CHECK(after["head_seq"] == 3);
    CHECK(cli({"rebuild", before["projections"][0]["name"]}).code == 0);
    CHECK(cli({"rebuild", "no-such-projection"}).code != 0);
}

TEST_CASE("verify says of each check what it found, and exits with 0 only if all is well", "[tools]") {
    const Cli cli;
    for (int i = 0; i < 3; ++i)
        cli.remember("memory number " + std::to_string(i), {"--idempotency-key", std::to_string(i)});
    const Json whole = cli({"verify"}).json();
    CHECK(whole["ok"] == true);
    CHECK(whole["seq"] == 3);
    REQUIRE(whole["checks"].size() == 10);
    for (const auto& check : whole["checks"]) {
        INFO(check.dump());
        CHECK(check["state"] == "ok");
        CHECK(check["found"] == "");
        CHECK(check["seconds"].get<double>() >= 0);
    }
    CHECK(whole["checks"][1]["name"] == "log.events");
    CHECK(whole["checks"][1]["count"] == 3);
    CHECK(cli({"verify", "--files-and-log"}).json()["checks"].size() == 6);
    CHECK(cli.run({"--store", cli.store().string(), "verify"}).out.find("views.memory_view") != std::string::npos);

    // A bit of each table of the log: what the open reads itself is refused there, the rest is a check that failed.
    // Each in a copy of the store: an open may compact tables away.
    std::size_t reported = 0;
    for (const auto& entry : std::filesystem::directory_iterator(cli.store() / "log")) {
        if (entry.path().extension() != ".sst") continue;
        INFO(entry.path().filename());
        const auto copy = cli.directory() / "copy";
        std::filesystem::copy(cli.store(), copy, std::filesystem::copy_options::recursive);
        {
            std::fstream file(copy / "log" / entry.path().filename(), std::ios::in | std::ios::out | std::ios::binary);
            file.seekg(20);
            const auto byte = static_cast<char>(file.get() ^ 1);
            file.seekp(20);
            file.put(byte);
        }
        const auto ran = cli.run({"--store", copy.string(), "--json", "verify"});
        std::filesystem::remove_all(copy);
        CHECK(ran.code == 11);
        CHECK(ran.out.find("number") == std::string::npos);
        const Json found = Json::parse(ran.out, nullptr, false);
        if (found.is_discarded()) continue;
        ++reported;
        CHECK(found["ok"] == false);
        CHECK(found["checks"][0]["name"] == "log.files");
        CHECK(found["checks"][0]["state"] == "failed");
        CHECK(found["checks"][0]["found"] != "");
    }
    CHECK(reported > 0);
}

TEST_CASE("a store that another process has open is refused", "[tools]") {
    const Cli cli;
    auto engine = annal::Engine::open({.directory = cli.store()});
    REQUIRE(engine);
    const auto ran = cli({"list"});
    CHECK(ran.code == 5);
    CHECK(ran.error()["code"] == "already_exists");
}

TEST_CASE("a damaged store is refused with what is known", "[tools]") {
    const Cli cli;
    for (int i = 0; i < 20; ++i) REQUIRE(cli({"remember", "memory " + std::to_string(i)}).code == 0);
    // Everything the log has written is gone, the proof that it was there is not.
    for (const auto& entry : std::filesystem::recursive_directory_iterator(cli.store() / "log")) {
        const auto name = entry.path().filename().string();
        if (name.ends_with(".sst") || name.ends_with(".log")) std::filesystem::resize_file(entry.path(), 0);
    }
    const auto ran = cli({"list"});
    CHECK(ran.code == 11);
    CHECK(ran.error()["code"] == "data_loss");
}
