// What the log knows of erasures beside their events: whose they were, how far each has come, and the values that are
// not to come back. Rows of the family "meta" (rocks_store.h), held in memory but for the values.
#pragma once

#include <annal/memory.h>
#include <annal/result.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal {

enum class ErasureState : std::uint8_t {
    requested = 1,  // The key may be there still.
    keys_gone = 2,  // Views may still hold what it sealed.
    completed = 3,
};

// The last one of a subject. An event of the subject's with a seq up to `requested_at` reads as erased, whatever became
// of its key.
struct Erasure {
    std::string project;
    std::string user;
    Seq requested_at;
    std::uint64_t keystore_epoch = 0;  // The first without the key; 0: not known here.
    ErasureState state = ErasureState::requested;
    bool operator==(const Erasure&) const = default;
};

class ErasureTable {
 public:
    static constexpr std::string_view prefix = "erasure";
    static std::string key(std::string_view project, std::string_view user);
    static std::string value(const Erasure& erasure);
    static Result<Erasure> decode(std::string_view key, std::string_view value);  // data_loss

    // Threads: any.
    bool empty() const { return empty_.load(std::memory_order_acquire); }
    std::optional<Erasure> find(std::string_view project, std::string_view user) const;
    std::vector<Erasure> all() const;
    void put(Erasure erasure);

 private:
    std::atomic<bool> empty_ = true;
    mutable std::shared_mutex mutex_;
    std::map<std::string, Erasure, std::less<>> by_key_;
};

// A value that is refused, known by a hash of it and of whose it was (engine/value_tombstone.h).
enum class TombstoneReason : std::uint8_t { erased = 1, forgotten_for_good = 2 };
using TombstoneHash = std::array<std::uint8_t, 16>;
struct ValueTombstone {
    TombstoneHash hash{};
    TombstoneReason reason{};
    bool operator==(const ValueTombstone&) const = default;
};

std::string tombstone_key(const TombstoneHash& hash);
std::string tombstone_value(TombstoneReason reason);
Result<TombstoneReason> tombstone_reason(std::string_view value);  // data_loss

}  // namespace annal
