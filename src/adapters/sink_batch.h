// What the engine's changes are to a sink, and what every sink checks of a batch.
#pragma once

#include "sink.h"

#include <annal/changes.h>

#include <optional>
#include <string_view>

namespace annal {

// Leads from `from` to where the changes end, in a log of that epoch. Forgotten memories are removals, those that the
// sink refuses are dead letters, superseded ones are upserts that say so.
SinkBatch to_batch(Changes&& changes, const SinkPosition& from, std::uint64_t epoch, const Sink& sink);

DeadLetter dead_letter(const Memory& memory, std::string reason);

// conflict, details `fenced`.
Error fenced_error();
// conflict, details `position`: the batch does not start at `there`. nullopt: nothing is there, and it starts at
// Seq{0}.
Status check_starts_at(const SinkBatch& batch, const std::optional<SinkPosition>& there);
// conflict, details `store_id`: what is there is another store's.
Status check_is_of(const std::optional<SinkPosition>& there, std::string_view store_id);

// Over what was read already, in the order of a walk.
std::unique_ptr<SinkWalk> walk_of(SinkPosition position, std::vector<SinkRecord> records,
                                  std::vector<DeadLetter> dead_letters);

}  // namespace annal
