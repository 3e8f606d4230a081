// What followers that begin together read of the log, read once: reading and decoding an event costs as much as the
// cheap projectors take to fold it. Who falls behind the last few pages reads for itself.
// An event that is erased meanwhile stays in the pages that have it: only for followers whose state an erasure makes
// anew.
#pragma once

#include "events/event_log.h"

#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <vector>

namespace annal {

struct LogPage {
    Seq after;
    std::shared_ptr<EventArena> arena;
    std::vector<EventView> events;
    bool shared = false;  // Others read from the arena too.
};

// Threads: any.
class LogPages {
 public:
    // The page after `after`. read(page), which does not throw, fills it, unless another has done so or is at it.
    Status get(Seq after, LogPage& page, const std::function<Status(LogPage&)>& read);

 private:
    struct Kept {
        Seq after;
        std::shared_future<Result<LogPage>> page;
    };
    std::mutex mutex_;
    std::deque<Kept> kept_;
};

}  // namespace annal
