#include "raw_rocks.h"

#include "events/codec.h"

#include <memory_event_generated.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace annal::bench {
namespace {

std::string key_of(std::uint64_t number) {
    std::string key;
    for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>(number >> shift);
    return key;
}

void require(const rocksdb::Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "rocksdb: %s\n", status.ToString().c_str());
    std::abort();
}

}  // namespace

struct RawRocks::Parts {
    std::unique_ptr<rocksdb::DB> db;
};

RawRocks::RawRocks(const std::filesystem::path& directory) : parts_(std::make_unique<Parts>()) {
    rocksdb::Options options;
    options.create_if_missing = true;
    options.compression = rocksdb::kLZ4Compression;
    options.write_buffer_size = std::size_t{64} << 20;
    options.max_write_buffer_number = 3;
    options.target_file_size_base = std::uint64_t{128} << 20;
    options.max_background_jobs = 4;
    rocksdb::BlockBasedTableOptions table;
    table.block_size = std::size_t{16} << 10;
    table.format_version = 5;
    table.checksum = rocksdb::kXXH3;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* db = nullptr;
    require(rocksdb::DB::Open(options, directory.string(), &db));
    parts_->db.reset(db);
}

RawRocks::~RawRocks() = default;

void RawRocks::put_synced(std::uint64_t key, std::string_view value) {
    rocksdb::WriteOptions options;
    options.sync = true;
    require(parts_->db->Put(options, key_of(key), rocksdb::Slice(value.data(), value.size())));
}

void RawRocks::put_batch(std::uint64_t first, const std::vector<std::string_view>& values, bool sync) {
    rocksdb::WriteBatch batch;
    for (const auto& value : values) require(batch.Put(key_of(first++), rocksdb::Slice(value.data(), value.size())));
    rocksdb::WriteOptions options;
    options.sync = sync;
    require(parts_->db->Write(options, &batch));
}

void RawRocks::flush() {
    require(parts_->db->Flush({}));
}

std::uint64_t RawRocks::scan_and_verify() const {
    rocksdb::ReadOptions options;
    options.readahead_size = std::size_t{2} << 20;
    options.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> rows(parts_->db->NewIterator(options));
    std::vector<std::max_align_t> aligned((std::size_t{1} << 21) / sizeof(std::max_align_t));
    auto* const copy = reinterpret_cast<std::uint8_t*>(aligned.data());
    std::uint64_t count = 0;
    for (rows->SeekToFirst(); rows->Valid(); rows->Next(), ++count) {
        const auto value = rows->value();
        std::memcpy(copy, value.data(), value.size());
        flatbuffers::Verifier verifier(copy + event_header_bytes, value.size() - event_header_bytes, 32, 10'000);
        if (!fbs::VerifyMemoryEventBuffer(verifier)) std::abort();
    }
    require(rows->status());
    return count;
}

}  // namespace annal::bench
