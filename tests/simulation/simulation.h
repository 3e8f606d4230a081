// One seed, one history of a log and its projections: appends of any size, retries, expected versions, clocks that
// step, operations that fail, power that goes out, also while the log recovers. A model knows what must be there.
// What is the same each time: what is asked of the log, every answer, every fault and where it strikes, and what is
// found afterwards. What is not: what RocksDB's compactions do meanwhile, which meet no fault; when projections, on
// their threads, apply which batch: they are looked at once they have caught up; and when the witness is synced, by the
// second. No answer depends on them.
#pragma once

#include "events/event_log.h"
#include "support/fault_env.h"
#include "support/stopped_clock.h"
#include "support/temp_dir.h"

#include "projections/runtime.h"
#include "projections/view_store.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace annal::testing {

// Tells the file system under it which threads compact.
class SimulatedEnv final : public FaultEnv {
 public:
    using FaultEnv::FaultEnv;
    void Schedule(void (*job)(void*), void* argument, Priority priority, void* tag, void (*drop)(void*)) override;
};

class Simulation {
 public:
    struct Figures {
        int appends = 0, retries = 0, conflicts = 0, clock_steps = 0, faults = 0, power_losses = 0, opens = 0;
        int views_compared = 0;
    };

    explicit Simulation(std::uint64_t seed);
    ~Simulation();

    // A number of steps, then a last crash. Returns what was wrong; empty: nothing.
    std::string run(int steps);

    // What happened, a line for each thing that is the same each time.
    const std::vector<std::string>& trace() const { return trace_; }
    const Figures& figures() const { return figures_; }

 private:
    struct Known {  // An event that somebody was told of, or that was found.
        std::string project;
        MemoryId memory;
        EventType type{};
        std::string name;  // Its correlation id: no two events have the same.
        Hash hash{};
        bool ends_batch = true;
    };
    struct Keyed {  // What an idempotency key was used for.
        Seq first;
        std::size_t count = 0;
        std::uint8_t request = 0;
    };
    struct State {
        Version version;
        bool forgotten = false;
    };
    struct Batch {
        std::string project, key;
        std::uint8_t request = 0;
        std::vector<MemoryEvent> events;
        std::vector<ExpectedVersion> expected;
        Durability durability = Durability::synced;
    };

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    bool one_in(std::uint64_t times) { return below(times) == 0; }
    void say(std::string line) { trace_.push_back(std::move(line)); }
    void wrong(const std::string& what);

    void step();
    Batch make_batch();
    Result<std::vector<Receipt>> append(Batch& batch);
    void append_some();
    void append_conflicting();
    void retry();
    void read_a_stream();
    void step_clock();
    void arm();
    // A fault was met, or the answer says that the log must be opened anew.
    void recover();
    void open();
    void close();
    void adopt(bool power_was_lost);
    void check_index();
    void start_views();
    void compare_views();
    void stop_views();

    std::mt19937_64 random_;
    TempDir dir_{TempDir::On::memory};
    StoppedClock clock_;
    int lives_ = 0;
    std::filesystem::path where_;
    std::shared_ptr<FaultFileSystem> files_;
    std::unique_ptr<SimulatedEnv> env_;
    std::unique_ptr<EventLog> log_;
    std::unique_ptr<ViewStore> views_;
    std::unique_ptr<ProjectionRuntime> runtime_;
    FaultFileSystem::Fault armed_ = FaultFileSystem::Fault::none;

    std::vector<Known> known_;  // By seq - 1.
    std::size_t durable_ = 0;   // Of them: promised to survive power loss.
    std::optional<Batch> unknown_;
    std::map<std::string, Keyed> keys_;                        // project, 0, key
    std::map<std::string, std::map<MemoryId, State>> states_;  // By project.
    Timestamp recorded_at_{};
    std::uint64_t names_ = 0;

    std::vector<std::string> trace_;
    std::string wrong_;
    Figures figures_;
};

}  // namespace annal::testing
