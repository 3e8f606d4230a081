#include "rocks_view_batch.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/write_batch.h>

#include <algorithm>

namespace annal::rocks_view {
namespace {

rocksdb::Slice slice(std::string_view bytes) {
    return {bytes.data(), bytes.size()};
}

}  // namespace

Result<std::optional<std::string>> get(const Column& column, const rocksdb::ReadOptions& options,
                                       std::string_view key) {
    std::string value;
    const auto status = column.db().Get(options, column.handle(), slice(key), &value);
    if (status.ok()) return std::optional(std::move(value));
    if (status.IsNotFound()) return std::optional<std::string>();
    return column.failed_read(status);
}

Batch::Entry& Batch::entry(std::string_view key) {
    if (const auto found = entries_.find(key); found != entries_.end()) return found->second;
    auto* copy = static_cast<char*>(memory_.allocate(key.size() + 1, 1));
    std::copy(key.begin(), key.end(), copy);
    bytes_ += key.size() + 16;
    return entries_.emplace(std::string_view(copy, key.size()), Entry{}).first->second;
}

void Batch::put(std::string_view key, std::string_view value) {
    auto& own = entry(key);
    if (own.value == nullptr || value.size() > own.capacity) {
        // Room to grow: a value that is written again and again, longer each time, takes twice its size and not its
        // square.
        const auto capacity = std::max({value.size(), 2 * own.capacity, std::size_t{1}});
        own.value = static_cast<char*>(memory_.allocate(capacity, 1));
        own.capacity = capacity;
    }
    std::copy(value.begin(), value.end(), own.value);
    bytes_ += value.size() - std::min(own.size, value.size());
    own.size = value.size();
    own.erased = false;
}

void Batch::erase(std::string_view key) {
    auto& own = entry(key);
    own.size = 0;
    own.erased = true;
}

Result<std::optional<std::string>> Batch::get(std::string_view key) const {
    if (const auto found = entries_.find(key); found != entries_.end()) {
        const auto& own = found->second;
        if (own.erased) return std::optional<std::string>();
        return std::optional<std::string>(std::in_place, own.value, own.size);
    }
    return rocks_view::get(*slot_->column(), {}, key);
}

Status Batch::write(const Column& column) {
    // In key order the memtable finds each place next to the one before, and a file wants no other.
    Ordered ordered;
    ordered.reserve(entries_.size());
    for (const auto& each : entries_) ordered.push_back(&each);
    std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    if (auto written = is_bulk() ? write_file(column, ordered) : write_rows(column, ordered); !written) return written;

    entries_ = Entries(&memory_);
    memory_.release();
    bytes_ = 0;
    return Done{};
}

Status Batch::write_rows(const Column& column, const Ordered& ordered) const {
    rocksdb::WriteBatch batch(bytes_ + 64);
    for (const auto* each : ordered) {
        const auto& own = each->second;
        const auto added = own.erased ? batch.Delete(column.handle(), slice(each->first))
                                      : batch.Put(column.handle(), slice(each->first), {own.value, own.size});
        if (!added.ok()) return view_error(added, "filling a batch");
    }
    return column.database().write(batch);
}

// The manifest takes the file in with one record: all of the batch or nothing, the checkpoint in it included.
Status Batch::write_file(const Column& column, const Ordered& ordered) const {
    if (column.database().forked()) return Error{ErrorCode::unavailable, "writing a view after a fork", {}};
    auto options = column.db().GetOptions(column.handle());
    options.bottommost_compression = rocksdb::kDisableCompressionOption;  // A compaction will come.
    rocksdb::SstFileWriter file(rocksdb::EnvOptions(), options, column.handle());
    const auto path = column.bulk_path();
    auto status = file.Open(path);
    for (const auto* each : ordered) {
        if (!status.ok()) break;
        const auto& own = each->second;
        status = own.erased ? file.Delete(slice(each->first)) : file.Put(slice(each->first), {own.value, own.size});
    }
    if (status.ok()) status = file.Finish();
    rocksdb::IngestExternalFileOptions ingest;
    ingest.move_files = true;
    ingest.write_global_seqno = false;
    if (status.ok()) status = column.db().IngestExternalFile(column.handle(), {path}, ingest);
    if (!status.ok()) return view_error(status, "writing a view's file");
    return Done{};
}

}  // namespace annal::rocks_view
