#include "projections/vector_graph.h"
#include "sample_vectors.h"
#include "support/seed.h"

#include <hnswlib/hnswlib.h>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

using namespace annal;
using namespace annal::testing;

namespace {

VectorCodes& filled(VectorCodes& codes, const std::vector<std::vector<float>>& vectors) {
    REQUIRE(codes.reserve(vectors.size()));
    for (Slot slot = 0; slot < vectors.size(); ++slot) codes.set(slot, vectors[slot]);
    return codes;
}

void link_all(VectorGraph& graph, std::size_t slots, std::size_t threads) {
    WorkTeam team(threads);
    while (graph.linked() + graph.block() <= slots) REQUIRE(graph.link_block(team));
}

std::string bytes_of(const VectorGraph& graph) {
    std::string bytes;
    graph.serialise(bytes);
    return bytes;
}

// In steps of the query side's codes, so that either of two slots may be the query: hnswlib asks the other way round.
void whole_steps(std::vector<float>& vector) {
    float greatest = 0;
    for (const auto x : vector) greatest = std::max(greatest, std::fabs(x));
    for (auto& x : vector) x = std::nearbyint(x * 63 / greatest) * (greatest / 63);
}

// hnswlib's view of a row of codes: the row's number.
struct Codes : hnswlib::SpaceInterface<float> {
    explicit Codes(const VectorCodes& its_codes) : codes(its_codes) {}
    static float distance(const void* a, const void* b, const void* self) {
        const auto& codes = static_cast<const Codes*>(self)->codes;
        CodeProbe probe;
        probe.set(codes, *static_cast<const Slot*>(a));
        float result = 0;
        probe.distances(vector_kernels(), codes, {static_cast<const Slot*>(b), 1}, &result);
        return result;
    }
    std::size_t get_data_size() override { return sizeof(Slot); }
    hnswlib::DISTFUNC<float> get_dist_func() override { return distance; }
    void* get_dist_func_param() override { return this; }
    const VectorCodes& codes;
};

double recall(const VectorGraph& graph, const VectorCodes& codes, const std::vector<std::vector<float>>& vectors,
              SampleVectors& samples, std::size_t breadth, int queries) {
    WalkScratch scratch;
    std::size_t found = 0;
    for (int i = 0; i < queries; ++i) {
        CodeProbe probe;
        probe.set(samples.next());
        std::vector<Slot> all(vectors.size());
        for (Slot slot = 0; slot < all.size(); ++slot) all[slot] = slot;
        std::vector<float> distances(all.size());
        probe.distances(vector_kernels(), codes, all, distances.data());
        std::sort(all.begin(), all.end(), [&](Slot a, Slot b) { return distances[a] < distances[b]; });
        graph.search(probe, breadth, graph.view(), scratch);
        for (std::size_t j = 0; j < 10; ++j)
            found += static_cast<std::size_t>(
                std::count_if(all.begin(), all.begin() + 10, [&](Slot slot) { return slot == scratch.pool[j].slot; }));
    }
    return static_cast<double>(found) / (10.0 * queries);
}

}  // namespace

TEST_CASE("with blocks of one slot the links are hnswlib's own", "[vectors][graph]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    constexpr std::size_t count = 1500;
    auto vectors = SampleVectors(48, 40, seed).take(count);
    for (auto& vector : vectors) whole_steps(vector);
    VectorCodes codes(48);
    VectorGraph ours(filled(codes, vectors), vector_kernels(), 1);
    link_all(ours, count, 1);

    Codes space(codes);
    hnswlib::HierarchicalNSW<float> theirs(&space, count, VectorGraph::links_max, VectorGraph::breadth);
    theirs.mult_ = 0;  // Levels above the ground are given; with this, the ground is what it draws.
    for (Slot slot = 0; slot < count; ++slot)
        theirs.addPoint(&slot, slot, static_cast<int>(VectorGraph::level_of(slot)));

    std::size_t different = 0;
    for (Slot slot = 0; slot < count; ++slot)
        for (unsigned level = 0; level <= VectorGraph::level_of(slot); ++level) {
            const auto links = ours.links(slot, level);
            const auto their_links = theirs.getConnectionsWithLock(slot, static_cast<int>(level));
            different +=
                std::set<Slot>(links.begin(), links.end()) != std::set<Slot>(their_links.begin(), their_links.end());
        }
    CHECK(different <= 3);  // Ties are broken otherwise.
}

TEST_CASE("the graph does not depend on threads, on when blocks are linked, or on the CPU", "[vectors][graph]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    constexpr std::size_t count = 1024;
    const auto vectors = SampleVectors(40, 20, seed).take(count);
    VectorCodes codes(40);
    filled(codes, vectors);
    VectorGraph reference(codes);
    link_all(reference, count, 1);
    const auto expected = bytes_of(reference);
    REQUIRE(reference.linked() == count);

    for (const std::size_t threads : {2, 5}) {
        VectorGraph graph(codes);
        link_all(graph, count, threads);
        CHECK(bytes_of(graph) == expected);
    }
    for (const auto isa : {VectorIsa::portable, VectorIsa::avx2, VectorIsa::avx512})
        if (const auto* kernels = vector_kernels(isa)) {
            VectorGraph graph(codes, *kernels);
            link_all(graph, count, 2);
            CHECK(bytes_of(graph) == expected);
        }
    // Codes that come later change nothing before them.
    VectorCodes growing(40);
    VectorGraph behind(growing);
    for (Slot slot = 0; slot < count; ++slot) {
        REQUIRE(growing.reserve(std::size_t{slot} + 1));
        growing.set(slot, vectors[slot]);
        if (slot % 300 == 299) link_all(behind, slot + 1, 2);
    }
    link_all(behind, count, 2);
    CHECK(bytes_of(behind) == expected);
}

TEST_CASE("a block's slots find each other, however many are linked together", "[vectors][graph]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    constexpr std::size_t count = 2048;
    SampleVectors samples(32, 50, seed);
    const auto vectors = samples.take(count);
    VectorCodes codes(32);
    filled(codes, vectors);
    for (const std::size_t block : {1, 32, 128, 1024}) {
        VectorGraph graph(codes, vector_kernels(), block);
        link_all(graph, count, 2);
        CHECK(recall(graph, codes, vectors, samples, 100, trials(50)) >= 0.97);
    }
}

TEST_CASE("links that were saved come back, and nothing else does", "[vectors][graph]") {
    constexpr std::size_t count = 512;
    const auto vectors = SampleVectors(16, 10, 1).take(count);
    VectorCodes codes(16);
    VectorGraph graph(filled(codes, vectors));
    link_all(graph, count, 2);
    const auto saved = bytes_of(graph);

    VectorGraph again(codes);
    REQUIRE(again.restore(saved, count));
    CHECK(bytes_of(again) == saved);
    CHECK(again.view().top == graph.view().top);

    VectorGraph refused(codes);
    CHECK_FALSE(refused.restore(saved, count - 1));
    CHECK_FALSE(refused.restore(saved, count - 128));
    CHECK_FALSE(refused.restore(saved.substr(0, saved.size() - 1), count));
    CHECK_FALSE(refused.restore(saved + "x", count));
    auto far = saved;
    far[4] = '\x7F';  // The first link's highest byte: a slot there is not.
    CHECK_FALSE(refused.restore(far, count));
    CHECK(refused.linked() == 0);
    link_all(refused, count, 1);  // And it can still be built.
    CHECK(bytes_of(refused) == saved);
}
