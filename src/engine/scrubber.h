// Reads all stored bytes again and again, at a bounded rate, so that damage is found while there is something to mend
// it with. One pass: the log's files, events and indexes, then the views' files. A damaged view is built anew from the
// log by its own runtime; a damaged log is for the operator. Where a pass is, is a row in the space "scrub" of the
// views: "pass" -> format 1 and numbers in decimal, with a space between: step, place in it, errors of this pass,
// errors of the last full one, when that ended and when this one began (us). Threads: one of its own, of low priority,
// once started; status() from any.
#pragma once

#include "events/event_log.h"
#include "projections/view_store.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace annal {

struct ScrubOptions {
    std::uint64_t bytes_per_second = 0;  // 0: no pass is begun.
    Clock* clock = nullptr;              // Null: the system's.
    // While it waits it asks the clock so often, which may be set meanwhile.
    std::chrono::microseconds clock_asked_every = std::chrono::seconds(1);
    std::function<void(std::string_view level, std::string_view message)> on_message{};
};

class Scrubber {
 public:
    // `log` and `views` outlive it.
    static Result<std::unique_ptr<Scrubber>> open(EventLog& log, ViewStore& views, ScrubOptions options);
    ~Scrubber();  // Stops between two pages.

    void start();  // A pass a day, the first soon after.
    // One pass from where the last was left. `pace` is told what was read, and ends it early by answering false: the
    // next goes on there. True: it is finished.
    bool pass(const std::function<bool(std::uint64_t bytes)>& pace);
    ScrubStatus status() const;

 private:
    struct Place {
        std::uint64_t step = 0, at = 0;
        std::uint64_t errors = 0, errors_before = 0;
        Timestamp ended, begun;
    };

    Scrubber(EventLog& log, ViewStore& views, std::unique_ptr<ViewSpace> space, ScrubOptions options);
    Status load();
    void save();
    void run();
    bool wait_until(Timestamp due);  // False: stop.
    bool pace(std::uint64_t bytes);
    bool step(const std::function<bool(std::uint64_t bytes)>& pace);
    void found(std::string_view what, const Error& error);

    EventLog& log_;
    ViewStore& views_;
    const std::unique_ptr<ViewSpace> space_;
    const ScrubOptions options_;
    Clock& clock_;
    Timestamp due_;  // Of the next page. The thread's.

    mutable std::mutex mutex_;
    std::condition_variable stop_asked_;
    bool stopping_ = false;
    Place place_;  // Written by the thread alone.
    std::string error_;
    std::thread thread_;
};

}  // namespace annal
