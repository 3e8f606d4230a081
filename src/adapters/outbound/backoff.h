// How long to wait before what failed is tried again: up to twice as long after each failure, at random in all of that
// time, so that those who failed together do not come back together.
// Threads: used by one at a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <utility>

namespace annal {

// Evenly from [0, 1).
using Chance = std::function<double()>;
inline Chance chance_of(std::uint64_t seed) {
    return [random = std::mt19937_64(seed)]() mutable { return static_cast<double>(random() >> 11) * 0x1p-53; };
}

struct BackoffOptions {
    std::chrono::milliseconds first{200};
    std::chrono::milliseconds longest{30'000};
};

class Backoff {
 public:
    explicit Backoff(Chance chance, BackoffOptions options = {})
        : chance_(std::move(chance)), options_(options), limit_(options.first) {}

    // After one more failure: within [0, first * 2^n], n being the failures before it, and never past `longest`.
    std::chrono::milliseconds next() {
        const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(limit_ * chance_());
        limit_ = std::min(limit_ * 2, options_.longest);
        return wait;
    }
    void succeeded() { limit_ = options_.first; }

 private:
    Chance chance_;
    BackoffOptions options_;
    std::chrono::milliseconds limit_;
};

}  // namespace annal
