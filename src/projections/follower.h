// One projector on its thread: reads (checkpoint, head] from the log, folds it in batches, commits each with its
// checkpoint. Private to runtime.cpp.
#pragma once

#include "log_pages.h"
#include "runtime.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace annal {

// Where a follower begins and ends.
struct FollowerRange {
    std::uint64_t generation = 1;  // Of a space that has none yet.
    Seq up_to{std::numeric_limits<std::uint64_t>::max()};
};

// What all followers of one runtime share: the lock of what they publish, and the news that it changed.
struct FollowerMonitor {
    std::mutex mutex;
    std::condition_variable progress;
};

class Follower {
 public:
    enum class State { opening, running, rebuilding, stopped, failed, sealed };

    struct Published {
        Seq applied;
        std::uint64_t generation = 0;
        State state = State::opening;
        std::string error;  // The last one.
        std::string note;
        std::uint64_t quarantined = 0;
    };

    Follower(EventLog& log, Projector& projector, std::unique_ptr<ViewSpace> space, const RuntimeOptions& options,
             FollowerMonitor& monitor, std::string note, FollowerRange range, std::shared_ptr<LogPages> together);
    ~Follower();  // After stop().
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    void start();
    void ask_to_stop();
    void stop();     // Saves.
    void abandon();  // Stops; what it has made is not needed any more.
    void wake() { work_.notify_one(); }
    // Runs `task` on the projector's thread, between two batches.
    void post(std::function<void()> task);

    const Projector& projector() const { return projector_; }
    const ViewSpace& space() const { return *space_; }
    const Published& published() const { return published_; }  // Under the monitor's mutex.

    // From tasks alone:
    void pause();
    void resume();
    Seq hold();  // As a pause, but the state stays what it is; returns what is applied.
    void release();
    Status save();
    Result<std::string> digest() const;
    bool opened() const { return opened_; }
    Seq applied() const { return applied_; }

 private:
    Seq end() const { return std::min({log_.head(), range_.up_to, projector_.input_up_to()}); }
    void run();
    bool next_turn();  // Waits for something to do; false: stop.
    void open();
    void turn();
    void start_over();
    Status empty(bool rows);  // The projector, and the space if it has rows.
    Status read(Seq end);
    Status read_page(Seq after, Seq end, LogPage& page) const;
    void drop_pages();
    bool fold(std::span<const EventView> events, unsigned tries);
    bool quarantine(const EventView& event, const Error& error);
    bool commit(ViewBatch& batch, const EventView& last, std::uint64_t quarantined);
    void fail(const Error& error);
    void wait_for_key(const EventView& event);
    void publish();
    void tell(std::string_view level, const std::string& what) const;
    Checkpoint checkpoint(Seq applied, const Hash& last, std::uint64_t generation) const;

    EventLog& log_;
    Projector& projector_;
    const std::unique_ptr<ViewSpace> space_;
    const RuntimeOptions& options_;
    FollowerMonitor& monitor_;
    const FollowerRange range_;
    std::shared_ptr<LogPages> together_;  // Until it has caught up or failed; null: it reads for itself.

    // Of the thread alone.
    Seq applied_;
    std::uint64_t generation_;
    std::uint64_t quarantined_ = 0;
    bool opened_ = false;
    bool idle_told_ = false;
    bool settled_ = false;
    bool paused_ = false;
    bool held_ = false;
    bool sealed_ = false;  // The next event is; a locked keystore stays so until the store is closed.
    std::optional<std::string> start_over_because_;
    Seq rebuild_up_to_;                                // Until it is applied, the state is "rebuilding".
    std::chrono::milliseconds pause_before_retry_{0};  // 0: the last turn went well.
    std::chrono::steady_clock::time_point retry_at_;
    std::string error_;
    std::string note_;
    LogPage page_;                      // In hand,
    LogPage spare_;                     // and the one before it, for its memory.
    std::future<LogPage> next_;         // Being read while the one in hand is folded.
    std::unique_ptr<ViewBatch> batch_;  // Empty between two turns; kept for its memory.

    // Under the monitor's mutex.
    Published published_;
    std::deque<std::function<void()>> tasks_;
    std::condition_variable work_;
    std::atomic<bool> abandoned_{false};
    std::atomic<bool> stopping_{false};  // Set under it; read without, inside a batch.
    std::thread thread_;
};

}  // namespace annal
