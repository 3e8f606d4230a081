#include "rocks_view_batch.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <array>

namespace annal::rocks_view {
namespace {

// That sorts as the first 8 bytes do.
std::uint64_t number_of(std::string_view bytes) {
    std::array<unsigned char, 8> begin{};
    std::copy_n(bytes.begin(), std::min(bytes.size(), begin.size()), begin.begin());
    std::uint64_t number = 0;
    for (const auto byte : begin) number = number << 8 | byte;
    return number;
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

std::uint32_t Batch::find(std::string_view key, std::size_t hash) const {
    for (auto at = hash & (table_.size() - 1); table_[at] != 0; at = (at + 1) & (table_.size() - 1)) {
        const auto& found = entries_[table_[at] - 1];
        if (found.hash == hash && found.key == key) return table_[at];
    }
    return 0;
}

Batch::Entry& Batch::entry(std::string_view key) {
    const auto hash = std::hash<std::string_view>{}(key);
    if (const auto found = find(key, hash); found != 0) return entries_[found - 1];
    if (2 * (entries_.size() + 1) > table_.size()) grow();
    auto* copy = allocate(key.size() + 1);
    std::copy(key.begin(), key.end(), copy);
    bytes_ += key.size() + 16;
    entries_.push_back({.key = {copy, key.size()}, .hash = hash});
    auto at = hash & (table_.size() - 1);
    while (table_[at] != 0) at = (at + 1) & (table_.size() - 1);
    table_[at] = static_cast<std::uint32_t>(entries_.size());
    return entries_.back();
}

void Batch::grow() {
    table_.assign(2 * table_.size(), 0);
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
        auto at = entries_[i].hash & (table_.size() - 1);
        while (table_[at] != 0) at = (at + 1) & (table_.size() - 1);
        table_[at] = i + 1;
    }
}

void Batch::put(std::string_view key, std::string_view value) {
    auto& own = entry(key);
    if (own.value == nullptr || value.size() > own.capacity) {
        // Room to grow: a value that is written again and again, longer each time, takes twice its size and not its
        // square.
        const auto capacity = std::max({value.size(), std::size_t{2} * own.capacity, std::size_t{1}});
        own.value = allocate(capacity);
        own.capacity = static_cast<std::uint32_t>(capacity);
    }
    std::copy(value.begin(), value.end(), own.value);
    bytes_ += value.size() - std::min<std::size_t>(own.size, value.size());
    own.size = static_cast<std::uint32_t>(value.size());
    own.erased = false;
}

void Batch::erase(std::string_view key) {
    auto& own = entry(key);
    own.size = 0;
    own.erased = true;
}

Result<std::optional<std::string>> Batch::get(std::string_view key) const {
    if (const auto found = find(key, std::hash<std::string_view>{}(key)); found != 0) {
        const auto& own = entries_[found - 1];
        if (own.erased) return std::optional<std::string>();
        return std::optional<std::string>(std::in_place, own.value, own.size);
    }
    return rocks_view::get(*slot_->column(), {}, key);
}

// By key. Keys of a project begin alike, so what is compared first is the 16 bytes after what all have in common.
std::vector<Batch::Place> Batch::ordered() const {
    const auto is_own = [](const Entry& entry) { return !entry.key.starts_with('\0'); };  // The others: the runtime's.
    std::string_view common;
    if (const auto first = std::ranges::find_if(entries_, is_own); first != entries_.end()) common = first->key;
    for (const auto& each : entries_)
        if (is_own(each)) common = {common.begin(), std::ranges::mismatch(common, each.key).in1};

    std::vector<Place> places;
    places.reserve(entries_.size());
    for (const auto& each : entries_) {
        const auto rest = is_own(each) ? each.key.substr(common.size()) : std::string_view();
        places.push_back({number_of(rest), number_of(rest.substr(std::min<std::size_t>(rest.size(), 8))), &each});
    }
    std::ranges::sort(places, [](const Place& a, const Place& b) {
        if (a.first != b.first) return a.first < b.first;
        if (a.second != b.second) return a.second < b.second;
        return a.entry->key < b.entry->key;
    });
    return places;
}

Status Batch::write(const Column& column) {
    // In key order the memtable finds each place next to the one before, and a file wants no other.
    const auto places = ordered();
    if (auto written = is_bulk(column) ? write_file(column, places) : write_rows(column, places); !written)
        return written;

    clear();
    return Done{};
}

char* Batch::allocate(std::size_t size) {
    used_ += size;
    return static_cast<char*>(memory_->allocate(size, 1));
}

void Batch::clear() {
    entries_.clear();
    std::ranges::fill(table_, 0);
    bytes_ = 0;
    if (used_ > buffer_.size()) buffer_.resize(used_);
    used_ = 0;
    memory_.emplace(buffer_.data(), buffer_.size());
}

Status Batch::write_rows(const Column& column, const std::vector<Place>& ordered) const {
    rocksdb::WriteBatch batch(bytes_ + 64);
    for (const auto& place : ordered) {
        const auto* own = place.entry;
        const auto added = own->erased ? batch.Delete(column.handle(), slice(own->key))
                                       : batch.Put(column.handle(), slice(own->key), {own->value, own->size});
        if (!added.ok()) return view_error(added, "filling a batch");
    }
    return column.database().write(batch);
}

// The manifest takes the file in with one record: all of the batch or nothing, the checkpoint in it included.
Status Batch::write_file(const Column& column, const std::vector<Place>& ordered) const {
    if (column.database().forked()) return Error{ErrorCode::unavailable, "writing a view after a fork", {}};
    auto options = column.db().GetOptions(column.handle());
    options.compression = rocksdb::kNoCompression;  // A compaction will come.
    options.bottommost_compression = rocksdb::kDisableCompressionOption;
    constexpr bool drop_from_page_cache = false;  // It is read again soon: by the one who writes, and by a compaction.
    rocksdb::SstFileWriter file(rocksdb::EnvOptions(), options, column.handle(), drop_from_page_cache);
    const auto path = column.bulk_path();
    auto status = file.Open(path);
    for (const auto& place : ordered) {
        const auto* own = place.entry;
        if (!status.ok()) break;
        status = own->erased ? file.Delete(slice(own->key)) : file.Put(slice(own->key), {own->value, own->size});
    }
    if (status.ok()) status = file.Finish();
    rocksdb::IngestExternalFileOptions ingest;
    ingest.move_files = true;
    ingest.write_global_seqno = false;
    if (status.ok()) {
        const std::lock_guard lock(column.bulk_mutex());
        status = column.db().IngestExternalFile(column.handle(), {path}, ingest);
    }
    if (!status.ok()) return view_error(status, "writing a view's file");
    return Done{};
}

}  // namespace annal::rocks_view
