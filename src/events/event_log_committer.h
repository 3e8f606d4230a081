// The one writer of the log. Gives out seq, version and recorded_at, and makes a group of appends durable with one
// synced write. commit() is called by one thread at a time; the queue of event_log.cpp sees to that. The rest: any
// thread.
#pragma once

#include "event_log_open.h"
#include "event_log_stream_heads.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace annal {

// One append on its way through. The committer writes the outcome; the caller's thread makes receipts of it.
struct AppendRequest {
    AppendBatch* batch = nullptr;
    std::vector<Hash> hashes;  // Of the bodies; once committed, of the events.
    bool hashed = false;       // Else commit() has the bodies hashed beside its work.
    std::size_t bytes = 0;

    std::optional<Error> error;
    Seq first;  // The events are [first, first + count).
    std::uint32_t count = 0;
    bool replayed = false;  // They were there before.

    std::unique_ptr<SideThread::Task> hashing;  // Last: it uses the others.
};

Error idempotency_conflict();

class LogCommitter {
 public:
    LogCommitter(EventLogOptions options, OpenedLog log);
    ~LogCommitter();  // Flushes, and marks the witness clean.

    void hash_bodies(AppendRequest& request) const;  // Any thread.
    // Commits or refuses each request of the group, in order. Memory that runs out is a write that failed.
    void commit(std::span<AppendRequest* const> group);
    // What a commit left to be done once its callers have been answered. Before the next commit; by its thread.
    void tidy_up();

    Seq head() const { return head_.load(std::memory_order_acquire); }
    Seq wait_past(Seq after, std::chrono::milliseconds wait_max);
    void stop_waiting();  // wait_past returns at once from now on; returns when nobody is in it.

    template <class Read>
    auto with_store(const Read& read) const -> decltype(read(std::declval<const RocksStore&>())) {
        return read(std::as_const(*log_.store));
    }
    const std::array<std::uint8_t, 16>& store_id() const { return store_id_; }
    std::uint64_t epoch() const { return epoch_; }

    void sign_with(SigningKey key);
    std::optional<VerifierKey> verifier_key() const;  // nullopt: there is no key to sign with.
    Result<std::string> signed_head();                // Of all that is durable; unavailable: there is no key.
    Result<std::string> signed_head(Seq size);        // Of what was, when there were so many; they are durable.
    Seq synced() const { return synced_.load(); }

 private:
    enum class Health { good, disk_full, failed };
    struct Place {  // Where the next event goes.
        Seq seq;
        Timestamp recorded_at;
        std::uint32_t events = 0;
        bool sync = false;
    };

    void commit_group(std::span<AppendRequest* const> group);
    Status admit(std::size_t bytes);
    Status resume(std::size_t bytes);
    bool room_is_known(std::size_t bytes) const;
    std::optional<std::uint64_t> free_bytes() const;
    Status sequence(AppendRequest& request, Place& place);
    Result<bool> replay(AppendRequest& request, Place& place);
    Status place_items(AppendRequest& request, Place& place);
    bool follows(const AppendBatch& batch, const Place& place) const;
    Status make_durable(const Place& place, std::span<AppendRequest* const> group);
    void grow_tree(AppendRequest& request);
    Status write_witness();
    void sync_witness();
    void sign_kept();
    void fail(const Error& error, std::span<AppendRequest* const> group);
    void take_no_more(const Error& error);
    void publish(Seq head);

    const EventLogOptions options_;
    const std::array<std::uint8_t, 16> store_id_;
    const std::uint64_t epoch_;
    OpenedLog log_;
    StreamHeads stream_heads_;
    std::unordered_map<std::string, IdempotencyRow> group_keys_;  // Those of the group in hand.
    std::vector<std::pair<std::size_t, Version>> placed_;         // The items in hand: where stream_heads_ has them.

    Health health_ = Health::good;
    std::string failure_;
    std::atomic<Seq> synced_;
    Hash head_hash_{};  // Of the last event written, synced or not.
    // What hashing_repeats does again.
    MerkleFrontier tree_again_;
    std::vector<MerkleNode> completed_again_;
    Hash root_again_{};
    std::chrono::steady_clock::time_point resume_tried_at_;
    std::optional<std::chrono::steady_clock::time_point> room_seen_at_;
    std::size_t bytes_since_room_ = 0;  // Taken since then.

    std::atomic<Seq> head_;
    std::atomic<std::size_t> waiters_ = 0;
    std::mutex wait_mutex_;
    std::condition_variable head_moved_;
    bool stopping_ = false;

    mutable std::mutex signing_mutex_;
    std::optional<SigningKey> signing_key_;

    // The witness is synced, and the head signed, beside the commits, about a second after the first that it does not
    // hold yet.
    std::mutex witness_mutex_;
    std::condition_variable witness_changed_;
    bool witness_dirty_ = false;
    bool witness_closing_ = false;
    std::atomic<bool> witness_failed_ = false;
    std::thread witness_thread_;
};

}  // namespace annal
