// CRC-32C (Castagnoli), by the processor's own instruction where it has one: RocksDB as Debian builds it goes through
// tables, at half a gigabyte a second. A change of up to 32 bits in a row is always found.
#pragma once

#include <cstddef>
#include <cstdint>

namespace annal {

// Of bytes that follow those of which `seed` is the CRC; 0 to start.
std::uint32_t crc32c(const void* bytes, std::size_t size, std::uint32_t seed = 0);
std::uint32_t crc32c_portable(const void* bytes, std::size_t size,
                              std::uint32_t seed = 0);  // What the other must equal.

}  // namespace annal
