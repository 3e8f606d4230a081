// Runs projectors: each follows the log on a thread of its own, in bounded batches, and commits its checkpoint in the
// batch of the state it describes. There is no live mode: a projector always reads (checkpoint, head] from the log;
// an append only wakes it.
// A generation is one state of a projection: an instance of its projector, a key space of the view store and a folder
// for files, both of the name `projection`, or `projection-gN` when a rebuild made it. A rebuild makes the next one
// beside the one that answers, which goes on answering and following; when the new one has caught up, one row of the
// space "generations", written durably, says that it is the one, and the old one goes. A crash leaves one of the two
// named by that row; all others are removed at the next start.
// Invariants: a checkpoint passes an event only when the event was applied or quarantined, in the same batch. What
// view() gives is one whole generation, and after a wait_for() that succeeded never one behind it.
// Threads: every method may be called from any thread.
#pragma once

#include "checkpoint.h"
#include "projector.h"

#include "events/event_log.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
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

// Makes the instances of one projector, which call themselves `name`. `files`: a folder that is the instance's alone,
// made by it if it needs one.
struct Projection {
    std::string name;
    std::function<std::shared_ptr<Projector>(const std::filesystem::path& files)> make;
};

struct ViewCheck {
    Seq seq;                 // Compared as of here.
    std::uint64_t rows = 0;  // That were compared.
    std::string difference;  // The first one, in words without memory text; empty: there is none.
};

class ProjectionRuntime {
 public:
    // Called from any thread, with what is applied and what is aimed at.
    using Progress = std::function<void(Seq applied, Seq head)>;

    // Opens the generation that answers of each projection, and starts it. `log` and `views` outlive the runtime.
    // One whose state is damaged, of another version or settings, or ahead of the log cannot answer: it is reset and
    // starts over in place; its status note says so.
    static Result<std::unique_ptr<ProjectionRuntime>> start(EventLog& log, ViewStore& views,
                                                            std::vector<Projection> projections,
                                                            RuntimeOptions options = {});
    virtual ~ProjectionRuntime() = default;  // Stops all, saves each.

    // The generation that answers now: hold it for one answer. Null: no such projector.
    virtual std::shared_ptr<const Projector> view(std::string_view projector) const = 0;

    // Until the projector named (all of them when empty) has applied `seq`; returns what it has applied, the least of
    // all. deadline_exceeded: not in time; details: projection, applied_seq, state. A stopped or failed one answers at
    // once. So does one whose next event is sealed: unavailable, until the store is opened with the root key.
    virtual Result<Seq> wait_for(std::string_view projector, Seq seq, std::chrono::milliseconds wait_max) = 0;
    virtual Seq applied(std::string_view projector) const = 0;

    virtual void wake(std::string_view projector) = 0;  // Its input_up_to() has moved.

    virtual std::vector<ProjectionStatus> status() const = 0;  // Without digests.
    // Waits for a moment between two batches of that projector.
    virtual Result<std::string> digest(std::string_view projector) = 0;

    // Replays the log into the next generation, and puts it in the place of the one that answers. Returns when that is
    // done (as far as the projector may be fed), or with the first failure: then all is as it was before. A paused
    // projector runs again afterwards. One rebuild or check of a projector at a time: others wait. not_found: no such
    // projector.
    virtual Status rebuild(std::string_view projector, const Progress& progress) = 0;
    // Replays the log up to what is applied now into a space that is removed afterwards, and compares all rows and
    // files with it. Projector and log go on meanwhile. unavailable: it could not be done.
    virtual Result<ViewCheck> check(std::string_view projector, const Progress& progress) = 0;
    virtual Status pause(std::string_view projector) = 0;  // Returns between two batches; state "stopped".
    virtual Status resume(std::string_view projector) = 0;

    // By seq. They stay until the next rebuild.
    // As rebuild(), of all of them; and when it returns, no file of the views holds anything of a generation before.
    // What the log does not say any more is gone then. `progress` as of a rebuild, for each in turn.
    virtual Status purge(const std::function<void(std::string_view projector, Seq applied, Seq head)>& progress) = 0;
    virtual Result<std::vector<Quarantined>> quarantined(std::string_view projector) const = 0;
};

}  // namespace annal
