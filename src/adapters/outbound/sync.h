// Keeps sinks equal to the log. One thread for each sink follows the engine and applies what changed, a batch at a
// time; what it waits for, or cannot do, concerns that sink alone: writes and other sinks go on.
// Failures: what passes is tried again, later each time, and left alone for a while when five calls failed in a row.
//           What an operator has to mend is tried again, too, as seldom as that. A sink that another process took
//           over, or that is at a place which this log does not have, is left alone until resume() or resync().
// Memory:   one batch for each sink. Lag retains nothing: what a sink has missed is in the log.
// Threads:  every method may be called from any thread.
#pragma once

#include "adapters/sink.h"
#include "backoff.h"
#include "circuit_breaker.h"

#include <annal/engine.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

enum class SyncState : std::uint8_t {
    following,     // At the head, or on its way there.
    retrying,      // The last call failed, and is made again: `error`.
    failed,        // The same, and somebody has to mend something first.
    paused,        // By pause().
    fenced,        // Another process took the sink over.
    needs_resync,  // It is at a place that this log does not have: restored from a backup, or another history.
};
inline constexpr std::array<std::string_view, 6> sync_state_names{"following", "retrying", "failed",
                                                                  "paused",    "fenced",   "needs_resync"};
constexpr std::string_view to_string(SyncState state) {
    return sync_state_names[static_cast<std::size_t>(state)];
}

// They only rise: also over restarts, when a sink is added with those of before.
struct SyncCounters {
    std::uint64_t batches = 0;
    std::uint64_t records = 0;  // Upserts and removals.
    std::uint64_t erasures = 0;
    std::uint64_t dead_letters = 0;
    std::uint64_t retries = 0;    // Calls that failed, and requests within a call that were made again.
    std::uint64_t throttles = 0;  // The far side wanted to be left alone.
    std::uint64_t bytes_sent = 0;
    double request_units = 0;  // Charged by Cosmos DB.
    bool operator==(const SyncCounters&) const = default;
};

struct SyncStatus : SyncCounters {
    std::string name{};
    std::string type{};
    SyncState state{};
    std::optional<SinkPosition> position{};  // Unset: not known yet, or nothing is there.
    std::uint64_t lag_events = 0;
    double lag_seconds = 0;        // Since the first event that is not there was recorded.
    std::optional<Error> error{};  // The last one since something was applied.
    BreakerState breaker{};
};

struct SyncOptions {
    Clock* clock = nullptr;  // Of the breaker and of every wait. Null: the system's.
    std::uint64_t seed = 0;  // Of the chance in what is waited; 0: another each time.
    BackoffOptions backoff{};
    CircuitBreakerOptions breaker{};
    std::chrono::milliseconds poll{20};  // How often the head is asked, and the clock.
    // Told when a sink's state changes, by its thread: calls nothing of the runner. Never memory text or a secret.
    std::function<void(std::string_view level, std::string_view message)> on_message{};
};

class SyncRunner {
 public:
    // unavailable: the engine does not say which store it is.
    static Result<std::unique_ptr<SyncRunner>> start(Engine& engine, SyncOptions options = {});
    virtual ~SyncRunner() = default;  // Stops all, each after the call it is in.

    // Takes it over and follows, unless it is to begin paused. Counts on from `before`. already_exists: the name is
    // taken.
    virtual Status add(std::string name, std::unique_ptr<Sink> sink, bool paused = false,
                       const SyncCounters& before = {}) = 0;
    // Of these, not_found: no such sink. They return when the sink's thread is between two batches.
    virtual Status remove(std::string_view name) = 0;  // The far side stays as it is.
    virtual Status pause(std::string_view name) = 0;
    virtual Status resume(std::string_view name) = 0;  // Also one that is fenced, or failed: takes it over anew, now.
    virtual Status resync(std::string_view name) = 0;  // Clears it, and starts over.

    virtual std::vector<SyncStatus> status() const = 0;  // By name.
    // Until the sink has applied `seq`. deadline_exceeded; or the error of a sink that stopped, or has to be mended.
    virtual Status wait_for(std::string_view name, Seq seq, std::chrono::milliseconds wait_max) = 0;
};

// The same of a sink that nobody follows for: asks it where it is, takes nothing over, counts nothing. `failed` when it
// cannot say.
SyncStatus look_at(Engine& engine, Sink& sink);

// What a sink holds, against the log.
struct SinkComparison {
    SinkPosition position{};     // As of which both are.
    std::uint64_t memories = 0;  // That it is to hold.
    std::uint64_t records = 0;   // That it holds.
    std::uint64_t dead_letters = 0;
    std::uint64_t different = 0;
    std::uint64_t missing = 0;  // Neither record nor dead letter.
    std::uint64_t extra = 0;
    std::uint64_t to_be_erased = 0;  // Their user was erased since: they go with the next batch.
    std::string first_difference{};  // In words, without memory text; empty: none.
    bool equal() const { return different + missing + extra == 0; }
};

// Compares every record, vectors to the bit, with the memory as of the sink's position. Takes nothing over; writes and
// applying go on meanwhile. Memory: about 200 bytes a memory. not_found: nothing is there. conflict: it is at a place
// that this log does not have, or another store's. `progress`: events folded, then records compared.
Result<SinkComparison> compare(Engine& engine, Sink& sink,
                               const std::function<void(std::uint64_t done, std::uint64_t all)>& progress = {});

}  // namespace annal
