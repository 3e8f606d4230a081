// What the crash tests write to an engine, as a function of a seed alone. Who never heard the answer to a step asks for
// the same again, and who checks the store knows what must be there. Steps come in rounds of `round_steps`: memories
// are recorded, revised, forgotten, restored and so on, so that a step of a writer always follows the steps before it.
#pragma once

#include <annal/engine.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace annal::testing {

struct Step {
    std::uint64_t writer = 0;
    std::uint64_t number = 0;  // Of this writer, from 0.
};

class Workload {
 public:
    static constexpr std::uint64_t round_steps = 8;

    // `with_users`: half of the writers write memories of users.
    Workload(std::uint64_t seed, bool with_users) : seed_(seed), with_users_(with_users) {}

    std::uint64_t seed() const { return seed_; }
    bool with_users() const { return with_users_; }

    // One durable write, all or nothing, under an idempotency key of its own.
    Result<std::vector<Receipt>> write(Engine& engine, Step step) const;
    std::size_t events_of(Step step) const;  // That the write appends.
    bool is_synced(Step step) const;         // Else it survives the process, not the machine.
    // Where the clock is put after the step, in seconds beside the true time: back and forth by an hour.
    std::optional<std::int64_t> clock_after(Step step) const;
    // What event `part` of the step carries as its correlation id.
    static std::string name(Step step, std::size_t part);

    struct Expected {  // A memory, as it is once its writer has written the steps before some number.
        Scope scope{};
        MemoryId id{};
        std::string word{};  // In its content, and in no other's.
        bool forgotten = false;
        bool has_vector = false;
    };
    std::vector<Expected> memories(std::uint64_t writer, std::uint64_t round, std::uint64_t steps_done) const;
    // A word of what the step wrote, and whether a search finds it once the step is written. nullopt: it says none.
    std::optional<Expected> written(Step step) const;

    std::uint64_t random(Step step, std::uint64_t salt) const;  // The same each time.

 private:
    Scope scope(std::uint64_t writer, std::uint64_t round) const;
    static MemoryId memory(Step recorded, std::size_t part);
    std::string content(Step step, std::size_t part) const;
    std::optional<Embedding> vector(Step step, std::size_t part) const;
    RecordRequest record(Step step, std::size_t part) const;
    WriteContext context(Step step) const;

    std::uint64_t seed_;
    bool with_users_;
};

}  // namespace annal::testing
