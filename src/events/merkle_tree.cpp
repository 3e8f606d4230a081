#include "merkle_tree.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace annal {
namespace {

constexpr std::size_t hash_bytes = std::tuple_size_v<Hash>;

struct Leaves {  // [begin, end), as the RFC's D[begin:end].
    std::uint64_t begin = 0;
    std::uint64_t end = 0;

    std::uint64_t count() const { return end - begin; }
    // Where the RFC divides them: the left part is the largest power of two below their count.
    std::uint64_t middle() const { return begin + std::bit_floor(count() - 1); }
};

// Of roots side by side, the widest first, each wider than all that follow.
Hash fold(const std::vector<Hash>& roots) {
    Hash hash = roots.back();
    for (std::size_t i = roots.size() - 1; i-- > 0;) hash = merkle_parent(roots[i], hash);
    return hash;
}

// The widest full subtrees of D[begin:end], where `begin` is a multiple of the smallest power of two that holds them
// all.
Result<std::vector<Hash>> subtree_roots(Leaves leaves, const ReadMerkleNode& read_node) {
    std::vector<Hash> roots;
    while (leaves.count() > 0) {
        const auto width = std::bit_floor(leaves.count());
        const auto level = static_cast<unsigned>(std::countr_zero(width));
        auto root = read_node({level, leaves.begin >> level});
        if (!root) return root.error();
        roots.push_back(*root);
        leaves.begin += width;
    }
    return roots;
}

// From the root's child down; proofs are told from the leaf up.
Result<std::vector<Hash>> roots_upwards(const std::vector<Leaves>& downwards, const ReadMerkleNode& read_node) {
    std::vector<Hash> proof;
    for (std::size_t i = downwards.size(); i-- > 0;) {
        auto roots = subtree_roots(downwards[i], read_node);
        if (!roots) return roots.error();
        proof.push_back(fold(*roots));
    }
    return proof;
}

}  // namespace

Hash merkle_parent(const Hash& left, const Hash& right) {
    std::array<char, 1 + 2 * hash_bytes> node;
    node[0] = 1;
    std::copy(right.begin(), right.end(), std::copy(left.begin(), left.end(), node.begin() + 1));
    return sha256({node.data(), node.size()});
}

void MerkleFrontier::append(const Hash& leaf, std::vector<MerkleNode>& completed) {
    assert(size_ < merkle_leaves_max);
    MerkleNode node{{0, size_}, leaf};
    completed.push_back(node);
    for (; (node.id.index & 1) != 0; completed.push_back(node)) {
        node = {{node.id.level + 1, node.id.index / 2}, merkle_parent(roots_.back(), node.hash)};
        roots_.pop_back();
    }
    roots_.push_back(node.hash);
    ++size_;
}

Result<MerkleFrontier> MerkleFrontier::of(std::uint64_t size, const ReadMerkleNode& read_node) {
    auto roots = subtree_roots({0, size}, read_node);
    if (!roots) return roots.error();
    MerkleFrontier frontier;
    frontier.size_ = size;
    frontier.roots_ = *std::move(roots);
    return frontier;
}

std::optional<MerkleFrontier> MerkleFrontier::of(std::uint64_t size, std::vector<Hash> roots) {
    if (size > merkle_leaves_max || static_cast<std::size_t>(std::popcount(size)) != roots.size()) return std::nullopt;
    MerkleFrontier frontier;
    frontier.size_ = size;
    frontier.roots_ = std::move(roots);
    return frontier;
}

Hash MerkleFrontier::root() const {
    return roots_.empty() ? sha256({}) : fold(roots_);
}

Result<std::vector<Hash>> inclusion_proof(std::uint64_t index, std::uint64_t size, const ReadMerkleNode& read_node) {
    if (index >= size || size > merkle_leaves_max)
        return Error{ErrorCode::invalid_argument,
                     "there is no such leaf in a tree of that size",
                     {{"index", std::to_string(index)}, {"size", std::to_string(size)}}};
    std::vector<Leaves> siblings;
    for (Leaves leaves{0, size}; leaves.count() > 1;) {
        const auto middle = leaves.middle();
        if (index < middle) {
            siblings.push_back({middle, leaves.end});
            leaves.end = middle;
        } else {
            siblings.push_back({leaves.begin, middle});
            leaves.begin = middle;
        }
    }
    return roots_upwards(siblings, read_node);
}

Result<std::vector<Hash>> consistency_proof(std::uint64_t size1, std::uint64_t size2, const ReadMerkleNode& read_node) {
    if (size1 == 0 || size1 > size2 || size2 > merkle_leaves_max)
        return Error{ErrorCode::invalid_argument,
                     "a consistency proof goes from a tree that is not empty to one that is not smaller",
                     {{"size1", std::to_string(size1)}, {"size2", std::to_string(size2)}}};
    std::vector<Leaves> parts;
    Leaves leaves{0, size2};
    while (leaves.end != size1) {
        const auto middle = leaves.middle();
        if (size1 <= middle) {
            parts.push_back({middle, leaves.end});
            leaves.end = middle;
        } else {
            parts.push_back({leaves.begin, middle});
            leaves.begin = middle;
        }
    }
    // The old tree's own root is known to whoever checks; any other subtree of it is not.
    if (leaves.begin != 0) parts.push_back(leaves);
    return roots_upwards(parts, read_node);
}

}  // namespace annal
