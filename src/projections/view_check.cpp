#include "view_check.h"

#include "checkpoint.h"

#include "events/crc32c.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace annal {
namespace {

std::string hex(std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) {
        text += "0123456789abcdef"[static_cast<std::uint8_t>(byte) >> 4];
        text += "0123456789abcdef"[static_cast<std::uint8_t>(byte) & 15];
    }
    return text;
}

std::string checksum(std::string_view bytes) {
    std::array<char, 9> text{};
    std::snprintf(text.data(), text.size(), "%08x", crc32c(bytes.data(), bytes.size()));
    return text.data();
}

// A UUIDv7, as memory ids are; a number of 8 bytes, or several, big endian and not greater than a seq can be.
bool is_id(std::string_view bytes) {
    return bytes.size() == 16 && static_cast<std::uint8_t>(bytes[6]) >> 4 == 7 && bytes[0] < ' ';
}
bool is_numbers(std::string_view bytes) {
    return !bytes.empty() && bytes.size() % 4 == 0 && bytes.size() <= 16 && bytes[0] == '\0';
}

// A key may hold words of a memory: what is no project, number or id is told by its checksum.
std::string name_of(std::string_view key) {
    if (key.starts_with('\0')) return "a row of the whole view, key " + hex(key);
    const auto end = std::min(key.find('\0'), key.size());
    if (end == key.size()) return "a row, key of checksum " + checksum(key);
    std::string name = "project " + std::string(key.substr(0, end)) + ", row";
    auto rest = key.substr(end + 1);
    if (!rest.empty() && rest.front() >= 'a' && rest.front() <= 'z' && !is_id(rest) && !is_numbers(rest)) {
        name += ' ';
        name += rest.front();
        rest.remove_prefix(1);
    }
    if (rest.empty()) return name;
    if (is_id(rest) || is_numbers(rest)) return name + " " + hex(rest);
    return name + " of key checksum " + checksum(rest);
}

std::string value_of(std::string_view value) {
    return std::to_string(value.size()) + " bytes of checksum " + checksum(value);
}

void pass_checkpoint(RowWalk& rows) {
    if (rows.valid() && rows.key() == checkpoint_key) rows.next();
}

}  // namespace

Result<std::optional<std::string>> first_difference(RowWalk& expected, RowWalk& found, std::uint64_t& rows) {
    const auto differs = [](std::string_view key, std::string wanted, std::string got) {
        return std::optional(name_of(key) + ": expected " + std::move(wanted) + ", found " + std::move(got));
    };
    for (;; expected.next(), found.next(), ++rows) {
        pass_checkpoint(expected);
        pass_checkpoint(found);
        for (const auto* walk : {&expected, &found})
            if (!walk->valid())
                if (auto walked = walk->status(); !walked) return walked.error();
        if (!expected.valid() && !found.valid()) return std::optional<std::string>();
        if (!found.valid() || (expected.valid() && expected.key() < found.key()))
            return differs(expected.key(), value_of(expected.value()), "none");
        if (!expected.valid() || found.key() < expected.key())
            return differs(found.key(), "no such row", value_of(found.value()));
        if (expected.value() != found.value() && !expected.key().starts_with(quarantine_prefix))
            return differs(found.key(), value_of(expected.value()), value_of(found.value()));
    }
}

}  // namespace annal
