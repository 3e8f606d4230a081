// The append-only log of memory events. Everything else can be rebuilt from it.
// Order:      one total order over all streams; seq is gapless from 1, a stream's version is gapless from 1,
//             recorded_at strictly increases along seq.
// Durability: append() returns once the whole batch is on disk (synced), or handed to the system (buffered), or none of
//             it is. One committer writes; many callers' batches share one fsync.
// Threads:    every method may be called from any thread.
// Ownership:  spans are borrowed for the call; nothing is kept.
#pragma once

#include "checked.h"
#include "codec.h"
#include "erasures.h"
#include "merkle_tree.h"
#include "signed_head.h"

#include <annal/engine.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rocksdb {
class Env;
}

namespace annal {

class Keystore;

struct EventLogOptions {
    std::filesystem::path directory{};
    bool create_if_missing = true;
    Clock* clock = nullptr;       // Null: the system's.
    rocksdb::Env* env = nullptr;  // The file system under every file of the log, witness included. Null: the system's.
    std::size_t queue_bytes_max = std::size_t{64} << 20;           // Waiting to be committed; beyond it appends wait.
    std::uint64_t disk_free_bytes_min = std::uint64_t{256} << 20;  // Appends are refused below it.
    std::size_t stream_rows_max = 1024;  // Rows of streams that wait in memory; see rocks_store.h.
    std::uint64_t journal_bytes_max = std::uint64_t{64} << 20;  // Of one file; then what it has is flushed to tables.
    // From so many bytes on, rows are made while the disk syncs: they take longer than to wake a thread for them.
    std::size_t large_batch_bytes_min = std::size_t{32} << 10;
    // For who measures what hashing costs: all of it, and signing, is done so many times.
    unsigned hashing_repeats = 1;
    // Where segments go, and are looked for first. Empty: `archive` beside `directory`.
    std::filesystem::path archive_directory{};
    std::function<void(std::string_view level, std::string_view message)> on_message{};
};

struct AppendItem {
    ExpectedVersion expected;
    EncodedEvent* event = nullptr;  // Sealed and stamped by the append.
};

// All of it or none. The items' events are of one project.
struct AppendBatch {
    std::string_view project{};
    std::span<AppendItem> items{};
    std::string_view idempotency_key{};            // Empty: none.
    std::array<std::uint8_t, 32> request_hash{};   // Of what the key stands for.
    std::span<const ValueTombstone> tombstones{};  // Values to be refused from now on; in the same batch.
    Durability durability = Durability::synced;
    // Set: the events are stamped already, as another log stored them, and come in unchanged if they are the next ones:
    // this is the first one's seq. Else conflict.
    std::optional<Seq> stamped_from{};
    std::chrono::milliseconds wait_max{30'000};  // In the queue; then deadline_exceeded and nothing is written.
};

// What EventLog::check() can look at; in this order each leans on the one before.
enum class LogPart : std::uint8_t {
    files,        // Every table file, block by block, from disk.
    events,       // Every event: dense, whole, later than the one before, and named by a row of its stream.
    streams,      // The rows of streams: versions without a gap, seqs that rise, and no row more than there are events.
    idempotency,  // The rows of idempotency keys: each names events that are there, of its project.
    tree,  // The Merkle tree: its nodes, the witness's root and every signed head are those of the events stored.
};
inline constexpr std::array<std::string_view, 5> log_part_names{"files", "events", "streams", "idempotency", "tree"};

class EventLog {
 public:
    // not_found: no log there and create_if_missing is false. already_exists: another process has it open.
    // data_loss: fewer events than were acknowledged, or damaged ones; details: head, acknowledged. Nothing is changed.
    // unimplemented: made by a newer version.
    static Result<std::unique_ptr<EventLog>> open(const EventLogOptions& options);
    virtual ~EventLog() = default;

    // conflict: a stream is not at the version expected, or the key was used for another request; details: memory_id,
    // expected, actual. already_exists: `absent` was expected of a stream that is there. `any` takes a stream that is
    // not there as well as one that is. resource_exhausted: batch over its limit, or the disk nearly full.
    // permission_denied: an event has a user, and the keystore is locked. unavailable: the log can no longer be written
    // (a failed fsync, a fork); reads go on. The outcome of a batch that was in flight then is unknown until reopen;
    // the error says so.
    virtual Result<std::vector<Receipt>> append(AppendBatch batch) = 0;

    // What the key stood for, when it was used in this project: the receipts of then, each `replayed`; nullopt when it
    // was not. conflict: it was used for another request. A command that depends on state asks this first.
    virtual Result<std::optional<std::vector<Receipt>>> find_receipts(
        std::string_view project, std::string_view idempotency_key,
        const std::array<std::uint8_t, 32>& request_hash) const = 0;

    virtual Seq head() const = 0;  // The last durable event. Everything up to it can be read.

    // Blocks until head() > after, or the time is up, or close; returns head().
    virtual Seq wait_past(Seq after, std::chrono::milliseconds wait_max) = 0;

    // From now on events of a user are sealed when they are appended, and opened when they are read: event_seal.h.
    // Before anything is appended or read; until then what is sealed reads as sealed. `keystore` is this store's, and
    // outlives the log. data_loss: it is off, but the log was given one that was not.
    virtual Status seal_with(Keystore& keystore) = 0;
    // Whether it ever was: then the keystore is to be found, not made.
    virtual Result<bool> has_keystore() const = 0;

    // The last erasure of each subject: made by appending an ErasureRequested of the subject's scope, ended by an
    // ErasureCompleted. From the request on, the subject's events before it read as erased.
    virtual std::vector<Erasure> erasures() const = 0;
    virtual std::optional<Erasure> erasure(std::string_view project, std::string_view user) const = 0;
    // Durably, between the two: the keys are gone as of that epoch of the keystore.
    virtual Status keep_that_keys_are_gone(const Erasure& erasure, std::uint64_t keystore_epoch) = 0;
    // Why the value is refused; nullopt: it is not.
    virtual Result<std::optional<TombstoneReason>> find_tombstone(const TombstoneHash& hash) const = 0;
    virtual bool has_tombstones() const = 0;

    // Appends to `out` the events of (after, head], in order, until `events_max` or `bytes_max` is reached (at least
    // one if there is one). A sealed one is opened, or says that it cannot be: EventView::payload(). data_loss: a gap,
    // or bytes that fail their checks.
    struct ReadLimits {
        std::size_t events_max = 1024;
        std::size_t bytes_max = std::size_t{4} << 20;
    };
    virtual Status read(Seq after, const ReadLimits& limits, EventArena& arena, std::vector<EventView>& out) const = 0;

    // The events of one stream, oldest first; empty when there is none.
    virtual Status read_stream(std::string_view project, const MemoryId& stream, EventArena& arena,
                               std::vector<EventView>& out) const = 0;
    // Version{0} when there is no such stream. May count events past head(), whose sync is under way or failed.
    virtual Result<Version> stream_version(std::string_view project, const MemoryId& stream) const = 0;

    // The Merkle tree over the events (docs/decisions/0006-proofs.md). invalid_argument: beyond the head; details:
    // head.
    virtual Result<Hash> root(Seq size) const = 0;
    virtual Result<Hash> tree_node(MerkleNodeId id) const = 0;

    // From now on the log signs its head, once a second while it grows, when it closes, and when it is asked. What is
    // signed is durable. A head's origin is the key's name; it says the log's epoch and the time of its last event.
    virtual void sign_with(SigningKey key) = 0;
    // The newest: of everything that is durable. unavailable: there is no key.
    virtual Result<std::string> signed_head() = 0;
    // The greatest kept of that size or smaller; nullopt: there is none.
    virtual Result<std::optional<std::string>> signed_head(Seq at_most) const = 0;

    // See log_backup.h.
    virtual Result<BackupInfo> backup(
        const std::filesystem::path& directory, std::size_t keep,
        const std::function<void(std::uint64_t checked, std::uint64_t events)>& progress) const = 0;

    // Reads a part of the log, up to the event `up_to`; `after` goes on behind a file's number or a seq (0: from the
    // start; indexes always are). Ends early when `progress` answers false. Appends go on meanwhile, and memory is
    // bounded. data_loss: the first difference, in words without memory text; of files all are read before that.
    // unavailable: a segment is missing, and what does not need it is well.
    virtual Result<Checked> check(LogPart part, std::uint64_t after, Seq up_to,
                                  const std::function<bool(const Checked&)>& progress) const = 0;

    virtual std::string store_id() const = 0;  // A UUID, made when the log was.
    virtual std::array<std::uint8_t, 16> store_uuid() const = 0;
    virtual std::uint64_t epoch() const = 0;  // From 1; raised when a log goes on from an older state.
    virtual std::uint64_t bytes_on_disk() const = 0;

    // See log_retention.h. From then on read() and all that reads events get those from their segments: unavailable
    // when one is missing; details: first, last, file. Hashes and proofs, versions and receipts' keys do without.
    virtual Result<ArchiveReport> archive(
        Seq up_to, const std::filesystem::path& directory,
        const std::function<void(std::uint64_t moved, std::uint64_t events)>& progress) = 0;
    virtual ArchiveStatus archived(bool with_missing) const = 0;
};

}  // namespace annal
