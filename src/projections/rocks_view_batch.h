// A ViewBatch that remembers the last write of each key in memory: a key written many times reaches the store once, and
// reading an own write is one look into a hash table. Private to rocks_view_space.cpp.
#pragma once

#include "rocks_view_space.h"

#include <memory_resource>
#include <unordered_map>

namespace annal::rocks_view {

class Batch : public ViewBatch {
 public:
    explicit Batch(std::shared_ptr<const Slot> slot) : slot_(std::move(slot)) {}

    void put(std::string_view key, std::string_view value) override;
    void erase(std::string_view key) override;
    Result<std::optional<std::string>> get(std::string_view key) const override;

    Status write(const Column& column);  // Empties the batch when it succeeds.

 private:
    struct Entry {
        char* value = nullptr;
        std::size_t size = 0;
        std::size_t capacity = 0;
        bool erased = false;
    };
    using Entries = std::pmr::unordered_map<std::string_view, Entry>;

    Entry& entry(std::string_view key);

    std::shared_ptr<const Slot> slot_;
    std::pmr::monotonic_buffer_resource memory_{std::size_t{64} << 10};  // Keys, values and the table's nodes.
    Entries entries_{&memory_};
    std::size_t bytes_ = 0;
};

// What the store holds, as of `options`.
Result<std::optional<std::string>> get(const Column& column, const rocksdb::ReadOptions& options, std::string_view key);

}  // namespace annal::rocks_view
