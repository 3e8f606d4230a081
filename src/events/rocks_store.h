// The log's rows in RocksDB. Integers in keys and values are big endian.
//   family   key                                            value
//   events   seq (8)                                        stored event (codec.h)
//   streams  project, 0, stream id (16), version (8)        seq (8), event type (2)
//   idem     project, 0, SHA-256 of the key, first 16 bytes first seq (8), count (4), request hash (32)
//   meta     "format", "store", "created"                   format version (4), UUID (16), recorded time in us (8)
// The project is part of every key but the seq's, so no lookup can cross from one to another. An event's rows are
// written in one batch.
#pragma once

#include "codec.h"
#include "event_log_hash.h"
#include "rocks_support.h"

#include <memory>
#include <optional>
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
}  // namespace rocksdb

namespace annal {

enum class WalDamage {
    refuse,   // kTolerateCorruptedTailRecords: the open fails, and nothing is changed.
    stop_at,  // kPointInTimeRecovery: what follows it is dropped. For a tail that nobody was promised.
};

struct RocksStoreOptions {
    std::filesystem::path directory;
    rocksdb::Env* env = nullptr;
    OnMessage on_message;
    WalDamage wal_damage = WalDamage::refuse;
    bool read_only = false;  // Changes no file.
    bool create = false;     // There is none yet.
};

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
    static Result<std::unique_ptr<RocksStore>> open(const RocksStoreOptions& options);
    ~RocksStore();  // Closes; flushes nothing.

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

    // The one committer. add_* fill a batch that write() writes, all or nothing.
    void add_identity(const StoreIdentity& identity, Timestamp created);
    void add_event(std::string_view project, const MemoryId& stream, Seq seq, Version version, EventType type,
                   std::span<const std::uint8_t> stored);
    void add_idempotency(std::string_view project, std::string_view key, const IdempotencyRow& row);
    void drop_batch();
    Status write(bool sync);
    Status sync();  // Everything written so far.

    Status flush();  // Memtables to files, so that the next open replays nothing.

 private:
    RocksStore();
    rocksdb::ColumnFamilyHandle* family(std::size_t which) const { return families_[which]; }

    OnMessage on_message_;
    std::unique_ptr<rocksdb::DB> db_;
    std::vector<rocksdb::ColumnFamilyHandle*> families_;  // As in the table above, after RocksDB's own default.
    std::unique_ptr<rocksdb::WriteBatch> batch_;
    std::string stream_key_;
};

}  // namespace annal
