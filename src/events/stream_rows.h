// Rows of the family "streams" (rocks_store.h) that are not there yet, in the order of their events.
// Threads: as a container.
#pragma once

#include <annal/ids.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

class StreamRows {
 public:
    // A key is its stream's prefix and a version; a stream's versions are added in order, without a gap.
    void add(std::string_view key, std::string_view value);
    void clear();
    std::size_t size() const { return rows_.size(); }

    std::string_view key(std::size_t row) const { return {bytes_.data() + rows_[row].at, rows_[row].key_size}; }
    std::string_view value(std::size_t row) const;
    std::vector<std::size_t> of_stream(std::string_view prefix) const;  // Oldest first.
    std::size_t last_of_stream(std::string_view prefix) const;          // size(): there is none.
    std::vector<std::size_t> sorted() const;                            // By key.

 private:
    static constexpr std::size_t version_bytes = 8;
    struct Row {
        std::size_t at;
        std::uint32_t key_size, value_size;
        std::uint32_t previous;  // Of the stream, counted from 1; 0: none.
    };
    std::string_view prefix(std::size_t row) const { return key(row).substr(0, rows_[row].key_size - version_bytes); }
    std::size_t slot_of(std::string_view prefix) const;
    void grow();

    std::string bytes_;
    std::vector<Row> rows_;
    std::vector<std::uint32_t> slots_;  // The last row of a stream, counted from 1; at most half of them are taken.
};

}  // namespace annal
