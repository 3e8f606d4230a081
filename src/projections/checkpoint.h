// What a projector's space says of itself: rows that the runtime writes in the batch of the state they describe.
//   key                          value
//   \0checkpoint                 format 2, u64 applied, u64 generation, u32 version, text projector, settings, log,
//                                last
//   \0quarantine/, u64be seq     format 1, text error code, message
// and, in the space "generations", which of a projection's spaces answers:
//   projection                   format 1, u64 number of the space; no row: 0
// Another format is not read. format is one byte, a text its u32 size and its bytes; numbers are little endian but for
// the seq of a key.
#pragma once

#include "projector.h"

#include "events/event_log_hash.h"

#include <annal/ids.h>

namespace annal {

struct Checkpoint {
    std::string projector;
    std::uint32_t version = 0;
    std::string settings;
    std::string log;               // It was read from: its store id and epoch.
    std::uint64_t generation = 0;  // Raised by every rebuild.
    Seq applied;
    Hash last{};  // Of the event at `applied`. A log cut short may have grown past it again with other events.
    bool operator==(const Checkpoint&) const = default;
};

inline constexpr std::string_view checkpoint_key{"\0checkpoint", 11};
inline constexpr std::string_view quarantine_prefix{"\0quarantine/", 12};

std::string to_row(const Checkpoint& checkpoint);
// data_loss: not such a row.
Result<Checkpoint> to_checkpoint(std::string_view row);

inline constexpr std::string_view generations_space = "generations";
std::string to_row(std::uint64_t generation);
// data_loss: not such a row.
Result<std::uint64_t> to_generation(std::string_view row);

struct Quarantined {
    Seq seq;
    Error error;
};

std::string quarantine_key(Seq seq);
std::string to_row(const Error& error);
// data_loss: not such a row.
Result<Quarantined> to_quarantined(std::string_view key, std::string_view row);

}  // namespace annal
