// A ViewBatch that remembers the last write of each key in memory: a key written many times reaches the store once, and
// reading an own write is one look into a hash table. Private to rocks_view_space.cpp.
#pragma once

#include "rocks_view_space.h"

#include <rocksdb/slice.h>

#include <cstddef>
#include <memory_resource>
#include <optional>
#include <vector>

namespace annal::rocks_view {

inline rocksdb::Slice slice(std::string_view bytes) {
    return {bytes.data(), bytes.size()};
}

class Batch : public ViewBatch {
 public:
    explicit Batch(std::shared_ptr<const Slot> slot) : slot_(std::move(slot)) {}

    void put(std::string_view key, std::string_view value) override;
    void erase(std::string_view key) override;
    Result<std::optional<std::string>> get(std::string_view key) const override;

    Status write(const Column& column);  // Empties the batch when it succeeds.
    bool is_bulk(const Column& column) const { return bytes_ > 0 && bytes_ >= column.database().bulk_bytes_min(); }

 private:
    struct Entry {
        std::string_view key;
        std::size_t hash = 0;
        char* value = nullptr;
        std::uint32_t size = 0;
        std::uint32_t capacity = 0;
        bool erased = false;
    };
    struct Place {                    // Where an entry comes in key order.
        std::uint64_t first, second;  // The first 16 bytes of what sets the keys apart.
        const Entry* entry;
    };

    std::uint32_t find(std::string_view key, std::size_t hash) const;  // As in table_.
    Entry& entry(std::string_view key);
    char* allocate(std::size_t size);
    void grow();
    void clear();
    std::vector<Place> ordered() const;
    Status write_rows(const Column& column, const std::vector<Place>& ordered) const;
    Status write_file(const Column& column, const std::vector<Place>& ordered) const;

    std::shared_ptr<const Slot> slot_;
    std::vector<std::byte> buffer_;  // As much as the greatest batch yet.
    std::optional<std::pmr::monotonic_buffer_resource> memory_{std::in_place,
                                                               std::size_t{64} << 10};  // Keys and values.
    std::size_t used_ = 0;                                                              // Of it.
    std::vector<Entry> entries_;                                         // In the order of their first writes.
    std::vector<std::uint32_t> table_ = std::vector<std::uint32_t>(64);  // By hash: an entry's number, counted from 1.
    std::size_t bytes_ = 0;
};

// What the store holds, as of `options`.
Result<std::optional<std::string>> get(const Column& column, const rocksdb::ReadOptions& options, std::string_view key);

}  // namespace annal::rocks_view
