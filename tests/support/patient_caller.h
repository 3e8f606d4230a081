// What an HttpService takes its time from in tests: a pause moves the clock, and is remembered.
#pragma once

#include "stopped_clock.h"

#include "adapters/outbound/http_service.h"

#include <mutex>
#include <vector>

namespace annal::testing {

struct PatientCaller {
    StoppedClock clock{};
    std::mutex mutex{};
    std::vector<std::chrono::milliseconds> pauses{};

    HttpServiceOptions options() {
        HttpServiceOptions options;
        options.clock = &clock;
        options.seed = 42;
        options.pause = [this](std::chrono::milliseconds wait) {
            const std::scoped_lock lock(mutex);
            pauses.push_back(wait);
            clock.advance(wait.count() * 1000);
        };
        return options;
    }
};

}  // namespace annal::testing
