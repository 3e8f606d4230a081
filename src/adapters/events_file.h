// The events of a log as they are stored, out into a file (events/segment_format.h) and into an empty store, which
// becomes the same log, with the same root. (Not in it: idempotency keys, which `backup` keeps, and keys of sealed
// content.)
#pragma once

#include <annal/engine.h>

#include <array>
#include <cstdint>
#include <functional>
#include <istream>
#include <string_view>

namespace annal {

struct EventsReport {
    std::uint64_t accepted = 0;   // Export: written.
    std::uint64_t unchanged = 0;  // Import: the store had them already.
    Seq seq;                      // The last.
    std::array<std::uint8_t, 32> root{};
};

// The events up to `to`; Seq{0}: up to the head. invalid_argument: beyond the head.
Result<EventsReport> export_events(Engine& engine, Seq to, const std::function<Status(std::string_view line)>& write,
                                   const std::function<void(std::uint64_t done, std::uint64_t all)>& progress = {});

// Into a store that is empty, or that has a beginning of the same events, as when an import was cut off: it goes on
// where that ended. So the segments of an archive come in one after the other. What came in before an error stays;
// details: line, seq (the store's head). invalid_argument: not such a file, or damaged, or cut off. conflict: the store
// has other events.
Result<EventsReport> import_events(Engine& engine, std::istream& in,
                                   const std::function<void(std::uint64_t bytes)>& progress = {});

}  // namespace annal
