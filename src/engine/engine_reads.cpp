#include "store_engine.h"

#include "accept.h"

#include "projections/memory_state.h"
#include "projections/memory_view.h"
#include "projections/text_index.h"
#include "projections/vector_index.h"
#include "query/history.h"
#include "query/search.h"
#include "query/view_search.h"

#include <algorithm>
#include <unordered_set>

namespace annal {

Result<Timestamp> StoreEngine::recorded_at(Seq seq) const {
    if (seq == Seq{0}) return Timestamp{0};
    if (const auto archived = log_->archived(false); seq == archived.archived_seq) return archived.recorded_at;
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read(Seq{seq.value - 1}, {.events_max = 1}, arena, events); !ok) return ok.error();
    return events.front().recorded_at();
}

Result<Seq> StoreEngine::last_recorded(Timestamp up_to) const {
    // Times of record grow with seq: halve. That of `low` is not past it, that of `high` + 1 is, or it is the head.
    // What was archived is asked only when it must be.
    const auto archived = log_->archived(false);
    Seq low{0}, high = log_->head();
    if (archived.recorded_at <= up_to)
        low = archived.archived_seq;
    else if (archived.archived_seq > Seq{})
        high = Seq{archived.archived_seq.value - 1};
    while (low < high) {
        const Seq middle{high.value - (high.value - low.value) / 2};
        const auto time = recorded_at(middle);
        if (!time) return time.error();
        if (*time <= up_to)
            low = middle;
        else
            high = Seq{middle.value - 1};
    }
    return low;
}

Result<StoreEngine::Moment> StoreEngine::moment_of(const std::optional<AsOf>& as_of) const {
    if (!as_of) return Moment{};
    const auto head = log_->head();
    const auto refuse = [&](const std::string& why) {
        return Error{ErrorCode::invalid_argument,
                     "as_of " + why + "; the head is at " + std::to_string(head.value),
                     {{"field", "as_of"}, {"head", std::to_string(head.value)}}};
    };
    Moment moment;
    if (const auto* seq = std::get_if<Seq>(&*as_of)) {
        if (*seq > head) return refuse("is past the head");
        moment.seq = *seq;
    } else {
        const auto time = std::get<Timestamp>(*as_of);
        const auto last = last_recorded(time);
        if (!last) return last.error();
        if (*last == head && time > clock_.now()) {
            const auto newest = recorded_at(head);
            if (!newest) return newest.error();
            if (time > *newest) return refuse("is a time that has not come yet");
        }
        moment.seq = *last;
    }
    return moment;
}

Result<Timestamp> StoreEngine::now_of(const Moment& moment, std::string_view project) const {
    if (!moment.seq) return clock_.now();
    const auto expires = view<MemoryView>(memory_view)->reader()->expires(project);
    if (!expires) return expires.error();
    return *expires ? recorded_at(*moment.seq) : Timestamp{0};
}

Result<Memory> StoreEngine::get(const Scope& scope, MemoryId id, const ReadOptions& read, bool include_forgotten) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = validate(scope); !ok) return ok.error();
    const auto moment = moment_of(read.as_of);
    if (!moment) return moment.error();
    if (auto ok = runtime_->wait_for(memory_view, moment->at_least(read.min_seq), read.wait_max); !ok)
        return ok.error();
    const auto memories = view<MemoryView>(memory_view);  // Held until what is gone is left out: a purge waits for it.
    auto memory = memories->reader(moment->seq)->get(scope, id);
    if (!memory) return memory.error();
    if (!*memory || is_gone(**memory)) return memory_not_found(id);
    if ((*memory)->forgotten && !include_forgotten) return memory_forgotten(**memory);
    if (is_masked((*memory)->scope)) mask(**memory);
    return std::move(**memory);
}

Result<std::optional<Embedding>> StoreEngine::embedding(const Scope& scope, MemoryId id, const ReadOptions& read) {
    const auto memory = get(scope, id, read, false);
    if (!memory) return memory.error();
    if (memory->payload != Payload::plain)
        return Error{
            ErrorCode::permission_denied, "the memory is sealed: " + sealing_reason_, {{"memory_id", to_string(id)}}};
    if (memory->embedding_model.empty()) return std::optional<Embedding>();
    return embedding_of(*memory);
}

Result<ListAnswer> StoreEngine::list(const ListRequest& request) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = check(request); !ok) return ok.error();
    const auto moment = moment_of(request.read.as_of);
    if (!moment) return moment.error();
    if (auto ok = runtime_->wait_for(memory_view, moment->at_least(request.read.min_seq), request.read.wait_max); !ok)
        return ok.error();
    const auto now = now_of(*moment, request.scope.project);
    if (!now) return now.error();
    const auto memories = view<MemoryView>(memory_view);
    auto answer = memories->reader(moment->seq)->list(request, *now);
    if (!answer) return answer;
    std::erase_if(answer->memories, [this](const Memory& memory) { return is_gone(memory); });
    for (auto& memory : answer->memories)
        if (is_masked(memory.scope)) mask(memory);
    return answer;
}

Result<std::vector<HistoryEntry>> StoreEngine::history(const Scope& scope, MemoryId id, const ReadOptions& read) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = validate(scope); !ok) return ok.error();
    const auto moment = moment_of(read.as_of);
    if (!moment) return moment.error();
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read_stream(scope.project, id, arena, events); !ok) return ok.error();
    if (moment->seq) std::erase_if(events, [&](const EventView& event) { return event.seq() > *moment->seq; });
    // A run's stream is no memory's, and not all in it is of one scope.
    if (events.empty() || events.front().type() == EventType::memory_recalled ||
        !scope.contains(events.front().unpack().scope))
        return memory_not_found(id);
    std::vector<HistoryEntry> entries;
    entries.reserve(events.size());
    std::optional<Memory> state;
    for (const auto& event : events) {
        entries.push_back(to_history_entry(event));
        if (locked() && !event.user().empty()) {
            mask(entries.back());
            continue;
        }
        const auto before = state;
        if (auto ok = apply_event(state, event); !ok) return ok.error();
        if (before && state) entries.back().differences = differences(*before, *state);
    }
    return entries;
}

// For what a search asks: any other projection may be sick.
Status StoreEngine::wait_to_search(Seq seq, std::chrono::milliseconds wait_max) {
    const auto until = std::chrono::steady_clock::now() + wait_max;
    for (const auto& projection : {memory_view, text_index, vector_index}) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
        if (auto ok = runtime_->wait_for(projection, seq, left); !ok) return ok.error();
    }
    return Done{};
}

Result<SearchAnswer> StoreEngine::search(const SearchRequest& request) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = check(request); !ok) return ok.error();
    std::optional<Normalised> vector;
    if (request.vector) {
        auto normalised = normalise(*request.vector, "vector");
        if (!normalised) return normalised.error();
        vector = std::move(*normalised);
    }
    const auto moment = moment_of(request.as_of);
    if (!moment) return moment.error();
    const auto until = std::chrono::steady_clock::now() + request.wait_max;
    if (auto ok = wait_to_search(moment->at_least(request.min_seq), request.wait_max); !ok) return ok.error();
    const auto now = now_of(*moment, request.scope.project);
    if (!now) return now.error();
    auto embedder = active_embedder();
    if (!request.model.empty()) {
        const auto* asked = model_of(request.model);
        if (asked == nullptr || asked->embedder == nullptr)
            return Error{ErrorCode::not_found, "no embedder of this model was given", {{"field", "model"}}};
        embedder = asked->embedder;
    }
    const auto name = vector                ? std::string_view(vector->embedding.model)
                      : embedder != nullptr ? embedder->model()
                                            : std::string_view();
    const auto* model = request.mode == SearchMode::text || name.empty() ? nullptr : model_of(name);
    const bool by_vector = model != nullptr && (vector || request.mode == SearchMode::vector || embedder->semantic());
    std::string missing;
    if (by_vector) missing = wait_for_vectors(*model, moment->at_least(request.min_seq), until);
    const auto computed = by_vector ? view<VectorIndex>(model->vectors->projection()) : nullptr;
    const auto memories = view<MemoryView>(memory_view);
    const auto texts = view<TextIndex>(text_index);
    const auto vectors = view<VectorIndex>(vector_index);
    const auto backend = open_view_search({.memories = *memories,
                                           .texts = *texts,
                                           .vectors = *vectors,
                                           .computed = computed.get(),
                                           .without_users = locked(),
                                           .is_gone = [this](const Memory& memory) { return is_gone(memory); }},
                                          request, moment->seq, *now);
    if (!backend) return backend.error();
    auto answer = annal::search(**backend, request, vector ? &vector->embedding : nullptr, embedder.get());
    if (answer && !missing.empty()) answer->degraded.push_back("vector: " + missing);
    if (answer && !request.run_id.empty()) recall_hits(request, *answer);
    return answer;
}

Status StoreEngine::diff(const DiffRequest& request, const std::function<bool(const DiffEntry&)>& visit) {
    if (auto ok = check_process(); !ok) return ok;
    if (auto ok = validate(request.scope); !ok) return ok;
    const auto from = moment_of(request.from);
    if (!from) return from.error();
    const auto to = moment_of(request.to);
    if (!to) return to.error();
    if (*from->seq > *to->seq) return Error{ErrorCode::invalid_argument, "from is after to", {{"field", "from"}}};
    if (auto ok = runtime_->wait_for(memory_view, *to->seq, request.wait_max); !ok) return ok.error();

    std::vector<MemoryId> touched;
    std::unordered_set<MemoryId> seen;
    auto read = each_event(*from->seq, *to->seq, [&](const EventView& event) {
        if (event.project() == request.scope.project && changes_memory(event.type()) &&
            seen.insert(event.memory_id()).second)
            touched.push_back(event.memory_id());
        return true;
    });
    if (!read) return read;
    const auto memories = view<MemoryView>(memory_view);
    const auto then = memories->reader(from->seq);
    const auto now = memories->reader(to->seq);
    for (const auto& id : touched) {
        const auto before = then->get(request.scope, id);
        if (!before) return before.error();
        auto after = now->get(request.scope, id);
        if (!after) return after.error();
        if (!*after || is_gone(**after)) continue;  // Of another scope, or erased.
        auto entry = difference(*before, std::move(**after));
        if (entry && is_masked(entry->memory.scope)) {
            mask(entry->memory);
            entry->differences.clear();
        }
        if (entry && !visit(*entry)) return Done{};
    }
    return Done{};
}

Status StoreEngine::read_log(Seq after, std::string_view project, const std::function<bool(const LogEntry&)>& visit) {
    if (auto ok = check_process(); !ok) return ok.error();
    return each_event(after, log_->head(), [&](const EventView& event) {
        if (!project.empty() && event.project() != project) return true;
        LogEntry entry{to_history_entry(event), event.memory_id(), event.unpack().scope};
        if (is_masked(entry.scope)) mask(entry);
        return visit(entry);
    });
}

}  // namespace annal
