// A log in memory and a projector that follows it, without the runtime: for tests and measurements of one projector.
#pragma once

#include "projections/projector.h"

#include "events/codec.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace annal::testing {

inline MemoryId numbered_id(std::uint64_t number) {
    MemoryId id;
    for (std::size_t i = 0; i < 8; ++i) id.bytes[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
    id.bytes[0] = 1;
    return id;
}

class EventTape {
 public:
    Seq append(MemoryEvent event) {
        event.event_id = EventId{{2}};
        const Seq seq{events_.size() + 1};
        const Version version{++versions_[event.memory_id].value};
        auto encoded = encode(event);
        if (!encoded) std::terminate();  // A mistake in the test.
        stamp(encoded->bytes, version, Timestamp{1'700'000'000'000'000 + static_cast<std::int64_t>(seq.value)});
        events_.emplace_back(encoded->bytes.begin(), encoded->bytes.end());
        return seq;
    }
    Seq head() const { return Seq{events_.size()}; }

    // The events of (after, up_to]; the views live as long as `arena` is not cleared.
    std::vector<EventView> read(Seq after, Seq up_to, EventArena& arena) const {
        std::vector<EventView> views;
        for (auto at = after.value; at < up_to.value; ++at) {
            const auto view = decode(Seq{at + 1}, events_[at], arena);
            if (!view) std::terminate();
            views.push_back(*view);
        }
        return views;
    }

 private:
    std::vector<std::string> events_;
    std::map<MemoryId, Version> versions_;
};

// Applies (applied, up_to] in one batch, as the runtime would.
inline Status follow(const EventTape& tape, Projector& projector, ViewSpace& space, Seq& applied, Seq up_to) {
    EventArena arena;
    const auto events = tape.read(applied, up_to, arena);
    const auto batch = space.new_batch();
    auto done = projector.apply(events, *batch);
    if (done) done = space.write(*batch);
    if (!done) {
        projector.discard();
        return done;
    }
    projector.committed();
    applied = up_to;
    return done;
}

}  // namespace annal::testing
