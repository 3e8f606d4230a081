// Base64 of RFC 4648 section 4, with padding.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace annal {

std::string to_base64(std::string_view bytes);
// nullopt: not what to_base64 spells.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace annal
