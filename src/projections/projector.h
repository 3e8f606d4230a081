// Folds events into one view. Pure: no clock, no randomness, so a rebuild is a replay. The runtime (runtime.h) feeds
// it. Threads: apply, committed and discard come from one thread, the projector's own; readers of its view from any.
#pragma once

#include "view_store.h"

#include "events/event.h"

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace annal {

class Projector {
 public:
    virtual ~Projector() = default;
    virtual std::string_view name() const = 0;  // Keys its space and checkpoint: never rename.
    virtual std::uint32_t version() const = 0;  // Raise it to rebuild from the start.
    virtual std::string settings() const {
        return {};
    }  // What else, when changed, makes the view stale (a model's name).

    // It may be fed events up to here: one that needs more than the log says until when that is there. Any thread; it
    // may also go back. Whoever moves it wakes the projection.
    virtual Seq input_up_to() const { return Seq{std::numeric_limits<std::uint64_t>::max()}; }

    // Before anything else: `space` holds the state after `applied` (empty when Seq{0}). Loads what it keeps in memory
    // or in files. Keys that start with a zero byte are the runtime's. An error: the state is damaged, says why; the
    // runtime clears the space and the projector's files (reset), opens the empty space, and starts over from the first
    // event.
    virtual Status open(ViewSpace& space, Seq applied) = 0;
    // Forgets everything: memory and files. The runtime has cleared the space. Also called before the first event, so
    // that files left behind go too.
    virtual Status reset() = 0;

    // Folds the events, in order, into `batch` and into staged memory. All of them or, on error, none: the runtime then
    // calls discard(), and tries parts of them to find the event that fails, which is put in quarantine. But
    // unavailable, resource_exhausted and deadline_exceeded are no event's fault (a helper is down, the disk is full):
    // after those it waits and tries again, for as long as it takes. The state after it must not depend on how events
    // were cut into batches. An event is plain or erased, never sealed; an erased one has its envelope alone: what is
    // made of an event's body is not made of it.
    virtual Status apply(std::span<const EventView> events, ViewBatch& batch) = 0;
    // The batch and its checkpoint are stored: publish what was staged to readers. Cannot fail.
    virtual void committed() = 0;
    virtual void discard() = 0;

    // Caught up, for the moment: a time for housekeeping (snapshots, compaction). May be called often.
    virtual Status idle() { return Done{}; }
    // Before close, and on request: saves what makes the next open quick.
    virtual Status save() { return Done{}; }
    // Any thread. Returns when what is done behind the checkpoint is done, so that answers are at their quickest.
    virtual void settle() {}

    // SHA-256 over the view's logical content, hex: equal for equal logs, whatever the batches.
    virtual Result<std::string> digest() const = 0;
    // What it keeps in files of its own, as of the last commit, as rows that a replay makes again, byte for byte; null
    // when that is nothing. The walk stays as it is while the projector goes on. data_loss of it: a file is damaged.
    virtual std::unique_ptr<RowWalk> files() const { return nullptr; }
};

}  // namespace annal
