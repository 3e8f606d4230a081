// A thread for what others can have done beside their own work.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace annal {

class SideThread {
 public:
    // Begun when it is made, after those that were made before; over when it is gone.
    class Task {
     public:
        Task(SideThread& thread, std::function<void()> work) : thread_(thread), work_(std::move(work)) {
            {
                const std::lock_guard lock(thread_.mutex_);
                thread_.tasks_.push_back(this);
            }
            thread_.changed_.notify_all();
        }
        ~Task() { end(); }
        Task(const Task&) = delete;
        Task& operator=(const Task&) = delete;

        // Until it is over. Throws what the work threw.
        void wait() {
            end();
            if (thrown_) std::rethrow_exception(thrown_);
        }

     private:
        friend class SideThread;
        void end() {
            std::unique_lock lock(thread_.mutex_);
            thread_.changed_.wait(lock, [this] { return over_; });
        }

        SideThread& thread_;
        const std::function<void()> work_;
        std::exception_ptr thrown_;
        bool over_ = false;
    };

    SideThread() : thread_([this] { run(); }) {}
    ~SideThread() {
        {
            const std::lock_guard lock(mutex_);
            closing_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
    SideThread(const SideThread&) = delete;
    SideThread& operator=(const SideThread&) = delete;

 private:
    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return closing_ || !tasks_.empty(); });
            if (tasks_.empty()) return;
            Task& task = *tasks_.front();
            tasks_.pop_front();
            lock.unlock();
            try {
                task.work_();
            } catch (...) {
                task.thrown_ = std::current_exception();
            }
            lock.lock();
            task.over_ = true;  // From here on it may be gone.
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task*> tasks_;
    bool closing_ = false;
    std::thread thread_;  // Last: it uses the others.
};

}  // namespace annal
