// A program run beside the test, spoken to in lines. Started by exec, never used after a bare fork: RocksDB does not
// survive one.
#pragma once

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace annal::testing {

class ChildProcess {
 public:
    explicit ChildProcess(std::vector<std::string> command) {
        std::signal(SIGPIPE, SIG_IGN);  // Its last lines are answered after it was killed.
        std::array<int, 2> in{}, out{};
        if (pipe(in.data()) != 0 || pipe(out.data()) != 0) throw std::runtime_error("no pipe for a child process");
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
        for (const int end : {in[0], in[1], out[0], out[1]}) posix_spawn_file_actions_addclose(&actions, end);
        std::vector<char*> arguments;
        for (auto& word : command) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        const int failed = posix_spawn(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
        posix_spawn_file_actions_destroy(&actions);
        close(in[0]);
        close(out[1]);
        if (failed != 0) throw std::runtime_error("cannot start a child process");
        to_ = in[1];
        from_ = fdopen(out[0], "r");
    }
    ~ChildProcess() {
        if (!status_) {
            kill_now();
            wait();
        }
        close(to_);
        std::fclose(from_);
    }
    ChildProcess(const ChildProcess&) = delete;
    ChildProcess& operator=(const ChildProcess&) = delete;

    std::optional<std::string> read_line() {  // nullopt: its output has ended.
        std::string line;
        for (int c = std::fgetc(from_); c != EOF; c = std::fgetc(from_)) {
            if (c == '\n') return line;
            line += static_cast<char>(c);
        }
        return std::nullopt;  // A line cut short was not said.
    }
    void go_on() {
        const char byte = '\n';
        static_cast<void>(write(to_, &byte, 1) == 1);
    }
    void kill_now() const { kill(pid_, SIGKILL); }  // From any thread, before wait().
    pid_t id() const { return pid_; }
    int wait() {  // The exit code; 1000 + signal when killed by one.
        if (!status_) {
            int status = 0;
            waitpid(pid_, &status, 0);
            status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        }
        return *status_;
    }

 private:
    pid_t pid_ = 0;
    int to_ = -1;
    std::FILE* from_ = nullptr;
    std::optional<int> status_;
};

}  // namespace annal::testing
