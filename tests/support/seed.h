// The seed of a random test: ANNAL_SEED when it is set, else a new one each run. Say it with INFO, so a failure can be
// repeated.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>

namespace annal::testing {

inline std::uint64_t test_seed() {
    if (const char* given = std::getenv("ANNAL_SEED")) return std::strtoull(given, nullptr, 10);
    return std::random_device{}();
}

// `count` trials, or as many per cent of them as ANNAL_TRIALS says (100 when unset), at least one.
inline int trials(int count) {
    const char* given = std::getenv("ANNAL_TRIALS");
    const long per_cent = given ? std::strtol(given, nullptr, 10) : 100;
    return static_cast<int>(std::max(1L, count * per_cent / 100));
}

}  // namespace annal::testing
