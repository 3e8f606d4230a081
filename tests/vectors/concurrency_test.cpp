// Searches go on while the projector appends, hides, compacts, and the builder links. Run under the thread sanitizer
// too.
#include "index_fixture.h"
#include "sample_vectors.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>

using namespace annal;
using namespace annal::testing;

TEST_CASE("searches beside writes see whole moments: each memory once, none too few", "[vectors][concurrency]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    SampleVectors samples(16, 30, seed);
    constexpr std::size_t memories = 5000;
    IndexFixture fixture;
    SampleLog log;
    for (std::size_t i = 0; i < 200; ++i) log.record(i, samples.next());
    fixture.follow(log);
    for (std::size_t i = 200; i < memories; ++i) {
        log.record(i, samples.next());
        log.revise(i - 200 + i % 3, "again", samples.next());
        log.revise(i % 100, "again", samples.next());
        if (i % 5 == 0) log.forget(i - 100);
    }
    const auto queries = samples.take(64);
    OrdinalSet passing;
    for (std::uint64_t ordinal = 1; ordinal <= log.head().value; ordinal += 2) passing.insert(Seq{ordinal});

    std::atomic<bool> done{false};
    std::atomic<int> broken{0};
    std::atomic<std::uint64_t> searches{0};
    std::vector<std::thread> readers;
    for (std::size_t reader = 0; reader < 2; ++reader)
        readers.emplace_back([&, reader] {
            for (std::size_t i = reader; !done || i < reader + 10; ++i) {
                const auto* filter = i % 3 == 0 ? &passing : nullptr;
                const auto answer = fixture.index().search({"shop", {}, sample_model, queries[i % 64], 20, filter});
                if (!answer) {
                    ++broken;
                    continue;
                }
                std::vector<Seq> seen;
                for (const auto& hit : answer->hits) {
                    seen.push_back(hit.ordinal);
                    if (filter != nullptr && !filter->contains(hit.ordinal)) ++broken;
                }
                std::sort(seen.begin(), seen.end());
                if (seen.size() != 20 || std::adjacent_find(seen.begin(), seen.end()) != seen.end()) ++broken;
                ++searches;
            }
        });
    fixture.follow(log, 100);
    fixture.index().settle();
    done = true;
    for (auto& reader : readers) reader.join();
    CHECK(broken == 0);
    CHECK(searches > 30);
    CHECK(fixture.index().unlinked() == 0);

    IndexFixture alone;
    alone.follow(log, 1000);
    CHECK(alone.digest() == fixture.digest());
}
