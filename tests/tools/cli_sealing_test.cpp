// The root key on the command line, and a store with it, without it, and with another.
#include "cli.h"

using annal::testing::Cli;
using annal::testing::Json;
using annal::testing::read_file;

namespace {

bool log_holds(const Cli& cli, const std::string& text) {
    for (const auto& file : std::filesystem::directory_iterator(cli.store() / "log"))
        if (read_file(file.path()).find(text) != std::string::npos) return true;
    return false;
}

std::string key_file(const Cli& cli, const std::string& name) {
    return (cli.directory() / name).string();
}

struct Sealed : Cli {
    Sealed() {
        environment = {"ANNAL_ROOT_KEY_FILE=" + key_file(*this, "root.key")};
        const Cli& cli = *this;
        CHECK(cli({"key", "new", key_file(cli, "root.key")}).json()["root_key_file"] == key_file(cli, "root.key"));
    }
};

}  // namespace

TEST_CASE("key new makes a key outside of the store, and overwrites none", "[tools][sealing]") {
    const Cli cli;
    REQUIRE(cli({"key", "new", key_file(cli, "root.key")}).code == 0);
    CHECK(read_file(key_file(cli, "root.key")).size() >= 64);
    CHECK(cli({"key", "new", key_file(cli, "root.key")}).error()["code"] == "already_exists");
    CHECK(cli({"key", "new", (cli.store() / "root.key").string()}).error()["code"] == "invalid_argument");
}

TEST_CASE("with a root key what users say is sealed, imported or remembered", "[tools][sealing]") {
    const Sealed cli;
    const auto id = cli.remember("planted by ann", {"--user", "ann"});
    const auto lines = cli.write_file("more.jsonl", R"({"content":"planted by bob","scope":{"user":"bob"}})"
                                                    "\n"
                                                    R"({"content":"planted by nobody"})"
                                                    "\n");
    CHECK(cli({"import", lines.string()}).json()["accepted"] == 2);
    CHECK(cli({"import", lines.string()}).json()["unchanged"] == 2);
    CHECK(cli({"get", id}).json()["content"] == "planted by ann");
    CHECK_FALSE(cli({"get", id}).json().contains("payload"));
    CHECK(cli({"status"}).json()["sealing"] == "unlocked");
    CHECK_FALSE(log_holds(cli, "planted by ann"));
    CHECK_FALSE(log_holds(cli, "planted by bob"));
    CHECK(log_holds(cli, "planted by nobody"));
}

TEST_CASE("without the root key a store says that it is locked, and keeps to it", "[tools][sealing]") {
    Sealed cli;
    const auto id = cli.remember("ann likes tea", {"--user", "ann"});
    cli.remember("the shop sells tea");
    CHECK(cli({"search", "tea"}).json()["hits"].size() == 2);
    cli.environment.clear();
    CHECK(cli({"status"}).json()["sealing"] == "locked");
    CHECK(cli.run({"--store", cli.store().string(), "status"}).out.find("the keystore is locked") != std::string::npos);
    const Json memory = cli({"get", id}).json();
    CHECK(memory["payload"] == "sealed");
    CHECK(memory["content"] == "");
    CHECK(cli({"history", id}).json()["events"][0]["changes"] == Json{{"sealed", true}});
    const Json found = cli({"search", "tea"}).json();
    CHECK(found["hits"].size() == 1);
    CHECK(found["degraded"].size() == 1);
    CHECK(cli({"remember", "bob likes tea", "--user", "bob"}).error()["code"] == "permission_denied");
    CHECK(cli({"export"}).error()["code"] == "permission_denied");
}

TEST_CASE("key change: the next key opens the store, the former one does not", "[tools][sealing]") {
    Sealed cli;
    const auto id = cli.remember("ann likes tea", {"--user", "ann"});
    const auto next = key_file(cli, "next.key");
    REQUIRE(cli({"key", "new", next}).code == 0);
    REQUIRE(cli({"key", "change", next}).code == 0);
    CHECK(cli({"get", id}).json()["payload"] == "sealed");
    CHECK(cli({"--root-key-file", next, "get", id}).json()["content"] == "ann likes tea");
    const std::string key = read_file(next);
    cli.environment = {"ANNAL_ROOT_KEY=" + key.substr(0, key.find('\n'))};
    CHECK(cli({"get", id}).json()["content"] == "ann likes tea");
}

TEST_CASE("an export of events keeps what is sealed, byte for byte", "[tools][sealing]") {
    const Sealed from;
    const Cli to;
    from.remember("planted by ann", {"--user", "ann"});
    const auto id = from.remember("planted by nobody");
    const auto file = key_file(from, "log.events");
    const Json exported = from({"export", "--format", "events", "--output", file}).json();
    CHECK(read_file(file).find("planted by ann") == std::string::npos);
    const Json imported = to({"import", file, "--format", "events"}).json();
    CHECK(imported["root"] == exported["root"]);
    CHECK(to({"get", id}).json()["content"] == "planted by nobody");
    CHECK(to({"list"}).json()["memories"].size() == 1);
}

TEST_CASE("erase removes a user from every answer and file, and an import of him is refused", "[tools][erasure]") {
    const Sealed cli;
    const auto id = cli.remember("planted by ann", {"--user", "ann"});
    cli.remember("said by bob", {"--user", "bob"});
    const auto exported = cli.write_file("ann.jsonl", cli({"export", "--user", "ann"}).out);
    REQUIRE(cli({"backup", (cli.directory() / "backups").string()}).code == 0);
    const Json receipt = cli({"erase", "--user", "ann", "--reason", "asked for"}).json();
    CHECK(receipt["memories"] == 1);
    CHECK(receipt["events"] == 1);
    CHECK(receipt["unsealed_events"] == 0);
    CHECK(receipt["requested_at_seq"] == 3);
    CHECK(receipt["completed_at_seq"] == 4);
    CHECK(receipt["head"].get<std::string>().find("\n4\n") != std::string::npos);
    for (const auto& file : std::filesystem::recursive_directory_iterator(cli.directory()))
        if (file.is_regular_file() && file.path() != exported)
            CHECK(read_file(file.path()).find("planted") == std::string::npos);
    CHECK(cli({"search", "planted"}).json()["hits"].empty());
    CHECK(cli({"get", id}).error()["code"] == "not_found");
    CHECK(cli({"history", id}).json()["events"][0]["changes"] == Json{{"erased", true}});
    CHECK(cli({"list"}).json()["memories"].size() == 1);
    const auto again = cli({"import", exported.string()});
    CHECK(again.code != 0);
    CHECK(Json::parse(again.out)["rejected"][0]["details"]["reason"] == "erased");
    CHECK(cli({"verify"}).code == 0);
    const auto shown = cli.run({"--store", cli.store().string(), "erase", "--user", "bob"});
    CHECK(shown.code == 0);
    CHECK(shown.out.find("unreadable from now on") != std::string::npos);
    CHECK(cli({"erase"}).error()["code"] == "invalid_argument");
}

TEST_CASE("forget --for-good refuses what the memory said", "[tools][erasure]") {
    const Cli cli;
    const auto id = cli.remember("water is dry");
    REQUIRE(cli({"forget", id, "--reason", "never true", "--for-good"}).code == 0);
    const auto error = cli({"remember", "Water is dry"}).error();
    CHECK(error["code"] == "permission_denied");
    CHECK(error["details"]["reason"] == "forgotten_for_good");
    CHECK(cli({"restore", id}).error()["code"] == "permission_denied");
}
