// Bytes that no encoder made: decode refuses them, or gives a view that can be read to its last field.
#include "events/codec.h"

#include "support/event_bytes.h"
#include "support/random_events.h"
#include "support/seed.h"

#include "memory_event_generated.h"

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <functional>
#include <string>

using namespace annal;
using annal::testing::RandomEvents;
using annal::testing::stored_bytes;
using annal::testing::survives_reading;

namespace {

// Whether `bytes` were taken; what is taken must be readable, what is not must be data_loss.
bool taken(const std::string& bytes, EventArena& arena) {
    arena.clear();
    const auto view = decode(Seq{1}, bytes, arena);
    if (view) {
        REQUIRE(survives_reading(*view));
        return true;
    }
    const auto code = view.error().code;
    REQUIRE((code == ErrorCode::data_loss || code == ErrorCode::unimplemented));
    return false;
}

// A stored MemoryEvent whose table `build` finished: for tables that the encoder would not write.
std::string handmade(EventType type, const std::function<void(flatbuffers::FlatBufferBuilder&)>& build) {
    flatbuffers::FlatBufferBuilder builder;
    build(builder);
    std::string bytes(event_header_bytes, '\0');
    bytes[0] = 1;
    bytes[2] = static_cast<char>(type);
    bytes[4] = 1;
    bytes[8] = 1;
    return bytes.append(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
}

std::string handmade(EventType type, fbs::Body body_type,
                     const std::function<flatbuffers::Offset<void>(flatbuffers::FlatBufferBuilder&)>& body) {
    return handmade(type, [&](flatbuffers::FlatBufferBuilder& builder) {
        const auto made = body(builder);
        const auto scope = fbs::CreateScope(builder, builder.CreateString("shop"));
        const fbs::Id id;
        fbs::MemoryEventBuilder event(builder);
        event.add_memory_id(&id);
        event.add_event_id(&id);
        event.add_scope(scope);
        event.add_body_type(body_type);
        if (!made.IsNull()) event.add_body(made);
        // Not event.Finish(), which asserts what is required.
        fbs::FinishMemoryEventBuffer(builder, flatbuffers::Offset<fbs::MemoryEvent>(builder.EndTable(event.start_)));
    });
}

}  // namespace

TEST_CASE("an event cut short at any byte is refused", "[events][codec]") {
    const auto seed = annal::testing::test_seed();
    INFO("ANNAL_SEED=" << seed);
    RandomEvents random(seed);
    EventArena arena;
    for (std::size_t number = 1; number <= event_type_count; ++number) {
        const auto bytes = stored_bytes(random.event(static_cast<EventType>(number)));
        std::size_t taken_count = 0;
        for (std::size_t size = 0; size < bytes.size(); ++size) taken_count += taken(bytes.substr(0, size), arena);
        // Only padding behind the last byte that means something may be missing.
        CHECK(taken_count < 8);
        CHECK(taken(bytes, arena));
    }
}

TEST_CASE("random damage is refused or harmless", "[events][codec]") {
    const auto seed = annal::testing::test_seed();
    INFO("ANNAL_SEED=" << seed);
    RandomEvents random(seed);
    EventArena arena;
    std::size_t taken_count = 0;
    const int count = annal::testing::trials(20'000);
    for (int trial = 0; trial < count; ++trial) {
        auto bytes = stored_bytes(random.event());
        for (auto flips = 1 + random.below(4); flips > 0; --flips)
            bytes[random.below(bytes.size())] ^= static_cast<char>(1U << random.below(8));
        if (random.chance(8)) bytes.resize(random.below(bytes.size()));
        if (random.chance(8)) bytes.append(random.below(64), static_cast<char>(random.below(256)));
        taken_count += taken(bytes, arena);
    }
    CHECK(taken_count < static_cast<std::size_t>(count));
}

TEST_CASE("offsets, lengths and table sizes set to extremes are refused or harmless", "[events][codec]") {
    RandomEvents random(3);
    EventArena arena;
    for (std::size_t number = 1; number <= event_type_count; ++number) {
        const auto bytes = stored_bytes(random.event(static_cast<EventType>(number)));
        for (std::size_t at = event_header_bytes; at + 4 <= bytes.size(); at += 2) {
            for (const std::uint32_t extreme : {0U, 1U, 0x7fff'ffffU, 0x8000'0000U, 0xffff'ffffU, 0xffff'fff0U}) {
                auto broken = bytes;
                std::memcpy(broken.data() + at, &extreme, sizeof extreme);
                taken(broken, arena);
            }
        }
    }
}

TEST_CASE("bytes that are no event at all are refused", "[events][codec]") {
    const auto seed = annal::testing::test_seed();
    INFO("ANNAL_SEED=" << seed);
    RandomEvents random(seed);
    EventArena arena;
    for (int trial = 0; trial < annal::testing::trials(2000); ++trial) {
        std::string bytes = random.text(400);
        CHECK_FALSE(taken(bytes, arena));
        CHECK_FALSE(taken(stored_bytes(random.event()).substr(0, event_header_bytes) + bytes, arena));
    }
}

TEST_CASE("a table that verifies but means nothing is refused", "[events][codec]") {
    using flatbuffers::FlatBufferBuilder;
    EventArena arena;
    const auto recorded = [&](const std::function<void(fbs::MemoryRecordedBuilder&)>& set) {
        return taken(handmade(EventType::memory_recorded, fbs::Body::MemoryRecorded,
                              [&](FlatBufferBuilder& builder) {
                                  const auto content = builder.CreateString("x");
                                  fbs::MemoryRecordedBuilder body(builder);
                                  body.add_content(content);
                                  set(body);
                                  return body.Finish().Union();
                              }),
                     arena);
    };
    CHECK(recorded([](auto&) {}));
    CHECK_FALSE(recorded([](auto& body) { body.add_claim(4); }));
    CHECK_FALSE(recorded([](auto& body) { body.add_confidence(1.5); }));
    CHECK_FALSE(recorded([](auto& body) { body.add_expires_at(-1); }));
    CHECK_FALSE(recorded([](auto& body) { body.add_fields_type(fbs::KindFields::OutcomeFields); }));  // And none there.
    CHECK_FALSE(recorded([](auto& body) { body.add_fields_type(static_cast<fbs::KindFields>(8)); }));

    const auto with_body = [&](EventType type, fbs::Body body_type) {
        return taken(
            handmade(type, body_type,
                     [](FlatBufferBuilder& builder) { return fbs::CreateMemoryReinforced(builder, true).Union(); }),
            arena);
    };
    CHECK(with_body(EventType::memory_reinforced, fbs::Body::MemoryReinforced));
    CHECK_FALSE(with_body(EventType::memory_forgotten, fbs::Body::MemoryReinforced));
    CHECK_FALSE(with_body(EventType::memory_reinforced, fbs::Body::NONE));
    CHECK_FALSE(with_body(EventType::memory_reinforced, static_cast<fbs::Body>(14)));
    // A body that lacks what its type requires.
    CHECK_FALSE(with_body(EventType::memory_superseded, fbs::Body::MemorySuperseded));
    // No body.
    CHECK_FALSE(taken(handmade(EventType::memory_reinforced, fbs::Body::MemoryReinforced,
                               [](FlatBufferBuilder&) { return flatbuffers::Offset<void>(); }),
                      arena));
    // No ids, no scope.
    CHECK_FALSE(taken(handmade(EventType::memory_reinforced,
                               [](FlatBufferBuilder& builder) {
                                   const auto body = fbs::CreateMemoryReinforced(builder, true).Union();
                                   const auto start = builder.StartTable();
                                   builder.AddOffset(fbs::MemoryEvent::VT_BODY, body);
                                   builder.AddElement<std::uint8_t>(
                                       fbs::MemoryEvent::VT_BODY_TYPE,
                                       static_cast<std::uint8_t>(fbs::Body::MemoryReinforced), 0);
                                   const auto end = builder.EndTable(start);
                                   fbs::FinishMemoryEventBuffer(builder, flatbuffers::Offset<fbs::MemoryEvent>(end));
                               }),
                      arena));
}

TEST_CASE("tags that share one big text do not become gigabytes", "[events][codec]") {
    EventArena arena;
    const auto bytes = handmade(EventType::memory_recorded, fbs::Body::MemoryRecorded, [](auto& builder) {
        const auto text = builder.CreateString(std::string(500'000, 't'));
        const std::vector<flatbuffers::Offset<flatbuffers::String>> tags(100'000, text);
        return fbs::CreateMemoryRecorded(builder, text, fbs::KindFields::NONE, 0, builder.CreateVector(tags)).Union();
    });
    const auto refused = decode(Seq{1}, bytes, arena);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::data_loss);
}
