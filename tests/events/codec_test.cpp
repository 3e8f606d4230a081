#include "events/codec.h"

#include "support/event_bytes.h"
#include "support/random_events.h"
#include "support/seed.h"

#include <annal/limits.h>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>

using namespace annal;
using annal::testing::RandomEvents;
using annal::testing::stored_bytes;

namespace {

MemoryEvent small_event() {
    MemoryEvent event;
    event.memory_id.bytes[15] = 1;
    event.event_id.bytes[15] = 2;
    event.scope.project = "shop";
    MemoryRecorded body;
    body.content = "checkout needs a 2 s wait";
    event.body = body;
    return event;
}

MemoryEvent small_event(EventBody body) {
    MemoryEvent event = small_event();
    event.body = std::move(body);
    return event;
}

MemoryEvent round_trip(const MemoryEvent& event) {
    EventArena arena;
    const auto view = decode(Seq{5}, stored_bytes(event), arena);
    INFO((view ? std::string() : view.error().message));
    REQUIRE(view);
    return view->unpack();
}

std::string changed(std::string bytes, std::size_t at, char value) {
    bytes[at] = value;
    return bytes;
}

}  // namespace

TEST_CASE("an event of any type comes back as it was written", "[events][codec]") {
    const auto seed = annal::testing::test_seed();
    INFO("ANNAL_SEED=" << seed);
    RandomEvents random(seed);
    EventArena arena;
    for (int trial = 0; trial < annal::testing::trials(300); ++trial) {
        for (std::size_t number = 1; number <= event_type_count; ++number) {
            const auto event = random.event(static_cast<EventType>(number));
            const Version version{1 + random.below(1'000'000)};
            const Timestamp recorded_at = random.time();
            arena.clear();
            const auto stored = stored_bytes(event, version, recorded_at);
            const auto view = decode(Seq{7}, stored, arena);
            REQUIRE(view);
            REQUIRE(view->unpack() == event);
            REQUIRE(view->seq() == Seq{7});
            REQUIRE(view->version() == version);
            REQUIRE(view->recorded_at() == recorded_at);
            REQUIRE(view->type() == event.type());
            REQUIRE(view->memory_id() == event.memory_id);
            REQUIRE(view->event_id() == event.event_id);
            REQUIRE(view->occurred_at() == event.occurred_at.value_or(recorded_at));
            REQUIRE(view->project() == event.scope.project);
            REQUIRE(view->agent() == event.scope.agent);
            REQUIRE(view->user() == event.scope.user);
            REQUIRE(view->session() == event.scope.session);
            REQUIRE(view->actor() == event.actor);
            REQUIRE(view->source_type() == event.source.type);
            REQUIRE(std::string(view->stored().begin(), view->stored().end()) == stored);
        }
    }
}

TEST_CASE("every optional part of a revision is told apart: unchanged, removed, set", "[events][codec]") {
    const std::array<std::optional<std::optional<Timestamp>>, 4> times{
        std::nullopt, std::optional<Timestamp>{}, std::optional(Timestamp{0}), std::optional(Timestamp{77})};
    for (const auto& time : times) {
        for (int which = 0; which < 3; ++which) {
            MemoryRevised body;
            (which == 0 ? body.valid_from : which == 1 ? body.valid_to : body.expires_at) = time;
            CHECK(std::get<MemoryRevised>(round_trip(small_event(body)).body) == body);
        }
    }
    const auto check = [](auto&& set) {
        MemoryRevised body;
        set(body);
        CHECK(std::get<MemoryRevised>(round_trip(small_event(body)).body) == body);
    };
    check([](MemoryRevised&) {});
    check([](MemoryRevised& b) { b.content = ""; });
    check([](MemoryRevised& b) { b.tags.emplace(); });
    check([](MemoryRevised& b) { b.tags = {""}; });
    check([](MemoryRevised& b) { b.metadata = "null"; });
    check([](MemoryRevised& b) { b.metadata = ""; });
    check([](MemoryRevised& b) { b.occurred_at = Timestamp{0}; });
    check([](MemoryRevised& b) { b.fields = OutcomeFields{}; });
}

TEST_CASE("values that equal a default of the schema come back too", "[events][codec]") {
    MemoryRecorded body;
    body.content = "";
    body.metadata = "null";
    body.confidence = 1;
    body.valid_from = Timestamp{0};
    body.fields = RelationFields{"", "", "", 0.5, false};
    body.embedding = Embedding{"", {0.0F}};
    body.embedding_norm = 0;
    CHECK(std::get<MemoryRecorded>(round_trip(small_event(body)).body) == body);
    body.confidence = 0;
    body.metadata = "";
    body.fields = OutcomeFields{"", "", "", false, 0, "", ""};
    CHECK(std::get<MemoryRecorded>(round_trip(small_event(body)).body) == body);
}

TEST_CASE("an embedding keeps its bits", "[events][codec]") {
    MemoryRecorded body;
    body.content = "x";
    using Limits = std::numeric_limits<float>;
    body.embedding = Embedding{"model", {-0.0F, 0.0F, Limits::denorm_min(), Limits::max(), Limits::lowest(), 0.1F}};
    for (int i = 0; i < 4090; ++i) body.embedding->values.push_back(static_cast<float>(i) / 3);
    const auto back = std::get<MemoryRecorded>(round_trip(small_event(body)).body);
    REQUIRE(back.embedding);
    REQUIRE(back.embedding->values.size() == body.embedding->values.size());
    CHECK(std::memcmp(back.embedding->values.data(), body.embedding->values.data(),
                      body.embedding->values.size() * sizeof(float)) == 0);
}

TEST_CASE("an event of the limit passes, one byte more does not", "[events][codec]") {
    MemoryRecorded body;
    const auto encode_content = [&](std::size_t size) {
        body.content.assign(size, 'x');
        return encode(small_event(body));
    };
    // The table is padded to its alignment, so the last content that fits is found by trying.
    std::size_t fits = limits::event_bytes_max - 300;
    while (encode_content(fits + 1)) ++fits;

    const auto last = encode_content(fits);
    REQUIRE(last);
    CHECK(last->bytes.size() == limits::event_bytes_max);
    CHECK(std::get<MemoryRecorded>(round_trip(small_event(body)).body).content.size() == fits);

    const auto over = encode_content(fits + 1);
    REQUIRE_FALSE(over);
    CHECK(over.error().code == ErrorCode::resource_exhausted);
    CHECK(over.error().details.at("limit") == std::to_string(limits::event_bytes_max));
    CHECK(std::stoull(over.error().details.at("bytes")) > limits::event_bytes_max);
}

TEST_CASE("what is far too big is refused, wherever it is, and the next event passes", "[events][codec]") {
    const std::string huge(std::size_t{40} << 20, 'x');
    MemoryRecorded recorded;
    recorded.content = huge;
    MemoryRecorded vector;
    vector.content = "x";
    vector.embedding = Embedding{"m", std::vector<float>(std::size_t{4} << 20, 0.5F)};
    MemoryRevised tags;
    tags.tags = std::vector<std::string>(std::size_t{2} << 20);
    MemoryEvent reason = small_event();
    reason.reason = huge;
    MemoryEvent project = small_event();
    project.scope.project = huge;
    for (const auto& event : {small_event(recorded), small_event(vector), small_event(tags), reason, project,
                              small_event(MemoryVerified{huge, "", 1}), small_event(PolicyChanged{huge, "", ""})}) {
        const auto refused = encode(event);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::resource_exhausted);
        CHECK(std::stoull(refused.error().details.at("bytes")) > limits::event_bytes_max);
        CHECK(round_trip(small_event()) == small_event());
    }
}

TEST_CASE("what could not be read back is not written", "[events][codec]") {
    const auto refused_field = [](const MemoryEvent& event) {
        const auto refused = encode(event);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::invalid_argument);
        return refused.error().details.at("field");
    };
    const double not_a_number = std::nan("");
    const auto recorded = [](auto&& set) {
        MemoryRecorded body;
        body.content = "x";
        set(body);
        return small_event(body);
    };
    const auto revised = [](auto&& set) {
        MemoryRevised body;
        set(body);
        return small_event(body);
    };
    const Timestamp too_early{-1};
    const Timestamp too_late{253'402'300'800'000'000};

    MemoryEvent event = small_event();
    event.scope.project.clear();
    CHECK(refused_field(event) == "scope.project");
    event = small_event();
    event.occurred_at = too_early;
    CHECK(refused_field(event) == "occurred_at");
    event.occurred_at = too_late;
    CHECK(refused_field(event) == "occurred_at");
    event = small_event();
    event.source.type = static_cast<SourceType>(8);
    CHECK(refused_field(event) == "source.type");

    CHECK(refused_field(recorded([](auto& b) { b.claim = static_cast<Claim>(4); })) == "claim");
    CHECK(refused_field(recorded([](auto& b) { b.confidence = 1.001; })) == "confidence");
    CHECK(refused_field(recorded([](auto& b) { b.confidence = -0.001; })) == "confidence");
    CHECK(refused_field(recorded([&](auto& b) { b.confidence = not_a_number; })) == "confidence");
    CHECK(refused_field(recorded([&](auto& b) { b.valid_from = too_late; })) == "valid_from");
    CHECK(refused_field(recorded([&](auto& b) { b.valid_to = too_early; })) == "valid_to");
    CHECK(refused_field(recorded([&](auto& b) { b.expires_at = too_late; })) == "expires_at");
    CHECK(refused_field(recorded([](auto& b) { b.fields = RelationFields{"a", "b", "c", 1.5, false}; })) == "strength");
    CHECK(refused_field(recorded([](auto& b) { b.embedding = Embedding{"m", {}}; })) == "embedding");
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(refused_field(recorded([&](auto& b) { b.embedding = Embedding{"m", {1, infinity, 1}}; })) == "embedding");
    CHECK(refused_field(recorded([](auto& b) { b.embedding = Embedding{"m", {std::nanf("")}}; })) == "embedding");
    CHECK(refused_field(recorded([&](auto& b) {
              b.embedding = Embedding{"m", {1}};
              b.embedding_norm = infinity;
          })) == "embedding");

    CHECK(refused_field(revised([&](auto& b) { b.occurred_at = too_early; })) == "occurred_at");
    CHECK(refused_field(revised([&](auto& b) { b.valid_from = std::optional(too_early); })) == "valid_from");
    CHECK(refused_field(revised([&](auto& b) { b.valid_to = std::optional(too_late); })) == "valid_to");
    CHECK(refused_field(revised([&](auto& b) { b.expires_at = std::optional(too_late); })) == "expires_at");
    CHECK(refused_field(revised([](auto& b) { b.fields = RelationFields{"a", "b", "c", -1, false}; })) == "strength");
    CHECK(refused_field(revised([](auto& b) { b.embedding = Embedding{"m", {}}; })) == "embedding");

    const auto no_claim = static_cast<Claim>(99);
    CHECK(refused_field(small_event(ClaimPromoted{no_claim, Claim::verified})) == "from");
    CHECK(refused_field(small_event(ClaimPromoted{Claim::verified, no_claim})) == "to");
    CHECK(refused_field(small_event(ConfidenceChanged{2, 1})) == "from");
    CHECK(refused_field(small_event(ConfidenceChanged{1, not_a_number})) == "to");
    CHECK(refused_field(small_event(MemoryVerified{"verified", "", 7})) == "confidence");
    CHECK(refused_field(small_event(MemoryRecalled{"r", "q", 1, not_a_number})) == "score");
    MemoryRecalled recalled{"r", "q", 1, 0.5};
    recalled.mode = static_cast<SearchMode>(search_mode_names.size());
    CHECK(refused_field(small_event(recalled)) == "mode");
}

TEST_CASE("the header is laid out as documented", "[events][codec]") {
    const auto bytes = stored_bytes(small_event(MemoryForgotten{true}), Version{0x1122}, Timestamp{0x33445566});
    const std::array<unsigned char, event_header_bytes> expected{1,    0,    8,    0,    1, 0, 0, 0,  //
                                                                 0x22, 0x11, 0,    0,    0, 0, 0, 0,  //
                                                                 0x66, 0x55, 0x44, 0x33, 0, 0, 0, 0};
    CHECK(std::memcmp(bytes.data(), expected.data(), expected.size()) == 0);
    CHECK(bytes.substr(event_header_bytes + 4, 4) == "ANNL");

    const auto header = read_header(bytes);
    REQUIRE(header);
    CHECK(header->type == EventType::memory_forgotten);
    CHECK(header->schema_version == schema_version_current);
    CHECK(header->version == Version{0x1122});
    CHECK(header->recorded_at == Timestamp{0x33445566});
    CHECK(read_header(bytes.substr(0, event_header_bytes)));
}

TEST_CASE("a damaged header is refused", "[events][codec]") {
    const auto bytes = stored_bytes(small_event());
    EventArena arena;
    const auto decode_code = [&](const std::string& stored) {
        const auto refused = decode(Seq{9}, stored, arena);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().details.at("seq") == "9");
        return refused.error().code;
    };
    for (std::size_t at : {0, 1, 3, 6, 7, 24, 27, 31}) {
        INFO("byte " << at);
        const auto broken = changed(bytes, at, '\x7f');
        CHECK(decode_code(broken) == ErrorCode::data_loss);
        const auto header = read_header(broken);
        REQUIRE_FALSE(header);
        CHECK(header.error().code == ErrorCode::data_loss);
    }
    CHECK(decode_code(changed(bytes, 2, 0)) == ErrorCode::data_loss);        // No type.
    CHECK(decode_code(changed(bytes, 2, 14)) == ErrorCode::data_loss);       // None that this version has.
    CHECK(decode_code(changed(bytes, 2, 2)) == ErrorCode::data_loss);        // Another than the body's.
    CHECK(decode_code(changed(bytes, 4, 0)) == ErrorCode::data_loss);        // Schema version 0 never was.
    CHECK(decode_code(changed(bytes, 8, 0)) == ErrorCode::data_loss);        // Not stamped with a version.
    CHECK(decode_code(changed(bytes, 23, '\xff')) == ErrorCode::data_loss);  // recorded_at before 1970,
    CHECK(decode_code(changed(bytes, 23, '\x7f')) == ErrorCode::data_loss);  // or in the year 292277.
    CHECK(decode_code(changed(bytes, event_header_bytes + 4, 'B')) == ErrorCode::data_loss);  // The identifier.
    CHECK(decode_code("") == ErrorCode::data_loss);
    CHECK(decode_code(bytes.substr(0, event_header_bytes)) == ErrorCode::data_loss);
    CHECK(decode(Seq{9}, bytes, arena));
}

TEST_CASE("a newer schema version is refused by its number", "[events][codec]") {
    // Its type may be one that this build has never heard of.
    for (const char type : {'\1', 'c'}) {
        auto bytes = changed(changed(stored_bytes(small_event()), 4, 3), 2, type);
        EventArena arena;
        const auto refused = decode(Seq{9}, bytes, arena);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::unimplemented);
        CHECK(refused.error().message.find("schema version 3") != std::string::npos);
        CHECK(refused.error().details.at("schema_version") == "3");
        CHECK(refused.error().details.at("supported") == "1");
        CHECK(read_header(bytes));
    }
}

TEST_CASE("event types are named as in the schema", "[events]") {
    std::set<std::string_view> names;
    for (std::size_t number = 1; number <= event_type_count; ++number)
        names.insert(to_string(static_cast<EventType>(number)));
    CHECK(names.size() == event_type_count);
    CHECK_FALSE(names.contains("unknown"));
    CHECK(to_string(EventType::memory_recorded) == "MemoryRecorded");
    CHECK(to_string(EventType::policy_changed) == "PolicyChanged");
    CHECK(to_string(static_cast<EventType>(0)) == "unknown");
    CHECK(to_string(static_cast<EventType>(14)) == "unknown");
}

TEST_CASE("events are decoded from any address, and live in the arena", "[events][codec]") {
    RandomEvents random(1);
    const auto event = random.event(EventType::memory_recorded);
    const auto bytes = stored_bytes(event);
    EventArena arena;
    std::vector<EventView> views;
    for (std::size_t shift = 0; shift < 16; ++shift) {
        std::string shifted(shift, '.');
        shifted += bytes;
        const auto view = decode(Seq{shift + 1}, std::string_view(shifted).substr(shift), arena);
        REQUIRE(view);
        CHECK(reinterpret_cast<std::uintptr_t>(view->stored().data()) % 16 == 0);
        views.push_back(*view);
    }
    for (const auto& view : views) CHECK(view.unpack() == event);  // What they were read from is gone.
}

TEST_CASE("the arena keeps its memory and grows by blocks", "[events][codec]") {
    EventArena arena;
    const std::string big(300'000, 'b');
    const std::string small(100, 's');
    std::vector<std::pair<std::span<std::uint8_t>, const std::string*>> copies;
    std::set<const std::uint8_t*> addresses;
    for (int round = 0; round < 3; ++round) {
        arena.clear();
        CHECK(arena.bytes() == 0);
        copies.clear();
        for (int i = 0; i < 20; ++i)
            for (const auto* text : {&small, &big, &small}) copies.emplace_back(arena.copy(*text), text);
        for (const auto& [copy, text] : copies) {
            CHECK(reinterpret_cast<std::uintptr_t>(copy.data()) % 16 == 0);
            CHECK(std::string(copy.begin(), copy.end()) == *text);
            addresses.insert(copy.data());
        }
        CHECK(addresses.size() == 60);  // The same in every round.
        CHECK(arena.bytes() >= 20 * 300'200);
        CHECK(arena.bytes() <= 20 * 300'300);
    }
    CHECK(arena.copy("").empty());
}
