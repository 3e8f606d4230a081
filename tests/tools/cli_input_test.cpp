// Bad input to every command: a clear error with the code's exit code, nothing on stdout, nothing written.
#include "cli.h"

#include "cli/exit_code.h"

#include <set>

using annal::testing::Cli;

namespace {

const std::string id = "01970e2c-7b1e-7c3a-9f00-0123456789ab";
const std::vector<std::string> commands{"remember", "revise",  "reinforce", "forget", "restore", "search",
                                        "get",      "list",    "history",   "import", "export",  "log",
                                        "status",   "rebuild", "verify",    "eval"};

}  // namespace

TEST_CASE("every error code has an exit code of its own", "[tools]") {
    std::set<int> codes{0};
    for (int i = 0; i <= static_cast<int>(annal::ErrorCode::internal); ++i) {
        const int code = annal::cli::exit_code(static_cast<annal::ErrorCode>(i));
        CHECK(code < 64);
        CHECK(codes.insert(code).second);
    }
    CHECK(codes.size() == annal::cli::exit_code_table.size() + 1);
    CHECK(annal::cli::exit_code(annal::ErrorCode::invalid_argument) == 2);
    CHECK(annal::cli::exit_code(annal::ErrorCode::internal) == 1);
}

TEST_CASE("bad arguments are refused before anything is touched", "[tools]") {
    const Cli cli;
    const std::string long_name(129, 'a');
    const std::vector<std::vector<std::string>> bad{
        {},
        {"recall"},
        {"remember"},
        {"remember", ""},
        {"remember", "  "},
        {"remember", "one", "two"},
        {"remember", "x", "--colour", "red"},
        {"remember", "x", "--kind", "idea"},
        {"remember", "x", "--claim", "certain"},
        {"remember", "x", "--confidence", "much"},
        {"remember", "x", "--confidence", "1.5"},
        {"remember", "x", "--confidence", "nan"},
        {"remember", "x", "--metadata", "{"},
        {"remember", "x", "--metadata", "{\"n\":99999999999999999999}"},
        {"remember", "x", "--occurred-at", "yesterday"},
        {"remember", "x", "--occurred-at", "2026-01-01T12:00:00"},
        {"remember", "x", "--valid-from", "2026-02-01T00:00:00Z", "--valid-to", "2026-01-01T00:00:00Z"},
        {"remember", "x", "--id", "7"},
        {"remember", "x", "--tag", ""},
        {"remember", "x", "--tag", std::string(65, 't')},
        {"remember", "x", "--field", "condition=a note has none"},
        {"remember", "x", "--kind", "outcome", "--field", "success=perhaps"},
        {"remember", "x", "--kind", "outcome", "--field", "success"},
        {"remember", "x", "--source", "rumour:a"},
        {"remember", "x", "--source", "message"},
        {"remember", "x", "--project", ""},
        {"remember", "x", "--project", ".."},
        {"remember", "x", "--project", "a\tb"},
        {"remember", "x", "--agent", long_name},
        {"remember", "x", "--idempotency-key", std::string(257, 'k')},
        {"remember", std::string(8193, 'x')},
        {"remember", "\xff\xfe"},
        {"remember", "x", "--embedder", "oracle"},
        {"remember", "x", "--wait", "-1"},
        {"revise"},
        {"revise", "7", "--content", "x"},
        {"reinforce", "not-an-id"},
        {"forget", id},
        {"forget", "7", "--reason", "x"},
        {"restore"},
        {"get"},
        {"get", "00000000-0000-0000-0000-000000000000"},
        {"history", "7"},
        {"search", "x", "--mode", "psychic"},
        {"search", "x", "--limit", "many"},
        {"search", "x", "--limit", "-1"},
        {"search", "x", "--kind", "idea"},
        {"search", "x", "--since", "2026-13-01T00:00:00Z"},
        {"search", "x", "--where", "=1"},
        {"search", "x", "--where", "a>1"},
        {"search", "x", "--where", "a>=many"},
        {"search", "x", "--min-confidence", "high"},
        {"list", "--order", "random"},
        {"list", "extra"},
        {"import"},
        {"import", "-", "--format", "xml"},
        {"export", "--format", "xml"},
        {"log", "--after", "first"},
        {"status", "--digest-of"},
        {"rebuild", "a", "b"},
        {"eval"},
        {"eval", "-", "--format", "xml"},
        {"eval", "-", "--mode", "psychic"},
    };
    for (const auto& arguments : bad) {
        const auto ran = cli(arguments, "[]");
        std::string line;
        for (const auto& argument : arguments) line += argument.substr(0, 40) + " ";
        INFO(line << "\n" << ran.err);
        CHECK(ran.code == 2);
        CHECK(ran.out.empty());
        const auto error = ran.error();
        CHECK(error["code"] == "invalid_argument");
        CHECK(error["message"].get<std::string>().size() > 10);
        CHECK(error["details"].is_object());
    }
    if (std::filesystem::exists(cli.store())) CHECK(cli.head() == 0);
}

TEST_CASE("what only the store can judge is refused with the limit, and nothing is written", "[tools]") {
    const Cli cli;
    const std::string memory = cli.remember("one");
    for (const auto& arguments :
         std::vector<std::vector<std::string>>{{"revise", memory},
                                               {"revise", memory, "--content", ""},
                                               {"revise", memory, "--content", "x", "--expected-version", "0"},
                                               {"revise", memory, "--content", "x", "--expected-version", "absent"},
                                               {"revise", memory, "--content", "x", "--expected-version", "1.5"},
                                               {"revise", memory, "--field", "condition=a note has none"},
                                               {"revise", memory, "--tag", "a", "--no-tags"},
                                               {"restore", memory},
                                               {"search", ""},
                                               {"search"},
                                               {"search", std::string(1001, 'q')},
                                               {"search", "x", "--limit", "0"},
                                               {"search", "x", "--limit", "1001"},
                                               {"search", "x", "--min-confidence", "2"},
                                               {"list", "--limit", "0"},
                                               {"list", "--limit", "1001"},
                                               {"list", "--cursor", "zzz"},
                                               {"list", "--project", "a\nb"}}) {
        const auto ran = cli(arguments);
        INFO(arguments[0] << " " << ran.err);
        CHECK(ran.code == 2);
        CHECK(ran.out.empty());
        CHECK(ran.error()["code"] == "invalid_argument");
    }
    CHECK(cli.head() == 1);
    CHECK(cli({"search", "x", "--limit", "1001"}).error()["message"].get<std::string>().find("1000") !=
          std::string::npos);
}

TEST_CASE("files that are not there or not what they should be are refused", "[tools]") {
    const Cli cli;
    const auto missing = (cli.directory() / "missing").string();
    const auto text = cli.write_file("text", "this is no JSON").string();
    CHECK(cli({"import", missing}).code == 3);
    CHECK(cli({"import", cli.directory().string()}).code == 3);
    CHECK(cli({"eval", missing}).code == 3);
    CHECK(cli({"eval", text}).code == 2);
    CHECK(cli({"import", text, "--format", "locomo"}).code == 2);
    CHECK(cli({"remember", "x", "--vector-file", missing}).code == 3);
    CHECK(cli({"remember", "x", "--vector-file", text}).code == 2);
    const auto zero = cli.write_file("zero", R"({"model":"m","values":[0,0]})").string();
    CHECK(cli({"remember", "x", "--vector-file", zero}).code == 2);
    cli.remember("x");
    CHECK(cli({"export", "--output", (cli.directory() / "no" / "such").string()}).code == 9);
    CHECK(cli.head() == 1);
}

TEST_CASE("a seq that does not come is not waited for without end", "[tools]") {
    const Cli cli;
    cli.remember("one");
    for (const auto& arguments : std::vector<std::vector<std::string>>{
             {"list", "--min-seq", "99", "--wait", "0.05"}, {"search", "one", "--min-seq", "99", "--wait", "0.05"}}) {
        const auto ran = cli(arguments);
        CHECK(ran.code == 10);
        CHECK(ran.error()["code"] == "deadline_exceeded");
    }
}

TEST_CASE("errors say nothing of paths, types or the insides", "[tools]") {
    const Cli cli;
    cli.write_file("store", "a file where the store should be");
    for (const auto& arguments :
         std::vector<std::vector<std::string>>{{"list"}, {"remember", "x"}, {"import", "-"}, {"status"}}) {
        const auto ran = cli(arguments, "{\"content\":\"x\"}\n");
        CHECK(ran.code != 0);
        INFO(ran.err);
        for (const std::string& inside : {cli.directory().string(), std::string("std::"), std::string("nlohmann"),
                                          std::string("rocksdb"), std::string("RocksDB"), std::string("what()")})
            CHECK(ran.err.find(inside) == std::string::npos);
    }
}

TEST_CASE("errors are told to people in words, with the code first", "[tools]") {
    const Cli cli;
    const auto ran = cli.run({"--store", cli.store().string(), "list"});
    CHECK(ran.code == 3);
    CHECK(ran.err.starts_with("annal: not_found: "));
    CHECK(ran.err.find("--store") != std::string::npos);
}

TEST_CASE("help teaches by example", "[tools]") {
    const Cli cli;
    CHECK(cli.run({"--help"}).out.find("Examples:") != std::string::npos);
    CHECK(cli.run({"--help"}).out.find("11 data_loss") != std::string::npos);
    for (const auto& command : commands) {
        const auto ran = cli.run({command, "--help"});
        INFO(command);
        CHECK(ran.code == 0);
        CHECK(ran.out.find("Examples:") != std::string::npos);
        CHECK(ran.out.find("annal " + command) != std::string::npos);
    }
    CHECK(cli.run({"--version"}).out == "annal 0.1.0\n");
}
