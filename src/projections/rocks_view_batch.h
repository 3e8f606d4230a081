// A ViewBatch that remembers the last write of each key in memory: a key written many times reaches the store once, and
// reading an own write is one look into a hash table. Private to rocks_view_space.cpp.
#pragma once

#include "rocks_view_space.h"

#include <memory_resource>
#include <unordered_map>
#include <vector>

namespace annal::rocks_view {

inline constexpr std::size_t bulk_bytes_min = std::size_t{4} << 20;

class Batch : public ViewBatch {
 public:
    explicit Batch(std::shared_ptr<const Slot> slot) : slot_(std::move(slot)) {}

    void put(std::string_view key, std::string_view value) override;
    void erase(std::string_view key) override;
    Result<std::optional<std::string>> get(std::string_view key) const override;

    Status write(const Column& column);  // Empties the batch when it succeeds.
    // So much at once, a replay's, is written as one sorted file and not row by row: a row costs a tenth of its way
    // through WAL, memtable, flush and compaction.
    bool is_bulk() const { return bytes_ >= bulk_bytes_min; }

 private:
    struct Entry {
        char* value = nullptr;
        std::size_t size = 0;
        std::size_t capacity = 0;
        bool erased = false;
    };
    using Entries = std::pmr::unordered_map<std::string_view, Entry>;
    using Ordered = std::vector<const Entries::value_type*>;

    Entry& entry(std::string_view key);
    Status write_rows(const Column& column, const Ordered& ordered) const;
    Status write_file(const Column& column, const Ordered& ordered) const;

    std::shared_ptr<const Slot> slot_;
    std::pmr::monotonic_buffer_resource memory_{std::size_t{64} << 10};  // Keys, values and the table's nodes.
    Entries entries_{&memory_};
    std::size_t bytes_ = 0;
};

// What the store holds, as of `options`.
Result<std::optional<std::string>> get(const Column& column, const rocksdb::ReadOptions& options, std::string_view key);

}  // namespace annal::rocks_view
