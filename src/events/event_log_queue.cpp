#include "event_log_queue.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

namespace annal {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t group_requests_max = 256;
constexpr std::size_t group_bytes_max = std::size_t{4} << 20;

constexpr std::size_t large_request_bytes = std::size_t{128} << 10;  // To hash it takes longer than to switch threads.

constexpr std::size_t linger_retried_groups = 16;
constexpr auto linger_max = std::chrono::milliseconds(10);

void sleep_on(const std::atomic<std::uint32_t>& word, std::uint32_t seen, steady_clock::duration time) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    const timespec timeout{static_cast<time_t>(seconds.count()),
                           static_cast<long>(std::chrono::nanoseconds(time - seconds).count())};
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, &timeout, nullptr, 0);
}

void wake_all_on(std::atomic<std::uint32_t>& word) {
    word.fetch_add(1, std::memory_order_release);
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);

Error waited_too_long() {
    return {ErrorCode::deadline_exceeded,
            "the log is busy: the append waited too long in its queue; nothing was written",
            {}};
}

}  // namespace

struct CommitQueue::Waiting {
    AppendRequest* request;
    std::size_t bell;  // Of the group it joined; rung when that is done.
    std::atomic<bool> done = false;
};

CommitQueue::CommitQueue(LogCommitter& committer, std::size_t bytes_max)
    : committer_(committer), bytes_max_(bytes_max), thread_([this] { run(); }) {}

CommitQueue::~CommitQueue() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
    }
    work_.notify_one();
    thread_.join();
}

// The commit needs the hashes last: a large request that finds the log idle is hashed beside its own commit, the others
// before theirs.
Status CommitQueue::commit(AppendRequest& request, std::chrono::milliseconds wait_max) {
    const auto hash = [&] {
        committer_.hash_bodies(request);
        request.hashed = true;
    };
    if (request.bytes < large_request_bytes) hash();
    std::unique_lock lock(mutex_);
    if (!idle() && !request.hashed) {
        lock.unlock();
        hash();
        lock.lock();
    }
    if (idle()) {
        commit_alone(request, lock);
        return Done{};
    }

    const auto deadline = steady_clock::now() + std::min<std::chrono::milliseconds>(wait_max, std::chrono::hours(24));
    const auto has_space = [&] { return queue_.empty() || queued_bytes_ + request.bytes <= bytes_max_; };
    if (!space_.wait_until(lock, deadline, has_space)) return waited_too_long();
    Waiting waiting{&request, groups_taken_ % bells_.size()};
    queue_.push_back(&waiting);
    queued_bytes_ += request.bytes;
    const bool awaited = !committing_ || queue_.size() == linger_for_;
    lock.unlock();
    if (awaited) work_.notify_one();

    if (wait_until_done(waiting, deadline)) return Done{};
    lock.lock();
    if (const auto place = std::find(queue_.begin(), queue_.end(), &waiting); place != queue_.end()) {
        queue_.erase(place);
        queued_bytes_ -= request.bytes;
        space_.notify_all();
        return waited_too_long();
    }
    lock.unlock();
    while (!wait_until_done(waiting, steady_clock::now() + std::chrono::hours(1))) continue;  // It is being committed.
    return Done{};
}

void CommitQueue::commit_alone(AppendRequest& request, std::unique_lock<std::mutex>& lock) {
    committing_ = true;
    lock.unlock();
    AppendRequest* const alone = &request;
    committer_.commit({&alone, 1});
    committer_.tidy_up();
    lock.lock();
    committing_ = false;
    group_size_last_ = 1;
    if (!queue_.empty()) work_.notify_one();
}

bool CommitQueue::wait_until_done(const Waiting& waiting, steady_clock::time_point deadline) const {
    const auto& bell = bells_[waiting.bell];
    for (;;) {
        const std::uint32_t seen = bell.load(std::memory_order_acquire);
        if (waiting.done.load(std::memory_order_acquire)) return true;
        const auto left = deadline - steady_clock::now();
        if (left <= steady_clock::duration::zero()) return false;
        sleep_on(bell, seen, left);
    }
}

// One system call wakes them all; a Waiting may be gone once it is done.
void CommitQueue::finish(std::span<Waiting* const> group) {
    std::array<bool, 2> rung{};
    for (Waiting* waiting : group) {
        rung[waiting->bell] = true;
        waiting->done.store(true, std::memory_order_release);
    }
    for (std::size_t bell = 0; bell < bells_.size(); ++bell)
        if (rung[bell]) wake_all_on(bells_[bell]);
}

void CommitQueue::run() {
    std::vector<AppendRequest*> requests;
    std::unique_lock lock(mutex_);
    for (;;) {
        work_.wait(lock, [this] { return closing_ || (!queue_.empty() && !committing_); });
        if (queue_.empty()) return;
        committing_ = true;
        for (linger(lock); !queue_.empty(); linger(lock)) {
            const auto group = take_group();
            lock.unlock();
            requests.clear();
            for (const auto* waiting : group) requests.push_back(waiting->request);
            const auto begin = steady_clock::now();
            committer_.commit(requests);
            lock.lock();
            commit_time_ = (3 * commit_time_ + (steady_clock::now() - begin)) / 4;
            queued_when_done_ = queue_.size();
            lock.unlock();
            finish(group);
            committer_.tidy_up();
            lock.lock();
        }
        committing_ = false;
    }
}

// Those just answered are likely to come again at once: a group that waits for them shares one sync among all. It waits
// no longer than a commit takes, which is what it saves. Whether they come is learned from the last time.
void CommitQueue::linger(std::unique_lock<std::mutex>& lock) {
    if (groups_taken_ % linger_retried_groups == 0) returning_ = group_size_last_;
    if (group_size_last_ <= 1 || returning_ == 0) return;
    linger_for_ = std::min(queued_when_done_ + returning_, group_requests_max);
    const bool came = work_.wait_for(lock, std::min<steady_clock::duration>(commit_time_, linger_max),
                                     [this] { return closing_ || queue_.size() >= linger_for_; });
    returning_ = came ? group_size_last_ : queue_.size() - std::min(queued_when_done_, queue_.size());
    linger_for_ = 0;
}

std::vector<CommitQueue::Waiting*> CommitQueue::take_group() {
    std::vector<Waiting*> group;
    std::size_t bytes = 0;
    while (!queue_.empty() && group.size() < group_requests_max) {
        Waiting* const next = queue_.front();
        if (!group.empty() && bytes + next->request->bytes > group_bytes_max) break;
        bytes += next->request->bytes;
        group.push_back(next);
        queue_.pop_front();
    }
    queued_bytes_ -= bytes;
    group_size_last_ = group.size();
    ++groups_taken_;
    space_.notify_all();
    return group;
}

}  // namespace annal
