// What the golden files hold: stored events of every body and kind, as native values. Files of a released schema
// version never change, and neither do these values.
#pragma once

#include "events/event.h"

#include <string>
#include <vector>

namespace annal::testing {

struct GoldenEvent {
    std::string name;  // tests/golden/events/v<schema version>/<name>.bin
    Version version;
    Timestamp recorded_at;
    MemoryEvent event;
};

std::vector<GoldenEvent> golden_events();

}  // namespace annal::testing
