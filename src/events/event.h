// The event, as the engine makes it (MemoryEvent) and as the log gives it back (EventView).
#pragma once

#include <annal/engine.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace annal::fbs {
struct MemoryEvent;  // Generated from schema/memory_event.fbs: include "memory_event_generated.h" to read bodies.
}

namespace annal {

enum class EventType : std::uint16_t {  // Stored numbers; those of the schema's Body union.
    memory_recorded = 1,
    memory_revised = 2,
    memory_reinforced = 3,
    claim_promoted = 4,
    confidence_changed = 5,
    memory_verified = 6,
    memory_superseded = 7,
    memory_forgotten = 8,
    memory_restored = 9,
    erasure_requested = 10,
    erasure_completed = 11,
    memory_recalled = 12,
    policy_changed = 13,
};
inline constexpr std::size_t event_type_count = 13;
std::string_view to_string(EventType type);  // "MemoryRecorded", ...

// The bodies. The alternative's index + 1 is the EventType.
struct MemoryRecorded {
    std::string content;
    KindFields fields;
    std::vector<std::string> tags;
    std::string metadata = "null";
    Claim claim = Claim::observation;
    double confidence = 1.0;
    std::uint64_t occurrence_count = 0;
    std::uint64_t success_count = 0;
    std::optional<Timestamp> valid_from;
    std::optional<Timestamp> valid_to;
    std::optional<Timestamp> expires_at;
    std::optional<Embedding> embedding;  // Unit length.
    float embedding_norm = 1;            // The length it was given with.
    bool operator==(const MemoryRecorded&) const = default;
};
struct MemoryRevised {
    std::optional<std::string> content;
    std::optional<KindFields> fields;  // Never a note's, which has none: stored as no change.
    std::optional<std::vector<std::string>> tags;
    std::optional<std::string> metadata;
    std::optional<Timestamp> occurred_at;
    // The outer one: did it change; the inner one: to what, or to none.
    std::optional<std::optional<Timestamp>> valid_from;
    std::optional<std::optional<Timestamp>> valid_to;
    std::optional<std::optional<Timestamp>> expires_at;
    std::optional<Embedding> embedding;
    float embedding_norm = 1;
    bool operator==(const MemoryRevised&) const = default;
};
struct MemoryReinforced {
    bool success = false;
    bool operator==(const MemoryReinforced&) const = default;
};
struct ClaimPromoted {
    Claim from{};
    Claim to{};
    bool operator==(const ClaimPromoted&) const = default;
};
struct ConfidenceChanged {
    double from = 0;
    double to = 0;
    bool operator==(const ConfidenceChanged&) const = default;
};
struct MemoryVerified {
    std::string status;  // verified, uncertain, contradicted, unverifiable
    std::string method;
    double confidence = 0;
    bool operator==(const MemoryVerified&) const = default;
};
struct MemorySuperseded {
    MemoryId by;
    bool operator==(const MemorySuperseded&) const = default;
};
struct MemoryForgotten {
    bool for_good = false;
    bool operator==(const MemoryForgotten&) const = default;
};
struct MemoryRestored {
    Seq forgotten_at;
    bool operator==(const MemoryRestored&) const = default;
};
struct ErasureRequested {
    std::string subject;  // The user; the project is the scope's.
    std::uint64_t memories = 0;
    std::uint64_t events = 0;
    std::uint64_t unsealed_events = 0;  // Of them, those stored in the clear: no key removes these.
    bool operator==(const ErasureRequested&) const = default;
};
struct ErasureCompleted {
    Seq requested_at;
    std::uint64_t memories = 0;
    std::uint64_t keystore_epoch = 0;  // The first without the key.
    bool operator==(const ErasureCompleted&) const = default;
};
struct MemoryRecalled {  // In the stream of its run.
    std::string run_id;
    std::string query;
    std::uint32_t rank = 0;
    double score = 0;
    MemoryId memory{};                 // That was given.
    std::uint32_t place = 0;           // In what was given together, from 0.
    Seq as_of{};                       // It was given as it was after the event of this seq.
    std::optional<SearchMode> mode{};  // Unset: it is not known how it was found.
    bool by_vector = false;            // The query had a vector, which is not kept.
    bool of_any_user = false;          // The run's scope has no user; the event's is the memory's.
    bool operator==(const MemoryRecalled&) const = default;
};
struct PolicyChanged {
    std::string name;
    std::string value;     // JSON text
    std::string previous;  // JSON text
    bool operator==(const PolicyChanged&) const = default;
};
using EventBody = std::variant<MemoryRecorded, MemoryRevised, MemoryReinforced, ClaimPromoted, ConfidenceChanged,
                               MemoryVerified, MemorySuperseded, MemoryForgotten, MemoryRestored, ErasureRequested,
                               ErasureCompleted, MemoryRecalled, PolicyChanged>;
static_assert(std::variant_size_v<EventBody> == event_type_count);

struct MemoryEvent {
    MemoryId memory_id;
    EventId event_id;
    Scope scope;
    std::optional<Timestamp> occurred_at;  // Unset: recorded_at.
    std::string actor;
    Source source;
    std::string reason;
    std::string causation_id;
    std::string correlation_id;
    EventBody body;
    bool operator==(const MemoryEvent&) const = default;

    EventType type() const { return static_cast<EventType>(body.index() + 1); }
};

// One stored event: its place, and its verified bytes, borrowed from whoever read them (valid as long as the arena of
// that read). Cheap to copy. Readers of bodies include "memory_event_generated.h" and use table().
class EventView {
 public:
    EventView(Seq seq, Version version, Timestamp recorded_at, EventType type, const fbs::MemoryEvent* table,
              std::span<const std::uint8_t> stored, Payload payload)
        : seq_(seq),
          version_(version),
          recorded_at_(recorded_at),
          type_(type),
          payload_(payload),
          table_(table),
          stored_(stored) {}

    Seq seq() const { return seq_; }
    Version version() const { return version_; }
    Timestamp recorded_at() const { return recorded_at_; }
    EventType type() const { return type_; }
    // Unless plain, the table has ids and scope, and an empty body.
    Payload payload() const { return payload_; }
    const fbs::MemoryEvent& table() const { return *table_; }
    std::span<const std::uint8_t> stored() const { return stored_; }  // Header and table, as on disk.

    MemoryId memory_id() const;
    EventId event_id() const;
    Timestamp occurred_at() const;  // recorded_at when the caller gave none.
    std::string_view project() const;
    std::string_view agent() const;
    std::string_view user() const;
    std::string_view session() const;
    std::string_view actor() const;
    SourceType source_type() const;
    MemoryEvent unpack() const;  // A copy that outlives the bytes.

 private:
    Seq seq_;
    Version version_;
    Timestamp recorded_at_;
    EventType type_;
    Payload payload_;
    const fbs::MemoryEvent* table_;
    std::span<const std::uint8_t> stored_;
};

}  // namespace annal
