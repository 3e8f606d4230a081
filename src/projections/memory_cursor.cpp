#include "memory_cursor.h"

#include "events/bytes.h"
#include "events/event_log_hash.h"
#include "memory_keys.h"

#include <array>
#include <bit>

namespace annal {
namespace {

constexpr char cursor_format = 1;
constexpr std::size_t checked_bytes = 1 + 3 * 8;
constexpr std::size_t cursor_bytes = checked_bytes + 4;
constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string to_base64url(std::string_view bytes) {
    std::string text;
    std::uint32_t pending = 0;
    unsigned bits = 0;
    for (const char c : bytes) {
        pending = pending << 8 | static_cast<unsigned char>(c);
        for (bits += 8; bits >= 6; bits -= 6) text.push_back(alphabet[(pending >> (bits - 6)) & 63]);
    }
    if (bits > 0) text.push_back(alphabet[(pending << (6 - bits)) & 63]);
    return text;
}

std::optional<std::string> from_base64url(std::string_view text) {
    std::string bytes;
    std::uint32_t pending = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const auto digit = alphabet.find(c);
        if (digit == std::string_view::npos) return std::nullopt;
        pending = pending << 6 | static_cast<std::uint32_t>(digit);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes.push_back(static_cast<char>((pending >> bits) & 0xff));
    }
    return bytes;
}

}  // namespace

std::uint64_t fingerprint(const ListRequest& request, std::optional<Seq> as_of) {
    std::string all;
    const auto number = [&](std::uint64_t value) { memory_keys::append_u64(all, value); };
    const auto text = [&](std::string_view value) {
        number(value.size());
        all.append(value);
    };
    const auto optional = [&](const auto& value, auto&& write) {
        number(value ? 1 : 0);
        if (value) write(*value);
    };
    const auto real = [&](double value) { number(std::bit_cast<std::uint64_t>(value)); };
    const auto time = [&](Timestamp value) { number(static_cast<std::uint64_t>(value.us)); };
    const auto& [kinds, tags, claims, confidence_min, occurred_from, occurred_to, recorded_from, recorded_to, valid_at,
                 metadata] = request.filter;  // A new condition does not compile until it is here.
    for (const auto* field :
         {&request.scope.project, &request.scope.agent, &request.scope.user, &request.scope.session})
        text(*field);
    number(kinds.size());
    for (const auto kind : kinds) number(static_cast<std::uint64_t>(kind));
    number(tags.size());
    for (const auto& tag : tags) text(tag);
    number(claims.size());
    for (const auto claim : claims) number(static_cast<std::uint64_t>(claim));
    optional(confidence_min, real);
    for (const auto* bound : {&occurred_from, &occurred_to, &recorded_from, &recorded_to, &valid_at})
        optional(*bound, time);
    number(metadata.size());
    for (const auto& condition : metadata) {
        text(condition.path);
        optional(condition.equals, text);
        optional(condition.at_least, real);
        optional(condition.at_most, real);
    }
    number(static_cast<std::uint64_t>(request.order));
    number(request.include_forgotten ? 1 : 0);
    optional(as_of, [&](Seq seq) { number(seq.value); });
    return memory_keys::read_u64(as_text(sha256(all)));
}

std::string encode_cursor(std::uint64_t fingerprint, const ListPosition& position) {
    std::string bytes(1, cursor_format);
    memory_keys::append_u64(bytes, fingerprint);
    memory_keys::append_u64(bytes, static_cast<std::uint64_t>(position.confidence));
    memory_keys::append_u64(bytes, position.ordinal.value);
    bytes.append(as_text(sha256(bytes)), 0, cursor_bytes - checked_bytes);
    return to_base64url(bytes);
}

Result<ListPosition> decode_cursor(std::uint64_t fingerprint, std::string_view cursor) {
    const auto refuse = [](std::string_view why) {
        return Error{ErrorCode::invalid_argument, "cursor " + std::string(why), {{"field", "cursor"}}};
    };
    const auto bytes = from_base64url(cursor);
    if (!bytes || bytes->size() != cursor_bytes || (*bytes)[0] != cursor_format || to_base64url(*bytes) != cursor)
        return refuse("is not one that a list returned");
    const std::string_view all = *bytes;
    const Hash checksum = sha256(all.substr(0, checked_bytes));
    if (!as_text(checksum).starts_with(all.substr(checked_bytes))) return refuse("is not one that a list returned");
    if (memory_keys::read_u64(all.substr(1)) != fingerprint)
        return refuse("belongs to another request: scope, filter and order must stay as they were");
    return ListPosition{Seq{memory_keys::read_u64(all.substr(17))},
                        static_cast<std::int64_t>(memory_keys::read_u64(all.substr(9)))};
}

}  // namespace annal
