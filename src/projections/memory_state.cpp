#include "memory_state.h"

#include <utility>

namespace annal {
namespace {

Error out_of_place(const EventView& event, std::string_view why) {
    return {ErrorCode::internal,
            std::string(to_string(event.type())) + " cannot be applied: " + std::string(why),
            {{"memory_id", to_string(event.memory_id())},
             {"seq", std::to_string(event.seq().value)},
             {"version", std::to_string(event.version().value)}}};
}

void set_embedding(Memory& memory, const std::optional<Embedding>& embedding) {
    memory.embedding_model = embedding ? embedding->model : std::string();
    memory.embedding_dimension = embedding ? static_cast<std::uint32_t>(embedding->values.size()) : 0;
}

Memory recorded(const EventView& view, MemoryEvent&& event) {
    auto& body = std::get<MemoryRecorded>(event.body);
    Memory memory;
    memory.id = event.memory_id;
    memory.created_seq = view.seq();
    memory.scope = std::move(event.scope);
    memory.fields = std::move(body.fields);
    memory.content = std::move(body.content);
    memory.tags = std::move(body.tags);
    memory.metadata = std::move(body.metadata);
    memory.claim = body.claim;
    memory.confidence = body.confidence;
    memory.occurrence_count = body.occurrence_count;
    memory.success_count = body.success_count;
    memory.actor = std::move(event.actor);
    memory.source = std::move(event.source);
    memory.recorded_at = view.recorded_at();
    memory.occurred_at = view.occurred_at();
    memory.valid_from = body.valid_from;
    memory.valid_to = body.valid_to;
    memory.expires_at = body.expires_at;
    set_embedding(memory, body.embedding);
    return memory;
}

void revise(Memory& memory, MemoryRevised&& change) {
    // The vector told of the old content.
    if (change.embedding || change.content) set_embedding(memory, change.embedding);
    if (change.content) memory.content = std::move(*change.content);
    if (change.fields) memory.fields = std::move(*change.fields);
    if (change.tags) memory.tags = std::move(*change.tags);
    if (change.metadata) memory.metadata = std::move(*change.metadata);
    if (change.occurred_at) memory.occurred_at = *change.occurred_at;
    if (change.valid_from) memory.valid_from = *change.valid_from;
    if (change.valid_to) memory.valid_to = *change.valid_to;
    if (change.expires_at) memory.expires_at = *change.expires_at;
}

}  // namespace

bool changes_memory(EventType type) {
    switch (type) {
        case EventType::memory_recorded:
        case EventType::memory_revised:
        case EventType::memory_reinforced:
        case EventType::claim_promoted:
        case EventType::confidence_changed:
        case EventType::memory_verified:
        case EventType::memory_superseded:
        case EventType::memory_forgotten:
        case EventType::memory_restored:
            return true;
        case EventType::erasure_requested:
        case EventType::erasure_completed:
        case EventType::memory_recalled:
        case EventType::policy_changed:
            return false;
    }
    return false;
}

Status apply_event(std::optional<Memory>& state, const EventView& view) {
    if (view.payload() != Payload::plain || !changes_memory(view.type())) return Done{};
    auto event = view.unpack();
    if (view.type() == EventType::memory_recorded) {
        if (state) return out_of_place(view, "the memory was recorded before");
        if (view.version() != Version{1}) return out_of_place(view, "it is not the first event of its stream");
        state = recorded(view, std::move(event));
    } else {
        if (!state) return out_of_place(view, "its memory was never recorded");
        if (view.version() <= state->version || view.seq() <= state->seq)
            return out_of_place(view, "its memory is at a later version");
        if (event.scope.project != state->scope.project) return out_of_place(view, "its memory is of another project");
    }

    switch (view.type()) {
        case EventType::memory_recorded:
            break;
        case EventType::memory_revised: {
            auto& change = std::get<MemoryRevised>(event.body);
            if (change.fields && kind_of(*change.fields) != state->kind())
                return out_of_place(view, "its fields are of another kind than its memory");
            revise(*state, std::move(change));
            break;
        }
        case EventType::memory_reinforced:
            ++state->occurrence_count;
            if (std::get<MemoryReinforced>(event.body).success) ++state->success_count;
            break;
        case EventType::claim_promoted:
            state->claim = std::get<ClaimPromoted>(event.body).to;
            break;
        case EventType::confidence_changed:
            state->confidence = std::get<ConfidenceChanged>(event.body).to;
            break;
        case EventType::memory_verified:
            state->verified_at = view.recorded_at();
            break;
        case EventType::memory_superseded:
            state->superseded_by = std::get<MemorySuperseded>(event.body).by;
            break;
        case EventType::memory_forgotten:
            state->forgotten = true;
            break;
        case EventType::memory_restored:
            state->forgotten = false;
            break;
        case EventType::erasure_requested:
        case EventType::erasure_completed:
        case EventType::memory_recalled:
        case EventType::policy_changed:
            return Done{};  // Passed over above.
    }
    state->version = view.version();
    state->seq = view.seq();
    state->updated_at = view.recorded_at();
    return Done{};
}

}  // namespace annal
