// Time is a count of microseconds since 1970-01-01T00:00:00Z, always UTC. RFC 3339 on the wire.
#pragma once

#include <annal/result.h>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace annal {

struct Timestamp {
    std::int64_t us = 0;
    auto operator<=>(const Timestamp&) const = default;
};

// "2026-11-20T17:23:26.123456Z"; the fraction is left out when zero.
std::string to_string(Timestamp time);

// RFC 3339 with a zone ("Z" or an offset); years 1970 to 9999. invalid_argument, naming `field`: no zone, no such
// day or hour, more than six digits of fraction, anything after it.
Result<Timestamp> parse_timestamp(std::string_view text, std::string_view field);

// Where "now" comes from. Tests stop it. Implementations may be called from any thread.
class Clock {
 public:
    virtual ~Clock() = default;
    virtual Timestamp now() = 0;
};

Clock& system_clock();

}  // namespace annal
