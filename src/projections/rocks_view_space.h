// The spaces of a ViewStore on RocksDB: one column family each. Private to view_store.cpp and the rocks_view_* files.
#pragma once

#include "view_store.h"

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <shared_mutex>

namespace rocksdb {
class ColumnFamilyHandle;
class DB;
class Status;
class WriteBatch;
struct ColumnFamilyOptions;
struct ReadOptions;
}  // namespace rocksdb

namespace annal::rocks_view {

// As to_error of events/rocks_support.h, and data_loss for a file that is missing.
Error view_error(const rocksdb::Status& status, std::string_view doing);
// Bytes are wrong or files missing: trying again cannot help, building anew does.
bool is_damage(const rocksdb::Status& status);

// One open RocksDB; closed when the store and all that was made from it are gone.
class Database {
 public:
    Database(rocksdb::DB* db, std::size_t bulk_bytes_min);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    rocksdb::DB& db() { return *db_; }
    std::size_t bulk_bytes_min() const { return bulk_bytes_min_; }
    // Unsynced. About once a second a write also syncs the WAL, so that a power loss costs little replay.
    Status write(rocksdb::WriteBatch& batch);
    // In a child made by fork RocksDB's threads are missing: a write would wait for them for ever.
    bool forked() const;

 private:
    rocksdb::DB* db_;
    const std::size_t bulk_bytes_min_;
    const pid_t owner_;
    std::atomic<std::chrono::steady_clock::rep> synced_at_;
};

// One column family. A drop leaves it readable for as long as somebody holds it.
class Column {
 public:
    Column(std::shared_ptr<Database> database, rocksdb::ColumnFamilyHandle* handle)
        : database_(std::move(database)), handle_(handle) {}
    ~Column();
    Column(const Column&) = delete;
    Column& operator=(const Column&) = delete;

    Database& database() const { return *database_; }
    std::shared_ptr<Database> shared_database() const { return database_; }
    rocksdb::DB& db() const { return database_->db(); }
    rocksdb::ColumnFamilyHandle* handle() const { return handle_; }

    std::string bulk_path() const;  // Of the file being made for it.
    // RocksDB counts a file's rows as written before it shows them: a snapshot made in between would see them come.
    // Held exclusively while a file is taken in, shared while a snapshot is made.
    std::shared_mutex& bulk_mutex() const { return bulk_mutex_; }

    bool damaged() const { return damaged_; }
    void set_damaged() const { damaged_ = true; }
    // The error of a failed read; damage is remembered.
    Error failed_read(const rocksdb::Status& status) const;

 private:
    std::shared_ptr<Database> database_;
    rocksdb::ColumnFamilyHandle* handle_;
    mutable std::atomic<bool> damaged_{false};
    mutable std::shared_mutex bulk_mutex_;
};

// Where a space finds its column family: clear() puts a new one in.
class Slot {
 public:
    explicit Slot(std::shared_ptr<const Column> column) : column_(std::move(column)) {}
    std::shared_ptr<const Column> column() const {
        const std::lock_guard lock(mutex_);
        return column_;
    }
    void replace(std::shared_ptr<const Column> column) {
        const std::lock_guard lock(mutex_);
        column_ = std::move(column);
    }

 private:
    mutable std::mutex mutex_;
    std::shared_ptr<const Column> column_;
};

// What a crash left of a file that was being made, in the directory of `keys`.
void remove_bulk_files(const std::filesystem::path& keys);

std::unique_ptr<ViewSpace> make_space(std::shared_ptr<Slot> slot, rocksdb::ColumnFamilyOptions options);

}  // namespace annal::rocks_view
