#include "cli.h"

#include "support/postgres_server.h"

using annal::testing::Cli;
using annal::testing::Json;

TEST_CASE("a host without the store searches, gets and lists what a sink has", "[tools][sync][postgres]") {
    const auto server = annal::testing::postgres_server_or_skip();
    const auto dsn = server->connection();
    const Cli owner;
    const auto wait = owner.remember("checkout needs a 2 s wait", {"--project", "shop", "--kind", "heuristic"});
    owner.remember("tea", {"--project", "shop", "--tag", "kitchen"});
    owner.remember("checkout of another", {"--project", "other"});
    REQUIRE(owner({"sync", "add", "postgres", "--name", "far", "--dsn", dsn, "--schema", "memories", "--prefix", "m_"})
                .json()["schema"] == "memories");
    REQUIRE(owner({"sync", "run", "--until-current"}).code == 0);

    const Cli host;  // It has no store.
    const std::vector<std::string> there{"--json",        "--project", "shop",          "--read-from", dsn,
                                         "--read-schema", "memories",  "--read-prefix", "m_"};
    const auto ask = [&](std::vector<std::string> words) {
        words.insert(words.begin(), there.begin(), there.end());
        return host.run(words);
    };
    const Json found = ask({"search", "flaky checkout"}).json();
    REQUIRE(found["hits"].size() == 1);
    CHECK(found["hits"][0]["memory"]["memory_id"] == wait);
    CHECK(found["seq"] == 3);
    CHECK(found["degraded"].empty());
    CHECK(found["hits"] == owner({"search", "flaky checkout", "--project", "shop"}).json()["hits"]);
    CHECK(ask({"get", wait}).json() == owner({"get", wait, "--project", "shop"}).json());
    CHECK(ask({"list", "--tag", "kitchen"}).json()["memories"].size() == 1);
    CHECK_FALSE(std::filesystem::exists(host.directory() / "memory"));

    CHECK(owner({"search", "tea", "--project", "shop", "--read-from", "far"}).json()["hits"].size() == 1);
    CHECK(owner({"search", "tea", "--read-from", "nowhere"}).error()["code"] == "not_found");
    CHECK(ask({"search", "tea", "--as-of", "1"}).error()["code"] == "unimplemented");
    CHECK(ask({"search", "tea", "--min-seq", "9", "--wait", "0"}).error()["code"] == "deadline_exceeded");
    CHECK(ask({"search", "tea", "--read-store-id", "0191e3c0-0000-7000-8000-00000000000f"}).error()["code"] ==
          "conflict");
    CHECK(ask({"search", "tea", "--run-id", "r"}).error()["code"] == "unimplemented");
    CHECK(ask({"remember", "rain"}).error()["code"] == "invalid_argument");
    CHECK(host.run({"--json", "--read-from", dsn, "search", "tea"}).error()["code"] == "not_found");  // Of that schema.
    const auto refused = host.run({"--json", "--read-from", "postgresql://u:hush@[", "search", "tea"});
    CHECK(refused.error()["code"] == "invalid_argument");
    CHECK((refused.out + refused.err).find("hush") == std::string::npos);

    REQUIRE(owner({"sync", "add", "file", "--name", "copy", "--dsn", (owner.directory() / "copy").string()}).code == 0);
    CHECK(owner({"search", "tea", "--read-from", "copy"}).error()["code"] == "unimplemented");
    CHECK(owner({"sync", "add", "file", "--name", "c2", "--dsn", "/tmp/c2", "--schema", "s"}).error()["code"] ==
          "invalid_argument");
    CHECK(owner({"sync", "add", "postgres", "--name", "f2", "--dsn", dsn, "--schema", "a-b"}).error()["code"] ==
          "invalid_argument");
}
