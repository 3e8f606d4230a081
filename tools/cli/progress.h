// A progress bar on stderr, when that is a terminal; silent when it is not.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace annal::cli {

class Progress {
 public:
    Progress(std::string what, bool wanted);
    ~Progress();  // Clears the bar.
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // Drawn ten times a second at most. `all` 0: not known.
    void show(std::uint64_t done, std::uint64_t all);
    void clear();

 private:
    std::string what_;
    bool shown_;
    bool drawn_ = false;
    std::chrono::steady_clock::time_point next_{};
};

}  // namespace annal::cli
