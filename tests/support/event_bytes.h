// Stored events in tests: encoded, stamped, and read to the last field.
#pragma once

#include "events/codec.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace annal::testing {

// As the log stores it; empty when it cannot be encoded.
inline std::string stored_bytes(const MemoryEvent& event, Version version = Version{1},
                                Timestamp recorded_at = Timestamp{1'790'000'000'000'000}) {
    auto encoded = encode(event);
    if (!encoded) return {};
    stamp(encoded->bytes, version, recorded_at);
    return {encoded->bytes.begin(), encoded->bytes.end()};
}

// Reads all there is to read of a decoded event, and writes it anew. False when what was written anew is another event:
// never, for any bytes that decode takes.
inline bool survives_reading(const EventView& view) {
    const std::size_t borrowed = view.project().size() + view.agent().size() + view.user().size() +
                                 view.session().size() + view.actor().size() + to_string(view.source_type()).size() +
                                 to_string(view.occurred_at()).size() + to_string(view.memory_id()).size() +
                                 to_string(view.event_id()).size() + to_string(view.type()).size();
    if (borrowed == 0) return false;
    const MemoryEvent event = view.unpack();
    if (event.type() != view.type()) return false;

    auto again = encode(event);
    // Damaged bytes may share one text among several fields; written out, they may be too many.
    if (!again) return again.error().code == ErrorCode::resource_exhausted;
    stamp(again->bytes, view.version(), view.recorded_at());
    EventArena arena;
    const auto read =
        decode(view.seq(), {reinterpret_cast<const char*>(again->bytes.data()), again->bytes.size()}, arena);
    return read && read->unpack() == event && read->version() == view.version() &&
           read->recorded_at() == view.recorded_at();
}

}  // namespace annal::testing
