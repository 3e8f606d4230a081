// The tree as RFC 9162 section 2.1 defines it, word for word and slow; and one that is kept as the engine keeps it.
#pragma once

#include "events/merkle_tree.h"

#include <bit>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace annal::testing {

using Path = std::vector<Hash>;

inline std::string bytes_of(const Hash& hash) {
    return {hash.begin(), hash.end()};
}

namespace rfc {

using Leaves = std::span<const Hash>;

inline std::size_t largest_power_of_two_below(std::size_t n) {
    std::size_t k = 1;
    while (k * 2 < n) k *= 2;
    return k;
}

inline Hash root(Leaves d) {
    if (d.empty()) return sha256("");
    if (d.size() == 1) return d[0];
    const auto k = largest_power_of_two_below(d.size());
    return sha256('\x01' + bytes_of(root(d.first(k))) + bytes_of(root(d.subspan(k))));
}

inline Path with(Path path, const Hash& last) {
    path.push_back(last);
    return path;
}

inline Path path(std::size_t m, Leaves d) {
    if (d.size() == 1) return {};
    const auto k = largest_power_of_two_below(d.size());
    if (m < k) return with(path(m, d.first(k)), root(d.subspan(k)));
    return with(path(m - k, d.subspan(k)), root(d.first(k)));
}

inline Path subproof(std::size_t m, Leaves d, bool b) {
    if (m == d.size()) return b ? Path{} : Path{root(d)};
    const auto k = largest_power_of_two_below(d.size());
    if (m <= k) return with(subproof(m, d.first(k), b), root(d.subspan(k)));
    return with(subproof(m - k, d.subspan(k), false), root(d.first(k)));
}

}  // namespace rfc

class StoredTree {
 public:
    std::vector<Hash> leaves;
    std::vector<Hash> roots{sha256("")};  // By size.
    MerkleFrontier frontier;
    std::map<MerkleNodeId, Hash> nodes;

    void append(const Hash& leaf) {
        std::vector<MerkleNode> completed;
        frontier.append(leaf, completed);
        for (const auto& node : completed) nodes.emplace(node.id, node.hash);
        leaves.push_back(leaf);
        roots.push_back(frontier.root());
    }

    // What a store cut off after `size` leaves could answer.
    ReadMerkleNode reader(std::uint64_t size) const {
        return [this, size](MerkleNodeId id) -> Result<Hash> {
            const auto found = nodes.find(id);
            if (found == nodes.end() || (id.index + 1) << id.level > size)
                return Error{ErrorCode::internal, "a node that is not there", {}};
            return found->second;
        };
    }

    static StoredTree of(std::size_t size) {
        StoredTree tree;
        for (std::size_t i = 0; i < size; ++i) tree.append(sha256("leaf " + std::to_string(i)));
        return tree;
    }
};

}  // namespace annal::testing
