// Keeps calls away from a server that does not answer.
// closed:    every call is let through; `failures_max` failures in a row open it.
// open:      none is, for `open_for`.
// half_open: one is, to try; it closes the breaker, or opens it again.
// Threads: every method may be called from any thread.
#pragma once

#include <annal/timestamp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string_view>

namespace annal {

struct CircuitBreakerOptions {
    int failures_max = 5;
    std::chrono::milliseconds open_for{30'000};
    // No call takes longer: who makes it sees to that. A try that was never told of counts as failed after it.
    std::chrono::milliseconds call_max{60'000};
};

enum class BreakerState : std::uint8_t { closed, open, half_open };
inline constexpr std::array<std::string_view, 3> breaker_state_names{"closed", "open", "half_open"};
constexpr std::string_view to_string(BreakerState state) {
    return breaker_state_names[static_cast<std::size_t>(state)];
}

class CircuitBreaker {
 public:
    explicit CircuitBreaker(Clock& clock, CircuitBreakerOptions options = {}) : clock_(clock), options_(options) {}

    const CircuitBreakerOptions& options() const { return options_; }

    // Zero: make the call, and tell how it went. Else how long to wait before asking again.
    std::chrono::microseconds ask() {
        const std::lock_guard hold(mutex_);
        if (state_ == BreakerState::closed) return {};
        const auto now = clock_.now();
        since_ = std::min(since_, now);  // A clock that was put back keeps nobody out for longer.
        const auto wait = state_ == BreakerState::open ? options_.open_for : options_.call_max;
        const std::chrono::microseconds passed(now.us - since_.us);
        if (passed < wait) return wait - passed;
        state_ = BreakerState::half_open;
        since_ = now;
        return {};
    }
    void succeeded() {
        const std::lock_guard hold(mutex_);
        state_ = BreakerState::closed;
        failures_ = 0;
    }
    // Only of what says that the server is unwell: a refusal is an answer.
    void failed() {
        const std::lock_guard hold(mutex_);
        ++failures_;
        if (state_ == BreakerState::closed && failures_ < options_.failures_max) return;
        if (state_ == BreakerState::open) return;  // Of a call that began before.
        state_ = BreakerState::open;
        since_ = clock_.now();
    }
    // A call that was given up: it tells nothing, and another may try.
    void withdrawn() {
        const std::lock_guard hold(mutex_);
        if (state_ != BreakerState::half_open) return;
        state_ = BreakerState::open;
        since_.us = clock_.now().us - std::chrono::microseconds(options_.open_for).count();
    }
    BreakerState state() const {
        const std::lock_guard hold(mutex_);
        return state_;
    }

 private:
    Clock& clock_;
    CircuitBreakerOptions options_;
    mutable std::mutex mutex_;
    BreakerState state_ = BreakerState::closed;
    int failures_ = 0;   // In a row.
    Timestamp since_{};  // When it opened, or when the try began.
};

}  // namespace annal
