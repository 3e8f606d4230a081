// Histories of a log and its projections, one for each seed. ANNAL_TRIALS (tests/support/seed.h) scales their number.
#include "simulation.h"

#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr int histories_default = 24, replays_default = 3, steps = 80;

}  // namespace

TEST_CASE("whatever fails, and whenever the power goes, a log keeps its promises and its views are its fold",
          "[simulation]") {
    const std::uint64_t seed = test_seed();
    Simulation::Figures all;
    const int histories = trials(histories_default);
    for (int i = 0; i < histories; ++i) {
        // The first history of a seed is that of the seed itself: so one is repeated alone.
        Simulation simulation(seed + static_cast<std::uint64_t>(i));
        const auto wrong = simulation.run(steps);
        if (!wrong.empty()) {
            std::string last;
            const auto& trace = simulation.trace();
            for (std::size_t line = trace.size() - std::min<std::size_t>(trace.size(), 12); line < trace.size(); ++line)
                last += "\n  " + trace[line];
            FAIL("ANNAL_SEED=" << seed + static_cast<std::uint64_t>(i) << " ANNAL_TRIALS=1: " << wrong << last);
        }
        const auto& figures = simulation.figures();
        CHECK(figures.power_losses >= 1);
        all.appends += figures.appends;
        all.retries += figures.retries;
        all.conflicts += figures.conflicts;
        all.clock_steps += figures.clock_steps;
        all.faults += figures.faults;
        all.power_losses += figures.power_losses;
        all.opens += figures.opens;
        all.views_compared += figures.views_compared;
    }
    WARN(histories << " histories: " << all.appends << " appends, " << all.retries << " retries, " << all.conflicts
                   << " conflicts, " << all.clock_steps << " clock steps, " << all.faults << " faults, "
                   << all.power_losses << " of them power losses, " << all.opens << " opens, " << all.views_compared
                   << " times all views compared");
    if (histories >= 20) CHECK(all.faults >= 5 * histories);
}

TEST_CASE("a seed's history is the same each time", "[simulation]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    for (int i = 0; i < trials(replays_default); ++i) {
        Simulation first(seed + static_cast<std::uint64_t>(i)), second(seed + static_cast<std::uint64_t>(i));
        CHECK(first.run(steps) == second.run(steps));
        CHECK(first.trace().size() == second.trace().size());
        for (std::size_t line = 0; line < std::min(first.trace().size(), second.trace().size()); ++line)
            if (first.trace()[line] != second.trace()[line])
                FAIL("seed " << seed + static_cast<std::uint64_t>(i) << ", line " << line << ": " << first.trace()[line]
                             << "\nbecame " << second.trace()[line]);
    }
}
