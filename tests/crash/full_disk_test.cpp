// A disk that is really full: a small file system in memory, mounted for the test. ANNAL_TRIALS
// (tests/support/seed.h) scales the 40 runs.
#include "small_disk.h"

#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>
#include <string_view>

using namespace annal::testing;

namespace {

constexpr int runs_default = 40;

}  // namespace

TEST_CASE("a full disk loses nothing, aborts nothing, and appends resume when there is room", "[crash][disk]") {
    for (int run = 0; run < trials(runs_default); ++run) {
        SmallDisk disk;
        if (!disk.mounted()) {
            const std::string why = "a small file system cannot be mounted here: " + disk.why_not();
            const char* ci = std::getenv("CI");
            if (ci != nullptr && std::string_view(ci) == "true") FAIL(why);
            SKIP(why);
        }
        CHECK(fill_and_go_on(disk, ANNAL_LOG_CHILD) == "");
    }
}
