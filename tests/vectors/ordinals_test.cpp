#include "projections/vector_ordinals.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <span>
#include <vector>

using namespace annal;
using namespace annal::testing;

namespace {

std::vector<Slot> passing_slots(const SlotOrdinals& ordinals, const OrdinalSet& passing) {
    std::vector<Slot> slots;
    ordinals.for_each(passing,
                      [&](std::span<const Slot> some) { slots.insert(slots.end(), some.begin(), some.end()); });
    std::sort(slots.begin(), slots.end());
    return slots;
}

}  // namespace

TEST_CASE("ordinals, in order or not, are found and intersected as a list of them would be", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < trials(40); ++trial) {
        SlotOrdinals ordinals;
        std::vector<std::uint64_t> list;
        std::size_t published = 0;
        std::uint64_t last = 1 + random() % 1000;
        const auto strays = 1 + random() % 20;
        for (int step = 0; step < 400; ++step) {
            const auto ordinal = random() % strays == 0 && !list.empty() ? list[random() % list.size()]
                                                                         : last += 1 + random() % (1 + random() % 90);
            REQUIRE(ordinals.append(Seq{ordinal}));
            list.push_back(ordinal);
            if (random() % 20 == 0) {
                ordinals.publish();
                published = list.size();
            }
            if (random() % 30 == 0) {
                ordinals.cut();
                list.resize(published);
                last = list.empty() ? last : *std::max_element(list.begin(), list.end());
            }
        }
        ordinals.publish();
        REQUIRE(ordinals.size() == list.size());
        OrdinalSet passing;
        for (std::uint64_t ordinal = 1; ordinal <= last; ++ordinal)
            if (random() % 3 == 0) passing.insert(Seq{ordinal});
        std::vector<Slot> expected;
        for (Slot slot = 0; slot < list.size(); ++slot) {
            REQUIRE(ordinals[slot] == Seq{list[slot]});
            const auto found = std::find(list.rbegin(), list.rend(), list[slot]);
            REQUIRE(ordinals.find(Seq{list[slot]}) == static_cast<Slot>(list.rend() - found - 1));
            if (passing.contains(Seq{list[slot]})) expected.push_back(slot);
        }
        REQUIRE(passing_slots(ordinals, passing) == expected);
        REQUIRE(ordinals.count(passing) >= expected.size());
        REQUIRE_FALSE(ordinals.find(Seq{last + 1}));
    }
}
