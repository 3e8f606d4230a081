// New identifiers: UUIDv7 (RFC 9562), whose first 48 bits are the time in milliseconds, so that they sort by age.
#pragma once

#include <annal/ids.h>
#include <annal/timestamp.h>

namespace annal {

std::array<std::uint8_t, 16> make_uuid_v7(Timestamp now);

}  // namespace annal
