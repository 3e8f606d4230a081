// The Merkle tree of RFC 9162 section 2.1 over the log. Leaf i is the event hash of Seq{i + 1}, which is a leaf hash
// already (event_log_hash.h); a node is SHA-256(0x01 || left || right).
//
// What is kept of it: the roots of full subtrees, which never change once their leaves are there. Any proof is made of
// O(log n) of them; hashes at the tree's ragged right edge are computed from them.
#pragma once

#include "event_log_hash.h"

#include <annal/result.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace annal {

inline constexpr std::uint64_t merkle_leaves_max = (std::uint64_t{1} << 63) - 1;

// The full subtree over leaves [index * 2^level, (index + 1) * 2^level). Level 0 is the leaves.
struct MerkleNodeId {
    unsigned level = 0;  // 0..62.
    std::uint64_t index = 0;
    auto operator<=>(const MerkleNodeId&) const = default;
};

struct MerkleNode {
    MerkleNodeId id;
    Hash hash{};
    bool operator==(const MerkleNode&) const = default;
};

// The root of a full subtree that was completed before. May compute it from below instead of keeping it.
using ReadMerkleNode = std::function<Result<Hash>(MerkleNodeId)>;

Hash merkle_parent(const Hash& left, const Hash& right);

// What an append has to know of the tree: the roots of the widest full subtrees, left to right, one for each bit that
// is set in the size. A value; not for two threads at once.
class MerkleFrontier {
 public:
    // Adds to `completed` every full subtree that this leaf completes, upwards from the leaf itself: two a leaf on
    // average. There are fewer than merkle_leaves_max leaves.
    void append(const Hash& leaf, std::vector<MerkleNode>& completed);

    // Of the first `size` leaves, at most merkle_leaves_max. Fails as read_node does.
    static Result<MerkleFrontier> of(std::uint64_t size, const ReadMerkleNode& read_node);
    // Of the roots() of one; nullopt: there are not as many in a tree of that size.
    static std::optional<MerkleFrontier> of(std::uint64_t size, std::vector<Hash> roots);

    std::uint64_t size() const { return size_; }
    const std::vector<Hash>& roots() const { return roots_; }
    Hash root() const;  // Of no leaves: SHA-256 of nothing.

    bool operator==(const MerkleFrontier&) const = default;

 private:
    std::uint64_t size_ = 0;
    std::vector<Hash> roots_;
};

// The audit path of leaf `index` in the tree of the first `size` leaves, from the leaf's sibling up (RFC 9162 2.1.3.1).
// invalid_argument: not index < size <= merkle_leaves_max; details: index, size. Else what read_node fails with.
Result<std::vector<Hash>> inclusion_proof(std::uint64_t index, std::uint64_t size, const ReadMerkleNode& read_node);

// That the tree of the first `size1` leaves is the beginning of that of the first `size2` (RFC 9162 2.1.4.1). Empty for
// equal sizes. invalid_argument: not 0 < size1 <= size2 <= merkle_leaves_max; details: size1, size2. The empty tree is
// the beginning of any: there is no proof of it. Else what read_node fails with.
Result<std::vector<Hash>> consistency_proof(std::uint64_t size1, std::uint64_t size2, const ReadMerkleNode& read_node);

}  // namespace annal
