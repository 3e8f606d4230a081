#include <annal/result.h>

#include <array>
#include <cstddef>

namespace annal {

std::string_view to_string(ErrorCode code) {
    static constexpr std::array<std::string_view, 12> names{
        "invalid_argument",  "not_found",         "conflict",           "already_exists",
        "unauthenticated",   "permission_denied", "resource_exhausted", "unavailable",
        "deadline_exceeded", "data_loss",         "unimplemented",      "internal"};
    return names[static_cast<std::size_t>(code)];
}

}  // namespace annal
