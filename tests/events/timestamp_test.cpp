#include "support/random_events.h"
#include "support/seed.h"

#include <annal/timestamp.h>

#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <limits>
#include <string>

using namespace annal;

namespace {

std::int64_t us(std::string_view text) {
    const auto time = parse_timestamp(text, "occurred_at");
    INFO(text);
    REQUIRE(time);
    return time->us;
}

bool refused(std::string_view text) {
    const auto time = parse_timestamp(text, "occurred_at");
    if (time) return false;
    CHECK(time.error().code == ErrorCode::invalid_argument);
    CHECK(time.error().details.at("field") == "occurred_at");
    CHECK(time.error().message.starts_with("occurred_at "));
    return true;
}

}  // namespace

TEST_CASE("times are parsed with their zone", "[timestamp]") {
    CHECK(us("1970-01-01T00:00:00Z") == 0);
    CHECK(us("2026-11-20T17:23:26Z") == 1'795'195'406'000'000);
    CHECK(us("2026-11-20t17:23:26z") == 1'795'195'406'000'000);
    CHECK(us("2026-11-20 17:23:26Z") == 1'795'195'406'000'000);
    CHECK(us("2026-01-01T12:00:00+14:00") == us("2025-12-31T22:00:00Z"));
    CHECK(us("2025-12-31T22:00:00-12:30") == us("2026-01-01T10:30:00Z"));
    CHECK(us("2026-01-01T00:00:00+00:00") == us("2026-01-01T00:00:00-00:00"));
    CHECK(us("2026-01-01T00:00:00+23:59") == us("2025-12-31T00:01:00Z"));
    CHECK(us("9999-12-31T23:59:59.999999Z") == 253'402'300'799'999'999);
}

TEST_CASE("a fraction has one to six digits", "[timestamp]") {
    CHECK(us("1970-01-01T00:00:00.1Z") == 100'000);
    CHECK(us("1970-01-01T00:00:00.12Z") == 120'000);
    CHECK(us("1970-01-01T00:00:00.000001Z") == 1);
    CHECK(us("1970-01-01T01:00:00.5+01:00") == 500'000);
    CHECK(refused("1970-01-01T00:00:00.Z"));
    CHECK(refused("1970-01-01T00:00:00.1234567Z"));
    CHECK(refused("1970-01-01T00:00:00,5Z"));
    CHECK(refused("1970-01-01T00:00:00." + std::string(1000, '9') + "Z"));
}

TEST_CASE("leap days are there in leap years only", "[timestamp]") {
    CHECK(us("2024-02-29T00:00:00Z") + 86'400'000'000 == us("2024-03-01T00:00:00Z"));
    CHECK(us("2000-02-29T00:00:00Z") + 86'400'000'000 == us("2000-03-01T00:00:00Z"));
    CHECK(us("2023-02-28T00:00:00Z") + 86'400'000'000 == us("2023-03-01T00:00:00Z"));
    CHECK(refused("2023-02-29T00:00:00Z"));
    CHECK(refused("2100-02-29T00:00:00Z"));
    CHECK(refused("2024-02-30T00:00:00Z"));
}

TEST_CASE("days and hours that are not are refused", "[timestamp]") {
    for (const auto* text :
         {"2026-00-10T00:00:00Z", "2026-13-10T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z",
          "2026-04-31T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
          "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:60"})
        CHECK(refused(text));
}

TEST_CASE("only years 1970 to 9999 are taken, by the instant", "[timestamp]") {
    CHECK(us("1969-12-31T23:00:00-02:00") == us("1970-01-01T01:00:00Z"));
    CHECK(refused("1969-12-31T23:59:59Z"));
    CHECK(refused("1970-01-01T00:00:00+00:01"));
    CHECK(refused("0000-01-01T00:00:00Z"));
    CHECK(refused("9999-12-31T23:59:59-14:00"));
    CHECK(refused("10000-01-01T00:00:00Z"));
    CHECK(us("9999-12-31T23:59:59+14:00") == us("9999-12-31T09:59:59Z"));
}

TEST_CASE("what is not an RFC 3339 time is refused", "[timestamp]") {
    for (const auto* text : {"",
                             "now",
                             "2026",
                             "2026-01-01",
                             "2026-01-01T12:00Z",
                             "2026-01-01T12:00+14:00",
                             "2026-01-01T12:00:00",
                             "2026-01-01T12:00:00+14",
                             "2026-01-01T12:00:00+1400",
                             "2026-01-01T12:00:00+14:0",
                             "2026-01-01T12:00:00 Z",
                             "2026-01-01T12:00:00Z ",
                             " 2026-01-01T12:00:00Z",
                             "2026-01-01T12:00:00ZZ",
                             "2026-01-01T12:00:00+14:00Z",
                             "2026/01/01T12:00:00Z",
                             "2026-01-01_12:00:00Z",
                             "2026-01-01T12.00.00Z",
                             "2026-1-1T12:00:00Z",
                             "-026-01-01T12:00:00Z",
                             "+026-01-01T12:00:00Z",
                             "2026-01-01T12:00:00+-1:00",
                             "2026-W01-1T12:00:00Z",
                             "1767225600",
                             "2026-01-01T12:00:00\xe2\x88\x92"
                             "01:00"})
        CHECK(refused(text));
    const std::string good = "2026-11-20T17:23:26.123456+05:30";
    REQUIRE_FALSE(refused(good));
    for (std::size_t size = 0; size < good.size(); ++size) CHECK(refused(good.substr(0, size)));
    CHECK(refused(std::string("2026-11-20T17:23:26Z\0", 21)));
}

TEST_CASE("a time is spelled in UTC and parsed back", "[timestamp]") {
    CHECK(to_string(Timestamp{0}) == "1970-01-01T00:00:00Z");
    CHECK(to_string(Timestamp{1'795'195'406'123'456}) == "2026-11-20T17:23:26.123456Z");
    CHECK(to_string(Timestamp{1'795'195'406'000'001}) == "2026-11-20T17:23:26.000001Z");
    CHECK(to_string(Timestamp{253'402'300'799'999'999}) == "9999-12-31T23:59:59.999999Z");
    const auto seed = annal::testing::test_seed();
    INFO("ANNAL_SEED=" << seed);
    annal::testing::RandomEvents random(seed);
    for (int i = 0; i < 5000; ++i) {
        Timestamp time = random.time();
        if (i % 2 == 0) time.us -= time.us % 1'000'000;
        CHECK(us(to_string(time)) == time.us);
    }
    // Out of range nothing is promised but that it does not break.
    using Limits = std::numeric_limits<std::int64_t>;
    for (const auto us : {Limits::min(), std::int64_t{-1}, Limits::max()})
        CHECK_FALSE(to_string(Timestamp{us}).empty());
}

TEST_CASE("the system's clock is of our time", "[timestamp]") {
    CHECK(system_clock().now() > *parse_timestamp("2024-01-01T00:00:00Z", "now"));
}
