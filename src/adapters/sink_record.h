// A record as JSON text and back, and what two of them are compared by.
#pragma once

#include "json.h"
#include "sink.h"

#include <string>

namespace annal {

// The memory as `get` shows it, and its vector as `embedding`: what `annal import` takes. Floats keep their bits.
std::string to_line(const SinkRecord& record);
// invalid_argument: not what to_line made; the field is named.
Result<SinkRecord> sink_record_from_json(const Json& json);

// All that a record says, one line: in one spelling, whatever order a JSON object's keys have and whether a whole
// number is written 1 or 1.0; the vector as the bits of its floats.
std::string canonical_text(const SinkRecord& record);

}  // namespace annal
