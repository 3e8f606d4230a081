// What is known of the 8192 memories of a block: which are in a set, and a number of each. Offsets count from 0.
// Equal contents have equal bytes, however they came to be.
//   set     at most 511 members: their offsets, 2 bytes each, ascending; else a bitmap of 1024 bytes. Little endian.
//   column  size of the set (2), set of those with a value, layout (1), then for the values in the set's order:
//           layout 0  all are equal: the value (8)
//           layout 1  count - 1 of different values (1), these ascending (8 each), an index for each (1)
//           layout 2  least (8), greatest (8), width 1..8 (1), the difference to the least for each (width)
#pragma once

#include "memory_keys.h"

#include <annal/result.h>

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal {

class BlockSet {
 public:
    static constexpr std::size_t word_count = memory_keys::block_size / 64;

    void insert(std::uint16_t offset) { words_[offset / 64] |= std::uint64_t{1} << (offset % 64); }
    void erase(std::uint16_t offset) { words_[offset / 64] &= ~(std::uint64_t{1} << (offset % 64)); }
    bool contains(std::uint16_t offset) const { return ((words_[offset / 64] >> (offset % 64)) & 1) != 0; }
    bool empty() const;
    std::size_t size() const;
    void keep_between(std::uint64_t begin, std::uint64_t end);  // Offsets in [begin, end).
    BlockSet& operator&=(const BlockSet& other);
    BlockSet& operator|=(const BlockSet& other);
    BlockSet& operator-=(const BlockSet& other);
    const std::array<std::uint64_t, word_count>& words() const { return words_; }

    // What a change of a membership replaced, for the block's past; and back.
    static std::string was(bool member);
    Status put_back(std::uint32_t offset, std::string_view was);  // data_loss: not what was() made.

    template <class Visit>  // Calls visit(offset), ascending.
    void each(Visit&& visit) const {
        for (std::size_t i = 0; i < word_count; ++i)
            for (auto word = words_[i]; word != 0; word &= word - 1)
                visit(static_cast<std::uint16_t>(i * 64 + static_cast<std::size_t>(std::countr_zero(word))));
    }

    void encode_to(std::string& bytes) const;
    static Result<BlockSet> decode(std::string_view bytes);  // data_loss: not what encode_to made.
    bool operator==(const BlockSet&) const = default;

 private:
    std::array<std::uint64_t, word_count> words_{};
};

// A column being changed.
class BlockColumn {
 public:
    void put(std::uint16_t offset, std::int64_t value);
    void erase(std::uint16_t offset);
    static std::string was(const std::optional<std::int64_t>& value);
    Status put_back(std::uint32_t offset, std::string_view was);
    std::string encode() const;
    static Result<BlockColumn> decode(std::string_view bytes);
    bool operator==(const BlockColumn&) const = default;

 private:
    std::vector<std::pair<std::uint16_t, std::int64_t>> values_;  // Ascending by offset.
};

// A stored column being read, without unfolding it. `bytes` is borrowed.
class ColumnView {
 public:
    static Result<ColumnView> open(std::string_view bytes);
    const BlockSet& members() const { return members_; }
    BlockSet between(std::int64_t least, std::int64_t greatest) const;  // Members with a value in [least, greatest].

    template <class Visit>  // Calls visit(offset, value), ascending by offset.
    void each(Visit&& visit) const {
        std::size_t rank = 0;
        members_.each([&](std::uint16_t offset) { visit(offset, value(rank++)); });
    }

 private:
    std::uint64_t code(std::size_t rank) const;
    std::int64_t value(std::size_t rank) const;

    BlockSet members_;
    std::int64_t least_ = 0;
    std::int64_t greatest_ = 0;
    std::vector<std::int64_t> dictionary_;
    std::string_view codes_;
    std::size_t width_ = 0;  // Bytes of a code.
};

// Numbers that sort as the doubles do.
std::int64_t sortable(double value);
double from_sortable(std::int64_t value);

}  // namespace annal
