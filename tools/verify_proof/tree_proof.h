// What a proof proves, by RFC 9162 alone. Shares no code with the engine: who doubts the one need not trust the other.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace verify_proof {

using Hash = std::array<std::uint8_t, 32>;

Hash sha256(std::string_view bytes);

// What the log keeps of an event that its hash depends on.
struct Event {
    std::uint64_t seq = 0;             // From 1; its leaf is number seq - 1.
    std::uint64_t recorded_at_us = 0;  // Since 1970-01-01T00:00:00Z.
    std::uint64_t version = 0;         // Within its memory.
    Hash body{};
};

// SHA-256(0x00 || seq || recorded_at || version || body), numbers of 8 bytes, big endian.
Hash leaf_hash(const Event& event);

// RFC 9162 2.1.3.2: the leaf is number `index` of the tree of `size` leaves that has this root.
bool is_included(std::uint64_t index, std::uint64_t size, const Hash& leaf, const std::vector<Hash>& path,
                 const Hash& root);

// RFC 9162 2.1.4.2, and its case of equal sizes: the tree of size1 is the beginning of that of size2. Of an empty tree
// there is nothing to prove: false.
bool is_consistent(std::uint64_t size1, std::uint64_t size2, const Hash& root1, const Hash& root2,
                   const std::vector<Hash>& path);

}  // namespace verify_proof
