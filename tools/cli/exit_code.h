// What the process says at its end: 0 when all went well, else a number for each code of an error.
#pragma once

#include <annal/result.h>

#include <array>

namespace annal::cli {

struct ExitCodeRow {
    ErrorCode code;
    int exit_code;
};
// Scripts build on these: never change one.
inline constexpr std::array<ExitCodeRow, 12> exit_code_table{{
    {ErrorCode::internal, 1},
    {ErrorCode::invalid_argument, 2},  // Wrong usage, too.
    {ErrorCode::not_found, 3},
    {ErrorCode::conflict, 4},
    {ErrorCode::already_exists, 5},
    {ErrorCode::unauthenticated, 6},
    {ErrorCode::permission_denied, 7},
    {ErrorCode::resource_exhausted, 8},
    {ErrorCode::unavailable, 9},
    {ErrorCode::deadline_exceeded, 10},
    {ErrorCode::data_loss, 11},
    {ErrorCode::unimplemented, 12},
}};

constexpr int exit_code(ErrorCode code) {
    for (const auto& row : exit_code_table)
        if (row.code == code) return row.exit_code;
    return 1;
}

}  // namespace annal::cli
