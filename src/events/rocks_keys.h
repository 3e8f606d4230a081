// Keys and values of the log's rows. Private to the parts of RocksStore, and to who checks its rows.
#pragma once

#include "bytes.h"
#include "merkle_tree.h"

#include <rocksdb/slice.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace annal {

enum Family : std::size_t { default_family, events, streams, idem, meta };

inline constexpr std::size_t batch_protection_bytes = 8;  // Of each row of a batch: a checksum in memory.
inline constexpr std::size_t readahead_bytes = std::size_t{2} << 20;
inline constexpr std::size_t readahead_events_min = 512;  // A reader that close to the head reads memory.

template <class T>
void append_number(std::string& to, T value) {
    for (int shift = static_cast<int>(sizeof value) * 8 - 8; shift >= 0; shift -= 8)
        to += static_cast<char>(value >> shift);
}

template <class T>
T take_number(const char* from) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i)
        value = static_cast<T>((value << 8) | static_cast<std::uint8_t>(from[i]));
    return value;
}

struct SeqKey {
    explicit SeqKey(Seq seq) {
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(seq.value >> (56 - 8 * i));
    }
    rocksdb::Slice slice() const { return {bytes.data(), bytes.size()}; }
    std::array<char, 8> bytes{};
};

inline std::string_view view(const rocksdb::Slice& slice) {
    return {slice.data(), slice.size()};
}

inline rocksdb::Slice slice(std::string_view bytes) {
    return {bytes.data(), bytes.size()};
}

inline std::string node_key(MerkleNodeId id) {
    std::string key("\0node", 5);
    key += static_cast<char>(id.level);
    append_number(key, id.index);
    return key;
}

inline Error damaged(std::string what, Seq seq) {
    return {ErrorCode::data_loss, std::move(what), {{"seq", std::to_string(seq.value)}}};
}

}  // namespace annal
