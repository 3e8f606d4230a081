// New identifiers: UUIDv7 (RFC 9562), whose first 48 bits are the time in milliseconds, so that they sort by age; and
// those that stand for a name: UUIDv8, of its SHA-256.
#pragma once

#include <annal/ids.h>
#include <annal/timestamp.h>

namespace annal {

std::array<std::uint8_t, 16> make_uuid_v7(Timestamp now);
std::array<std::uint8_t, 16> make_uuid_v8(std::string_view name);
bool is_uuid_v8(const std::array<std::uint8_t, 16>& uuid);

}  // namespace annal
