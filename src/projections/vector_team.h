// Threads that share out numbered tasks. What a task computes must not depend on who runs it, or when.
// Threads: run() from one thread at a time; it works too, as worker 0.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace annal {

class WorkTeam {
 public:
    explicit WorkTeam(std::size_t workers);  // At least one: the caller.
    ~WorkTeam();
    WorkTeam(const WorkTeam&) = delete;
    WorkTeam& operator=(const WorkTeam&) = delete;

    std::size_t workers() const { return threads_.size() + 1; }
    // Returns when task(0..tasks-1, worker) have all run.
    void run(std::size_t tasks, const std::function<void(std::size_t task, std::size_t worker)>& task);

 private:
    void help(std::size_t worker);
    void take_tasks(std::size_t worker);

    std::mutex mutex_;
    std::condition_variable started_;
    std::condition_variable finished_;
    std::uint64_t round_ = 0;
    std::size_t busy_ = 0;
    bool stop_ = false;
    const std::function<void(std::size_t, std::size_t)>* task_ = nullptr;
    std::size_t tasks_ = 0;
    std::atomic<std::size_t> next_{0};
    std::vector<std::thread> threads_;
};

}  // namespace annal
