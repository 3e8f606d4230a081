// The JSON shapes of sinks, as the command line prints them; a file sink keeps its position in that shape, too.
#pragma once

#include "adapters/json.h"
#include "sync.h"

namespace annal {

Json to_json(const SinkPosition& position);
Json to_json(const SyncCounters& counters);
SyncCounters sync_counters_from_json(const Json& json);  // What is not there, or no number, is 0.
Json to_json(const SyncStatus& status);
Json to_json(const SinkComparison& comparison);

}  // namespace annal
