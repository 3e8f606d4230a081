// The log's rows in RocksDB. Integers in keys and values are big endian.
//   family   key                                            value
//   events   seq (8)                                        stored event (codec.h)
//   streams  project, 0, stream id (16), version (8)        seq (8), event type (2)
//            0, "indexed"                                   the seq up to which the events' rows are there (8)
//            0, "node", level (1), index (8)                root of a full subtree of level 8 or more (merkle_tree.h)
//   idem     project, 0, SHA-256 of the key, first 16 bytes first seq (8), count (4), request hash (32)
//   meta     "format", "store", "created"                   format version (4), UUID (16), recorded time in us (8)
//            "journal"                                      the last frame that is applied (8), and its journal (8)
//            "head", size (8)                               a signed tree head (signed_head.h)
//            "sealed"                                       1: a keystore was given to the log
//            "erasure", 0, project, 0, user                 how far the subject's last erasure is (erasures.h)
//            "tombstone", hash (16)                         a value that is refused, and why (1)
//            "segment", first seq (8)                       last seq (8), bytes (8), recorded_at of the last (8) and
//                                                           directory of a range that was moved out (log_archive.h)
//            "tile", index (8)                              the event hashes of 256 events that were moved out (32
//            each)
// The project, which is not empty and holds no 0, is part of every key of a stream or of "idem", so no lookup can cross
// from one to another. What is written together is one batch, all of it or nothing: a frame of the journal (journal.h),
// and then rows in RocksDB, whose own write-ahead log is off. RocksDB flushes all families as of one moment, so tables
// hold the batches up to some frame, say which, and need those that follow it in the journal.
//
// "streams" is made of the events, and is written beside the journal: the rows of the last events wait in memory, where
// every reader looks first, and go to RocksDB many at a time, sorted. Those of one such batch and "indexed" reach the
// disk together, and only after their events were synced: "indexed" is not beyond what a power loss leaves.
// load_index() brings back what a crash took, at most a memtable's worth of rows (64 MiB). The Merkle tree goes the
// same way: nodes below level 8 are not kept but computed from at most 255 events.
//
// Events that were moved out are the first ones, a multiple of 256, and never the last 256. Their rows are there still
// but for those of "events": whoever asks for one gets it from its segment, if it has the hash that its tile says.
#pragma once

#include "codec.h"
#include "erasures.h"
#include "journal.h"
#include "log_archive.h"
#include "merkle_tree.h"
#include "rocks_files.h"
#include "rocks_support.h"
#include "side_thread.h"
#include "stream_rows.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Env;
class FileSystem;
class WriteBatch;
class BackupEngine;
}  // namespace rocksdb

namespace annal {

struct RocksStoreOptions {
    std::filesystem::path directory;
    rocksdb::Env* env = nullptr;
    OnMessage on_message;
    bool read_only = false;              // Changes no file; of what is in tables alone.
    bool create = false;                 // There is none yet.
    std::size_t stream_rows_max = 1024;  // That wait in memory.
    std::uint64_t journal_bytes_max = std::uint64_t{64} << 20;
    std::size_t large_batch_bytes_min = std::size_t{32} << 10;
    std::filesystem::path archive_directory{};  // Empty: `archive` beside the directory.
};

// What of a log is moved out together: whole full subtrees of the tree.
inline constexpr std::uint64_t tile_events = 256;

struct StoreIdentity {
    std::array<std::uint8_t, 16> store{};
};

struct IdempotencyRow {
    Seq first;
    std::uint32_t count = 0;
    Hash request_hash{};
};

class RocksStore {
 public:
    static bool exists(rocksdb::FileSystem& files, const std::filesystem::path& directory);
    // With what the journal has besides. No file of the journal is changed before keep_recovered().
    static Result<std::unique_ptr<RocksStore>> open(const RocksStoreOptions& options);
    ~RocksStore();  // Closes; flushes nothing.

    // What came from the journal goes to tables. Before anything is written.
    Status keep_recovered();

    // Before streams or the tree are asked for. Rows beyond the head, as when the log was cut, are dropped, and all are
    // made anew, also if that is asked for; data_loss: they cannot be, the store is read only.
    Status load_index(Seq head, bool anew = false);

    // Any thread.
    Result<Seq> last_seq() const;
    Result<std::optional<StoreIdentity>> identity() const;  // unimplemented: a format newer than this build's.
    Result<std::optional<std::string>> stored_event(Seq seq) const;
    Result<Version> stream_version(std::string_view project, const MemoryId& stream) const;
    Result<MemoryId> greatest_stream(std::string_view project) const;  // Nil: the project has none.
    Result<std::optional<Seq>> stream_seq(std::string_view project, const MemoryId& stream, Version version) const;
    Result<std::optional<IdempotencyRow>> find_idempotency(std::string_view project, std::string_view key) const;
    // The events of (after, up_to]; at least one when there is one. data_loss: a gap, or a damaged event.
    Status read(Seq after, Seq up_to, std::size_t events_max, std::size_t bytes_max, EventArena& arena,
                std::vector<EventView>& out) const;
    Status read_stream(std::string_view project, const MemoryId& stream, Seq up_to, EventArena& arena,
                       std::vector<EventView>& out) const;

    static constexpr unsigned kept_level_min = 8;  // Of the tree's nodes.
    static_assert(tile_events == std::uint64_t{1} << kept_level_min);
    // The hashes of `count` events, as they are stored, or as their tiles have them; returns how many bytes were read.
    // data_loss: a gap.
    Result<std::uint64_t> leaf_hashes(Seq after, std::uint64_t count, std::vector<Hash>& out) const;
    // Of the tree over what was written and given to add_leaf. Roots of any size up to that.
    Result<Hash> tree_node(MerkleNodeId id) const;
    Result<Hash> root(Seq size) const;
    // The root of the first `size` events, folded from their leaf_hashes(). data_loss: a gap.
    Result<Hash> folded_root(Seq size,
                             const std::function<void(std::uint64_t done, std::uint64_t all)>& progress) const;
    Result<std::uint32_t> copy_to(rocksdb::BackupEngine& backups) const;  // The new backup's id.
    Result<std::optional<std::string>> signed_head(Seq at_most) const;    // The greatest of that size or smaller.
    Result<std::vector<std::pair<Seq, std::string>>> signed_heads(Seq after, Seq up_to) const;  // Of sizes in between.
    Status keep_signed_head(Seq size, std::string_view note) const;                             // Not synced.

    // For checks. Rows of an index with keys past `after`, in order, until `visit` answers false; those that wait in
    // memory are not among them. indexed(): up to which seq those of streams are there.
    enum class Index { streams, idempotency };
    Status walk(Index index, std::string_view after,
                const std::function<bool(std::string_view key, std::string_view value)>& visit) const;
    Result<Seq> indexed() const;
    Status check_files(std::uint64_t after,
                       const std::function<bool(const TableFile& file, const Status& whole)>& visit) const;

    const ErasureTable& erasures() const { return erasures_; }
    Status keep_erasure(const Erasure& erasure) const;  // Synced. By the one who erases.
    // nullopt: the value is not refused.
    Result<std::optional<TombstoneReason>> find_tombstone(const TombstoneHash& hash) const;
    bool has_tombstones() const { return has_tombstones_.load(std::memory_order_acquire); }
    const LogArchive& archive() const { return *archive_; }
    // From its return on the events of `range`, which follow those that were moved out before and are indexed, are read
    // from their segment, also when only the sync failed. `leaves` are their hashes. All or nothing, synced.
    Status move_out(const ArchivedRange& range, std::span<const Hash> leaves) const;
    Status reclaim() const;  // Gives back the space of all that were moved out.

    Result<bool> was_sealed() const;
    Status keep_that_sealed() const;  // Synced.

    // The one committer. add_* fill a batch that write() writes, all or nothing.
    void add_identity(const StoreIdentity& identity, Timestamp created);
    void add_event(std::string_view project, const MemoryId& stream, Seq seq, Version version, EventType type,
                   std::span<const std::uint8_t> stored);
    void add_idempotency(std::string_view project, std::string_view key, const IdempotencyRow& row);
    void add_erasure(Erasure erasure);
    void add_tombstone(const ValueTombstone& tombstone);
    void drop_batch();
    // `applied` is called once the batch is the log's, whether or not its sync succeeds then; from a thread of the
    // store's perhaps, while the caller is in here.
    Status write(bool sync, const std::function<void()>& applied);
    Status sync();                          // Everything written so far.
    void add_leaf(const Hash& event_hash);  // Of each event that write() wrote, in order, when it is applied.
    const MerkleFrontier& tree() const { return tree_; }
    SideThread& side_thread() { return *side_thread_; }  // Where `applied` is called, if not from write()'s thread.
    // Whether, once the batch is written, enough rows of streams wait to be written out: then it must be synced, too.
    bool index_due() const { return rows_waiting_ + batch_rows_.size() >= stream_rows_max_; }
    // Writes them out if it is due; after a large batch beside what follows. An error of that comes from a later call.
    Status index();

    Status recover();  // Goes on after a write that failed, which is void unless applied. All that was is durable.
    Status flush();    // Everything to tables, and no journal: the next open replays nothing. Before the end.

 private:
    RocksStore();
    rocksdb::ColumnFamilyHandle* family(std::size_t which) const { return families_[which]; }
    static void add_row(StreamRows& to, std::string_view project, const MemoryId& stream, Version version, Seq seq,
                        EventType type);
    Status load_erasures();
    Status clear_index();
    Status write_index();    // All that waits; the events are synced, and their leaves added.
    Status indexing_over();  // Waits.
    Status read_journal(const RocksStoreOptions& options);
    // `applied` brings what is in memory up to the rows.
    Status commit(
        rocksdb::WriteBatch& batch, bool sync, std::string_view doing,
        const std::function<void()>& applied = [] {}) const;
    Status write_beside(rocksdb::WriteBatch& batch) const;
    bool is_large(const rocksdb::WriteBatch& batch) const;
    enum class Flush { begin, wait };
    Status flush_tables(Flush how) const;
    void put_position(rocksdb::WriteBatch& batch, JournalPosition position) const;
    Status empty_journal() const;
    Result<std::uint64_t> frame_in_tables() const;
    Status read_version(const MemoryId& stream, Version version, Seq seq, EventArena& arena,
                        std::vector<EventView>& out) const;
    Status load_archive();
    Status read_tiles(Seq after, std::uint64_t count, std::vector<Hash>& out) const;
    Status read_archived(Seq after, Seq up_to,
                         const std::function<Result<bool>(Seq seq, std::string_view stored)>& visit) const;
    Result<std::optional<std::string>> archived_event(Seq seq) const;  // nullopt: it was not moved out.
    Seq moved_out() const;  // For who found an event gone: once the move under way is over.

    OnMessage on_message_;
    std::unique_ptr<rocksdb::DB> db_;
    std::vector<rocksdb::ColumnFamilyHandle*> families_;  // As in the table above, after RocksDB's own default.
    std::unique_ptr<Journal> journal_;                    // Null: read only.
    mutable std::mutex write_mutex_;                      // Batches are applied in the order of their frames.
    bool recovered_ = false;
    std::unique_ptr<rocksdb::WriteBatch> batch_;
    std::unique_ptr<LogArchive> archive_;
    mutable std::shared_mutex moving_mutex_;  // Exclusive: events are gone, and archive_ does not have them yet.

    std::size_t stream_rows_max_ = 0, large_batch_bytes_min_ = 0;
    bool read_only_ = false;
    StreamRows batch_rows_;                // Of the events in batch_.
    std::vector<Erasure> batch_erasures_;  // In batch_.
    mutable ErasureTable erasures_;
    std::atomic<bool> has_tombstones_ = false;
    bool batch_has_tombstones_ = false;
    MerkleFrontier tree_;
    std::vector<MerkleNode> completed_;        // By the leaf in hand.
    std::unique_ptr<SideThread> side_thread_;  // Null: read only.
    bool after_large_batch_ = false;
    std::size_t rows_waiting_ = 0;             // That no write_index() has yet.
    StreamRows waiting_;                       // For write_index(),
    std::vector<MerkleNode> waiting_nodes_;    // and these.
    mutable std::shared_mutex waiting_mutex_;  // Exclusive, by the committer or beside it: what waits is being changed.
    Status indexed_ = Done{};
    std::unique_ptr<SideThread::Task> indexing_;  // Last: it uses the others.
};

// Calls its argument while the store is sure to stay.
using WithStore = std::function<Status(const std::function<Status(const RocksStore&)>&)>;

}  // namespace annal
