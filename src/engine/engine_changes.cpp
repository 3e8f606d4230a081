#include "store_engine.h"

#include "events/event_seal.h"
#include "memory_event_generated.h"
#include "projections/memory_state.h"
#include "projections/memory_view.h"
#include "query/history.h"

#include <annal/changes.h>

#include <algorithm>
#include <unordered_map>

namespace annal {
namespace {

// Of one that brings a vector; null of any other.
const fbs::Embedding* embedding_in(const EventView& event) {
    if (event.payload() != Payload::plain) return nullptr;
    if (const auto* recorded = event.table().body_as_MemoryRecorded()) return recorded->embedding();
    if (const auto* revised = event.table().body_as_MemoryRevised()) return revised->embedding();
    return nullptr;
}

Embedding unpacked(const fbs::Embedding& stored) {
    Embedding embedding;
    if (stored.model() != nullptr) embedding.model = stored.model()->str();
    if (stored.values() != nullptr) embedding.values.assign(stored.values()->begin(), stored.values()->end());
    return embedding;
}

struct Touched {
    std::size_t first = 0;  // Of the events, the first that touched it.
    std::string_view project;
    MemoryId id;
    const fbs::Embedding* vector = nullptr;  // The last that these events brought.
};

std::vector<Touched> touched_by(std::span<const EventView> events) {
    std::vector<Touched> touched;
    std::unordered_map<MemoryId, std::size_t> places;
    for (std::size_t i = 0; i < events.size(); ++i) {
        const auto& event = events[i];
        if (event.payload() != Payload::plain || !changes_memory(event.type())) continue;
        const auto place = places.emplace(event.memory_id(), touched.size()).first->second;
        if (place == touched.size()) touched.push_back({i, event.project(), event.memory_id(), nullptr});
        if (const auto* vector = embedding_in(event)) touched[place].vector = vector;
    }
    return touched;
}

std::vector<ErasedSubject> erased_by(std::span<const EventView> events) {
    std::vector<ErasedSubject> erased;
    for (const auto& event : events) {
        if (event.type() != EventType::erasure_requested) continue;
        std::erase_if(erased, [&](const ErasedSubject& other) {
            return other.project == event.project() && other.user == event.user();
        });
        erased.push_back({std::string(event.project()), std::string(event.user()), event.seq()});
    }
    return erased;
}

bool is_of(const Memory& memory, const ErasedSubject& subject) {
    return memory.created_seq <= subject.requested_at && memory.scope.user == subject.user &&
           memory.scope.project == subject.project;
}

std::size_t bytes_of(const ChangedMemory& changed) {
    auto bytes = sizeof changed + changed.memory.content.size() + changed.memory.metadata.size();
    for (const auto& tag : changed.memory.tags) bytes += tag.size();
    if (changed.embedding) bytes += changed.embedding->values.size() * sizeof(float);
    return bytes;
}

Engine::LogEntry to_log_entry(const EventView& event) {
    return {to_history_entry(event),
            event.memory_id(),
            {std::string(event.project()), std::string(event.agent()), std::string(event.user()),
             std::string(event.session())}};
}

}  // namespace

Result<std::optional<Embedding>> StoreEngine::embedding_of(const Memory& memory) const {
    EventArena arena;
    std::vector<EventView> stream;
    if (auto ok = log_->read_stream(memory.scope.project, memory.id, arena, stream); !ok) return ok.error();
    const fbs::Embedding* last = nullptr;
    for (const auto& event : stream)
        if (const auto* vector = event.seq() <= memory.seq ? embedding_in(event) : nullptr) last = vector;
    return last == nullptr ? std::nullopt : std::optional(unpacked(*last));
}

Result<std::size_t> StoreEngine::states_after(std::span<const EventView> events, std::size_t bytes_max,
                                              Changes& changes) const {
    changes.erased = erased_by(events);
    changes.memories.clear();
    const auto memories = view<MemoryView>(memory_view);  // Held until what is gone is left out: a purge waits for it.
    const auto reader = memories->reader(events.back().seq());
    std::size_t bytes = 0;
    for (const auto& touched : touched_by(events)) {
        const Scope scope{.project = std::string(touched.project), .agent = {}, .user = {}, .session = {}};
        auto memory = reader->get(scope, touched.id);
        if (!memory) return memory.error();
        if (!*memory || is_gone(**memory)) continue;
        if (std::ranges::any_of(changes.erased, [&](const auto& subject) { return is_of(**memory, subject); }))
            continue;
        ChangedMemory changed{std::move(**memory), std::nullopt};
        if (!changed.memory.embedding_model.empty()) {
            if (touched.vector != nullptr) {
                changed.embedding = unpacked(*touched.vector);
            } else {
                auto embedding = embedding_of(changed.memory);
                if (!embedding) return embedding.error();
                changed.embedding = *std::move(embedding);
            }
        }
        bytes += bytes_of(changed);
        if (bytes > bytes_max && touched.first > 0) return touched.first;
        changes.memories.push_back(std::move(changed));
    }
    std::ranges::sort(changes.memories, {}, [](const ChangedMemory& changed) { return changed.memory.seq; });
    return events.size();
}

Result<Changes> StoreEngine::changes(const ChangesRequest& request) {
    if (auto ok = check_process(); !ok) return ok.error();
    const auto head = log_->head();
    const auto up_to = std::min(request.up_to.value_or(head), head);
    if (request.after > up_to)
        return Error{ErrorCode::invalid_argument,
                     request.after > head ? "after is past the head" : "after is past up_to",
                     {{"field", "after"}, {"head", std::to_string(head.value)}}};
    EventArena arena;
    std::vector<EventView> events;
    const auto events_max =
        std::min<std::uint64_t>(std::max<std::size_t>(request.events_max, 1), up_to.value - request.after.value);
    if (events_max > 0) {
        const EventLog::ReadLimits limits{.events_max = events_max, .bytes_max = request.bytes_max};
        if (auto ok = log_->read(request.after, limits, arena, events); !ok) return ok.error();
    }
    for (const auto& event : events)
        if (locked() && !event.user().empty() && is_personal(event.type()))
            return Error{ErrorCode::permission_denied,
                         "what is a user's is not given away while the store is locked: " + sealing_reason_,
                         {{"sealing", "locked"}}};

    Changes changes;
    // A state may be much larger than the event that touched it: as many events as keep the states within bounds.
    while (!events.empty()) {
        if (auto ok = runtime_->wait_for(memory_view, events.back().seq(), request.wait_max); !ok) return ok.error();
        const auto fit = states_after(events, request.bytes_max, changes);
        if (!fit) return fit.error();
        if (*fit == events.size()) break;
        events.erase(events.begin() + static_cast<std::ptrdiff_t>(*fit), events.end());
    }
    changes.to = events.empty() ? request.after : events.back().seq();
    if (request.with_events)
        for (const auto& event : events) changes.events.push_back(to_log_entry(event));
    if (changes.to > Seq{}) {
        const auto hash = log_->tree_node({.level = 0, .index = changes.to.value - 1});
        if (!hash) return hash.error();
        changes.hash = *hash;
    }
    return changes;
}

}  // namespace annal
