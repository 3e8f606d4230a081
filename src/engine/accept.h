// What a caller gives, checked and turned into events: every limit of <annal/limits.h> is applied here, once, and named
// in the error with the field.
#pragma once

#include "events/event.h"

#include <annal/engine.h>

#include <string>
#include <string_view>

namespace annal {

// The event of a request, its ids as given or nil. Embeddings are normalised, tags made distinct, metadata compact.
Result<MemoryEvent> accept(const RecordRequest& request);
Result<MemoryEvent> accept(const ReviseRequest& request);
// The envelope of any other write on `target`; its body is the caller's.
Result<MemoryEvent> accept(const Target& target, EventBody body);

Status check(const Target& target);
Status check(const Filter& filter);
Status check(const SearchRequest& request);
Status check(const ListRequest& request);
Status check(const RecallRequest& request);
Status check(const RecallsRequest& request);
Status check(const ExplainRequest& request);

// What the events of all memories given together have alike: all but stream, user, memory, rank, score and place.
// `request` is checked, or a checked search's.
MemoryEvent recalled_event(const RecallRequest& request);

// Unit length, and the length it had. invalid_argument: no model, 0 or more than 4096 values, one not finite, all zero.
struct Normalised {
    Embedding embedding;
    float norm = 1;
};
Result<Normalised> normalise(const Embedding& embedding, std::string_view field);

// Compact JSON text, equal in value. invalid_argument: not JSON, deeper or larger than limits.h allows, an object with
// a key twice, an integer that 64 bits do not hold.
Result<std::string> check_metadata(std::string_view json);

}  // namespace annal
