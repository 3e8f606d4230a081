#include "cli.h"

using annal::testing::Cli;
using annal::testing::Json;

TEST_CASE("a backup is taken, taken again, and restored to the store it was", "[tools][backup]") {
    const Cli cli;
    const auto backups = (cli.directory() / "backups").string();
    const auto id = cli.remember("one");
    const Json first = cli({"backup", backups}).json();
    CHECK(first["backup_id"] == 1);
    CHECK(first["seq"] == 1);
    cli.remember("two");
    const Json second = cli({"backup", backups}).json();
    CHECK(second["backup_id"] == 2);
    CHECK(second["seq"] == 2);
    cli.remember("three");

    const auto restored = (cli.directory() / "restored").string();
    const Json done = cli.run({"restore-backup", backups, "--store", restored, "--json"}).json();
    CHECK(done["root"] == second["root"]);
    CHECK(done["epoch"] > second["epoch"]);
    CHECK(cli.run({"--store", restored, "--json", "list"}).json()["memories"].size() == 2);
    CHECK(cli.run({"--store", restored, "--json", "get", id}).json()["content"] == "one");
    CHECK(cli.run({"--store", restored, "--json", "search", "two"}).json()["hits"].size() == 1);
    CHECK_FALSE(std::filesystem::exists(std::filesystem::path(backups) / "keys"));

    const auto older = (cli.directory() / "older").string();
    CHECK(cli.run({"restore-backup", backups, "--backup", "1", "--store", older, "--json"}).json()["seq"] == 1);
    CHECK(cli.run({"--store", older, "--json", "list"}).json()["memories"].size() == 1);

    const auto refused = cli.run({"restore-backup", backups, "--store", restored, "--json"});
    CHECK(refused.error()["code"] == "already_exists");
    CHECK(cli.run({"restore-backup", backups, "--backup", "9", "--store", restored + "9", "--json"}).error()["code"] ==
          "not_found");
    CHECK(cli.run({"restore-backup", backups + "9", "--store", restored + "9", "--json"}).error()["code"] ==
          "not_found");
    CHECK_FALSE(std::filesystem::exists(restored + "9"));
    CHECK(cli.run({"--store", restored, "--json", "backup", backups}).code == 0);  // It is the same store, gone on.
    const Cli other;
    other.remember("another store");
    CHECK(other({"backup", backups}).error()["code"] == "invalid_argument");
    CHECK(cli({"backup", backups, "--keep", "1"}).json()["backup_id"] == 4);
    CHECK(cli.run({"restore-backup", backups, "--backup", "2", "--store", restored + "9", "--json"}).error()["code"] ==
          "not_found");
}
