#include "view_store.h"

#include "events/rocks_files.h"
#include "events/rocks_support.h"
#include "rocks_view_space.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

namespace annal {
namespace {

using rocks_view::Column;
using rocks_view::Database;
using rocks_view::Slot;
namespace fs = std::filesystem;

constexpr std::size_t space_name_size_max = 64;
constexpr std::size_t block_cache_bytes = std::size_t{32} << 20;
constexpr int block_cache_shard_bits = 2;
constexpr std::size_t write_buffer_bytes = std::size_t{8} << 20;        // Of one space,
constexpr std::size_t write_buffers_bytes_max = std::size_t{24} << 20;  // and of all together.
constexpr std::uint64_t manifest_bytes_max = std::uint64_t{64} << 10;   // Also what a purge has to fill.
constexpr std::uint64_t wal_bytes_max = std::uint64_t{48} << 20;        // What an open after a crash replays at most.

fs::path keys_of(const fs::path& directory) {
    return directory / "keys";
}
// Left by a store that found damage while it was open, for the next open.
fs::path mark_of(const fs::path& directory) {
    return directory / "damaged";
}

rocksdb::ColumnFamilyOptions space_options() {
    rocksdb::BlockBasedTableOptions table;
    table.format_version = 5;  // The newest that RocksDB 7.8 reads.
    table.block_size = std::size_t{8} << 10;
    table.block_cache = rocksdb::NewLRUCache(block_cache_bytes, block_cache_shard_bits);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    // Filters and indexes stay in memory, beside the cache: about 1.5 bytes a key. A filter is bigger than a shard of
    // so small a cache, and would be read from the file at every miss (measured: 83 us).
    table.cache_index_and_filter_blocks = false;

    rocksdb::ColumnFamilyOptions options;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    options.compression = rocksdb::kLZ4Compression;
    options.bottommost_compression = rocksdb::kZSTD;  // Where most of it ends up, and is seldom rewritten.
    options.write_buffer_size = write_buffer_bytes;
    options.max_write_buffer_number = 3;
    options.memtable_whole_key_filtering = true;
    options.memtable_prefix_bloom_size_ratio = 0.05;  // Most keys a projector asks for while it replays are not there.
    options.level_compaction_dynamic_level_bytes = true;
    options.target_file_size_base = std::uint64_t{32} << 20;
    options.max_bytes_for_level_base = std::uint64_t{64} << 20;
    // A replay may run ahead of compaction by this many files: their filters keep reads quick.
    options.level0_slowdown_writes_trigger = 32;
    options.level0_stop_writes_trigger = 48;
    options.ttl = 0;
    options.periodic_compaction_seconds = 0;
    return options;
}

// Damage met by a background job stops all writes until the next open: leave a word for it.
class DamageListener : public rocksdb::EventListener {
 public:
    explicit DamageListener(fs::path mark) : mark_(std::move(mark)) {}
    void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* status) override {
        if (status->IsCorruption()) std::ofstream(mark_) << "a background job met damaged bytes\n";
    }

 private:
    const fs::path mark_;
};

rocksdb::DBOptions database_options(const ViewStoreOptions& store) {
    rocksdb::DBOptions options;
    options.create_if_missing = true;
    options.create_missing_column_families = true;
    options.info_log = make_logger(store.on_message);
    options.listeners = {std::make_shared<DamageListener>(mark_of(store.directory))};
    options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;  // A prefix is all a view needs.
    options.wal_bytes_per_sync = std::uint64_t{1} << 20;
    options.bytes_per_sync = std::uint64_t{1} << 20;
    options.max_total_wal_size = wal_bytes_max;
    options.db_write_buffer_size = write_buffers_bytes_max;
    options.max_background_jobs = 2;
    options.max_open_files = 512;
    options.max_file_opening_threads = 2;
    options.max_manifest_file_size = manifest_bytes_max;
    options.allow_fallocate = false;  // Preallocation would be most of a small store's size.
    options.skip_stats_update_on_db_open = true;
    options.avoid_unnecessary_blocking_io = true;
    options.stats_dump_period_sec = 0;
    options.stats_persist_period_sec = 0;
    return options;
}

constexpr int purge_tries = 500;
constexpr auto purge_pause = std::chrono::milliseconds(10);

// Held: RocksDB knows by its lock file whether a process, this one included, has the store open.
bool is_locked(const fs::path& keys) {
    auto* env = rocksdb::Env::Default();
    const auto lock = (keys / "LOCK").string();
    if (!env->FileExists(lock).ok()) return false;
    rocksdb::FileLock* held = nullptr;
    if (const auto status = env->LockFile(lock, &held); !status.ok()) return true;
    env->UnlockFile(held).PermitUncheckedError();
    return false;
}

std::uint64_t bytes_below(const fs::path& directory) {
    std::uint64_t bytes = 0;
    std::error_code error;
    for (fs::recursive_directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
        std::error_code ignored;
        if (!at->is_regular_file(ignored) || ignored) continue;
        const auto size = at->file_size(ignored);
        if (!ignored) bytes += size;
    }
    return bytes;
}

rocksdb::Status enable_file_deletions(rocksdb::DB& db) {
#if ROCKSDB_MAJOR >= 9
    return db.EnableFileDeletions();
#else
    return db.EnableFileDeletions(false);  // As the later ones do: whoever else has disabled them still has.
#endif
}

class RocksViewStore : public ViewStore {
 public:
    explicit RocksViewStore(fs::path directory) : directory_(std::move(directory)) {}

    ~RocksViewStore() override {
        if (database_ == nullptr || database_->forked()) return;
        rocksdb::FlushOptions flush;
        for (const bool wait : {false, true}) {  // Start all, then wait for all.
            flush.wait = wait;
            for (const auto& [name, slot] : slots_)
                database_->db().Flush(flush, slot->column()->handle()).PermitUncheckedError();
        }
    }

    rocksdb::Status open(const ViewStoreOptions& options) {
        const auto keys = keys_of(directory_).string();
        const auto database = database_options(options);
        std::vector<std::string> names;
        auto* env = rocksdb::Env::Default();
        if (env->FileExists(keys + "/CURRENT").ok()) {
            if (auto status = rocksdb::DB::ListColumnFamilies(database, keys, &names); !status.ok()) return status;
        } else {
            names = {rocksdb::kDefaultColumnFamilyName};
        }
        const std::vector<rocksdb::ColumnFamilyDescriptor> families = [&] {
            std::vector<rocksdb::ColumnFamilyDescriptor> all;
            for (const auto& name : names) all.emplace_back(name, space_options_);
            return all;
        }();
        rocks_view::remove_bulk_files(keys);
        rocksdb::DB* db = nullptr;
        std::vector<rocksdb::ColumnFamilyHandle*> handles;
        if (auto status = rocksdb::DB::Open(database, keys, families, &handles, &db); !status.ok()) return status;
        database_ = std::make_shared<Database>(db, options.bulk_bytes_min);
        for (std::size_t i = 0; i < names.size(); ++i) add(names[i], handles[i]);
        return rocksdb::Status::OK();
    }

    void set_recovered(std::string why) { recovered_ = std::move(why); }

    Result<std::unique_ptr<ViewSpace>> space(std::string_view name) override {
        const auto plain = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        };
        if (name.empty() || name.size() > space_name_size_max || !std::all_of(name.begin(), name.end(), plain) ||
            name == rocksdb::kDefaultColumnFamilyName)
            return Error{ErrorCode::invalid_argument, "a view space needs a name of 1 to 64 of a-z, 0-9, '_', '-'", {}};
        const std::lock_guard lock(mutex_);
        if (const auto found = slots_.find(name); found != slots_.end())
            return rocks_view::make_space(found->second, space_options_);
        if (database_->forked()) return Error{ErrorCode::unavailable, "opening a view after a fork", {}};
        rocksdb::ColumnFamilyHandle* handle = nullptr;
        const auto made = database_->db().CreateColumnFamily(space_options_, std::string(name), &handle);
        if (!made.ok()) return rocks_view::view_error(made, "making a view space");
        return rocks_view::make_space(add(std::string(name), handle), space_options_);
    }

    std::vector<std::string> spaces() const override {
        const std::lock_guard lock(mutex_);
        std::vector<std::string> names;
        for (const auto& [name, slot] : slots_)
            if (name != rocksdb::kDefaultColumnFamilyName) names.push_back(name);
        return names;
    }

    Status drop(std::string_view name) override {
        const std::lock_guard lock(mutex_);
        const auto found = slots_.find(name);
        if (found == slots_.end()) return Done{};
        if (database_->forked()) return Error{ErrorCode::unavailable, "dropping a view after a fork", {}};
        const auto dropped = database_->db().DropColumnFamily(found->second->column()->handle());
        if (!dropped.ok()) return rocks_view::view_error(dropped, "dropping a view space");
        slots_.erase(found);
        return Done{};
    }

    Status sync() override {
        if (database_->forked()) return Error{ErrorCode::unavailable, "syncing the views after a fork", {}};
        if (const auto synced = database_->db().FlushWAL(true); !synced.ok())
            return rocks_view::view_error(synced, "syncing the views");
        return Done{};
    }

    Status purge() override {
        if (database_->forked()) return Error{ErrorCode::unavailable, "purging the views after a fork", {}};
        auto& db = database_->db();
        // A row in the write-ahead log makes the flush begin another one; then the flushed ones go.
        auto done = db.Put({}, "purged", {});
        std::vector<std::shared_ptr<const Column>> columns;
        {
            const std::lock_guard lock(mutex_);
            for (const auto& [name, slot] : slots_) columns.push_back(slot->column());
        }
        for (const auto& column : columns) {
            if (done.ok()) done = db.Flush({}, column->handle());
        }
        if (done.ok()) done = new_manifest();
        if (!done.ok()) return rocks_view::view_error(done, "purging the views");
        // Whoever reads a file that is to go is soon done.
        for (auto tries = purge_tries; tries > 0; --tries, std::this_thread::sleep_for(purge_pause)) {
            // The second call looks through the directory and removes what no version needs, before it returns.
            done = db.DisableFileDeletions();
            if (done.ok()) done = enable_file_deletions(db);
            if (!done.ok()) return rocks_view::view_error(done, "purging the views");
            const auto left = files_left();
            if (!left) return left.error();
            if (*left == 0) return Done{};
        }
        return Error{ErrorCode::unavailable, "files of the views that were removed are still in use", {}};
    }

    Result<Checked> check_files(std::uint64_t after, const std::function<bool(const Checked&)>& progress) override {
        if (database_->forked()) return Error{ErrorCode::unavailable, "checking the views after a fork", {}};
        Checked checked{.at = after};
        std::optional<Error> first;
        const auto done = annal::check_files(database_->db(), after, [&](const TableFile& file, const Status& whole) {
            if (!whole) {
                if (!first) first = whole.error();
                const std::lock_guard lock(mutex_);
                const auto space = slots_.find(file.family);
                if (space != slots_.end() && whole.error().code == ErrorCode::data_loss)
                    space->second->column()->set_damaged();
            }
            checked = {checked.count + 1, checked.bytes + file.bytes, file.number};
            return progress(checked);
        });
        if (!done) return done.error();
        if (first) return *first;
        return checked;
    }

    fs::path directory() const override { return directory_; }
    std::uint64_t bytes_on_disk() const override { return bytes_below(directory_); }
    std::string recovered() const override { return recovered_; }

 private:
    std::shared_ptr<Slot> add(std::string name, rocksdb::ColumnFamilyHandle* handle) {
        auto slot = std::make_shared<Slot>(std::make_shared<const Column>(database_, handle));
        slots_.emplace(std::move(name), slot);
        return slot;
    }

    // The manifest names the least and greatest key of every file there ever was. When it is full RocksDB begins
    // another one, with what is there: a space whose name fills it is the one write that takes.
    rocksdb::Status new_manifest() {
        rocksdb::ColumnFamilyHandle* handle = nullptr;
        auto done = database_->db().CreateColumnFamily({}, std::string(manifest_bytes_max + 1, 'p'), &handle);
        if (!done.ok()) return done;
        const auto before = current_manifest();
        done = database_->db().DropColumnFamily(handle);
        database_->db().DestroyColumnFamilyHandle(handle).PermitUncheckedError();
        if (done.ok() && current_manifest() == before)
            return rocksdb::Status::Aborted("the manifest was not begun anew");
        return done;
    }

    std::string current_manifest() const {
        std::ifstream file(keys_of(directory_) / "CURRENT");
        std::string name;
        std::getline(file, name);
        return name;
    }

    // That no version of a space has.
    Result<std::size_t> files_left() {
        std::vector<std::string> live;
        std::uint64_t manifest_bytes = 0;
        const auto listed = database_->db().GetLiveFiles(live, &manifest_bytes, false);
        if (!listed.ok()) return rocks_view::view_error(listed, "listing the views' files");
        std::size_t left = 0;
        std::error_code failed;
        for (fs::directory_iterator at(keys_of(directory_), failed), end; !failed && at != end; at.increment(failed)) {
            const auto name = at->path().filename().string();
            if (!name.ends_with(".sst") && !name.starts_with("MANIFEST-")) continue;
            if (std::ranges::find(live, "/" + name) == live.end()) ++left;
        }
        if (failed) return Error{ErrorCode::unavailable, "listing the views' files: " + failed.message(), {}};
        return left;
    }

    const fs::path directory_;
    const rocksdb::ColumnFamilyOptions space_options_ = space_options();  // One block cache for all.
    std::string recovered_;
    mutable std::mutex mutex_;
    std::shared_ptr<Database> database_;
    std::map<std::string, std::shared_ptr<Slot>, std::less<>> slots_;
};

Status make_directory(const fs::path& keys) {
    std::error_code error;
    fs::create_directories(keys, error);
    if (error) return Error{ErrorCode::unavailable, "making the views' folder: " + error.message(), {}};
    return Done{};
}

// One damaged store is kept for whoever wants to look at it.
Status set_aside(const fs::path& directory) {
    auto aside = directory;
    aside += ".damaged";
    std::error_code error;
    fs::remove_all(aside, error);
    if (!error) fs::rename(directory, aside, error);
    if (error) return Error{ErrorCode::unavailable, "setting a damaged view store aside: " + error.message(), {}};
    return Done{};
}

}  // namespace

Result<std::unique_ptr<ViewStore>> ViewStore::open(const ViewStoreOptions& options) {
    auto store = options;
    // One name for one folder: RocksDB knows the files this process has locked by their names.
    std::error_code failed;
    store.directory = fs::weakly_canonical(options.directory, failed);
    if (!store.directory.has_filename()) store.directory = store.directory.parent_path();
    if (failed) return Error{ErrorCode::unavailable, "finding the views' folder: " + failed.message(), {}};
    const auto keys = keys_of(store.directory);

    if (auto made = make_directory(keys); !made) return made.error();
    if (is_locked(keys)) return Error{ErrorCode::already_exists, "another process has the view store open", {}};

    std::string damage;
    std::error_code ignored;
    if (fs::exists(mark_of(store.directory), ignored)) {
        damage = "the view store met damaged bytes when it was last open";
    } else {
        auto opened = std::make_unique<RocksViewStore>(store.directory);
        const auto status = opened->open(store);
        if (status.ok()) return std::unique_ptr<ViewStore>(std::move(opened));
        const auto error = rocks_view::view_error(status, "opening the view store");
        if (!rocks_view::is_damage(status)) return error;
        damage = error.message;
    }

    if (store.on_message) store.on_message("warning", damage + "; it is set aside and the views are made anew");
    if (auto moved = set_aside(store.directory); !moved) return moved.error();
    if (auto made = make_directory(keys); !made) return made.error();
    auto fresh = std::make_unique<RocksViewStore>(store.directory);
    if (const auto status = fresh->open(store); !status.ok())
        return rocks_view::view_error(status, "making the view store anew");
    fresh->set_recovered(std::move(damage));
    return std::unique_ptr<ViewStore>(std::move(fresh));
}

}  // namespace annal
