#include <annal/ids.h>

namespace annal {
namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr bool dash_at(std::size_t byte) {
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::string to_string(const std::array<std::uint8_t, 16>& uuid) {
    std::string text;
    text.reserve(36);
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (dash_at(i)) text += '-';
        text += hex_digits[uuid[i] >> 4];
        text += hex_digits[uuid[i] & 15];
    }
    return text;
}

Result<std::array<std::uint8_t, 16>> parse_uuid(std::string_view text, std::string_view field) {
    const auto refuse = [&] {
        return Error{ErrorCode::invalid_argument,
                     std::string(field) + " must be a UUID such as 01970e2c-7b1e-7c3a-9f00-0123456789ab",
                     {{"field", std::string(field)}}};
    };
    if (text.size() != 36) return refuse();
    std::array<std::uint8_t, 16> uuid{};
    std::size_t at = 0;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (dash_at(i) && text[at++] != '-') return refuse();
        const int high = hex_value(text[at++]);
        const int low = hex_value(text[at++]);
        if (high < 0 || low < 0) return refuse();
        uuid[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    if (uuid == std::array<std::uint8_t, 16>{}) return refuse();
    return uuid;
}

Result<MemoryId> parse_memory_id(std::string_view text) {
    auto bytes = parse_uuid(text, "memory_id");
    if (!bytes) return bytes.error();
    return MemoryId{*bytes};
}

}  // namespace annal
