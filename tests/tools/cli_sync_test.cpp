#include "cli.h"

#include "adapters/outbound/postgres_connection.h"
#include "support/postgres_server.h"

using annal::testing::Cli;
using annal::testing::Json;
using annal::testing::read_file;

namespace {

std::filesystem::path memories_of(const std::filesystem::path& sink) {
    for (const auto& entry : std::filesystem::directory_iterator(sink))
        if (entry.path().filename().string().starts_with("journal-") && entry.file_size() > 0) return entry.path();
    return {};
}

}  // namespace

TEST_CASE("a sink is added, brought up to date, verified, paused and removed", "[tools][sync]") {
    const Cli cli;
    const auto copy = cli.directory() / "copy";
    cli.remember("tea");
    CHECK(cli({"sync", "list"}).json()["sinks"].empty());

    const Json added = cli({"sync", "add", "file", "--name", "copy", "--dsn", copy.string()}).json();
    CHECK(added["name"] == "copy");
    CHECK(added["place"] == copy.string());
    CHECK_FALSE(std::filesystem::exists(copy));
    CHECK(cli({"sync", "list"}).json()["sinks"][0]["type"] == "file");
    CHECK(cli({"sync", "status"}).json()["sinks"][0]["lag_events"] == 1);
    CHECK(cli({"sync", "verify"}).code == 3);  // Nothing is there.

    const Json ran = cli({"sync", "run", "--until-current"}).json();
    CHECK(ran["sinks"][0]["state"] == "following");
    CHECK(ran["sinks"][0]["position"]["seq"] == 1);
    CHECK(ran["sinks"][0]["lag_events"] == 0);
    const auto counted = ran["sinks"][0];
    CHECK(counted["records"] == counted["position"]["seq"]);
    CHECK(counted["bytes_sent"] > 0);
    auto kept = cli({"sync", "status"}).json()["sinks"][0];  // Of another process.
    for (const auto* name :
         {"batches", "records", "dead_letters", "retries", "throttles", "bytes_sent", "request_units"})
        CHECK(kept[name] == counted[name]);
    const Json verified = cli({"sync", "verify", "copy"}).json();
    CHECK(verified["sinks"][0]["equal"] == true);
    CHECK(verified["sinks"][0]["records"] == 1);

    const auto rain = cli.remember("rain");
    CHECK(cli({"sync", "pause", "copy"}).json()["paused"] == true);
    CHECK(cli({"sync", "run", "--until-current"}).json()["sinks"][0]["state"] == "paused");
    CHECK(cli({"sync", "status"}).json()["sinks"][0]["state"] == "paused");
    CHECK(cli({"sync", "resume", "copy"}).json()["paused"] == false);
    CHECK(cli({"sync", "status"}).json()["sinks"][0]["lag_events"] == 1);
    cli({"forget", rain, "--reason", "a test"});
    const Json again = cli({"sync", "run", "copy", "--until-current"}).json();
    for (const auto* name : {"batches", "records", "bytes_sent"})  // Counted on from the runs before.
        CHECK(again["sinks"][0][name] > counted[name]);
    CHECK(cli({"sync", "verify"}).json()["sinks"][0]["records"] == 1);
    CHECK(cli.run({"--store", cli.store().string(), "sync", "verify"}).out.find("equal to the log") !=
          std::string::npos);

    CHECK(cli({"sync", "remove", "copy"}).json()["name"] == "copy");
    CHECK(cli({"sync", "list"}).json()["sinks"].empty());
    CHECK(std::filesystem::exists(copy));
    CHECK(cli({"sync", "remove", "copy"}).error()["code"] == "not_found");
    CHECK(cli({"sync", "run", "copy", "--until-current"}).error()["code"] == "not_found");
}

TEST_CASE("a sink that was changed by hand fails its verification, with exit code 11", "[tools][sync]") {
    const Cli cli;
    const auto copy = cli.directory() / "copy";
    cli.remember("the secret cupboard");
    REQUIRE(cli({"sync", "add", "file", "--name", "copy", "--dsn", copy.string()}).code == 0);
    REQUIRE(cli({"sync", "run", "--until-current"}).code == 0);
    SECTION("in what its checks see") {
        const auto journal = memories_of(copy);
        auto text = read_file(journal) + read_file(journal);
        text.replace(text.find("secret"), 6, "SECRET");
        std::ofstream(journal, std::ios::trunc) << text;
        const auto ran = cli({"sync", "verify"});
        CHECK(ran.code == 11);
        CHECK(Json::parse(ran.out)["sinks"][0]["error"]["code"] == "data_loss");
        CHECK((ran.out + ran.err).find("cupboard") == std::string::npos);
        CHECK(cli({"sync", "status"}).code == 11);
    }
    SECTION("to what it was once") {
        const auto before = cli.directory() / "before";
        std::filesystem::copy(copy, before);
        cli.remember("rain");
        REQUIRE(cli({"sync", "run", "--until-current"}).code == 0);
        std::filesystem::remove_all(copy);
        std::filesystem::rename(before, copy);
        CHECK(cli({"sync", "status"}).json()["sinks"][0]["lag_events"] == 1);
        REQUIRE(cli({"sync", "run", "--until-current"}).code == 0);
        CHECK(cli({"sync", "verify"}).json()["sinks"][0]["records"] == 2);
    }
}

TEST_CASE("a log that was restored from a backup does not follow on what came after it", "[tools][sync]") {
    const Cli cli;
    const auto copy = (cli.directory() / "copy").string(), backups = (cli.directory() / "backups").string();
    const auto restored = (cli.directory() / "restored").string();
    cli.remember("tea");
    REQUIRE(cli({"backup", backups}).code == 0);
    cli.remember("rain");
    REQUIRE(cli({"sync", "add", "file", "--name", "copy", "--dsn", copy}).code == 0);
    REQUIRE(cli({"sync", "run", "--until-current"}).code == 0);
    REQUIRE(cli.run({"restore-backup", backups, "--store", restored}).code == 0);
    const auto in_restored = [&](std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {"--store", restored, "--json"});
        return cli.run(arguments);
    };
    REQUIRE(in_restored({"remember", "snow"}).code == 0);
    REQUIRE(in_restored({"sync", "add", "file", "--name", "copy", "--dsn", copy}).code == 0);
    const auto ran = in_restored({"sync", "run", "--until-current"});
    CHECK(ran.error()["code"] == "conflict");
    CHECK(Json::parse(ran.out)["sinks"][0]["state"] == "needs_resync");
    CHECK(in_restored({"sync", "status"}).code == 4);
    CHECK(in_restored({"sync", "verify"}).code == 4);
    CHECK(in_restored({"sync", "resync", "copy"}).json()["sinks"][0]["state"] == "following");
    CHECK(in_restored({"sync", "verify"}).json()["sinks"][0]["records"] == 2);
    // The original's sink is the restored one's now: there it says so.
    CHECK(cli({"sync", "run", "--until-current"}).error()["code"] == "conflict");
}

TEST_CASE("where a sink is may be a secret: it is kept from others, and never shown", "[tools][sync]") {
    Cli cli;
    const auto copy = cli.directory() / "copy-of-pass-word";
    cli.remember("tea");
    SECTION("in a variable") {
        REQUIRE(cli({"sync", "add", "file", "--name", "copy", "--dsn-env", "TEST_SINK_DSN"}).code == 0);
        const auto unset = cli({"sync", "run", "--until-current"});
        CHECK(unset.error()["code"] == "not_found");
        CHECK(unset.error()["details"]["variable"] == "TEST_SINK_DSN");
        CHECK(cli({"sync", "list"}).json()["sinks"][0]["place"] == "$TEST_SINK_DSN");
        // Another sink goes on.
        REQUIRE(cli({"sync", "add", "file", "--name", "zzz", "--dsn", (cli.directory() / "zzz").string()}).code == 0);
        const auto half = cli({"sync", "run", "--until-current"});
        CHECK(half.code == 3);
        CHECK(Json::parse(half.out)["sinks"][0]["state"] == "failed");
        CHECK(Json::parse(half.out)["sinks"][1]["lag_events"] == 0);
        cli.environment.push_back("TEST_SINK_DSN=" + copy.string());
    }
    SECTION("in a file") {
        const auto file = cli.write_file("dsn", copy.string() + "\n");
        REQUIRE(cli({"sync", "add", "file", "--name", "copy", "--dsn-file", file.string()}).code == 0);
    }
    const auto ran = cli({"sync", "run", "--until-current"});
    REQUIRE(ran.code == 0);
    CHECK(std::filesystem::exists(copy));
    CHECK((ran.out + ran.err).find("pass-word") == std::string::npos);
    for (const auto* command : {"list", "status", "verify"}) {
        const auto shown = cli({"sync", command});
        CHECK(shown.code == 0);
        CHECK((shown.out + shown.err).find("pass-word") == std::string::npos);
    }
    const auto config = cli.store() / "sinks.json";
    CHECK(read_file(config).find("pass-word") == std::string::npos);
    CHECK((std::filesystem::status(config).permissions() &
           (std::filesystem::perms::group_all | std::filesystem::perms::others_all)) == std::filesystem::perms::none);
    std::filesystem::permissions(config, std::filesystem::perms::others_read, std::filesystem::perm_options::add);
    CHECK(cli({"sync", "list"}).error()["code"] == "permission_denied");
}

TEST_CASE("sync says what is wrong with how a sink is described", "[tools][sync]") {
    const Cli cli;
    const auto copy = (cli.directory() / "copy").string();
    CHECK(cli({"sync", "add", "file", "--name", "copy", "--dsn", copy}).error()["code"] == "not_found");  // No store.
    cli.remember("tea");
    CHECK(cli({"sync", "add", "fax", "--name", "copy", "--dsn", copy}).error()["code"] == "invalid_argument");
    CHECK(cli({"sync", "add", "file", "--name", "a b", "--dsn", copy}).error()["code"] == "invalid_argument");
    CHECK(cli({"sync", "add", "file", "--name", "copy"}).error()["code"] == "invalid_argument");
    CHECK(cli({"sync", "add", "file", "--name", "copy", "--dsn", copy, "--dsn-env", "X"}).error()["code"] ==
          "invalid_argument");
    CHECK(cli({"sync", "add", "file", "--name", "copy", "--dsn", copy, "--events"}).error()["code"] ==
          "invalid_argument");
    CHECK(cli({"sync", "add", "file", "--name", "copy", "--dsn", copy}).code == 0);
    CHECK(cli({"sync", "add", "file", "--name", "copy", "--dsn", copy}).error()["code"] == "already_exists");
    // The place cannot be made: the sink fails, and another goes on.
    CHECK(cli({"sync", "add", "file", "--name", "no", "--dsn", "/proc/nowhere/copy"}).code == 0);
    const auto ran = cli({"sync", "run", "--until-current"});
    CHECK(ran.code == 3);
    const Json sinks = Json::parse(ran.out)["sinks"];
    CHECK(sinks[0]["lag_events"] == 0);
    CHECK(sinks[1]["state"] == "failed");
    std::ofstream(cli.store() / "sinks.json", std::ios::trunc) << "{";
    CHECK(cli({"sync", "list"}).error()["code"] == "data_loss");
}

TEST_CASE("a store is synced to a PostgreSQL, and a row that was changed by hand is found", "[tools][sync][postgres]") {
    const auto server = annal::testing::postgres_server_or_skip();
    Cli cli;
    const auto tea = cli.remember("the secret tea cupboard");
    cli.remember("rain");
    cli.environment = {"FAR_DSN=" + server->connection()};
    REQUIRE(cli({"sync", "add", "postgres", "--name", "far", "--dsn-env", "FAR_DSN", "--events"}).code == 0);
    CHECK(cli({"sync", "run", "--until-current"}).json()["sinks"][0]["position"]["seq"] == 2);
    CHECK(cli({"sync", "verify"}).json()["sinks"][0]["records"] == 2);
    REQUIRE(cli({"forget", tea, "--reason", "a test"}).code == 0);
    CHECK(cli({"sync", "status"}).json()["sinks"][0]["lag_events"] == 1);
    CHECK(cli({"sync", "run", "--until-current"}).json()["sinks"][0]["lag_events"] == 0);
    CHECK(cli({"sync", "verify"}).json()["sinks"][0]["records"] == 1);

    annal::PostgresOptions far;
    far.connection = server->connection();
    auto connection = annal::PostgresConnection::open(far);
    REQUIRE(connection);
    CHECK((*connection)->run("SELECT FROM events")->size() == 3);
    REQUIRE((*connection)->run("UPDATE notes SET content = 'sun'"));
    const auto verified = cli({"sync", "verify"});
    CHECK(verified.code == 11);
    CHECK(verified.out.find("differs in content") != std::string::npos);
    CHECK((verified.out + verified.err).find("sun") == std::string::npos);
    REQUIRE(cli({"sync", "resync", "far"}).code == 0);
    REQUIRE(cli({"sync", "run", "--until-current"}).code == 0);
    CHECK(cli({"sync", "verify"}).json()["sinks"][0]["equal"] == true);

    server->stop();
    CHECK(cli({"remember", "snow"}).code == 0);
    const auto down = cli({"sync", "run", "--until-current", "--wait", "1"});
    CHECK(down.code != 0);
    CHECK((down.out + down.err).find("host=") == std::string::npos);
}

TEST_CASE("a sink that cannot be one is refused when it is added, and its secret is not shown", "[tools][sync]") {
    const Cli cli;
    cli.remember("tea");
    for (const auto& [type, dsn] : std::initializer_list<std::pair<const char*, const char*>>{
             {"postgres", "host=here pasword=hush"},
             {"postgres", "postgresql://u:hush@["},
             {"cosmos", "AccountKey=hush"},
             {"cosmos", "AccountEndpoint=https://far.example/;AccountKey=hush!"},
             {"oracle", "hush"}}) {
        INFO(type << " " << dsn);
        const auto refused = cli({"sync", "add", type, "--name", "far", "--dsn", dsn});
        CHECK(refused.error()["code"] == "invalid_argument");
        CHECK((refused.out + refused.err).find("hush") == std::string::npos);
    }
    CHECK(cli({"sync", "list"}).json()["sinks"].empty());
    const auto kept = cli({"sync", "add", "postgres", "--name", "far", "--dsn", "host=here user=u password=hush"});
    CHECK(kept.code == 0);
    CHECK((kept.out + kept.err + cli({"sync", "list"}).out).find("hush") == std::string::npos);
}
