#include "events/merkle_tree.h"

#include "support/seed.h"
#include "trees.h"

#include <tree_proof.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace annal;
using namespace annal::testing;
using verify_proof::is_consistent;
using verify_proof::is_included;

namespace {

constexpr std::size_t size_max = 80;

std::string from_hex(std::string_view hex) {
    std::string bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2)
        bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return bytes;
}

Hash hash_from_hex(std::string_view hex) {
    const std::string bytes = from_hex(hex);
    Hash hash;
    REQUIRE(bytes.size() == hash.size());
    std::copy(bytes.begin(), bytes.end(), hash.begin());
    return hash;
}

Path path_from_hex(const std::vector<std::string_view>& hex) {
    Path path;
    for (const auto each : hex) path.push_back(hash_from_hex(each));
    return path;
}

// Everything that can be done to a path with one hash.
std::vector<Path> mutations(const Path& path) {
    std::vector<Path> all;
    for (std::size_t i = 0; i < path.size(); ++i) {
        all.push_back(path);
        all.back()[i][i % 32] ^= 0x10;
        all.push_back(path);
        all.back().erase(all.back().begin() + static_cast<std::ptrdiff_t>(i));
        if (i > 0) {
            all.push_back(path);
            std::swap(all.back()[i - 1], all.back()[i]);
        }
    }
    for (std::size_t i = 0; i <= path.size(); ++i) {
        all.push_back(path);
        all.back().insert(all.back().begin() + static_cast<std::ptrdiff_t>(i), i == 0 ? Hash{} : path[i - 1]);
    }
    return all;
}

// Of equal leaves, a full subtree's root depends on its level alone: a tree of any size fits in 63 hashes.
class EqualLeaves {
 public:
    EqualLeaves() {
        for (unsigned level = 1; level < 63; ++level) levels_.push_back(merkle_parent(levels_.back(), levels_.back()));
    }
    const Hash& leaf() const { return levels_.front(); }
    ReadMerkleNode reader() const {
        return [this](MerkleNodeId id) -> Result<Hash> { return levels_.at(id.level); };
    }
    MerkleFrontier frontier(std::uint64_t size) const {
        auto frontier = MerkleFrontier::of(size, reader());
        REQUIRE(frontier);
        return *frontier;
    }

 private:
    std::vector<Hash> levels_{sha256("leaf")};
};

}  // namespace

TEST_CASE("the tree and its proofs are those of certificate-transparency's reference tests", "[merkle]") {
    const std::vector<std::string_view> data = {
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
    const std::vector<std::string_view> roots = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                                 "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                                 "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                                 "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                                 "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                                 "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                                 "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                                 "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                                 "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    StoredTree tree;
    CHECK(tree.frontier.root() == hash_from_hex(roots[0]));
    for (std::size_t i = 0; i < data.size(); ++i) {
        tree.append(sha256('\0' + from_hex(data[i])));
        CHECK(tree.frontier.size() == i + 1);
        CHECK(tree.frontier.root() == hash_from_hex(roots[i + 1]));
    }

    struct Proof {
        std::uint64_t first, size;
        std::vector<std::string_view> path;
    };
    const std::vector<Proof> inclusions = {{0, 1, {}},
                                           {0,
                                            8,
                                            {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                                             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                                             "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
                                           {5,
                                            8,
                                            {"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                                             "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                                             "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
                                           {2, 3, {"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}},
                                           {1,
                                            5,
                                            {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                             "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                                             "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}}};
    for (const auto& [index, size, path] : inclusions) {
        const auto proof = inclusion_proof(index, size, tree.reader(size));
        REQUIRE(proof);
        CHECK(*proof == path_from_hex(path));
        CHECK(is_included(index, size, tree.leaves[index], *proof, tree.roots[size]));
    }
    const std::vector<Proof> consistencies = {{1, 1, {}},
                                              {1,
                                               8,
                                               {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                                                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                                                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
                                              {6,
                                               8,
                                               {"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                                                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                                                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
                                              {2,
                                               5,
                                               {"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                                                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}}};
    for (const auto& [size1, size2, path] : consistencies) {
        const auto proof = consistency_proof(size1, size2, tree.reader(size2));
        REQUIRE(proof);
        CHECK(*proof == path_from_hex(path));
        CHECK(is_consistent(size1, size2, tree.roots[size1], tree.roots[size2], *proof));
    }
}

TEST_CASE("every root and every proof of small trees is the RFC's, and is verified", "[merkle]") {
    const auto tree = StoredTree::of(size_max);
    for (std::size_t size = 0; size <= size_max; ++size) {
        const auto leaves = rfc::Leaves(tree.leaves).first(size);
        INFO("size " << size);
        REQUIRE(tree.roots[size] == rfc::root(leaves));
        for (std::size_t index = 0; index < size; ++index) {
            INFO("index " << index);
            const auto proof = inclusion_proof(index, size, tree.reader(size));
            REQUIRE(proof);
            REQUIRE(*proof == rfc::path(index, leaves));
            REQUIRE(is_included(index, size, tree.leaves[index], *proof, tree.roots[size]));
        }
        for (std::size_t size1 = 1; size1 <= size; ++size1) {
            INFO("size1 " << size1);
            const auto proof = consistency_proof(size1, size, tree.reader(size));
            REQUIRE(proof);
            REQUIRE(*proof == rfc::subproof(size1, leaves, true));
            REQUIRE(is_consistent(size1, size, tree.roots[size1], tree.roots[size], *proof));
        }
    }
}

TEST_CASE("an append tells of every full subtree it completes, once, from the leaf up", "[merkle]") {
    MerkleFrontier frontier;
    std::vector<Hash> leaves;
    std::size_t node_count = 0;
    for (std::uint64_t i = 0; i < size_max; ++i) {
        leaves.push_back(sha256("leaf " + std::to_string(i)));
        std::vector<MerkleNode> completed;
        frontier.append(leaves.back(), completed);
        unsigned level = 0;
        for (const auto& node : completed) {
            const std::size_t width = std::size_t{1} << level;
            CHECK(node.id == MerkleNodeId{level++, i / width});
            CHECK((i + 1) % width == 0);
            CHECK(node.hash == rfc::root(rfc::Leaves(leaves).last(width)));
        }
        CHECK((i + 1) % (std::uint64_t{1} << level) != 0);
        node_count += completed.size();
    }
    CHECK(node_count == 80 + 40 + 20 + 10 + 5 + 2 + 1);
}

TEST_CASE("a proof that was changed is refused", "[merkle]") {
    const auto tree = StoredTree::of(20);
    for (std::size_t size = 1; size <= 20; ++size) {
        INFO("size " << size);
        for (std::size_t index = 0; index < size; ++index) {
            INFO("index " << index);
            const auto proof = *inclusion_proof(index, size, tree.reader(size));
            const auto& leaf = tree.leaves[index];
            const auto& root = tree.roots[size];
            for (const auto& changed : mutations(proof)) CHECK_FALSE(is_included(index, size, leaf, changed, root));
            for (std::size_t other = 0; other <= size; ++other) {
                if (other == index) continue;
                CHECK_FALSE(is_included(other, size, leaf, proof, root));
                if (other < size) CHECK_FALSE(is_included(index, size, tree.leaves[other], proof, root));
                CHECK_FALSE(is_included(index, size, leaf, proof, tree.roots[other == size ? 0 : other]));
            }
        }
        for (std::size_t size1 = 1; size1 <= size; ++size1) {
            INFO("size1 " << size1);
            const auto proof = *consistency_proof(size1, size, tree.reader(size));
            const auto &root1 = tree.roots[size1], &root2 = tree.roots[size];
            for (const auto& changed : mutations(proof)) CHECK_FALSE(is_consistent(size1, size, root1, root2, changed));
            Hash forged = root1;
            forged[31] ^= 1;
            CHECK_FALSE(is_consistent(size1, size, forged, root2, proof));
            forged = root2;
            forged[0] ^= 1;
            CHECK_FALSE(is_consistent(size1, size, root1, forged, proof));
            if (size1 < size) CHECK_FALSE(is_consistent(size, size1, root2, root1, proof));
        }
        CHECK_FALSE(is_consistent(0, size, tree.roots[0], tree.roots[size], {}));
    }
}

TEST_CASE("what has no proof is refused, and a node that cannot be read fails the proof", "[merkle]") {
    const auto tree = StoredTree::of(8);
    const auto code = [](const auto& result) {
        REQUIRE_FALSE(result);
        return result.error().code;
    };
    const auto past = merkle_leaves_max + 1;
    const auto read = tree.reader(8);
    CHECK(code(inclusion_proof(0, 0, read)) == ErrorCode::invalid_argument);
    CHECK(code(inclusion_proof(8, 8, read)) == ErrorCode::invalid_argument);
    CHECK(code(inclusion_proof(~std::uint64_t{0}, 8, read)) == ErrorCode::invalid_argument);
    CHECK(code(inclusion_proof(0, past, read)) == ErrorCode::invalid_argument);
    CHECK(code(consistency_proof(0, 8, read)) == ErrorCode::invalid_argument);
    CHECK(code(consistency_proof(0, 0, read)) == ErrorCode::invalid_argument);
    CHECK(code(consistency_proof(8, 7, read)) == ErrorCode::invalid_argument);
    CHECK(code(consistency_proof(1, past, read)) == ErrorCode::invalid_argument);
    CHECK(inclusion_proof(9, 8, read).error().details.at("index") == "9");

    const ReadMerkleNode damaged = [](MerkleNodeId) -> Result<Hash> { return Error{ErrorCode::data_loss, "no", {}}; };
    CHECK(code(inclusion_proof(0, 8, damaged)) == ErrorCode::data_loss);
    CHECK(code(consistency_proof(3, 8, damaged)) == ErrorCode::data_loss);
}

TEST_CASE("trees of up to 2^63 - 1 leaves are proved", "[merkle]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    const EqualLeaves tree;
    for (int trial = 0; trial < trials(100'000); ++trial) {
        const std::uint64_t size = trial == 0 ? merkle_leaves_max : 1 + (random() >> (1 + random() % 60));
        const std::uint64_t size1 = 1 + random() % size, index = random() % size;
        INFO("size " << size << ", size1 " << size1 << ", index " << index);
        const auto root = tree.frontier(size).root(), root1 = tree.frontier(size1).root();
        const auto inclusion = inclusion_proof(index, size, tree.reader());
        REQUIRE(inclusion);
        CHECK(is_included(index, size, tree.leaf(), *inclusion, root));
        const auto consistency = consistency_proof(size1, size, tree.reader());
        REQUIRE(consistency);
        CHECK(is_consistent(size1, size, root1, root, *consistency));
    }
    auto frontier = tree.frontier(merkle_leaves_max - 1);
    std::vector<MerkleNode> completed;
    frontier.append(tree.leaf(), completed);
    CHECK(frontier == tree.frontier(merkle_leaves_max));
    CHECK(completed.size() == 1);
}

TEST_CASE("a frontier goes on from the nodes kept as if it had never stopped", "[merkle]") {
    const auto tree = StoredTree::of(size_max + 1);
    MerkleFrontier whole;
    for (std::size_t size = 0; size <= size_max; ++size) {
        auto resumed = MerkleFrontier::of(size, tree.reader(size));
        REQUIRE(resumed);
        CHECK(*resumed == whole);
        std::vector<MerkleNode> of_whole, of_resumed;
        whole.append(tree.leaves[size], of_whole);
        resumed->append(tree.leaves[size], of_resumed);
        CHECK(of_resumed == of_whole);
        CHECK(resumed->root() == whole.root());
    }
    CHECK_FALSE(MerkleFrontier::of(size_max, tree.reader(size_max - 1)));
}
