#include "crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace annal {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t crc = i;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
        table[i] = crc;
    }
    return table;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(const void* bytes, std::size_t size,
                                                               std::uint32_t seed) {
    const auto* p = static_cast<const std::uint8_t*>(bytes);
    std::uint64_t crc = ~seed;
    for (; size >= 8; size -= 8, p += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, p, 8);
        crc = _mm_crc32_u64(crc, word);
    }
    auto narrow = static_cast<std::uint32_t>(crc);
    for (; size > 0; --size, ++p) narrow = _mm_crc32_u8(narrow, *p);
    return ~narrow;
}
#endif

using Function = std::uint32_t (*)(const void*, std::size_t, std::uint32_t);

Function choose() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return by_instruction;
#endif
    return crc32c_portable;
}

}  // namespace

std::uint32_t crc32c_portable(const void* bytes, std::size_t size, std::uint32_t seed) {
    static constexpr auto table = make_table();
    const auto* p = static_cast<const std::uint8_t*>(bytes);
    std::uint32_t crc = ~seed;
    for (std::size_t i = 0; i < size; ++i) crc = (crc >> 8) ^ table[(crc ^ p[i]) & 0xFF];
    return ~crc;
}

std::uint32_t crc32c(const void* bytes, std::size_t size, std::uint32_t seed) {
    static const Function best = choose();
    return best(bytes, size, seed);
}

}  // namespace annal
