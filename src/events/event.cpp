#include "event.h"

#include "memory_event_generated.h"

#include <bit>

namespace annal {
namespace {

template <class Tag>
Uuid<Tag> to_uuid(const fbs::Id& id) {
    return {std::bit_cast<std::array<std::uint8_t, 16>>(id)};
}

std::string_view view(const flatbuffers::String* text) {
    return text == nullptr ? std::string_view{} : std::string_view{text->data(), text->size()};
}
std::string copy(const flatbuffers::String* text) {
    return std::string(view(text));
}

std::optional<std::string> optional_copy(const flatbuffers::String* text) {
    if (text == nullptr) return std::nullopt;
    return copy(text);
}

std::optional<Timestamp> optional_time(const flatbuffers::Optional<std::int64_t>& us) {
    if (!us) return std::nullopt;
    return Timestamp{*us};
}

std::optional<std::optional<Timestamp>> optional_change(const fbs::OptionalTime* change) {
    if (change == nullptr) return std::nullopt;
    return change->set() ? std::optional(Timestamp{change->us()}) : std::optional<Timestamp>{};
}

std::vector<std::string> copy(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* tags) {
    std::vector<std::string> result;
    if (tags == nullptr) return result;
    result.reserve(tags->size());
    for (const auto* tag : *tags) result.push_back(copy(tag));
    return result;
}

// `Table` is either of the two that hold the fields of a kind.
template <class Table>
KindFields unpack_fields(const Table& table) {
    switch (table.fields_type()) {
        case fbs::KindFields::NONE:
            return {};
        case fbs::KindFields::HeuristicFields: {
            const auto& f = *table.fields_as_HeuristicFields();
            return HeuristicFields{copy(f.condition()), copy(f.strategy())};
        }
        case fbs::KindFields::OutcomeFields: {
            const auto& f = *table.fields_as_OutcomeFields();
            OutcomeFields outcome;
            outcome.task_type = copy(f.task_type());
            outcome.task_description = copy(f.task_description());
            outcome.strategy_used = copy(f.strategy_used());
            outcome.success = f.success();
            if (const auto duration_ms = f.duration_ms()) outcome.duration_ms = *duration_ms;
            outcome.error_message = copy(f.error_message());
            outcome.user_feedback = copy(f.user_feedback());
            return outcome;
        }
        case fbs::KindFields::PreferenceFields:
            return PreferenceFields{copy(table.fields_as_PreferenceFields()->category())};
        case fbs::KindFields::DomainKnowledgeFields:
            return DomainKnowledgeFields{copy(table.fields_as_DomainKnowledgeFields()->domain())};
        case fbs::KindFields::AntiPatternFields: {
            const auto& f = *table.fields_as_AntiPatternFields();
            return AntiPatternFields{copy(f.why_bad()), copy(f.better_alternative())};
        }
        case fbs::KindFields::EntityFields: {
            const auto& f = *table.fields_as_EntityFields();
            return EntityFields{copy(f.name()), copy(f.entity_type())};
        }
        case fbs::KindFields::RelationFields: {
            const auto& f = *table.fields_as_RelationFields();
            return RelationFields{copy(f.source_id()), copy(f.target_id()), copy(f.relation_type()), f.strength(),
                                  f.bidirectional()};
        }
    }
    return {};
}

// Sets a body's embedding and the length it was given with, if there is one.
template <class Body>
void unpack_embedding(const fbs::Embedding* table, Body& body) {
    if (table == nullptr) return;
    const auto& values = *table->values();
    body.embedding = Embedding{copy(table->model()), std::vector<float>(values.begin(), values.end())};
    body.embedding_norm = table->norm();
}

MemoryRecorded unpack(const fbs::MemoryRecorded& table) {
    MemoryRecorded body;
    body.content = copy(table.content());
    body.fields = unpack_fields(table);
    body.tags = copy(table.tags());
    if (table.metadata() != nullptr) body.metadata = copy(table.metadata());
    body.claim = static_cast<Claim>(table.claim());
    body.confidence = table.confidence();
    body.occurrence_count = table.occurrence_count();
    body.success_count = table.success_count();
    body.valid_from = optional_time(table.valid_from());
    body.valid_to = optional_time(table.valid_to());
    body.expires_at = optional_time(table.expires_at());
    unpack_embedding(table.embedding(), body);
    return body;
}

MemoryRevised unpack(const fbs::MemoryRevised& table) {
    MemoryRevised body;
    body.content = optional_copy(table.content());
    if (table.fields_type() != fbs::KindFields::NONE) body.fields = unpack_fields(table);
    if (table.tags() != nullptr) body.tags = copy(table.tags());
    body.metadata = optional_copy(table.metadata());
    body.occurred_at = optional_time(table.occurred_at());
    body.valid_from = optional_change(table.valid_from());
    body.valid_to = optional_change(table.valid_to());
    body.expires_at = optional_change(table.expires_at());
    unpack_embedding(table.embedding(), body);
    return body;
}

EventBody unpack_body(const fbs::MemoryEvent& table) {
    switch (table.body_type()) {
        case fbs::Body::NONE:
            break;  // No verified event has it.
        case fbs::Body::MemoryRecorded:
            return unpack(*table.body_as_MemoryRecorded());
        case fbs::Body::MemoryRevised:
            return unpack(*table.body_as_MemoryRevised());
        case fbs::Body::MemoryReinforced:
            return MemoryReinforced{table.body_as_MemoryReinforced()->success()};
        case fbs::Body::ClaimPromoted: {
            const auto& b = *table.body_as_ClaimPromoted();
            return ClaimPromoted{static_cast<Claim>(b.from()), static_cast<Claim>(b.to())};
        }
        case fbs::Body::ConfidenceChanged: {
            const auto& b = *table.body_as_ConfidenceChanged();
            return ConfidenceChanged{b.from(), b.to()};
        }
        case fbs::Body::MemoryVerified: {
            const auto& b = *table.body_as_MemoryVerified();
            return MemoryVerified{copy(b.status()), copy(b.method()), b.confidence()};
        }
        case fbs::Body::MemorySuperseded:
            return MemorySuperseded{to_uuid<MemoryTag>(*table.body_as_MemorySuperseded()->by())};
        case fbs::Body::MemoryForgotten:
            return MemoryForgotten{table.body_as_MemoryForgotten()->for_good()};
        case fbs::Body::MemoryRestored:
            return MemoryRestored{Seq{table.body_as_MemoryRestored()->forgotten_at()}};
        case fbs::Body::ErasureRequested: {
            const auto& b = *table.body_as_ErasureRequested();
            return ErasureRequested{copy(b.subject()), b.memories(), b.events(), b.unsealed_events()};
        }
        case fbs::Body::ErasureCompleted: {
            const auto& b = *table.body_as_ErasureCompleted();
            return ErasureCompleted{Seq{b.requested_at()}, b.memories(), b.keystore_epoch()};
        }
        case fbs::Body::MemoryRecalled: {
            const auto& b = *table.body_as_MemoryRecalled();
            MemoryRecalled body{copy(b.run_id()), copy(b.query()), b.rank(), b.score()};
            if (b.memory() != nullptr) body.memory = to_uuid<MemoryTag>(*b.memory());
            body.place = b.place();
            body.as_of = Seq{b.as_of()};
            if (b.mode() != 0) body.mode = static_cast<SearchMode>(b.mode() - 1);
            body.by_vector = b.by_vector();
            body.of_any_user = b.of_any_user();
            return body;
        }
        case fbs::Body::PolicyChanged: {
            const auto& b = *table.body_as_PolicyChanged();
            return PolicyChanged{copy(b.name()), copy(b.value()), copy(b.previous())};
        }
    }
    return {};
}

}  // namespace

KindFields empty_fields(Kind kind) {
    switch (kind) {
        case Kind::note:
            return {};
        case Kind::heuristic:
            return HeuristicFields{};
        case Kind::outcome:
            return OutcomeFields{};
        case Kind::preference:
            return PreferenceFields{};
        case Kind::domain_knowledge:
            return DomainKnowledgeFields{};
        case Kind::anti_pattern:
            return AntiPatternFields{};
        case Kind::entity:
            return EntityFields{};
        case Kind::relation:
            return RelationFields{};
    }
    return {};
}

std::string_view to_string(EventType type) {
    static constexpr std::array<std::string_view, event_type_count> names{
        "MemoryRecorded",   "MemoryRevised",    "MemoryReinforced", "ClaimPromoted",  "ConfidenceChanged",
        "MemoryVerified",   "MemorySuperseded", "MemoryForgotten",  "MemoryRestored", "ErasureRequested",
        "ErasureCompleted", "MemoryRecalled",   "PolicyChanged"};
    const auto index = static_cast<std::size_t>(type) - 1;
    return index < names.size() ? names[index] : "unknown";
}

MemoryId EventView::memory_id() const {
    return to_uuid<MemoryTag>(*table_->memory_id());
}
EventId EventView::event_id() const {
    return to_uuid<EventTag>(*table_->event_id());
}
Timestamp EventView::occurred_at() const {
    return optional_time(table_->occurred_at()).value_or(recorded_at_);
}
std::string_view EventView::project() const {
    return view(table_->scope()->project());
}
std::string_view EventView::agent() const {
    return view(table_->scope()->agent());
}
std::string_view EventView::user() const {
    return view(table_->scope()->user());
}
std::string_view EventView::session() const {
    return view(table_->scope()->session());
}
std::string_view EventView::actor() const {
    return view(table_->actor());
}
SourceType EventView::source_type() const {
    return table_->source() == nullptr ? SourceType::none : static_cast<SourceType>(table_->source()->type());
}

MemoryEvent EventView::unpack() const {
    MemoryEvent event;
    event.memory_id = memory_id();
    event.event_id = event_id();
    event.scope = {std::string(project()), std::string(agent()), std::string(user()), std::string(session())};
    event.occurred_at = optional_time(table_->occurred_at());
    event.actor = copy(table_->actor());
    event.source.type = source_type();
    if (table_->source() != nullptr) event.source.ref = copy(table_->source()->ref());
    event.reason = copy(table_->reason());
    event.causation_id = copy(table_->causation_id());
    event.correlation_id = copy(table_->correlation_id());
    event.body = unpack_body(*table_);
    return event;
}

}  // namespace annal
