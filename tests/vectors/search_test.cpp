// Recall, and how many hits there are, of one partition: whole, filtered, and after deletions.
#include "projections/vector_partition.h"
#include "sample_vectors.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr std::size_t dimension = 32;
constexpr std::size_t row_count = 12'000;

class Partition {
 public:
    explicit Partition(std::uint64_t seed) : samples_(dimension, 300, seed), random(seed) {
        auto made = VectorPartition::create(directory_.path() / "1-0", 1, 0, {"shop", Kind::note, "m", dimension});
        REQUIRE(made);
        partition = *made;
        vectors = samples_.take(row_count);
        for (std::size_t i = 0; i < row_count; ++i) REQUIRE(partition->append(Seq{i + 1}, Seq{i + 1}, vectors[i]));
        REQUIRE(partition->flush());
        partition->publish();
        WorkTeam team(2);
        while (partition->link(team)) {
        }
        gone.resize(row_count);
    }

    void forget(double share) {
        for (Slot slot = 0; slot < row_count; ++slot)
            if (!gone[slot] && std::uniform_real_distribution<>()(random) < share) {
                gone[slot] = true;
                partition->change(slot, RowState::hidden);
            }
        partition->publish();
    }

    struct Outcome {
        double recall = 0;
        bool enough = true;   // Never fewer than min(limit, live ones that pass).
        bool allowed = true;  // Never one that is gone or does not pass.
    };
    Outcome search(std::size_t limit, const OrdinalSet* passing, int queries) {
        Outcome outcome;
        std::size_t found = 0;
        std::size_t wanted = 0;
        SearchScratch scratch;
        for (int i = 0; i < queries; ++i) {
            const auto query = samples_.next();
            std::vector<std::pair<double, std::uint64_t>> exact;
            for (Slot slot = 0; slot < row_count; ++slot)
                if (allows(slot + 1, passing)) exact.emplace_back(-exact_dot(query, vectors[slot]), slot + 1);
            const auto expected = std::min(limit, exact.size());
            std::partial_sort(exact.begin(), exact.begin() + static_cast<std::ptrdiff_t>(expected), exact.end());
            std::vector<VectorHit> hits;
            scratch.probe.set(query);
            partition->search({query, limit, passing}, scratch, hits);
            outcome.enough = outcome.enough && hits.size() == expected;
            wanted += expected;
            for (const auto& hit : hits) {
                outcome.allowed = outcome.allowed && allows(hit.ordinal.value, passing);
                for (std::size_t j = 0; j < expected; ++j) found += exact[j].second == hit.ordinal.value;
            }
        }
        outcome.recall = wanted == 0 ? 1 : static_cast<double>(found) / static_cast<double>(wanted);
        return outcome;
    }
    void check(std::size_t limit, const OrdinalSet* passing, int queries) {
        const auto outcome = search(limit, passing, queries);
        CHECK(outcome.recall >= 0.95);
        CHECK(outcome.enough);
        CHECK(outcome.allowed);
    }

    std::shared_ptr<VectorPartition> partition;
    std::vector<std::vector<float>> vectors;
    std::vector<bool> gone;

 private:
    bool allows(std::uint64_t ordinal, const OrdinalSet* passing) const {
        return !gone[ordinal - 1] && (passing == nullptr || passing->contains(Seq{ordinal}));
    }

    TempDir directory_;
    SampleVectors samples_;

 public:
    std::mt19937_64 random;
};

OrdinalSet random_set(double share, std::mt19937_64& random) {
    OrdinalSet set;
    for (std::uint64_t ordinal = 1; ordinal <= row_count; ++ordinal)
        if (std::uniform_real_distribution<>()(random) < share) set.insert(Seq{ordinal});
    return set;
}

}  // namespace

TEST_CASE("recall@10 is at least 0.95 behind any filter, with never fewer hits than pass", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    Partition fixture(seed);
    REQUIRE(fixture.partition->linked_unsaved() > row_count - 200);
    const int queries = trials(30);
    fixture.check(10, nullptr, queries);
    for (const double forgotten : {0.0, 0.3, 0.9}) {
        fixture.forget(forgotten);
        INFO("forgotten " << forgotten);
        fixture.check(10, nullptr, queries);
        fixture.check(1, nullptr, queries);
        for (const double share : {1.0, 0.9, 0.5, 0.3, 0.1, 0.01, 0.001, 0.0}) {
            INFO("passing " << share);
            const auto set = random_set(share, fixture.random);
            fixture.check(10, &set, queries);
        }
        fixture.check(1000, nullptr, trials(2));
        // A filter that has nothing to do with where the query is, and one of a few neighbouring ordinals.
        OrdinalSet late;
        for (std::uint64_t ordinal = row_count / 2; ordinal <= row_count; ++ordinal) late.insert(Seq{ordinal});
        fixture.check(10, &late, queries);
    }
}

TEST_CASE("a filter that only passes what is far from the query still fills the answer", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    Partition fixture(seed);
    SearchScratch scratch;
    const auto& query = fixture.vectors[17];
    std::vector<std::pair<double, std::uint64_t>> by_distance;
    for (Slot slot = 0; slot < row_count; ++slot)
        by_distance.emplace_back(exact_dot(query, fixture.vectors[slot]), slot + 1);
    std::sort(by_distance.begin(), by_distance.end());
    OrdinalSet far;  // Two thirds of all, and none of the nearest third.
    for (std::size_t i = 0; i < row_count * 2 / 3; ++i) far.insert(Seq{by_distance[i].second});
    std::vector<VectorHit> hits;
    scratch.probe.set(query);
    fixture.partition->search({query, 100, &far}, scratch, hits);
    REQUIRE(hits.size() == 100);
    std::size_t found = 0;
    for (const auto& hit : hits)
        for (std::size_t i = row_count * 2 / 3 - 100; i < row_count * 2 / 3; ++i)
            found += by_distance[i].second == hit.ordinal.value;
    CHECK(found >= 95);
}
