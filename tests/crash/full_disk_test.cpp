// A disk that is really full: a small file system in memory, mounted for the test. ANNAL_TRIALS
// (tests/support/seed.h) scales the 40 runs.
#include "child_process.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <sys/mount.h>

#include <cstring>
#include <fstream>

using namespace annal::testing;

namespace {

constexpr int runs_default = 40;
constexpr std::size_t ballast_bytes = std::size_t{32} << 20;

class SmallDisk {
 public:
    SmallDisk() : mounted_(mount("annal", dir_.path().c_str(), "tmpfs", 0, "size=56m") == 0), error_(errno) {}
    ~SmallDisk() {
        if (mounted_) umount2(dir_.path().c_str(), MNT_DETACH);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    bool mounted() const { return mounted_; }
    std::string why_not() const { return std::strerror(error_); }
    const std::filesystem::path& path() const { return dir_.path(); }

 private:
    TempDir dir_;
    bool mounted_;
    int error_;
};

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
        const auto ballast = disk.path() / "ballast";
        std::ofstream(ballast) << std::string(ballast_bytes, 'b');
        ChildProcess child({ANNAL_LOG_CHILD, "fill", disk.path() / "log", ballast});
        const auto line = child.read_line();
        INFO("run " << run << ": " << line.value_or("nothing said"));
        CHECK(child.wait() == 0);
        REQUIRE(line);
        CHECK(line->rfind("ok ", 0) == 0);
        ChildProcess again({ANNAL_LOG_CHILD, "check", disk.path() / "log"});
        const auto checked = again.read_line();
        INFO(checked.value_or("nothing said"));
        CHECK(again.wait() == 0);
    }
}
