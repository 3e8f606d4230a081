// A small file system in memory, mounted while this lives. Only root can.
#pragma once

#include "child_process.h"
#include "support/temp_dir.h"

#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

namespace annal::testing {

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

// Fills it with a log three times over, makes room, and has the log go on: annal_log_child's "fill". Returns what was
// wrong; empty: nothing.
inline std::string fill_and_go_on(const SmallDisk& disk, const std::string& log_child) {
    constexpr std::size_t ballast_bytes = std::size_t{32} << 20;
    const auto ballast = disk.path() / "ballast";
    std::ofstream(ballast) << std::string(ballast_bytes, 'b');
    ChildProcess child({log_child, "fill", disk.path() / "log", ballast});
    const auto line = child.read_line().value_or("nothing");
    if (const int ended = child.wait(); ended != 0 || line.rfind("ok ", 0) != 0)
        return "said " + line + ", ended with " + std::to_string(ended);
    ChildProcess again({log_child, "check", disk.path() / "log"});
    const auto checked = again.read_line().value_or("nothing");
    if (const int ended = again.wait(); ended != 0) return "opened again: said " + checked;
    return {};
}

}  // namespace annal::testing
