// operator new, replaced: one allocation of this thread throws std::bad_alloc. Passed over are those below code of
// others that does not survive it: RocksDB; nlohmann::json, which leaks, and allocates in a destructor; and libstdc++'s
// recursive_directory_iterator, which allocates where it must not throw.
#pragma once

#include <cstdint>

namespace annal::testing {

void fail_allocation(std::uint64_t number);  // From 1: of this thread, from now on. 0: none.
bool allocation_failed();                    // Since then.

}  // namespace annal::testing
