#include "life.h"

#include "child_process.h"

#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <thread>

namespace annal::testing {
namespace {

using std::chrono::steady_clock;

// Kills the child at its time, whatever it is doing, and looks at it every second until then.
class Killer {
 public:
    Killer(const ChildProcess& child, steady_clock::time_point at, std::vector<Resources>& seen)
        : child_(child), at_(at), seen_(seen), thread_([this] { run(); }) {}
    ~Killer() {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    Killer(const Killer&) = delete;
    Killer& operator=(const Killer&) = delete;

    void kill_at(steady_clock::time_point at) {
        {
            const std::lock_guard lock(mutex_);
            at_ = at;
        }
        changed_.notify_one();
    }

 private:
    void run() {
        const auto begun = steady_clock::now();
        std::unique_lock lock(mutex_);
        for (auto look = begun + std::chrono::seconds(1); !ended_;) {
            const auto now = steady_clock::now();
            if (now >= at_) return child_.kill_now();
            if (now >= look) {
                look = now + std::chrono::seconds(1);
                if (auto seen = resources_of(child_.id())) {
                    seen->second = std::chrono::duration<double>(now - begun).count();
                    seen_.push_back(*seen);
                }
            }
            changed_.wait_until(lock, std::min(at_, look));
        }
    }

    const ChildProcess& child_;
    std::mutex mutex_;
    std::condition_variable changed_;
    steady_clock::time_point at_;
    bool ended_ = false;
    std::vector<Resources>& seen_;
    std::thread thread_;
};

bool record(const std::string& line, Life& life, const Workload& workload, Oracle& oracle) {
    unsigned long long writer = 0, number = 0, seq = 0, events = 0, us = 0, id = 0;
    char hash[65] = "";
    if (std::sscanf(line.c_str(), "ack %llu %llu %llu %llu %64s %llu", &writer, &number, &seq, &events, hash, &us) ==
        6) {
        ++life.acknowledged;
        if (writer < oracle.writers() && number < oracle.steps(writer)) ++life.repeated;
        if (workload.clock_after({writer, number})) ++life.clock_steps;
        life.micros.push_back(static_cast<std::uint32_t>(us));
        oracle.record({{writer, number}, Seq{seq}, events, hash});
        return true;
    }
    if (std::sscanf(line.c_str(), "backup %llu %llu %64s", &id, &seq, hash) == 3) {
        life.backups.push_back({static_cast<std::uint32_t>(id), Seq{seq}, hash});
        return true;
    }
    return false;
}

}  // namespace

std::optional<Resources> resources_of(int process) {
    const std::filesystem::path of = "/proc/" + std::to_string(process);
    std::ifstream statm(of / "statm");
    std::uint64_t pages = 0, resident = 0;
    if (!(statm >> pages >> resident)) return std::nullopt;
    Resources resources;
    resources.rss_bytes = resident * 4096;
    std::error_code failed;
    for (std::filesystem::directory_iterator each(of / "fd", failed), end; !failed && each != end;
         each.increment(failed))
        ++resources.descriptors;
    return resources;
}

Life live(const LifeOptions& options, const Workload& workload, Oracle& oracle, std::mt19937_64& random) {
    const auto or_none = [](const std::filesystem::path& path) { return path.empty() ? "-" : path.string(); };
    const auto clock_s = static_cast<std::int64_t>(random() % 3 * 3600) - 3600;
    std::vector<std::string> command{options.program,
                                     "run",
                                     options.store,
                                     or_none(options.key),
                                     std::to_string(workload.seed()),
                                     workload.with_users() ? "1" : "0",
                                     or_none(options.backups),
                                     std::to_string(clock_s)};
    // Some of what was acknowledged is asked for again, as a client does that lost the answer.
    for (std::size_t writer = 0; writer < oracle.writers(); ++writer) {
        const auto steps = oracle.steps(writer);
        command.push_back(std::to_string(steps - std::min<std::uint64_t>(steps, random() % 5)));
    }
    Life life;
    ChildProcess child(command);
    const auto opens_max = std::chrono::minutes(5);
    std::optional<Killer> killer;
    killer.emplace(child, steady_clock::now() + (options.from_open ? opens_max : options.length), life.resources);
    while (const auto line = child.read_line()) {
        if (line->rfind("open ", 0) == 0) {
            life.opened = true;
            if (options.from_open) killer->kill_at(steady_clock::now() + options.length);
            continue;
        }
        if (!record(*line, life, workload, oracle)) oracle.complain("the engine: " + *line);
        child.go_on();
    }
    killer.reset();
    const int ended = child.wait();
    if (ended != 1000 + SIGKILL) oracle.complain("the engine ended by itself: " + std::to_string(ended));
    if (options.from_open && !life.opened) oracle.complain("the engine did not open in five minutes");
    return life;
}

}  // namespace annal::testing
