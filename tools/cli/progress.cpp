#include "progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace annal::cli {
namespace {

constexpr std::size_t cells = 30;
constexpr std::chrono::milliseconds redraw_every{100};

}  // namespace

Progress::Progress(std::string what, bool wanted)
    : what_(std::move(what)), shown_(wanted && isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
    clear();
}

void Progress::clear() {
    if (drawn_) std::fputs("\r\x1b[K", stderr);
    drawn_ = false;
}

void Progress::show(std::uint64_t done, std::uint64_t all) {
    if (!shown_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + redraw_every;
    std::string bar;
    if (all != 0) {
        const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(all));
        const auto full = static_cast<std::size_t>(share * cells);
        bar = "[" + std::string(full, '#') + std::string(cells - full, '.') + "] " +
              std::to_string(static_cast<int>(share * 100)) + " %";
    } else {
        bar = std::to_string(done);
    }
    std::fputs(("\r" + what_ + " " + bar + "\x1b[K").c_str(), stderr);
    drawn_ = true;
}

}  // namespace annal::cli
