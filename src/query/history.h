// Events as people and auditors read them.
#pragma once

#include "events/event.h"

#include <annal/engine.h>

namespace annal {

// Who, when, why, on what evidence; `changes` is a JSON object of what the event carries.
// Of one that is sealed or erased, only that it is.
HistoryEntry to_history_entry(const EventView& event);

// What differs of what a caller may read of a memory, in the order `get` shows it. Its seq, version and time of change
// are left out: they always do.
std::vector<FieldChange> differences(const Memory& was, const Memory& is);

// What became of a memory; nullopt: nothing a caller may read. `was`: nullopt before it was recorded.
std::optional<DiffEntry> difference(const std::optional<Memory>& was, Memory is);

// What remains of a user's while the keystore is locked, also where it was stored in the clear.
void mask(HistoryEntry& entry);
void mask(Memory& memory);

}  // namespace annal
