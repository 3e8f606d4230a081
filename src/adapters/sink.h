// The port to a database that somebody else owns, which is to hold what the log says: the memories as they are after an
// event, and, where it is asked to, the events themselves.
// Invariant: what is there is the state of one position of the log, and says which. A batch and the position it leads
// to are one transaction; a batch from another position than the one that is there changes nothing. So no event is
// applied twice or left out, whatever is killed when, and whoever else believes that the sink is his.
// Fence: whoever takes a sink over raises a number kept beside the position. A batch of one who took it over before is
// refused.
// Errors of every call: unavailable, deadline_exceeded, resource_exhausted: try again later (not before
// retry_after_ms, if the details say that), with the same sink: nothing or all of it was done. conflict: details
// `fenced` (another took it over) or `position` (what is there is not where the batch starts). unauthenticated,
// permission_denied, not_found, invalid_argument, unimplemented, data_loss: an operator has to mend something; the
// message says what. Of these apply() adds the details `refused` when it is something in the batch that is not taken:
// who applies looks for it. Never a secret, a connection string or a memory's text.
// Time:    a call that waits for a server gives up after 60 s: deadline_exceeded.
// Threads: a sink is used by one thread at a time.
#pragma once

#include <annal/engine.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

// A place in a log. `hash`: of the event at `seq`, zeros for Seq{0}. Two logs that part after a restore differ in it.
struct SinkPosition {
    std::string store_id{};
    std::uint64_t epoch = 0;  // Of the log.
    Seq seq{};
    std::array<std::uint8_t, 32> hash{};
    bool operator==(const SinkPosition&) const = default;
};

// A live memory as it is at the batch's end, with its vector if it has one.
struct SinkRecord {
    Memory memory{};
    std::optional<Embedding> embedding{};
};

struct SinkRemoval {
    std::string project{};
    Kind kind{};
    MemoryId memory_id{};
};

// What the far side can never take, and why. In its stead nothing is there of the memory.
struct DeadLetter {
    std::string project{};
    Kind kind{};
    MemoryId memory_id{};
    Seq seq{};             // Of the state that was refused.
    std::string reason{};  // Without memory text.
    std::string user{};    // Of the memory, and its created_seq: what an erasure finds it by.
    Seq created_seq{};
};

// All that a user of a project had when he was erased.
struct SinkErasure {
    std::string project{};
    std::string user{};
    Seq requested_at{};  // Memories created before it go, and so does what events before it say.
};

// In this order: erasures, removals, upserts. A memory is at most once in removals, upserts and dead letters together.
struct SinkBatch {
    SinkPosition from{};
    SinkPosition to{};
    std::vector<SinkErasure> erasures{};
    std::vector<SinkRemoval> removals{};     // Of a record, or of a dead letter.
    std::vector<SinkRecord> upserts{};       // Takes away a dead letter of the same memory.
    std::vector<DeadLetter> dead_letters{};  // Removes what was there of it.
    std::vector<Engine::LogEntry> events{};  // Of (from, to]; empty unless the sink keeps events.
};

struct SinkCapabilities {
    bool keeps_events = false;
    bool keeps_vectors = true;
    std::size_t batch_records_max = 1024;
    std::size_t batch_bytes_max = std::size_t{4} << 20;  // About: of contents and vectors.
};

// What a sink's calls have cost since it was made. Each only rises.
struct SinkUsage {
    std::uint64_t bytes_sent = 0;  // Of what the far side is to hold or to answer; without protocol and encryption.
    std::uint64_t repeats = 0;     // Of what failed, within a call.
    std::uint64_t throttles = 0;   // The far side wanted to be left alone.
    double request_units = 0;      // Charged by Cosmos DB.
};

// What is there, in the order of project (its bytes) and memory id; as of one position, whatever is written meanwhile.
class SinkWalk {
 public:
    virtual ~SinkWalk() = default;
    virtual const SinkPosition& position() const = 0;
    // The next ones, at most `max`; none: the end.
    virtual Result<std::vector<SinkRecord>> next(std::size_t max) = 0;
    // All of them, in the same order.
    virtual Result<std::vector<DeadLetter>> dead_letters() = 0;
};

class Sink {
 public:
    virtual ~Sink() = default;
    virtual std::string_view type() const = 0;  // "postgres", "cosmos", "file", "memory"
    virtual SinkCapabilities capabilities() const = 0;

    // Connects, makes what is missing (tables, containers), raises the fence, and says where the far side is:
    // nullopt: empty. conflict: it belongs to another store; details: store_id.
    virtual Result<std::optional<SinkPosition>> take_over(std::string_view store_id) = 0;
    // Why the far side can never take the record; nullopt: it can. Without asking it.
    virtual std::optional<std::string> refuses(const SinkRecord& record) const = 0;
    virtual Status apply(const SinkBatch& batch) = 0;
    // Removes all that is there, position included: the next batch starts at Seq{0}.
    virtual Status clear() = 0;
    // Without taking over. not_found: nothing is there.
    virtual Result<std::unique_ptr<SinkWalk>> walk() = 0;
    virtual SinkUsage usage() const { return {}; }
};

}  // namespace annal
