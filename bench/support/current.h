// Waiting until a store has done what it does behind its writes, so that none of it is timed.
#pragma once

#include <annal/engine.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

namespace annal::bench {

template <class T>
T must(Result<T> result) {
    if (result) return std::move(*result);
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
}

// Everything applied, and every vector in its graph.
inline void wait_until_current(Engine& engine) {
    must(engine.wait_for(engine.head(), std::chrono::hours(1)));
    const auto linking = [&] {
        for (const auto& projection : must(engine.status()).projections)
            if (projection.state != "running") return true;
        return false;
    };
    while (linking()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace annal::bench
