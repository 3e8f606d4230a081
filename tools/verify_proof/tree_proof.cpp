#include "tree_proof.h"

#include <openssl/evp.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace verify_proof {
namespace {

std::string to_bytes(const Hash& hash) {
    return {hash.begin(), hash.end()};
}

Hash node_hash(const Hash& left, const Hash& right) {
    return sha256('\x01' + to_bytes(left) + to_bytes(right));
}

void append_big_endian(std::string& to, std::uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) to.push_back(static_cast<char>(value >> shift));
}

// The RFC's fn and sn: the place of the node in hand, and of the last node, on the level reached so far.
struct Place {
    std::uint64_t fn = 0;
    std::uint64_t sn = 0;

    bool is_right() const { return (fn & 1) != 0; }
    bool is_last() const { return fn == sn; }
    void up() { fn >>= 1, sn >>= 1; }
    // The last node of a level, if it is a left one, goes up alone until it is a right one.
    void skip_levels_alone() {
        while (!is_right() && fn != 0) up();
    }
};

}  // namespace

Hash sha256(std::string_view bytes) {
    Hash hash;
    if (EVP_Digest(bytes.data(), bytes.size(), hash.data(), nullptr, EVP_sha256(), nullptr) != 1) {
        std::fputs("annal-verify-proof: OpenSSL has no SHA-256\n", stderr);
        std::exit(2);
    }
    return hash;
}

Hash leaf_hash(const Event& event) {
    std::string leaf(1, '\x00');
    append_big_endian(leaf, event.seq);
    append_big_endian(leaf, event.recorded_at_us);
    append_big_endian(leaf, event.version);
    return sha256(leaf + to_bytes(event.body));
}

bool is_included(std::uint64_t index, std::uint64_t size, const Hash& leaf, const std::vector<Hash>& path,
                 const Hash& root) {
    if (index >= size) return false;
    Place place{index, size - 1};
    Hash hash = leaf;
    for (const Hash& sibling : path) {
        if (place.sn == 0) return false;
        if (place.is_right() || place.is_last()) {
            hash = node_hash(sibling, hash);
            place.skip_levels_alone();
        } else {
            hash = node_hash(hash, sibling);
        }
        place.up();
    }
    return place.sn == 0 && hash == root;
}

bool is_consistent(std::uint64_t size1, std::uint64_t size2, const Hash& root1, const Hash& root2,
                   const std::vector<Hash>& path) {
    if (size1 == 0 || size1 > size2) return false;
    if (size1 == size2) return path.empty() && root1 == root2;
    if (path.empty()) return false;

    Place place{size1 - 1, size2 - 1};
    while (place.is_right()) place.up();
    // A first tree that is full is a subtree of the second, and its root begins the path unsaid.
    const bool full = std::has_single_bit(size1);
    Hash hash1 = full ? root1 : path.front();
    Hash hash2 = hash1;
    for (std::size_t i = full ? 0 : 1; i < path.size(); ++i) {
        if (place.sn == 0) return false;
        if (place.is_right() || place.is_last()) {
            hash1 = node_hash(path[i], hash1);
            hash2 = node_hash(path[i], hash2);
            place.skip_levels_alone();
        } else {
            hash2 = node_hash(hash2, path[i]);
        }
        place.up();
    }
    return place.sn == 0 && hash1 == root1 && hash2 == root2;
}

}  // namespace verify_proof
