// Brings appends from any thread to the committer, many at a time.
// Nobody else about: the caller's thread commits its own request, with no switch of threads, unless it has work to do
// meanwhile. Otherwise requests gather while a commit is under way, and the committer's thread takes them as one group.
#pragma once

#include "event_log_committer.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace annal {

class CommitQueue {
 public:
    CommitQueue(LogCommitter& committer, std::size_t bytes_max);
    ~CommitQueue();  // Nobody may be in commit().

    // Returns when the request has its outcome. deadline_exceeded: it waited too long to be taken; nothing is written.
    Status commit(AppendRequest& request, std::chrono::milliseconds wait_max);

 private:
    struct Waiting;
    bool idle() const { return !committing_ && queue_.empty(); }
    void commit_alone(AppendRequest& request, std::unique_lock<std::mutex>& lock);
    void run();
    void linger(std::unique_lock<std::mutex>& lock);
    std::vector<Waiting*> take_group();
    void finish(std::span<Waiting* const> group);
    bool wait_until_done(const Waiting& waiting, std::chrono::steady_clock::time_point deadline) const;

    LogCommitter& committer_;
    const std::size_t bytes_max_;
    std::mutex mutex_;
    std::condition_variable work_;   // For the committer's thread.
    std::condition_variable space_;  // For callers that found the queue full.
    std::deque<Waiting*> queue_;
    std::size_t queued_bytes_ = 0;
    std::size_t groups_taken_ = 0;
    std::size_t group_size_last_ = 0;
    std::chrono::steady_clock::duration commit_time_{};  // Of the last ones, on average.
    std::size_t queued_when_done_ = 0;                   // Before the last group was answered.
    std::size_t returning_ = 0;                          // How many of the last group are expected back at once.
    std::size_t linger_for_ = 0;                         // The queue's length that ends a linger; 0: none.
    std::array<std::atomic<std::uint32_t>, 2> bells_{};  // Groups in turn; what their callers sleep on.
    bool committing_ = false;
    bool closing_ = false;
    std::thread thread_;
};

}  // namespace annal
