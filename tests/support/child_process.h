// Runs a hidden test case of this very executable in a process of its own: to be killed, or to crash, alone.
// Started by exec, not by fork alone: the parent may have threads.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

extern char** environ;

namespace annal::testing {

class ChildProcess {
 public:
    static constexpr const char* argument_name = "ANNAL_CHILD_ARGUMENT";
    static constexpr int news_fd = 3;  // Where the child writes; the parent reads it with next_news().

    ChildProcess(const std::string& test_case, const std::string& argument) {
        int pipe_ends[2];
        if (pipe2(pipe_ends, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
        news_ = pipe_ends[0];
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], news_fd);
        std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
        std::string name = test_case;
        std::string variable = std::string(argument_name) + "=" + argument;
        char* const arguments[] = {program.data(), name.data(), nullptr};
        std::vector<char*> environment;
        for (char** each = environ; *each != nullptr; ++each) environment.push_back(*each);
        environment.push_back(variable.data());
        environment.push_back(nullptr);
        const int failed = posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments, environment.data());
        posix_spawn_file_actions_destroy(&actions);
        close(pipe_ends[1]);
        if (failed != 0) throw std::runtime_error("cannot start a child process");
    }
    ~ChildProcess() {
        kill_now();
        close(news_);
    }
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;

    // Blocks for the next byte that the child writes; false at its end.
    bool next_news() { return next_news_byte().has_value(); }
    std::optional<char> next_news_byte() {
        char byte = 0;
        return read(news_, &byte, 1) == 1 ? std::optional(byte) : std::nullopt;
    }
    void kill_now() {
        if (pid_ <= 0) return;
        kill(pid_, SIGKILL);
        wait();
    }
    // Its exit code, or minus the signal that ended it.
    int wait() {
        int status = 0;
        while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

 private:
    pid_t pid_ = -1;
    int news_ = -1;
};

}  // namespace annal::testing
