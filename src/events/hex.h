// Bytes as lower-case hex.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace annal {

inline std::string to_hex(std::span<const std::uint8_t> bytes) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const auto byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

}  // namespace annal
