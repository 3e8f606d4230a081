// Events as people and auditors read them.
#pragma once

#include "events/event.h"

#include <annal/engine.h>

namespace annal {

// Who, when, why, on what evidence; `changes` is a JSON object of what the event carries.
HistoryEntry to_history_entry(const EventView& event);

}  // namespace annal
