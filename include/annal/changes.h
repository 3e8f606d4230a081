// What a part of the log changed: how who keeps a copy of the memories elsewhere follows them.
#pragma once

#include <annal/engine.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace annal {

struct ChangesRequest {
    Seq after{};                                   // What is known already.
    std::optional<Seq> up_to{};                    // No further than this; unset: to the head.
    std::size_t events_max = 1024;                 // At least one is taken when there is one.
    std::size_t bytes_max = std::size_t{4} << 20;  // About: of the events, and of the states with their vectors.
    bool with_events = false;
    std::chrono::milliseconds wait_max{5000};  // For the memory view to reach what is answered.
};

struct ChangedMemory {
    Memory memory{};                       // After the event `to`. Forgotten or superseded ones say so.
    std::optional<Embedding> embedding{};  // That it has then, as it is stored: of unit length.
};

struct ErasedSubject {
    std::string project{};
    std::string user{};
    Seq requested_at{};  // What he had before is gone, from every answer.
};

// Of (after, to]: every memory whose state an event there changed, once, as it is after `to`; erased ones are in
// `erased` alone. Put onto the state after `after`, erasures first, this gives the state after `to`.
struct Changes {
    Seq to{};                             // Equal to `after`: nothing is new.
    std::array<std::uint8_t, 32> hash{};  // Of the event `to`; zeros for Seq{0}.
    std::vector<ErasedSubject> erased{};
    std::vector<ChangedMemory> memories{};   // By their last seq.
    std::vector<Engine::LogEntry> events{};  // When asked for.
};

}  // namespace annal
