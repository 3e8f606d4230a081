// A thread for what its owner can have done beside his own work.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace annal {

class SideThread {
 public:
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

    // Both are over when it returns, or throws what one of them threw. One caller at a time.
    void do_both(const std::function<void()>& beside, const std::function<void()>& here) {
        std::exception_ptr thrown_here;
        {
            const std::lock_guard lock(mutex_);
            task_ = &beside;
        }
        changed_.notify_all();
        try {
            here();
        } catch (...) {
            thrown_here = std::current_exception();
        }
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return task_ == nullptr; });
        const auto thrown_beside = std::exchange(thrown_, nullptr);
        if (thrown_here) std::rethrow_exception(thrown_here);
        if (thrown_beside) std::rethrow_exception(thrown_beside);
    }

 private:
    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return closing_ || task_ != nullptr; });
            if (task_ == nullptr) return;
            lock.unlock();
            std::exception_ptr thrown;
            try {
                (*task_)();
            } catch (...) {
                thrown = std::current_exception();
            }
            lock.lock();
            thrown_ = thrown;
            task_ = nullptr;
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    const std::function<void()>* task_ = nullptr;
    std::exception_ptr thrown_;
    bool closing_ = false;
    std::thread thread_;  // Last: it uses the others.
};

}  // namespace annal
