#include "vector_team.h"

namespace annal {

WorkTeam::WorkTeam(std::size_t workers) {
    for (std::size_t worker = 1; worker < workers; ++worker) threads_.emplace_back([this, worker] { help(worker); });
}

WorkTeam::~WorkTeam() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    started_.notify_all();
    for (auto& thread : threads_) thread.join();
}

void WorkTeam::run(std::size_t tasks, const std::function<void(std::size_t, std::size_t)>& task) {
    if (threads_.empty() || tasks <= 1) {
        for (std::size_t i = 0; i < tasks; ++i) task(i, 0);
        return;
    }
    {
        const std::lock_guard lock(mutex_);
        task_ = &task;
        tasks_ = tasks;
        next_ = 0;
        busy_ = threads_.size();
        ++round_;
    }
    started_.notify_all();
    take_tasks(0);
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [&] { return busy_ == 0; });
}

void WorkTeam::take_tasks(std::size_t worker) {
    for (auto task = next_.fetch_add(1); task < tasks_; task = next_.fetch_add(1)) (*task_)(task, worker);
}

void WorkTeam::help(std::size_t worker) {
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    while (true) {
        started_.wait(lock, [&] { return stop_ || round_ != seen; });
        if (stop_) return;
        seen = round_;
        lock.unlock();
        take_tasks(worker);
        lock.lock();
        if (--busy_ == 0) finished_.notify_one();
    }
}

}  // namespace annal
