#include "adapters/outbound/circuit_breaker.h"
#include "adapters/outbound/backoff.h"
#include "support/seed.h"
#include "support/stopped_clock.h"

#include <catch2/catch_test_macros.hpp>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

namespace {

void fail(CircuitBreaker& breaker, int times) {
    for (int i = 0; i < times; ++i) {
        REQUIRE(breaker.ask() == 0us);
        breaker.failed();
    }
}

}  // namespace

TEST_CASE("a breaker opens after five failures in a row, and lets one try through after 30 s", "[adapters]") {
    StoppedClock clock;
    CircuitBreaker breaker(clock);
    fail(breaker, 4);
    breaker.succeeded();
    fail(breaker, 4);
    CHECK(breaker.state() == BreakerState::closed);
    fail(breaker, 1);
    CHECK(breaker.state() == BreakerState::open);

    CHECK(breaker.ask() == 30s);
    clock.advance(29'999'999);
    CHECK(breaker.ask() == 1us);
    CHECK(breaker.state() == BreakerState::open);
    clock.advance(1);
    CHECK(breaker.ask() == 0us);
    CHECK(breaker.state() == BreakerState::half_open);
    CHECK(breaker.ask() == 60s);  // The one that tries has the call's time.

    SECTION("a try that fails opens it at once") {
        breaker.failed();
        CHECK(breaker.state() == BreakerState::open);
        CHECK(breaker.ask() == 30s);
    }
    SECTION("a try that succeeds closes it, and failures count from none") {
        breaker.succeeded();
        fail(breaker, 4);
        CHECK(breaker.state() == BreakerState::closed);
    }
    SECTION("a try that was given up gives way to another at once") {
        breaker.withdrawn();
        CHECK(breaker.state() == BreakerState::open);
        CHECK(breaker.ask() == 0us);
    }
    SECTION("a try that is never told of gives way to another") {
        clock.advance(60'000'000);
        CHECK(breaker.ask() == 0us);
        CHECK(breaker.ask() == 60s);
    }
}

TEST_CASE("a failure that comes in late does not keep a breaker open for longer", "[adapters]") {
    StoppedClock clock;
    CircuitBreaker breaker(clock);
    fail(breaker, 5);
    clock.advance(20'000'000);
    breaker.failed();
    CHECK(breaker.ask() == 10s);
}

TEST_CASE("a clock that is put back keeps a breaker open for its 30 s, and no longer", "[adapters]") {
    StoppedClock clock;
    CircuitBreaker breaker(clock);
    fail(breaker, 5);
    clock.advance(-3'600'000'000);
    CHECK(breaker.ask() == 30s);
    clock.advance(30'000'000);
    CHECK(breaker.ask() == 0us);
}

TEST_CASE("a backoff doubles up to its longest, and waits at random within that", "[adapters]") {
    double drawn = 1 - 0x1p-53;
    Backoff backoff([&] { return drawn; }, {.first = 100ms, .longest = 1000ms});
    for (const auto limit : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
        const auto wait = backoff.next();
        CHECK(wait <= limit);
        CHECK(wait >= limit - 1ms);
    }
    backoff.succeeded();
    drawn = 0.5;
    CHECK(backoff.next() == 50ms);
    drawn = 0;
    CHECK(backoff.next() == 0ms);
}

TEST_CASE("chance of a seed is the same again, and even", "[adapters]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    auto first = chance_of(seed);
    auto second = chance_of(seed);
    double sum = 0;
    for (int i = 0; i < 10'000; ++i) {
        const auto drawn = first();
        REQUIRE(drawn == second());
        REQUIRE(drawn >= 0);
        REQUIRE(drawn < 1);
        sum += drawn;
    }
    CHECK(sum > 4'700);
    CHECK(sum < 5'300);
}
