// How far a check of stored bytes has come.
#pragma once

#include <cstdint>

namespace annal {

struct Checked {
    std::uint64_t count = 0;  // Files, events or rows read,
    std::uint64_t bytes = 0;  // and their bytes.
    std::uint64_t at = 0;     // The number of the last file, or the last seq.
};

}  // namespace annal
