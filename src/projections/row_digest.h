// What projections that keep all they know in rows answer as their digest.
#pragma once

#include "view_store.h"

#include <string>

namespace annal {

// SHA-256, hex, over every row in key order: the size of the key, the key, the size of the value, the value; sizes are
// 8 bytes, big endian. Rows whose keys start with a zero byte are not the projection's alone, and are left out.
Result<std::string> digest_of_rows(ViewIterator& rows);

}  // namespace annal
