// Events as people and auditors read them.
#pragma once

#include "events/event.h"

#include <annal/engine.h>

namespace annal {

// Who, when, why, on what evidence; `changes` is a JSON object of what the event carries.
// Of one that is sealed or erased, only that it is.
HistoryEntry to_history_entry(const EventView& event);

// What remains of a user's while the keystore is locked, also where it was stored in the clear.
void mask(HistoryEntry& entry);
void mask(Memory& memory);

}  // namespace annal
