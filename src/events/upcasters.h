// How events of older schema versions are read: each is lifted, one version at a time, to the current one. Projectors
// know the newest shape only. Stored bytes are never changed.
#pragma once

#include "event.h"

#include <cstdint>
#include <span>
#include <vector>

namespace annal {

// Lifts the FlatBuffer of an event (without the header, 16-byte aligned) to the next schema version. Pure. It is given
// unverified bytes and verifies them against its own, old schema; what it returns is verified by the decoder.
// data_loss: the bytes are broken.
using Upcaster = Result<std::vector<std::uint8_t>> (*)(std::span<const std::uint8_t> table);

// For a type that a new version did not touch.
Result<std::vector<std::uint8_t>> unchanged(std::span<const std::uint8_t> table);

struct UpcasterRow {
    EventType type{};
    std::uint16_t from = 0;  // To from + 1.
    Upcaster lift = nullptr;
};

struct Upcasters {
    std::uint16_t first = 1;    // The oldest schema version ever written.
    std::uint16_t current = 1;  // The one that is written and read now.
    std::span<const UpcasterRow> rows;

    Upcaster find(EventType type, std::uint16_t from) const;  // Null when there is none.
};

const Upcasters& upcasters();  // Of this build.

// Whether every event type has a way from every version ever written to the current one, and no two. internal: not so;
// details: type, schema_version. Checked when a log is opened, so that a gap is not met in the middle of a replay.
Status check_upcasters(const Upcasters& table = upcasters());

}  // namespace annal
