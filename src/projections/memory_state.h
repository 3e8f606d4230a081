// What each event does to a memory. A pure function of the state before and the event: the one place that says so.
#pragma once

#include "events/event.h"

#include <annal/memory.h>
#include <annal/result.h>

#include <optional>

namespace annal {

// Whether events of this type change the state of the memory whose stream they are in. The others are passed over.
bool changes_memory(EventType type);

// `state` is that of the event's stream; nullopt before its MemoryRecorded. An error leaves it as it was. What cannot
// be read is passed over: an erased memory was never there. internal: the event cannot follow that state (a second
// MemoryRecorded, a change of what was never recorded, an older version, another project, fields of another kind): the
// log or its reader is at fault, never the caller.
Status apply_event(std::optional<Memory>& state, const EventView& event);

}  // namespace annal
