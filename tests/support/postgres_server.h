// A PostgreSQL of the test's own: fresh data in a directory that goes with it, reached by a Unix socket there (so that
// no port is taken), with no sync to disk unless asked for. Its superuser is "postgres", who needs no password; every
// other user needs one. start, stop and kill_now may be called from any thread; the server ends with the thread that
// started it last.
// When no server is installed, postgres_server_or_skip() fails the test where CI is set, and skips it aloud elsewhere.
#pragma once

#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace annal::testing {

class PostgresServer {
 public:
    enum class Sync { off, on };  // on: for tests that kill it and read what was committed.

    // Where the programs of a server are: what pg_config says, or the newest that Debian installed.
    static std::optional<std::filesystem::path> programs() {
        std::vector<std::filesystem::path> places;
        if (FILE* const pipe = popen("pg_config --bindir 2>/dev/null", "r")) {
            char line[4096] = {};
            if (std::fgets(line, sizeof line, pipe) != nullptr)
                places.push_back(std::string(line, std::strcspn(line, "\n")));
            pclose(pipe);
        }
        std::error_code none;
        std::vector<std::pair<int, std::filesystem::path>> versions;
        for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", none))
            versions.emplace_back(std::atoi(entry.path().filename().c_str()), entry.path() / "bin");
        std::sort(versions.rbegin(), versions.rend());
        for (const auto& version : versions) places.push_back(version.second);
        for (const auto& place : places)
            if (std::filesystem::exists(place / "initdb", none) && std::filesystem::exists(place / "postgres", none))
                return place;
        return std::nullopt;
    }

    // `settings`: of the server, as name=value; they come after our own.
    explicit PostgresServer(Sync sync = Sync::off, std::vector<std::string> settings = {})
        : sync_(sync),
          settings_(std::move(settings)),
          programs_(programs().value()),
          folder_(sync == Sync::on ? TempDir::On::disk : TempDir::On::memory) {
        if (geteuid() == 0) {  // PostgreSQL refuses root.
            const passwd* const user = getpwnam("postgres");
            if (user == nullptr) throw std::runtime_error("there is no user postgres");
            user_ = user->pw_uid;
            group_ = user->pw_gid;
            if (chown(folder_.path().c_str(), *user_, *group_) != 0) throw std::runtime_error("chown failed");
        }
        const pid_t initdb = spawn({programs_ / "initdb", "-D", data(), "-A", "trust", "-U", "postgres", "-E", "UTF8",
                                    "--locale=C", "--no-sync"},
                                   -1);
        if (wait_for(initdb) != 0) throw std::runtime_error("initdb failed");
        std::ofstream(data() + "/pg_hba.conf") << "local all postgres trust\nlocal all all scram-sha-256\n";
        start();
    }
    ~PostgresServer() { stop(); }
    PostgresServer(const PostgresServer&) = delete;
    PostgresServer& operator=(const PostgresServer&) = delete;

    // Returns when it takes connections.
    void start() {
        const std::lock_guard alone(lifecycle_);
        if (pid_ > 0) return;
        const std::string off = sync_ == Sync::on ? "on" : "off";
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
        ready_ = log_ended_ = false;
        std::vector<std::string> words{programs_ / "postgres", "-D", data()};
        // After a kill it syncs its directory, by default file by file: the system that has them did not die.
        for (const auto& setting : {std::string("recovery_init_sync_method=syncfs"), std::string("listen_addresses="),
                                    "fsync=" + off, "full_page_writes=" + off, "synchronous_commit=" + off,
                                    "unix_socket_directories=" + folder_.path().string(),
                                    std::string("shared_buffers=32MB"), std::string("max_connections=40"),
                                    std::string("logging_collector=off"), std::string("log_destination=stderr")})
            words.insert(words.end(), {"-c", setting});
        for (const auto& setting : settings_) words.insert(words.end(), {"-c", setting});
        pid_ = spawn(words, ends[1]);
        close(ends[1]);
        log_ = std::thread([this, end = ends[0]] { read_log(end); });
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ready_ || log_ended_; });
        if (!ready_) throw std::runtime_error("the server did not start: " + said_);
    }
    void stop() { end(SIGINT); }  // "fast": connections are cut, transactions rolled back.

    // As a crash: the server and all its processes at once.
    void kill_now() { end(SIGKILL); }

    // For libpq.
    std::string connection(const std::string& database = "postgres", const std::string& user = "postgres") const {
        return "host=" + folder_.path().string() + " port=5432 dbname=" + database + " user=" + user;
    }
    std::filesystem::path socket() const { return folder_.path() / ".s.PGSQL.5432"; }

 private:
    std::string data() const { return (folder_.path() / "data").string(); }

    // Of exec, after a fork: nothing between the two but system calls.
    pid_t spawn(const std::vector<std::string>& words, int err) {
        std::vector<char*> arguments;
        for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
        arguments.push_back(nullptr);
        const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
        const pid_t child = fork();
        if (child == 0) {
            if (user_ && (setgroups(0, nullptr) != 0 || setgid(*group_) != 0 || setuid(*user_) != 0)) _exit(126);
            prctl(PR_SET_PDEATHSIG, SIGQUIT);  // A test that is killed leaves no server.
            dup2(nothing, STDIN_FILENO);
            dup2(nothing, STDOUT_FILENO);
            dup2(err >= 0 ? err : nothing, STDERR_FILENO);
            execv(arguments[0], arguments.data());
            _exit(127);
        }
        close(nothing);
        if (child < 0) throw std::runtime_error("cannot start a process");
        return child;
    }
    static int wait_for(pid_t child) {
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
        return status;
    }

    void end(int signal) {
        const std::lock_guard alone(lifecycle_);
        if (pid_ <= 0) return;
        std::vector<pid_t> all{pid_};
        if (signal == SIGKILL) {
            kill(pid_, SIGSTOP);  // So that it starts no more of them.
            const auto self = std::to_string(pid_);
            std::ifstream children("/proc/" + self + "/task/" + self + "/children");
            for (pid_t child = 0; children >> child;) all.push_back(child);
        }
        for (const pid_t each : all) kill(each, signal);
        wait_for(pid_);
        pid_ = -1;
        log_.join();  // Ends when the last of its processes has.
    }

    void read_log(int end) {
        std::string said;
        char piece[4096];
        for (ssize_t size = 0; (size = read(end, piece, sizeof piece)) != 0;) {
            if (size < 0) continue;
            said.append(piece, static_cast<std::size_t>(size));
            const bool ready = said.find("ready to accept connections") != std::string::npos;
            const std::lock_guard lock(mutex_);
            ready_ = ready_ || ready;
            said_ = said;
            changed_.notify_all();
        }
        close(end);
        const std::lock_guard lock(mutex_);
        log_ended_ = true;
        changed_.notify_all();
    }

    Sync sync_;
    std::vector<std::string> settings_;
    std::filesystem::path programs_;
    TempDir folder_;
    std::optional<uid_t> user_;
    std::optional<gid_t> group_;
    std::mutex lifecycle_;
    pid_t pid_ = -1;
    std::thread log_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ready_ = false;
    bool log_ended_ = false;
    std::string said_;
};

inline std::unique_ptr<PostgresServer> postgres_server_or_skip(PostgresServer::Sync sync = PostgresServer::Sync::off) {
    if (!PostgresServer::programs()) {
        if (std::getenv("CI") != nullptr) FAIL("PostgreSQL is not installed");
        SKIP("PostgreSQL is not installed");
    }
    return std::make_unique<PostgresServer>(sync);
}

}  // namespace annal::testing
