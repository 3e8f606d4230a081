#include "value_tombstone.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <cassert>

namespace annal {
namespace {

std::u16string to_utf16(std::string_view text) {
    std::u16string wide(text.size(), u'\0');  // Never longer than UTF-8.
    std::int32_t size = 0;
    UErrorCode status = U_ZERO_ERROR;
    u_strFromUTF8WithSub(wide.data(), static_cast<std::int32_t>(wide.size()), &size, text.data(),
                         static_cast<std::int32_t>(text.size()), 0xfffd, nullptr, &status);
    assert(U_SUCCESS(status));
    wide.resize(static_cast<std::size_t>(size));
    return wide;
}

std::u16string folded(const std::u16string& text) {
    UErrorCode status = U_ZERO_ERROR;
    const auto* normalizer = unorm2_getNFKCCasefoldInstance(&status);
    std::u16string folded(text.size() + 16, u'\0');
    for (;;) {
        const auto size = unorm2_normalize(normalizer, text.data(), static_cast<std::int32_t>(text.size()),
                                           folded.data(), static_cast<std::int32_t>(folded.size()), &status);
        folded.resize(static_cast<std::size_t>(size));
        if (status != U_BUFFER_OVERFLOW_ERROR) break;
        status = U_ZERO_ERROR;
    }
    assert(U_SUCCESS(status));
    return folded;
}

void append_utf8(std::string& to, UChar32 character) {
    char bytes[U8_MAX_LENGTH];
    std::size_t size = 0;
    U8_APPEND_UNSAFE(bytes, size, character);
    to.append(bytes, size);
}

}  // namespace

std::string normalised_value(std::string_view content) {
    const auto text = folded(to_utf16(content));
    std::string value;
    bool space = false;
    for (std::size_t at = 0; at < text.size();) {
        UChar32 character = 0;
        U16_NEXT(text, at, text.size(), character);
        if (u_isUWhiteSpace(character)) {
            space = !value.empty();
            continue;
        }
        if (space) value += ' ';
        space = false;
        append_utf8(value, character);
    }
    return value;
}

}  // namespace annal
