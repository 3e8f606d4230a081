#include "rocks_options.h"

#include "crc32c.h"
#include "rocks_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/file_checksum.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>

namespace annal {
namespace {

constexpr int cache_shard_bits = 2;  // By default 64 shards, of half a MiB each.

// A full disk is recovered from by one path of ours, close and reopen, not by a thread of RocksDB's that races with it.
class NoSelfRecovery final : public rocksdb::EventListener {
 public:
    void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status error, bool* auto_recovery) override {
        error.PermitUncheckedError();
        *auto_recovery = false;
    }
};

// RocksDB's own checksum of files, name and bytes, through the processor's instruction.
class FileCrc32c final : public rocksdb::FileChecksumGenerator {
 public:
    void Update(const char* data, std::size_t size) override { crc_ = crc32c(data, size, crc_); }
    void Finalize() override {
        for (int shift = 24; shift >= 0; shift -= 8) checksum_ += static_cast<char>(crc_ >> shift);
    }
    std::string GetChecksum() const override { return checksum_; }
    const char* Name() const override { return "FileChecksumCrc32c"; }

 private:
    std::uint32_t crc_ = 0;
    std::string checksum_;
};

class FileCrc32cFactory final : public rocksdb::FileChecksumGenFactory {
 public:
    std::unique_ptr<rocksdb::FileChecksumGenerator> CreateFileChecksumGenerator(
        const rocksdb::FileChecksumGenContext&) override {
        return std::make_unique<FileCrc32c>();
    }
    const char* Name() const override { return "FileChecksumGenCrc32cFactory"; }
};

}  // namespace

std::shared_ptr<rocksdb::FileChecksumGenFactory> file_checksums() {
    return std::make_shared<FileCrc32cFactory>();
}

rocksdb::DBOptions rocks_db_options(const RocksStoreOptions& options) {
    rocksdb::DBOptions db;
    if (options.env != nullptr) db.env = options.env;
    db.create_if_missing = options.create;
    db.create_missing_column_families = !options.read_only;
    db.info_log = make_logger(options.on_message);
    // Of a store of before there was a journal; the witness knows whether it is all.
    db.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
    db.paranoid_checks = true;
    db.flush_verify_memtable_count = true;
    db.verify_sst_unique_id_in_manifest = true;
    db.track_and_verify_wals_in_manifest = false;  // 7.8 reports missing WALs that are not.
    db.recycle_log_file_num = 0;
    db.enable_pipelined_write = false;
    db.unordered_write = false;
    db.two_write_queues = false;
    db.allow_2pc = false;
    db.allow_concurrent_memtable_write = false;  // One committer.
    db.enable_write_thread_adaptive_yield = false;
    db.atomic_flush = true;                  // Tables are as of one frame of our journal, which is the write-ahead log.
    db.avoid_flush_during_recovery = false;  // What an open recovers is durable when it returns.
    db.avoid_flush_during_shutdown = true;   // Ours to decide: RocksStore::flush().
    db.max_open_files = 4096;
    db.max_file_opening_threads = 1;  // Else 15 threads are made and ended an open, for the 16 tables it looks at.
    db.skip_stats_update_on_db_open = true;
    db.max_background_jobs = 4;
    db.bytes_per_sync = std::uint64_t{1} << 20;
    db.file_checksum_gen_factory = file_checksums();
    db.avoid_unnecessary_blocking_io = true;
    db.stats_dump_period_sec = 0;
    db.stats_persist_period_sec = 0;
    db.listeners.push_back(std::make_shared<NoSelfRecovery>());
    return db;
}

std::vector<rocksdb::ColumnFamilyDescriptor> rocks_families() {
    rocksdb::BlockBasedTableOptions table;
    table.block_size = std::size_t{16} << 10;
    table.format_version = 5;  // 7.8 cannot read 6, the default of later versions.
    table.checksum = rocksdb::kXXH3;
    table.cache_index_and_filter_blocks = true;
    table.pin_l0_filter_and_index_blocks_in_cache = true;
    table.block_cache = rocksdb::NewLRUCache(std::size_t{32} << 20, cache_shard_bits);
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));

    rocksdb::ColumnFamilyOptions common;
    common.compaction_style = rocksdb::kCompactionStyleLevel;
    // One codec on every level: files of ever greater keys are then moved down, not rewritten.
    common.compression = rocksdb::kLZ4Compression;
    common.bottommost_compression = rocksdb::kDisableCompressionOption;
    common.ttl = 0;  // The default of 30 days would rewrite the log.
    common.periodic_compaction_seconds = 0;
    common.max_write_buffer_number = 3;
    common.level0_slowdown_writes_trigger = 40;
    common.level0_stop_writes_trigger = 60;
    common.memtable_protection_bytes_per_key = 8;
    common.paranoid_file_checks = true;
    common.force_consistency_checks = true;

    rocksdb::ColumnFamilyOptions events = common;
    events.write_buffer_size = std::size_t{128} << 20;  // More than a journal has: its end is what begins a flush.
    events.target_file_size_base = std::uint64_t{128} << 20;
    events.optimize_filters_for_hits = true;  // Every seq up to the head is there.
    events.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));

    rocksdb::ColumnFamilyOptions streams = common;  // Keys in no order: small blocks.
    streams.write_buffer_size = std::size_t{64} << 20;
    table.block_size = std::size_t{4} << 10;
    // A filter of a whole table may not fit into a shard of the cache: it would be read at every question.
    table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
    table.partition_filters = true;
    streams.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));

    rocksdb::ColumnFamilyOptions idem = streams;  // Most keys asked for are new: a filter in memory too.
    idem.memtable_prefix_bloom_size_ratio = 0.05;
    idem.memtable_whole_key_filtering = true;

    return {{rocksdb::kDefaultColumnFamilyName, rocksdb::ColumnFamilyOptions()},
            {"events", events},
            {"streams", streams},
            {"idem", idem},
            {"meta", rocksdb::ColumnFamilyOptions()}};
}

}  // namespace annal
