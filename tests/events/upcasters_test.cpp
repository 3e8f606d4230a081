#include "events/upcasters.h"

#include "events/codec.h"
#include "support/event_bytes.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

using namespace annal;
using annal::testing::stored_bytes;

namespace {

MemoryEvent note(std::string content) {
    MemoryEvent event;
    event.memory_id.bytes[0] = 1;
    event.event_id.bytes[0] = 2;
    event.scope.project = "shop";
    MemoryRecorded body;
    body.content = std::move(content);
    event.body = body;
    return event;
}

// The imagined version 0 of a table is the current one with its bytes turned about.
using Bytes = std::vector<std::uint8_t>;
Result<Bytes> turn(std::span<const std::uint8_t> table) {
    return Bytes(table.rbegin(), table.rend());
}
Result<Bytes> break_it(std::span<const std::uint8_t> table) {
    return Bytes(table.begin(), table.end() - 9);
}
Result<Bytes> refuse(std::span<const std::uint8_t>) {
    return Error{ErrorCode::data_loss, "not a table of version 0", {}};
}

std::string as_version_0(const MemoryEvent& event) {
    auto bytes = stored_bytes(event);
    bytes[4] = 0;
    return bytes.substr(0, event_header_bytes) + std::string(bytes.rbegin(), bytes.rend() - event_header_bytes);
}

std::vector<UpcasterRow> rows_for_all(std::uint16_t from, Upcaster lift) {
    std::vector<UpcasterRow> rows;
    for (std::uint16_t type = 1; type <= event_type_count; ++type)
        rows.push_back({static_cast<EventType>(type), from, lift});
    return rows;
}

}  // namespace

TEST_CASE("every event type of this build can be lifted from every version there was", "[events][upcasters]") {
    CHECK(check_upcasters());
    CHECK(upcasters().current == schema_version_current);
    CHECK(upcasters().first == 1);
}

TEST_CASE("a gap in the upcasters is found before any event is read", "[events][upcasters]") {
    auto rows = rows_for_all(0, turn);
    for (const auto& row : rows_for_all(1, unchanged)) rows.push_back(row);
    CHECK(check_upcasters({0, 2, rows}));

    const auto gap = check_upcasters({0, 3, rows});  // Nothing from 2 to 3.
    REQUIRE_FALSE(gap);
    CHECK(gap.error().code == ErrorCode::internal);
    CHECK(gap.error().details.at("schema_version") == "2");

    auto lacking = rows;
    lacking.erase(lacking.begin() + 7);
    const auto one = check_upcasters({0, 2, lacking});
    REQUIRE_FALSE(one);
    CHECK(one.error().details.at("type") == "MemoryForgotten");
    CHECK(one.error().details.at("schema_version") == "0");

    auto twice = rows;
    twice.push_back(rows.front());
    CHECK_FALSE(check_upcasters({0, 2, twice}));
    auto null = rows;
    null[3].lift = nullptr;
    CHECK_FALSE(check_upcasters({0, 2, null}));
}

TEST_CASE("an event of an older version is lifted when it is read, its bytes stay", "[events][upcasters]") {
    const auto event = note("likes tea");
    const auto stored = as_version_0(event);
    const auto rows = rows_for_all(0, turn);
    EventArena arena;

    const auto view = decode(Seq{4}, stored, arena, {0, 1, rows});
    REQUIRE(view);
    CHECK(view->unpack() == event);
    CHECK(std::string(view->stored().begin(), view->stored().end()) == stored);

    CHECK(decode(Seq{5}, stored_bytes(event), arena, {0, 1, rows}));  // The current one passes by.

    const auto never = decode(Seq{6}, stored, arena);
    REQUIRE_FALSE(never);
    CHECK(never.error().code == ErrorCode::data_loss);
}

TEST_CASE("an event is lifted through every version between", "[events][upcasters]") {
    const auto event = note("likes rain");
    auto rows = rows_for_all(0, turn);
    for (const auto& row : rows_for_all(1, turn)) rows.push_back(row);
    for (const auto& row : rows_for_all(2, turn)) rows.push_back(row);
    EventArena arena;
    const auto view = decode(Seq{1}, as_version_0(event), arena, {0, 3, rows});
    REQUIRE(view);
    CHECK(view->unpack() == event);

    rows.erase(rows.begin() + event_type_count);  // MemoryRecorded from 1: open() would have refused this build.
    const auto gap = decode(Seq{1}, as_version_0(event), arena, {0, 3, rows});
    REQUIRE_FALSE(gap);
    CHECK(gap.error().code == ErrorCode::internal);
}

TEST_CASE("what an upcaster makes is verified", "[events][upcasters]") {
    EventArena arena;
    for (const Upcaster lift : {break_it, refuse}) {
        const auto rows = rows_for_all(0, lift);
        const auto broken = decode(Seq{1}, as_version_0(note("x")), arena, {0, 1, rows});
        REQUIRE_FALSE(broken);
        CHECK(broken.error().code == ErrorCode::data_loss);
    }
}
