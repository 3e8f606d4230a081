// Sealed events: what is personal in them is in the log as ciphertext alone.
//
// An event whose scope has a user is stored as an outer event, which has its memory id, event id and scope, an empty
// body of its type, and `sealed`: its whole table, under the key of (project, user). So time of occurrence, actor,
// source, reason and ids given by the caller are inside, and so is the kind. Event id, type and schema version are
// bound to it. Hashes and proofs are over the outer bytes: they hold with the key and without.
#pragma once

#include "codec.h"
#include "keystore.h"

namespace annal {

// What tells of a user's memories: all but ErasureRequested, ErasureCompleted and PolicyChanged, which the store must
// be able to read when the key is gone.
bool is_personal(EventType type);

// Makes the sealed event of it, in place, if it is personal and its scope has a user. While sealing is off, none.
// permission_denied: the keystore is locked. resource_exhausted: sealed, it is more than an event may be.
Status seal(Keystore& keystore, EncodedEvent& event);

// Makes the event that was sealed of a sealed one, in `arena`; or says that it is erased: there is no such key, or no
// keystore at all. Stays sealed when the keystore is locked. data_loss: not what was sealed there; details: seq.
Status unseal(const Keystore& keystore, EventView& event, EventArena& arena);

// Makes an erased one of it, whatever it was: ids and scope stay, and its stored bytes.
Status make_erased(EventView& event, EventArena& arena);

}  // namespace annal
