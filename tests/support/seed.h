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

// Sanitizers look for what each trial does, the release build tries whether the next one does it too.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr long trials_per_cent_default = 10;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr long trials_per_cent_default = 10;
#else
inline constexpr long trials_per_cent_default = 100;
#endif
#else
inline constexpr long trials_per_cent_default = 100;
#endif

// `count` trials, or as many per cent of them as ANNAL_TRIALS says (when it is unset 100, under a sanitizer 10), at
// least one.
inline int trials(int count) {
    const char* given = std::getenv("ANNAL_TRIALS");
    const long per_cent = given ? std::strtol(given, nullptr, 10) : trials_per_cent_default;
    return static_cast<int>(std::max(1L, count * per_cent / 100));
}

}  // namespace annal::testing
