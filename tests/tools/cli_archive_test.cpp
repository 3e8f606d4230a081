// The oldest events into segments, and segments read by themselves.
#include "cli.h"

#include <algorithm>

using annal::testing::Cli;
using annal::testing::Json;
using annal::testing::read_file;

namespace {

struct FilledCli : Cli {
    FilledCli() {
        std::string lines;
        for (int i = 0; i < 600; ++i) lines += R"({"content":"memory )" + std::to_string(i) + "\"}\n";
        CHECK((*this)({"import", write_file("in.jsonl", lines)}).json()["accepted"] == 600);
    }
};

std::size_t lines_of(const std::string& text) {
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("annal archive moves events out of the log, and annal log reads them there", "[tools][archive]") {
    const FilledCli cli;
    const auto whole = cli({"log"}).out;
    CHECK(cli({"status"}).json()["archive"]["segments"] == 0);
    CHECK(cli({"archive", "--before", "200"}).json()["segments"].empty());
    const Json done = cli({"archive", "--before", "301"}).json();
    REQUIRE(done["segments"].size() == 1);
    const Json segment = done["segments"][0];
    CHECK(done["archived_seq"] == 256);
    CHECK(segment["first_seq"] == 1);
    CHECK(segment["last_seq"] == 256);
    const std::string file = segment["file"];
    CHECK(segment["bytes"] == std::filesystem::file_size(file));
    CHECK(cli({"log"}).out == whole);
    const Json status = cli({"status"}).json()["archive"];
    CHECK(status["archived_seq"] == 256);
    CHECK(status["bytes"] == segment["bytes"]);
    CHECK(status["missing"].empty());
    CHECK(cli({"verify"}).json()["ok"] == true);

    const auto key = cli({"audit", "keys"}).json()["key"].get<std::string>();
    for (const auto& path : {file, (cli.store() / "archive").string()}) {
        const auto ran = cli.run({"log", "--archive", path, "--key", key, "--json"});
        REQUIRE(ran.code == 0);
        REQUIRE(lines_of(ran.out) == 257);
        CHECK(whole.starts_with(ran.out.substr(0, ran.out.rfind("{\"segment\""))));
        const auto told = Json::parse(ran.out.substr(ran.out.rfind("{\"segment\"")));
        CHECK(told["segment"]["verified"] == true);
        CHECK(told["segment"]["root"] == segment["root"]);
    }
    const auto some = cli.run({"log", "--archive", file, "--after", "10", "--limit", "3"});
    CHECK(lines_of(some.out) == 3);
    CHECK(some.err.find("events 1 to 256") != std::string::npos);
    CHECK(some.err.find("whole") != std::string::npos);
    CHECK(cli.run({"log", "--archive", file, "--project", "another"}).out.empty());
    CHECK(cli({"archive", "--before", "tomorrow"}).error()["code"] == "invalid_argument");
    CHECK(cli({"log", "--key", key}).error()["code"] == "invalid_argument");
}

TEST_CASE("a segment that is damaged or missing is told by exit code and name", "[tools][archive]") {
    const FilledCli cli;
    const auto other = (cli.directory() / "cold").string();
    const std::string file =
        cli({"archive", "--before", "301", "--dir", other}).json()["segments"][0]["file"].get<std::string>();
    CHECK(std::filesystem::path(file).parent_path() == other);
    const auto good = read_file(file);
    std::filesystem::rename(file, file + ".away");
    const auto missing = cli({"log"});
    CHECK(missing.code == 9);
    CHECK(missing.error()["details"]["file"] == std::filesystem::path(file).filename().string());
    CHECK(cli({"log", "--after", "256"}).code == 0);
    CHECK(cli({"status"}).json()["archive"]["missing"].size() == 1);
    CHECK(cli({"verify", "--files-and-log"}).code == 9);
    CHECK(cli({"search", "memory 5"}).json()["hits"].size() == 10);

    auto bad = good;
    bad[good.size() / 2] ^= 1;
    cli.write_file("cold/" + std::filesystem::path(file).filename().string(), bad);
    CHECK(cli.run({"log", "--archive", file, "--json"}).error()["code"] == "data_loss");
    CHECK(cli({"verify", "--files-and-log"}).code == 11);
    cli.write_file("cold/" + std::filesystem::path(file).filename().string(), good);
    CHECK(cli({"verify"}).code == 0);
}
