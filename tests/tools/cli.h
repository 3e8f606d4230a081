// Runs the command line as a process of its own, in a directory of its own. No shell in between.
#pragma once

#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern char** environ;

namespace annal::testing {

using Json = nlohmann::ordered_json;

struct Ran {
    int code = -1;
    std::string out;
    std::string err;

    Json json() const {  // What it said on stdout.
        INFO("stdout: " << out << "\nstderr: " << err);
        REQUIRE(code == 0);
        Json parsed = Json::parse(out, nullptr, false);
        REQUIRE_FALSE(parsed.is_discarded());
        return parsed;
    }
    Json error() const {  // The last line it said on stderr.
        INFO("stdout: " << out << "\nstderr: " << err);
        REQUIRE(code != 0);
        std::string line = err.substr(0, err.find_last_not_of('\n') + 1);
        line = line.substr(line.rfind('\n') + 1);
        const Json parsed = Json::parse(line, nullptr, false);
        REQUIRE_FALSE(parsed.is_discarded());
        REQUIRE(parsed.contains("error"));
        return parsed["error"];
    }
};

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

class Cli {
 public:
    std::filesystem::path store() const { return dir_.path() / "store"; }
    const std::filesystem::path& directory() const { return dir_.path(); }
    std::vector<std::string> environment;  // "NAME=value", beside the test's own without ANNAL_*.
    std::string stdout_path;               // Instead of a file that is read back.

    std::filesystem::path write_file(const std::string& name, const std::string& text) const {
        std::ofstream(dir_.path() / name, std::ios::binary) << text;
        return dir_.path() / name;
    }

    // With --store and --json.
    Ran operator()(std::vector<std::string> arguments, const std::string& input = "") const {
        arguments.insert(arguments.begin(), {"--store", store().string(), "--json"});
        return run(arguments, input);
    }

    Ran run(const std::vector<std::string>& arguments, const std::string& input = "",
            const char* program = ANNAL_BINARY) const {
        const auto in = write_file("stdin", input), out = dir_.path() / "stdout", err = dir_.path() / "stderr";
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        const int create = O_WRONLY | O_CREAT | O_TRUNC;
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, in.c_str(), O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO,
                                         stdout_path.empty() ? out.c_str() : stdout_path.c_str(), create, 0600);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), create, 0600);
        std::vector<std::string> words{program};
        words.insert(words.end(), arguments.begin(), arguments.end());
        std::vector<std::string> variables = environment;
        for (char** each = environ; *each != nullptr; ++each)
            if (!std::string_view(*each).starts_with("ANNAL_")) variables.emplace_back(*each);
        const auto pointers = [](std::vector<std::string>& texts) {
            std::vector<char*> result;
            for (auto& text : texts) result.push_back(text.data());
            result.push_back(nullptr);
            return result;
        };
        pid_t pid = 0;
        const int failed =
            posix_spawn(&pid, program, &actions, nullptr, pointers(words).data(), pointers(variables).data());
        posix_spawn_file_actions_destroy(&actions);
        REQUIRE(failed == 0);
        int status = 0;
        REQUIRE(waitpid(pid, &status, 0) == pid);
        Ran ran{WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(out), read_file(err)};
        INFO(ran.err);
        REQUIRE(WIFEXITED(status));
        return ran;
    }

    // The id of a new memory.
    std::string remember(const std::string& text, std::vector<std::string> more = {}) const {
        std::vector<std::string> arguments{"remember", text};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return (*this)(arguments).json()["memory_id"];
    }
    std::uint64_t head() const { return (*this)({"status"}).json()["head_seq"]; }

 private:
    TempDir dir_;
};

}  // namespace annal::testing
