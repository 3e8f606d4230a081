#include "index_fixture.h"
#include "sample_vectors.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <utility>

using namespace annal;
using namespace annal::testing;

namespace {

std::vector<std::uint64_t> ordinals(VectorIndex& index) {
    std::vector<std::uint64_t> all;
    for (const auto ordinal : index.ordinals("shop")) all.push_back(ordinal.value);
    return all;
}

// What the index should hold, kept the slow way.
class NaiveIndex {
 public:
    struct Memory {
        std::uint64_t ordinal = 0;
        bool forgotten = false;
        std::optional<std::vector<float>> vector;
    };
    std::map<std::uint64_t, Memory> memories;

    std::vector<std::uint64_t> live() const {
        std::vector<std::uint64_t> all;
        for (const auto& [number, memory] : memories)
            if (memory.vector && !memory.forgotten) all.push_back(memory.ordinal);
        std::sort(all.begin(), all.end());
        return all;
    }
    // Each found once, in an order that is right but for what a sum in floats rounds away: the similarity at each place
    // is that of the exact order.
    void check_nearest(const std::vector<std::uint64_t>& found, std::span<const float> query, std::size_t limit) const {
        std::map<std::uint64_t, double> by_ordinal;
        std::vector<double> best;
        for (const auto& [number, memory] : memories) {
            if (!memory.vector || memory.forgotten) continue;
            best.push_back(exact_dot(query, *memory.vector));
            by_ordinal[memory.ordinal] = best.back();
        }
        std::sort(best.begin(), best.end(), std::greater{});
        REQUIRE(found.size() == std::min(limit, best.size()));
        for (std::size_t i = 0; i < found.size(); ++i) {
            INFO("place " << i << ", ordinal " << found[i]);
            const auto similarity = by_ordinal.extract(found[i]);
            REQUIRE_FALSE(similarity.empty());
            REQUIRE(std::abs(similarity.mapped() - best[i]) < 1e-6);
        }
    }
};

// Against what was held then.
void check_as_of(IndexFixture& fixture, Seq as_of, const NaiveIndex& then, std::span<const float> query) {
    INFO("as of " << as_of.value);
    OrdinalSet live;
    for (const auto ordinal : then.live()) live.insert(Seq{ordinal});
    VectorQuery question{"shop", {}, sample_model, query, 20, &live};
    question.as_of = as_of;
    const auto answer = fixture.index().search(question);
    std::vector<std::uint64_t> found;
    if (answer)
        for (const auto& hit : answer->hits) found.push_back(hit.ordinal.value);
    REQUIRE((answer || answer.error().code == ErrorCode::not_found));
    then.check_nearest(found, query, 20);
}

}  // namespace

TEST_CASE("a vector is found from its event on, and nothing is found in an empty index", "[vectors]") {
    IndexFixture fixture;
    SampleLog log;
    SampleVectors samples(384, 5, 1);
    const auto query = samples.next();
    CHECK(fixture.index().search({"shop", {}, sample_model, query, 10, nullptr}).error().code == ErrorCode::not_found);
    for (const std::size_t size : {1, 2, 1000}) {
        while (log.head().value < size) log.record(log.head().value, samples.next());
        fixture.follow(log);
        const auto answer = fixture.search(query, 10);
        CHECK(answer.hits.size() == std::min<std::size_t>(10, size));
        CHECK(answer.degraded.empty());
        CHECK(std::is_sorted(answer.hits.begin(), answer.hits.end(), nearer));
        CHECK(ordinals(fixture.index()).size() == size);
        CHECK(fixture.index().applied() == log.head());
    }
}

TEST_CASE("random records, revisions, forgets and restores leave exactly the live vectors", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    SampleVectors samples(24, 10, seed);
    IndexFixture fixture;
    IndexFixture other_cuts;
    SampleLog log;
    NaiveIndex naive;
    std::vector<std::pair<Seq, NaiveIndex>> past;
    const int steps = trials(6000);
    for (int step = 0; step < steps; ++step) {
        if (random() % 300 == 0) past.emplace_back(log.head(), naive);
        const auto choice = naive.memories.empty() ? 0 : random() % 10;
        if (choice < 3) {
            const auto number = naive.memories.size();
            auto vector = random() % 8 == 0 ? std::nullopt : std::optional(samples.next());
            const auto seq = log.record(number, vector, static_cast<Kind>(random() % 2));
            naive.memories[number] = {seq.value, false, vector};
        } else {
            const auto number = random() % naive.memories.size();
            auto& memory = naive.memories[number];
            if (choice < 7) {
                auto vector = random() % 8 == 0 ? std::nullopt : std::optional(samples.next());
                log.revise(number, "new text", vector);
                memory.vector = vector;
            } else if (choice == 7) {
                log.revise(number, std::nullopt, std::nullopt, random() % 2 == 0 ? Kind::outcome : Kind::heuristic);
            } else if (choice == 8) {
                log.forget(number);
                memory.forgotten = true;
            } else {
                log.restore(number);
                memory.forgotten = false;
            }
        }
        if (random() % 200 == 0) {
            fixture.follow(log, 1 + random() % 100);
            REQUIRE(ordinals(fixture.index()) == naive.live());
            const auto query = samples.next();
            if (naive.live().empty()) continue;
            std::vector<std::uint64_t> found;
            for (const auto& hit : fixture.search(query, 20).hits) found.push_back(hit.ordinal.value);
            naive.check_nearest(found, query, 20);
            if (random() % 3 == 0) {
                const auto before = fixture.digest();
                fixture.reopen(random() % 2 == 0);
                REQUIRE(fixture.digest() == before);
                REQUIRE(ordinals(fixture.index()) == naive.live());
            }
        }
    }
    fixture.follow(log);
    other_cuts.follow(log, 1000);
    CHECK(ordinals(fixture.index()) == naive.live());
    for (const auto& [seq, then] : past) check_as_of(fixture, seq, then, samples.next());
    CHECK(fixture.digest() == other_cuts.digest());
    fixture.reset();
    fixture.follow(log, 7);
    CHECK(fixture.digest() == other_cuts.digest());
}

TEST_CASE("replaced vectors are found as of their time, through compactions and reopens", "[vectors][as_of]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    SampleVectors samples(24, 10, seed);
    IndexFixture fixture;
    SampleLog log;
    NaiveIndex naive;
    struct Past {
        Seq seq;
        NaiveIndex naive;
        std::vector<float> replaced;  // By the event of that seq.
    };
    std::vector<Past> past;
    constexpr std::uint64_t memories = 700;
    for (int round = 0; round < 6; ++round) {
        for (std::uint64_t number = 0; number < memories; ++number) {
            if (round > 0 && (number + static_cast<std::uint64_t>(round)) % 5 == 0) continue;  // These live longer.
            const auto vector = samples.next();
            const auto seq = round == 0 ? log.record(number, vector) : log.revise(number, "text", vector);
            auto& memory = naive.memories[number];
            if (round == 0) memory.ordinal = seq.value;
            const auto replaced = std::exchange(memory.vector, vector);
            if (number % 300 == 0) past.push_back({seq, naive, replaced.value_or(vector)});
        }
        fixture.follow(log);
    }
    const auto check_all = [&] {
        for (const auto& point : past) {
            check_as_of(fixture, point.seq, point.naive, samples.next());
            check_as_of(fixture, point.seq, point.naive, point.replaced);  // No longer there.
        }
        check_as_of(fixture, log.head(), naive, samples.next());
    };
    check_all();
    const auto digest = fixture.digest();
    fixture.reopen(true);
    check_all();
    CHECK(fixture.digest() == digest);
    fixture.reset();
    fixture.follow(log, 1000);
    check_all();
    CHECK(fixture.digest() == digest);
}
