// Positions and identifiers. Distinct types, so that the compiler catches swaps.
#pragma once

#include <annal/result.h>

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace annal {

// The place of an event in the log: global, gapless, from 1. Seq{0} is "before the first".
struct Seq {
    std::uint64_t value = 0;
    auto operator<=>(const Seq&) const = default;
};

// The place of an event in its memory's stream: gapless, from 1. Version{0} is "no event yet".
struct Version {
    std::uint64_t value = 0;
    auto operator<=>(const Version&) const = default;
};

// A 128-bit UUID. Tag keeps a MemoryId from being taken for an EventId.
template <class Tag>
struct Uuid {
    std::array<std::uint8_t, 16> bytes{};
    auto operator<=>(const Uuid&) const = default;
    bool is_nil() const { return *this == Uuid{}; }
};
using MemoryId = Uuid<struct MemoryTag>;
using EventId = Uuid<struct EventTag>;

// 8-4-4-4-12 lower-case hex, the only spelling there is outside the log.
std::string to_string(const std::array<std::uint8_t, 16>& uuid);
template <class Tag>
std::string to_string(const Uuid<Tag>& id) {
    return to_string(id.bytes);
}

// invalid_argument: not 36 characters of that spelling (upper case is accepted), or nil. `field` is named in the error.
Result<std::array<std::uint8_t, 16>> parse_uuid(std::string_view text, std::string_view field);
Result<MemoryId> parse_memory_id(std::string_view text);

}  // namespace annal

template <class Tag>
struct std::hash<annal::Uuid<Tag>> {
    std::size_t operator()(const annal::Uuid<Tag>& id) const noexcept {
        return std::hash<std::string_view>{}({reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()});
    }
};
