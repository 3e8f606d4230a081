// Compares a view with a fresh fold of the log. Private to runtime.cpp.
#pragma once

#include "view_store.h"

#include <cstdint>
#include <optional>

namespace annal {

// The first row in which `found` is not as `expected`, in words that hold no memory text; nullopt: there is none.
// `rows` counts those compared. Checkpoints may differ, and so may what is said of a quarantined event, but not its
// seq.
Result<std::optional<std::string>> first_difference(RowWalk& expected, RowWalk& found, std::uint64_t& rows);

}  // namespace annal
