// The place where a list page ended. Opaque to callers: base64url of
//   format 1 (1 byte), fingerprint of the request (8), confidence (8), ordinal (8), checksum of all before (4)
#pragma once

#include <annal/engine.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace annal {

struct ListPosition {  // Of the last memory of the page before.
    Seq ordinal;
    std::int64_t confidence = 0;  // As sortable() makes it; of lists in order of confidence alone.
};

// All that decides which memories a list has and in what order; a page may have another limit than the one before.
// `as_of`: what the request's moment stands for.
std::uint64_t fingerprint(const ListRequest& request, std::optional<Seq> as_of);

std::string encode_cursor(std::uint64_t fingerprint, const ListPosition& position);
// invalid_argument: not a cursor, or of another request.
Result<ListPosition> decode_cursor(std::uint64_t fingerprint, std::string_view cursor);

}  // namespace annal
