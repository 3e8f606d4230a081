// The store that is kept under tests/golden/stores for each format of the log and keystore: how it is made, and what it
// must say for good.
#pragma once

#include <annal/engine.h>

#include <optional>
#include <string>
#include <vector>

namespace annal::testing {

struct GoldenMemory {
    MemoryId id{};
    Scope scope{};
    std::string content{};
    Kind kind{};
    Version version{};
    bool forgotten = false;
    std::optional<MemoryId> superseded_by{};
    std::vector<std::string> tags{};
    Claim claim = Claim::observation;
    double confidence = 1;
    bool has_vector = false;
};

inline constexpr const char* golden_key = "golden batch";  // The idempotency key of golden_batch().
std::vector<RecordRequest> golden_batch();

// Into an empty store with a root key.
Status write_golden_store(Engine& engine);
std::vector<GoldenMemory> golden_memories();

}  // namespace annal::testing
