// kill -9 of an engine under mixed load, with all its projections. ANNAL_TRIALS (tests/support/seed.h) scales the 30
// kills; tools/soak does the same for as long as one likes.
#include "life.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr int engine_kills_default = 30;

}  // namespace

TEST_CASE("kill -9 of an engine under load takes nothing it answered, and every view is the fold of its log",
          "[crash][engine]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    TempDir dir;
    const Workload workload(seed, true);
    Oracle oracle(workload, 4);
    LifeOptions options{.program = ANNAL_ENGINE_CHILD, .store = dir.path() / "store"};
    std::uint64_t acknowledged = 0;
    for (int kill = 0; kill < trials(engine_kills_default); ++kill) {
        options.from_open = kill % 4 != 3;  // Else some are killed while they recover.
        options.length = std::chrono::milliseconds(random() % 500);
        acknowledged += live(options, workload, oracle, random).acknowledged;
        const auto begun = std::chrono::steady_clock::now();
        auto engine = Engine::open({.directory = options.store});
        if (!engine) FAIL("kill " << kill << ": it does not open: " << engine.error().message);
        SearchRequest first;
        first.scope.project = "p0";
        first.text = "checkout";
        CHECK((*engine)->search(first));
        CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(10));
        oracle.check(**engine, random);
        for (const auto& complaint : oracle.complaints()) FAIL("kill " << kill << ": " << complaint);
        if (kill % 10 != 9) continue;
        const auto report = (*engine)->verify();
        REQUIRE(report);
        for (const auto& check : report->checks) {
            INFO("kill " << kill << ": " << check.name << ": " << check.found);
            CHECK(check.state == Check::State::ok);
        }
    }
    CHECK(acknowledged > 0);
}
