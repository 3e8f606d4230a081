#include "store_engine.h"

#include "accept.h"
#include "uuid.h"

#include "events/bytes.h"
#include "projections/memory_state.h"

#include <annal/limits.h>

#include <algorithm>
#include <type_traits>

namespace annal {
namespace {

constexpr int retries_max = 16;  // Of a write on `any` version that others overtake.

}  // namespace

Result<std::array<std::uint8_t, 32>> StoreEngine::request_hash(const MemoryEvent& event) {
    auto encoded = encode(event);
    if (!encoded) return encoded.error();
    return sha256(as_text(encoded->bytes));
}

Result<std::vector<Receipt>> StoreEngine::append(std::vector<MemoryEvent>& events, ExpectedVersion expected,
                                                 const WriteContext& context, const RequestKey& asked,
                                                 std::span<const ValueTombstone> refused) {
    std::vector<EncodedEvent> encoded;
    encoded.reserve(events.size());
    std::vector<AppendItem> items;
    items.reserve(events.size());
    for (auto& event : events) {
        const Timestamp now = clock_.now();
        if (event.memory_id.is_nil()) event.memory_id.bytes = make_uuid_v7(now);
        event.event_id.bytes = make_uuid_v7(now);
        auto one = encode(event);
        if (!one) return one.error();
        encoded.push_back(std::move(*one));
        items.push_back({.expected = expected, .event = &encoded.back()});
        if (expected.is == ExpectedVersion::Is::exactly) ++expected.version.value;  // All are of one stream.
    }
    return log_->append({.project = events.front().scope.project,
                         .items = items,
                         .idempotency_key = asked.key,
                         .request_hash = asked.hash,
                         .tombstones = refused,
                         .durability = context.durability.value_or(options_.durability)});
}

Result<std::optional<std::vector<Receipt>>> StoreEngine::find_receipts(const Scope& scope, RequestKey& asked) const {
    if (asked.key.empty()) return std::optional<std::vector<Receipt>>();
    auto first = log_->find_receipts(scope.project, asked.key, asked.hash);
    if (!first || *first || scope.user.empty() || keystore_->state() != KeystoreState::unlocked) return first;
    const auto key = keystore_->tombstone(scope.project, "idempotency key " + asked.key);
    if (!key) return key.error();
    const auto hash = keystore_->tombstone(scope.project, "request " + std::string(as_text(asked.hash)));
    if (!hash) return hash.error();
    asked = {std::string(as_text(*key)), *hash};
    return log_->find_receipts(scope.project, asked.key, asked.hash);
}

Result<Receipt> StoreEngine::record(const RecordRequest& request) {
    auto receipts = record_batch(std::span(&request, 1));
    if (!receipts) return receipts.error();
    return receipts->front();
}

Result<std::vector<Receipt>> StoreEngine::record_batch(std::span<const RecordRequest> requests) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (requests.empty())
        return Error{ErrorCode::invalid_argument, "a batch holds at least one memory", {{"field", "requests"}}};
    if (requests.size() > limits::batch_events_max)
        return Error{ErrorCode::invalid_argument,
                     "a batch of " + std::to_string(requests.size()) + " memories; the limit is " +
                         std::to_string(limits::batch_events_max),
                     {{"field", "requests"}, {"limit", std::to_string(limits::batch_events_max)}}};
    const WriteContext& context = requests.front().context;
    std::vector<MemoryEvent> events;
    events.reserve(requests.size());
    std::vector<std::uint8_t> hashes;
    Scope of_user{.project = requests.front().scope.project, .agent = {}, .user = {}, .session = {}};
    for (const auto& request : requests) {
        auto event = accept(request);
        if (!event) {
            Error error = event.error();
            if (requests.size() > 1) error.details["index"] = std::to_string(events.size());
            return error;
        }
        if (event->scope.project != requests.front().scope.project)
            return Error{ErrorCode::invalid_argument, "a batch is of one project", {{"field", "scope.project"}}};
        if (!context.idempotency_key.empty()) {
            auto hash = request_hash(*event);
            if (!hash) return hash.error();
            hashes.insert(hashes.end(), hash->begin(), hash->end());
        }
        if (of_user.user.empty()) of_user.user = event->scope.user;
        events.push_back(std::move(*event));
    }
    // Nothing is erased between the checks and the append.
    const std::shared_lock writing(writes_mutex_);
    for (std::size_t i = 0; i < events.size(); ++i) {
        auto taken = check_not_being_erased(events[i].scope);
        if (taken) taken = check_not_refused(events[i]);
        if (taken) continue;
        Error error = taken.error();
        if (requests.size() > 1) error.details["index"] = std::to_string(i);
        return error;
    }
    RequestKey asked{context.idempotency_key, sha256(as_text(hashes))};
    if (!of_user.user.empty()) {
        auto first = find_receipts(of_user, asked);
        if (!first) return first.error();
        if (*first) return **std::move(first);
    }
    return append(events, ExpectedVersion::absent(), context, asked);
}

Result<Memory> StoreEngine::state_of(const Scope& scope, const MemoryId& id) const {
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read_stream(scope.project, id, arena, events); !ok) return ok.error();
    std::optional<Memory> memory;
    for (const auto& event : events) {
        if (event.payload() == Payload::sealed && scope.contains(event.unpack().scope))
            return Error{ErrorCode::permission_denied, sealing_reason_, {{"memory_id", to_string(id)}}};
        if (auto ok = apply_event(memory, event); !ok) return ok.error();
    }
    if (!memory || !scope.contains(memory->scope)) return memory_not_found(id);
    return std::move(*memory);
}

template <class Complete>
Result<Receipt> StoreEngine::write_on(const Target& target, EventBody body, Complete complete) {
    const std::shared_lock writing(writes_mutex_);  // Nothing is erased between the state and the append.
    return write_alone(target, std::move(body), complete, {});
}

template <class Complete>
Result<Receipt> StoreEngine::write_alone(const Target& target, EventBody body, Complete complete,
                                         const std::vector<ValueTombstone>& refused) {
    if (auto ok = check_process(); !ok) return ok.error();
    auto accepted = accept(target, std::move(body));
    if (!accepted) return accepted.error();
    auto memory = state_of(target.scope, target.memory_id);
    if (!memory) return memory.error();
    if (auto ok = check_not_being_erased(memory->scope); !ok) return ok.error();
    RequestKey asked{target.context.idempotency_key, {}};
    if (!asked.key.empty()) {
        auto hash = request_hash(*accepted);
        if (!hash) return hash.error();
        asked.hash = *hash;
        auto first = find_receipts(memory->scope, asked);
        if (!first) return first.error();
        if (*first) return (*first)->back();
    }
    for (int tries = 0;; ++tries) {
        const auto& expected = target.expected_version;
        if (expected.is == ExpectedVersion::Is::exactly && expected.version != memory->version)
            return Error{ErrorCode::conflict,
                         "the memory is at version " + std::to_string(memory->version.value) + ", not " +
                             std::to_string(expected.version.value) + "; read it again",
                         {{"memory_id", to_string(target.memory_id)},
                          {"expected", std::to_string(expected.version.value)},
                          {"actual", std::to_string(memory->version.value)}}};
        std::vector<MemoryEvent> events{*accepted};
        events.front().scope = memory->scope;
        Status completed = Done{};
        if constexpr (std::is_invocable_v<Complete, const Memory&, EventBody&>)
            completed = complete(*memory, events.front().body);
        else
            completed = complete(*memory, events);
        if (!completed) return completed.error();
        for (const auto& event : events)
            if (auto taken = check_not_refused(event); !taken) return taken.error();
        auto receipts = append(events, ExpectedVersion::exactly(memory->version), target.context, asked, refused);
        if (receipts) return receipts->back();
        const bool overtaken = receipts.error().code == ErrorCode::conflict && expected.is == ExpectedVersion::Is::any;
        if (!overtaken || tries == retries_max) return receipts.error();
        memory = state_of(target.scope, target.memory_id);
        if (!memory) return memory.error();
    }
}

Result<Receipt> StoreEngine::revise(const ReviseRequest& request) {
    auto accepted = accept(request);
    if (!accepted) return accepted.error();
    return write_on(request.target, std::move(accepted->body), [&](const Memory& memory, EventBody& body) -> Status {
        if (memory.forgotten) return memory_forgotten(memory);
        const auto& revised = std::get<MemoryRevised>(body);
        if (revised.fields && kind_of(*revised.fields) != memory.kind())
            return Error{ErrorCode::invalid_argument,
                         "the memory is a " + std::string(to_string(memory.kind())) + "; its kind cannot change",
                         {{"field", "kind"}}};
        const auto from = revised.valid_from.value_or(memory.valid_from);
        const auto to = revised.valid_to.value_or(memory.valid_to);
        if (from && to && *to < *from)
            return Error{ErrorCode::invalid_argument, "valid_from would be after valid_to", {{"field", "valid_from"}}};
        return Done{};
    });
}

Result<Receipt> StoreEngine::reinforce(const Target& target, bool success) {
    return write_on(target, MemoryReinforced{success}, [](const Memory& memory, EventBody&) -> Status {
        if (memory.forgotten) return memory_forgotten(memory);
        return Done{};
    });
}

Result<Receipt> StoreEngine::promote_claim(const Target& target, Claim claim) {
    return write_on(target, ClaimPromoted{claim, claim}, [](const Memory& memory, EventBody& body) -> Status {
        if (memory.forgotten) return memory_forgotten(memory);
        auto& promoted = std::get<ClaimPromoted>(body);
        promoted.from = memory.claim;
        if (promoted.to == promoted.from)
            return Error{ErrorCode::invalid_argument,
                         "the memory's claim is " + std::string(to_string(memory.claim)) + " already",
                         {{"field", "claim"}}};
        return Done{};
    });
}

Result<Receipt> StoreEngine::change_confidence(const Target& target, double confidence) {
    if (!(confidence >= 0 && confidence <= 1))
        return Error{ErrorCode::invalid_argument, "confidence must be a number from 0 to 1", {{"field", "confidence"}}};
    return write_on(target, ConfidenceChanged{0, confidence}, [](const Memory& memory, EventBody& body) -> Status {
        if (memory.forgotten) return memory_forgotten(memory);
        std::get<ConfidenceChanged>(body).from = memory.confidence;
        return Done{};
    });
}

Result<Receipt> StoreEngine::supersede(const Target& target, MemoryId by) {
    return write_on(target, MemorySuperseded{by}, [&](const Memory& memory, EventBody&) -> Status {
        if (memory.forgotten) return memory_forgotten(memory);
        if (by == memory.id)
            return Error{ErrorCode::invalid_argument, "a memory cannot supersede itself", {{"field", "by"}}};
        const auto other = state_of({.project = target.scope.project, .agent = {}, .user = {}, .session = {}}, by);
        if (!other) return other.error();
        return Done{};
    });
}

Result<Receipt> StoreEngine::forget(const Target& target, bool for_good) {
    if (target.context.reason.empty())
        return Error{ErrorCode::invalid_argument,
                     "reason is required: history shows why it was forgotten",
                     {{"field", "reason"}}};
    const auto forgotten_already = [](const Memory& memory) {
        return Error{ErrorCode::not_found, "the memory is forgotten already", {{"memory_id", to_string(memory.id)}}};
    };
    if (!for_good)
        return write_on(target, MemoryForgotten{}, [&](const Memory& memory, EventBody&) -> Status {
            if (memory.forgotten) return forgotten_already(memory);
            return Done{};
        });
    // Nothing it says is recorded between the look at what it said and the append.
    const std::lock_guard alone(writes_mutex_);
    std::vector<ValueTombstone> refused;
    return write_alone(
        target, MemoryForgotten{true},
        [&](const Memory& memory, EventBody&) -> Status {
            if (memory.forgotten) return forgotten_already(memory);
            refused.clear();
            return each_content(memory, [&](std::string_view content) {
                return add_tombstones(memory.scope, content, TombstoneReason::forgotten_for_good, refused);
            });
        },
        refused);
}

Result<Receipt> StoreEngine::restore(const Target& target) {
    return write_on(target, MemoryRestored{}, [&](const Memory& memory, EventBody& body) -> Status {
        if (!memory.forgotten)
            return Error{
                ErrorCode::invalid_argument, "the memory is not forgotten", {{"memory_id", to_string(memory.id)}}};
        if (auto ok = check_may_be_restored(memory); !ok) return ok;
        std::get<MemoryRestored>(body).forgotten_at = memory.seq;
        return Done{};
    });
}

Result<std::vector<EventBody>> StoreEngine::bodies_back_to(const Memory& memory, Version version) const {
    struct Vector {
        std::optional<Embedding> embedding;
        float norm = 1;
    };
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read_stream(memory.scope.project, memory.id, arena, events); !ok) return ok.error();
    std::optional<Memory> then, state;
    Vector vector_then, vector;
    for (const auto& event : events) {
        if (event.version() > memory.version) break;
        if (auto ok = apply_event(state, event); !ok) return ok.error();
        const auto body = event.unpack().body;
        if (const auto* recorded = std::get_if<MemoryRecorded>(&body))
            vector = {recorded->embedding, recorded->embedding_norm};
        if (const auto* revised = std::get_if<MemoryRevised>(&body);
            revised && (revised->embedding || revised->content))
            vector = {revised->embedding, revised->embedding_norm};
        if (event.version() != version) continue;
        then = state;
        vector_then = vector;
    }
    if (!then)
        return Error{ErrorCode::not_found,
                     "the memory has no version " + std::to_string(version.value),
                     {{"memory_id", to_string(memory.id)}, {"version", std::to_string(memory.version.value)}}};
    if (then->forgotten)
        return Error{ErrorCode::invalid_argument, "it was forgotten at that version", {{"field", "to_version"}}};

    MemoryRevised body;
    const bool other_vector = vector_then.embedding != vector.embedding;
    // A content that comes without a vector takes the vector away.
    if (then->content != memory.content || (other_vector && !vector_then.embedding)) body.content = then->content;
    if (body.content || other_vector) {
        body.embedding = vector_then.embedding;
        body.embedding_norm = vector_then.norm;
    }
    if (then->fields != memory.fields) body.fields = then->fields;
    if (then->tags != memory.tags) body.tags = then->tags;
    if (then->metadata != memory.metadata) body.metadata = then->metadata;
    if (then->occurred_at != memory.occurred_at) body.occurred_at = then->occurred_at;
    if (then->valid_from != memory.valid_from) body.valid_from = then->valid_from;
    if (then->valid_to != memory.valid_to) body.valid_to = then->valid_to;
    if (then->expires_at != memory.expires_at) body.expires_at = then->expires_at;

    std::vector<EventBody> bodies;
    if (memory.forgotten) {
        if (auto ok = check_may_be_restored(memory); !ok) return ok.error();
        bodies.emplace_back(MemoryRestored{memory.seq});
    }
    if (body != MemoryRevised{}) bodies.emplace_back(std::move(body));
    if (bodies.empty())
        return Error{ErrorCode::invalid_argument, "the memory says what it said then", {{"field", "to_version"}}};
    return bodies;
}

Result<Receipt> StoreEngine::revert(const Target& target, Version to) {
    auto explained = target;
    if (explained.context.reason.empty()) explained.context.reason = "reverted to version " + std::to_string(to.value);
    // The body is what an idempotency key stands for; the events have others.
    return write_on(explained, MemoryRestored{Seq{to.value}},
                    [&](const Memory& memory, std::vector<MemoryEvent>& events) -> Status {
                        auto bodies = bodies_back_to(memory, to);
                        if (!bodies) return bodies.error();
                        events.resize(bodies->size(), events.front());
                        for (std::size_t i = 0; i < events.size(); ++i) events[i].body = std::move((*bodies)[i]);
                        return Done{};
                    });
}

}  // namespace annal
