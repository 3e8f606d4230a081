// What the engine's clients were told, kept by a process that outlives it; and whether a store that is opened again
// still says so. An answer is recorded before its writer goes on. A step that nobody heard the answer of may be there
// or not, but whole, and once.
#pragma once

#include "workload.h"

#include <array>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace annal::testing {

using Root = std::array<std::uint8_t, 32>;

struct Acknowledged {
    Step step;
    Seq seq;  // Of its first event.
    std::uint64_t events = 0;
    std::string hash;  // Of its last event, hex.
};

class Oracle {
 public:
    Oracle(const Workload& workload, std::size_t writers) : workload_(workload), writers_(writers) {}

    void record(const Acknowledged& told);
    void complain(std::string what);

    // Compares the store with what was told: the events since the last check one by one, those before by their root,
    // and a sample of memories with what every read says of them. Waits for the projections.
    void check(Engine& engine, std::mt19937_64& random);
    // The last event that anybody was told of, and the last that was promised to survive the machine.
    Seq acknowledged() const { return acknowledged_; }
    Seq synced() const { return synced_; }

    std::size_t writers() const { return writers_.size(); }
    std::uint64_t steps(std::size_t writer) const { return writers_[writer].size(); }  // That are there or were told.
    const std::vector<std::string>& complaints() const { return complaints_; }

 private:
    struct Place {
        Seq seq;
        std::string hash;
    };
    // The events of (checked_, head], as the log has them; each writer's steps must be there in their order.
    void check_events(Engine& engine);
    void check_memories(Engine& engine, std::mt19937_64& random);
    void check_memory(Engine& engine, const Workload::Expected& expected);

    const Workload& workload_;
    std::vector<std::vector<Place>> writers_;  // By step.
    std::vector<std::string> complaints_;
    Seq acknowledged_{}, synced_{}, checked_{};
    Root checked_root_{};
    Timestamp recorded_at_{};
    struct Cursor {
        std::uint64_t step = 0;
        std::size_t part = 0;
    };
    std::vector<Cursor> cursors_ = std::vector<Cursor>(writers_.size());  // What comes next in the log.
    std::map<MemoryId, std::uint64_t> versions_;
};

}  // namespace annal::testing
