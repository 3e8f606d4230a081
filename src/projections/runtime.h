// Runs projectors: each follows the log on a thread of its own, in bounded batches, and commits its checkpoint in the
// batch of the state it describes. There is no live mode: a projector always reads (checkpoint, head] from the log;
// an append only wakes it.
// Invariant: a checkpoint passes an event only when the event was applied or quarantined, in the same batch.
// Threads: every method may be called from any thread.
#pragma once

#include "checkpoint.h"
#include "projector.h"

#include "events/event_log.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace annal {

struct RuntimeOptions {
    std::size_t batch_events_max = 32'768;
    std::size_t batch_bytes_max = std::size_t{32} << 20;
    unsigned tries_max = 3;  // Of a failing event, before it is quarantined.
    Clock* clock = nullptr;  // For lag in seconds. Null: the system's.
    std::function<void(std::string_view level, std::string_view message)> on_message{};
};

class ProjectionRuntime {
 public:
    // Opens each projector on its space, and starts them. `log`, `views` and the projectors outlive the runtime.
    // A projector whose state is damaged, of another version or settings, or ahead of the log is reset and starts over;
    // its status note says so.
    static Result<std::unique_ptr<ProjectionRuntime>> start(EventLog& log, ViewStore& views,
                                                            std::vector<Projector*> projectors,
                                                            RuntimeOptions options = {});
    virtual ~ProjectionRuntime() = default;  // Stops all, saves each.

    // Until the projector named (all of them when empty) has applied `seq`; returns what it has applied, the least of
    // all. deadline_exceeded: not in time; details: projection, applied_seq, state. A stopped or failed one answers at
    // once. So does one whose next event is sealed: unavailable, until the store is opened with the root key.
    virtual Result<Seq> wait_for(std::string_view projector, Seq seq, std::chrono::milliseconds wait_max) = 0;
    virtual Seq applied(std::string_view projector) const = 0;

    virtual std::vector<ProjectionStatus> status() const = 0;  // Without digests.
    // Waits for a moment between two batches of that projector.
    virtual Result<std::string> digest(std::string_view projector) = 0;

    // Clears the view and replays from the first event; generation + 1. Returns when it has caught up with the head of
    // the start, or with the first failure: it then goes on trying by itself. A paused projector is resumed.
    // not_found: no such projector.
    virtual Status rebuild(std::string_view projector, const std::function<void(Seq applied, Seq head)>& progress) = 0;
    virtual Status pause(std::string_view projector) = 0;  // Returns between two batches; state "stopped".
    virtual Status resume(std::string_view projector) = 0;

    // By seq. They stay until the next rebuild.
    virtual Result<std::vector<Quarantined>> quarantined(std::string_view projector) const = 0;
};

}  // namespace annal
