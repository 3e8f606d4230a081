// Where MemoryView keeps what. P is the project's text and '\0', which no project holds: a walk under P cannot leave
// it. Integers are big endian, so that keys sort by value. An ordinal is a memory's created_seq; a block is the
// memories whose ordinals share all but their last 13 bits.
//   key                              value
//   P 'r' ordinal                    the memory: identity, current state, body        memory_row.h
//   P 'i' memory id                  its ordinal, 8 bytes
//   P 'v' ordinal seq                a superseded state; the seq is that which ended it  memory_row.h
//   P 'b' ordinal version            a replaced body that more than one state had; the version brought it
//   P 's' set size value block       which memories of the block are in the set       memory_blocks.h
//   P 'c' column block               a number of each memory of the block that has it memory_blocks.h
//   P 'h' (its key without P) seq    what a set's or column's block was before it changed  block_past.h
//   P 'n'                            counts of the project
//   '\0' "counts"                    counts of the store
// The size of a set's value (2 bytes) keeps a value from being taken for the start of a longer one; a tag may hold any
// byte. A key a block instead of a key a memory: a filter over 100 000 memories reads 25 keys, a new memory costs two
// keys of its own and its share of the block keys of its batch.
#pragma once

#include <annal/ids.h>
#include "events/bytes.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace annal::memory_keys {

enum class Set : char {  // Stored: never change one.
    all = 'a',
    hidden = 'h',  // Forgotten or superseded.
    kind = 'k',
    claim = 'c',
    agent = 'g',
    user = 'u',
    session = 's',
    tag = 't',
};

enum class Column : char {  // Stored: never change one.
    occurred = 'o',         // When it is not the time of record.
    confidence = 'c',       // When it is not 1.
    valid_from = 'f',
    valid_to = 't',
    expires = 'x',
};
// Of the other sets a memory is a member for good.
constexpr bool changes(Set set) {
    return set == Set::hidden || set == Set::claim || set == Set::tag;
}
inline constexpr std::size_t column_count = 5;
inline constexpr Column column_list[column_count] = {Column::occurred, Column::confidence, Column::valid_from,
                                                     Column::valid_to, Column::expires};

inline constexpr unsigned block_bits = 13;
inline constexpr std::uint64_t block_size = std::uint64_t{1} << block_bits;
constexpr std::uint64_t block_of(Seq ordinal) {
    return ordinal.value >> block_bits;
}
constexpr std::uint16_t offset_of(Seq ordinal) {
    return static_cast<std::uint16_t>(ordinal.value & (block_size - 1));
}
constexpr Seq ordinal_of(std::uint64_t block, std::uint64_t offset) {
    return Seq{(block << block_bits) | offset};
}

inline void append_u64(std::string& key, std::uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>((value >> shift) & 0xff));
}
inline std::uint64_t read_u64(std::string_view bytes) {  // Of the first 8.
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
    return value;
}

inline std::string project(std::string_view project) {
    std::string key(project);
    key.push_back('\0');
    return key;
}
// `prefix` is what project() returns.
inline std::string family(std::string_view prefix, char letter, std::size_t more) {
    std::string key;
    key.reserve(prefix.size() + 1 + more);
    key.append(prefix).push_back(letter);
    return key;
}
inline std::string row(std::string_view prefix, Seq ordinal) {
    auto key = family(prefix, 'r', 8);
    append_u64(key, ordinal.value);
    return key;
}
inline std::string id(std::string_view prefix, MemoryId memory_id) {
    auto key = family(prefix, 'i', 16);
    key.append(as_text(memory_id.bytes));
    return key;
}
inline std::string ended(std::string_view prefix, Seq ordinal, Seq by) {
    auto key = family(prefix, 'v', 16);
    append_u64(key, ordinal.value);
    append_u64(key, by.value);
    return key;
}
inline std::string body(std::string_view prefix, Seq ordinal, Version version) {
    auto key = family(prefix, 'b', 16);
    append_u64(key, ordinal.value);
    append_u64(key, version.value);
    return key;
}
inline std::string set(std::string_view prefix, Set set, std::string_view value) {  // Without the block.
    auto key = family(prefix, 's', 11 + value.size());
    key.push_back(static_cast<char>(set));
    key.push_back(static_cast<char>((value.size() >> 8) & 0xff));
    key.push_back(static_cast<char>(value.size() & 0xff));
    key.append(value);
    return key;
}
inline std::string column(std::string_view prefix, Column column) {  // Without the block.
    auto key = family(prefix, 'c', 9);
    key.push_back(static_cast<char>(column));
    return key;
}
inline std::string past(std::string_view prefix, std::string_view block) {  // `block`: the key of one. Without the seq.
    auto key = family(prefix, 'h', block.size() + 8);
    key.append(block.substr(prefix.size()));
    return key;
}
inline std::string counts(std::string_view prefix) {
    return family(prefix, 'n', 0);
}
inline std::string store_counts() {
    return std::string("\0counts", 7);
}

}  // namespace annal::memory_keys
