// What a receipt's hash is a hash of.
//   body hash   SHA-256 of the stored bytes with version and recorded_at (header bytes 8 to 23) taken as zero: known
//               before the commit, so it is computed on the caller's thread
//   event hash  SHA-256(0x00 || seq || recorded_at || version || body hash), integers of 8 bytes, big endian: the leaf
//               hash of an RFC 9162 tree over the log
#pragma once

#include <annal/ids.h>
#include <annal/timestamp.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace annal {

using Hash = std::array<std::uint8_t, 32>;

Hash sha256(std::string_view bytes);
Hash body_hash(std::string_view stored);  // At least a header long; stamped or not.
Hash event_hash(Seq seq, Timestamp recorded_at, Version version, const Hash& body);
Hash event_hash(Seq seq, std::string_view stored);  // Of a stamped event.

}  // namespace annal
