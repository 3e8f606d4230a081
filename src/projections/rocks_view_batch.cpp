#include "rocks_view_batch.h"

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <vector>

namespace annal::rocks_view {

Result<std::optional<std::string>> get(const Column& column, const rocksdb::ReadOptions& options,
                                       std::string_view key) {
    std::string value;
    const auto status = column.db().Get(options, column.handle(), rocksdb::Slice(key.data(), key.size()), &value);
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
    // In key order the memtable finds each place next to the one before.
    std::vector<const Entries::value_type*> ordered;
    ordered.reserve(entries_.size());
    for (const auto& each : entries_) ordered.push_back(&each);
    std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) { return a->first < b->first; });

    rocksdb::WriteBatch batch(bytes_ + 64);
    for (const auto* each : ordered) {
        const rocksdb::Slice key(each->first.data(), each->first.size());
        const auto& own = each->second;
        const auto added = own.erased ? batch.Delete(column.handle(), key)
                                      : batch.Put(column.handle(), key, rocksdb::Slice(own.value, own.size));
        if (!added.ok()) return view_error(added, "filling a batch");
    }
    if (auto written = column.database().write(batch); !written) return written;

    entries_ = Entries(&memory_);
    memory_.release();
    bytes_ = 0;
    return Done{};
}

}  // namespace annal::rocks_view
