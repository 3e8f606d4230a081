// A memory: its parts as the caller gives them, and its state as a read returns it.
#pragma once

#include <annal/ids.h>
#include <annal/kind.h>
#include <annal/scope.h>
#include <annal/timestamp.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace annal {

// The typed fields of each kind, beside the content. All may be empty.
struct HeuristicFields {
    std::string condition{};  // When it applies.
    std::string strategy{};   // What to do then.
    bool operator==(const HeuristicFields&) const = default;
};
struct OutcomeFields {
    std::string task_type{};
    std::string task_description{};
    std::string strategy_used{};
    bool success = false;
    std::optional<std::int64_t> duration_ms{};
    std::string error_message{};
    std::string user_feedback{};
    bool operator==(const OutcomeFields&) const = default;
};
struct PreferenceFields {
    std::string category{};
    bool operator==(const PreferenceFields&) const = default;
};
struct DomainKnowledgeFields {
    std::string domain{};
    bool operator==(const DomainKnowledgeFields&) const = default;
};
struct AntiPatternFields {
    std::string why_bad{};
    std::string better_alternative{};
    bool operator==(const AntiPatternFields&) const = default;
};
struct EntityFields {
    std::string name{};
    std::string entity_type{};
    bool operator==(const EntityFields&) const = default;
};
struct RelationFields {
    std::string source_id{};  // The ids or names of what is related.
    std::string target_id{};
    std::string relation_type{};
    double strength = 0.5;  // 0..1
    bool bidirectional = false;
    bool operator==(const RelationFields&) const = default;
};

// The alternative's index is the number of its Kind; a note has no fields.
using KindFields = std::variant<std::monostate, HeuristicFields, OutcomeFields, PreferenceFields, DomainKnowledgeFields,
                                AntiPatternFields, EntityFields, RelationFields>;
static_assert(std::variant_size_v<KindFields> == kind_count);
inline Kind kind_of(const KindFields& fields) {
    return static_cast<Kind>(fields.index());
}
KindFields empty_fields(Kind kind);

// The one list of kind fields: calls visit("name", member) for each, in stored order. Serves JSON, history and checks.
template <class Fields, class Visit>
void visit_fields(Fields& fields, Visit&& visit) {
    using F = std::remove_const_t<Fields>;
    if constexpr (std::is_same_v<F, HeuristicFields>) {
        visit("condition", fields.condition);
        visit("strategy", fields.strategy);
    } else if constexpr (std::is_same_v<F, OutcomeFields>) {
        visit("task_type", fields.task_type);
        visit("task_description", fields.task_description);
        visit("strategy_used", fields.strategy_used);
        visit("success", fields.success);
        visit("duration_ms", fields.duration_ms);
        visit("error_message", fields.error_message);
        visit("user_feedback", fields.user_feedback);
    } else if constexpr (std::is_same_v<F, PreferenceFields>) {
        visit("category", fields.category);
    } else if constexpr (std::is_same_v<F, DomainKnowledgeFields>) {
        visit("domain", fields.domain);
    } else if constexpr (std::is_same_v<F, AntiPatternFields>) {
        visit("why_bad", fields.why_bad);
        visit("better_alternative", fields.better_alternative);
    } else if constexpr (std::is_same_v<F, EntityFields>) {
        visit("name", fields.name);
        visit("entity_type", fields.entity_type);
    } else if constexpr (std::is_same_v<F, RelationFields>) {
        visit("source_id", fields.source_id);
        visit("target_id", fields.target_id);
        visit("relation_type", fields.relation_type);
        visit("strength", fields.strength);
        visit("bidirectional", fields.bidirectional);
    }
}

// The evidence a memory came from. A memory whose source is a message was spoken: its actor is its speaker, and its
// neighbours in the session lend it their words when text is searched.
enum class SourceType : std::uint8_t {  // Stored numbers: never change one.
    none = 0,
    message = 1,
    file = 2,
    tool_call = 3,
    test_result = 4,
    url = 5,
    memory = 6,
    other = 7,
};
inline constexpr std::array<std::string_view, 8> source_type_names{"none",        "message", "file",   "tool_call",
                                                                   "test_result", "url",     "memory", "other"};
constexpr std::string_view to_string(SourceType type) {
    return source_type_names[static_cast<std::size_t>(type)];
}
constexpr std::optional<SourceType> parse_source_type(std::string_view name) {
    for (std::size_t i = 0; i < source_type_names.size(); ++i)
        if (source_type_names[i] == name) return static_cast<SourceType>(i);
    return std::nullopt;
}
struct Source {
    SourceType type = SourceType::none;
    std::string ref{};  // Message id, file name, url, ...
    bool operator==(const Source&) const = default;
};

// A vector as its model made it. Any length but zero is taken and normalised once, at the append.
struct Embedding {
    std::string model{};          // Names the space: vectors of two models are never compared.
    std::vector<float> values{};  // 1..4096 finite numbers, not all zero.
    bool operator==(const Embedding&) const = default;
};

// Whether what was given can be read.
enum class Payload : std::uint8_t {
    plain,
    sealed,  // It is encrypted, and the store was opened without the root key.
    erased,  // Its key was destroyed.
};
inline constexpr std::array<std::string_view, 3> payload_names{"plain", "sealed", "erased"};
constexpr std::string_view to_string(Payload payload) {
    return payload_names[static_cast<std::size_t>(payload)];
}

// What a read returns: the state after event `seq`.
struct Memory {
    MemoryId id{};
    Version version{};  // Of the last event of its stream.
    Seq seq{};          // The same event's place in the log.
    Seq created_seq{};  // Its first event's place.
    Scope scope{};
    KindFields fields{};  // Holds the kind.
    std::string content{};
    std::vector<std::string> tags{};
    std::string metadata = "null";  // JSON text.
    Claim claim = Claim::observation;
    double confidence = 1.0;             // 0..1
    std::uint64_t occurrence_count = 0;  // Times met, by MemoryReinforced or as first given.
    std::uint64_t success_count = 0;
    std::string actor{};  // Who recorded it.
    Source source{};
    Timestamp recorded_at{};  // When it was recorded (its first event).
    Timestamp updated_at{};   // When it last changed.
    Timestamp occurred_at{};  // When it was true, as the caller says; recorded_at when he does not.
    std::optional<Timestamp> valid_from{};
    std::optional<Timestamp> valid_to{};
    std::optional<Timestamp> expires_at{};  // From then on no search or list returns it.
    std::optional<Timestamp> verified_at{};
    std::optional<MemoryId> superseded_by{};
    bool forgotten = false;
    std::string embedding_model{};  // Empty when it was given no vector.
    std::uint32_t embedding_dimension = 0;
    Payload payload = Payload::plain;  // Sealed: content, tags, metadata, fields, actor and source are left empty.

    Kind kind() const { return kind_of(fields); }
};

}  // namespace annal
