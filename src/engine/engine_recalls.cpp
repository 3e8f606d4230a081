#include "store_engine.h"

#include "accept.h"
#include "uuid.h"

#include "projections/memory_view.h"
#include "query/history.h"

#include <annal/limits.h>

#include <algorithm>
#include <unordered_map>

namespace annal {
namespace {

constexpr std::size_t rows_at_once = 256;  // Of a run, between two reads of the log.

// Its own, so that a search never makes a writer's expected version of a memory fail.
MemoryId stream_of_run(std::string_view project, std::string_view run_id) {
    std::string name("annal run");
    for (const auto part : {project, run_id}) name.append(1, '\0').append(part);  // Neither holds a zero.
    return {make_uuid_v8(name)};
}

// Calls visit(event) for those of these seqs, which ascend, until it returns false.
template <class Visit>
Status each_at(const EventLog& log, std::span<const Seq> seqs, Visit&& visit) {
    EventArena arena;
    std::vector<EventView> events;
    while (!seqs.empty()) {
        std::size_t count = 1;
        while (count < seqs.size() && seqs[count].value == seqs[0].value + count) ++count;
        arena.clear();
        events.clear();
        if (auto ok = log.read(Seq{seqs[0].value - 1}, {.events_max = count}, arena, events); !ok) return ok;
        if (events.empty()) return Error{ErrorCode::data_loss, "a projection names an event that is not there", {}};
        for (const auto& event : events)
            if (!visit(event)) return Done{};
        seqs = seqs.subspan(events.size());
    }
    return Done{};
}

SinceThen since_then(const std::optional<Memory>& then, const std::optional<Memory>& now) {
    if (!then || !now) return SinceThen::gone;
    if (now->forgotten && !then->forgotten) return SinceThen::forgotten;
    if (now->superseded_by && !then->superseded_by) return SinceThen::superseded;
    return now->version == then->version ? SinceThen::same : SinceThen::changed;
}

RunContext context_of(const Recall& first) {
    RunContext context;
    context.seq = first.seq;
    context.recorded_at = first.recorded_at;
    context.scope = first.scope;
    context.actor = first.actor;
    context.query = first.query;
    context.mode = first.mode;
    context.by_vector = first.by_vector;
    context.as_of = first.as_of;
    return context;
}

}  // namespace

// The scope is the run's, but for the user, who is the memory's. A run of one user is given his memories alone, so what
// he asked is sealed with his key. What a run of any user asked goes with those whose memories answered: with the key
// of one of them goes what was asked for his.
Result<std::vector<Receipt>> StoreEngine::append_recalls(const RecallRequest& run, std::span<const Given> given) {
    auto event = recalled_event(run);
    event.memory_id = stream_of_run(run.scope.project, run.run_id);
    std::vector<MemoryEvent> events;
    events.reserve(given.size());
    for (const auto& each : given) {
        event.scope.user = each.user;
        auto& body = std::get<MemoryRecalled>(event.body);
        body.memory = each.memory.memory_id;
        body.rank = each.memory.rank;
        body.score = each.memory.score;
        body.as_of = each.as_of;
        body.place = static_cast<std::uint32_t>(events.size());
        events.push_back(event);
    }
    // Of a memory that was erased since it was found, nothing comes back under its user's next key.
    const std::shared_lock writing(writes_mutex_);
    for (const auto& each : given) {
        const auto erasure = log_->erasure(run.scope.project, each.user);
        if (erasure && each.created <= erasure->requested_at) return memory_not_found(each.memory.memory_id);
    }
    WriteContext context;
    context.durability = Durability::buffered;
    return append(events, ExpectedVersion::any(), context, {});
}

Result<std::vector<Receipt>> StoreEngine::recall(const RecallRequest& request) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = check(request); !ok) return ok.error();
    const auto as_of = request.as_of.value_or(log_->head());
    if (auto moment = moment_of(as_of); !moment) return moment.error();
    std::vector<std::string> users;
    users.reserve(request.memories.size());  // What is given points into it.
    std::vector<Given> given;
    for (const auto& each : request.memories) {
        auto memory = state_of(request.scope, each.memory_id);
        if (!memory) return memory.error();
        if (memory->created_seq > as_of)
            return Error{ErrorCode::invalid_argument,
                         "as_of is before a memory was recorded",
                         {{"field", "as_of"}, {"memory_id", to_string(each.memory_id)}}};
        users.push_back(std::move(memory->scope.user));
        given.push_back({each, users.back(), memory->created_seq, as_of});
    }
    return append_recalls(request, given);
}

void StoreEngine::recall_hits(const SearchRequest& request, SearchAnswer& answer) {
    if (answer.hits.empty()) return;
    RecallRequest run;
    run.scope = request.scope;
    run.run_id = request.run_id;
    run.query = request.text;
    run.mode = request.mode;
    run.by_vector = request.vector.has_value();
    std::vector<Given> given;
    given.reserve(answer.hits.size());
    for (const auto& hit : answer.hits) {
        const auto rank = static_cast<std::uint32_t>(given.size() + 1);
        // The memories may be ahead of the answer's seq: what was given is what the hit says.
        given.push_back({{hit.memory.id, rank, hit.score},
                         hit.memory.scope.user,
                         hit.memory.created_seq,
                         std::max(answer.seq, hit.memory.seq)});
    }
    const auto receipts = append_recalls(run, given);
    if (receipts)
        answer.recalled_seq = receipts->back().seq;
    else
        answer.degraded.push_back("recall: not recorded: " + receipts.error().message);
}

Recall StoreEngine::to_recall(const EventView& event) const {
    auto unpacked = event.unpack();
    Recall recall;
    recall.seq = event.seq();
    recall.recorded_at = event.recorded_at();
    recall.payload = is_masked(unpacked.scope) && event.payload() == Payload::plain ? Payload::sealed : event.payload();
    recall.scope = std::move(unpacked.scope);
    if (recall.payload != Payload::plain) return recall;
    auto& body = std::get<MemoryRecalled>(unpacked.body);
    if (body.of_any_user) recall.scope.user.clear();
    recall.memory_id = body.memory;
    recall.together = Seq{recall.seq.value - std::min<std::uint64_t>(body.place, recall.seq.value)};
    recall.actor = std::move(unpacked.actor);
    recall.run_id = std::move(body.run_id);
    recall.query = std::move(body.query);
    recall.rank = body.rank;
    recall.score = body.score;
    recall.as_of = std::min(body.as_of, recall.seq);
    recall.mode = body.mode;
    recall.by_vector = body.by_vector;
    return recall;
}

Result<RecallsAnswer> StoreEngine::recalls(const RecallsRequest& request) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = check(request); !ok) return ok.error();
    const auto moment = moment_of(request.read.as_of);
    if (!moment) return moment.error();
    for (const auto& projection : {recall_view, memory_view})
        if (auto ok = runtime_->wait_for(projection, moment->at_least(request.read.min_seq), request.read.wait_max);
            !ok)
            return ok.error();
    const auto recalls = view<RecallView>(recall_view);
    const auto reader = recalls->reader();
    RecallsAnswer answer;
    answer.seq = moment->seq.value_or(reader->applied());
    const Seq end{answer.seq.value + 1};
    std::vector<Seq> seqs;
    auto walked = reader->gave(request.scope.project, request.memory_id, std::min(request.before.value_or(end), end),
                               [&](Seq seq) {
                                   seqs.push_back(seq);
                                   return seqs.size() <= request.limit;
                               });
    if (!walked) return walked.error();
    if (seqs.size() > request.limit) {
        seqs.pop_back();
        answer.next = seqs.back();
    }
    std::ranges::reverse(seqs);
    auto read = each_at(*log_, seqs, [&](const EventView& event) {
        if (auto recall = to_recall(event); request.scope.contains(recall.scope))
            answer.recalls.push_back(std::move(recall));
        return true;
    });
    if (!read) return read.error();
    std::ranges::reverse(answer.recalls);
    if (!answer.recalls.empty() || answer.next || request.before) return answer;
    const auto memory = view<MemoryView>(memory_view)->reader(moment->seq)->get(request.scope, request.memory_id);
    if (!memory) return memory.error();
    if (!*memory || is_gone(**memory)) return memory_not_found(request.memory_id);
    return answer;
}

void StoreEngine::search_again(RunContext& context, const ExplainRequest& request) {
    SearchRequest again;
    again.scope = context.scope;
    again.text = context.query;
    again.mode = context.mode.value_or(SearchMode::hybrid);
    again.limit = std::min(context.given.size() + request.not_given_max, limits::search_limit_max);
    again.wait_max = request.read.wait_max;
    again.as_of = context.as_of;
    if (context.by_vector) context.degraded.emplace_back("vector: the query's own is not kept");
    if (again.mode == SearchMode::vector && (context.by_vector || !active_embedder())) again.mode = SearchMode::text;
    auto answer = search(again);
    if (!answer) {
        context.degraded.push_back("not searched again: " + answer.error().message);
        return;
    }
    context.degraded.insert(context.degraded.end(), answer->degraded.begin(), answer->degraded.end());
    std::unordered_map<MemoryId, RunMemory*> given;
    for (auto& each : context.given) given.emplace(each.memory_id, &each);
    std::uint32_t rank = 0;
    for (auto& hit : answer->hits) {
        ++rank;
        if (const auto at = given.find(hit.memory.id); at != given.end()) {
            at->second->parts = std::move(hit.parts);
        } else if (context.not_given.size() < request.not_given_max) {
            auto& other = context.not_given.emplace_back();
            other.memory_id = hit.memory.id;
            other.rank = rank;
            other.score = hit.score;
            other.parts = std::move(hit.parts);
            other.memory = std::move(hit.memory);
        }
    }
}

Status StoreEngine::read_run(const RecallView::Reader& reader, const ExplainRequest& request, RunAnswer& answer,
                             std::vector<std::vector<Recall>>& groups) const {
    const auto stream = stream_of_run(request.scope.project, request.run_id);
    auto after = request.after.value_or(Seq{0});
    const auto add = [&](Recall recall) {
        if (recall.payload != Payload::plain) {
            ++(recall.payload == Payload::erased ? answer.erased : answer.sealed);
            return true;
        }
        if (groups.empty() || groups.back().front().together != recall.together) {
            if (groups.size() == request.limit) return false;
            groups.emplace_back();
        }
        groups.back().push_back(std::move(recall));
        return true;
    };
    while (!answer.next) {
        std::vector<Seq> seqs;
        auto walked = reader.of_run(request.scope.project, stream, after, [&](Seq seq) {
            if (seq <= answer.seq) seqs.push_back(seq);
            return seq <= answer.seq && seqs.size() < rows_at_once;
        });
        if (!walked) return walked;
        if (seqs.empty()) break;
        auto read = each_at(*log_, seqs, [&](const EventView& event) {
            auto recall = to_recall(event);
            if (request.scope.contains(recall.scope) && !add(std::move(recall))) {
                answer.next = after;
                return false;
            }
            after = event.seq();
            return true;
        });
        if (!read) return read;
    }
    return Done{};
}

Result<RunAnswer> StoreEngine::explain(const ExplainRequest& request) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = check(request); !ok) return ok.error();
    const auto moment = moment_of(request.read.as_of);
    if (!moment) return moment.error();
    if (auto ok = runtime_->wait_for(recall_view, moment->at_least(request.read.min_seq), request.read.wait_max); !ok)
        return ok.error();
    const auto recalls = view<RecallView>(recall_view);
    const auto reader = recalls->reader();
    RunAnswer answer;
    answer.seq = moment->seq.value_or(reader->applied());
    std::vector<std::vector<Recall>> groups;
    if (auto ok = read_run(*reader, request, answer, groups); !ok) return ok.error();
    if (groups.empty() && answer.erased == 0 && answer.sealed == 0 && !request.after)
        return Error{ErrorCode::not_found, "there is no such run in this scope", {{"run_id", request.run_id}}};

    if (auto ok = runtime_->wait_for(memory_view, answer.seq, request.read.wait_max); !ok) return ok.error();
    const auto memories = view<MemoryView>(memory_view);
    const auto now = memories->reader(moment->seq);
    const auto get = [&](const MemoryView::Reader& at, const MemoryId& id) {
        auto memory = at.get(request.scope, id);
        if (memory && *memory && is_gone(**memory)) memory->reset();
        return memory;
    };
    for (const auto& group : groups) {
        auto& context = answer.contexts.emplace_back(context_of(group.front()));
        for (const auto& recall : group) {
            auto memory = get(*memories->reader(recall.as_of), recall.memory_id);
            if (!memory) return memory.error();
            auto& given = context.given.emplace_back();
            given.memory_id = recall.memory_id;
            given.rank = recall.rank;
            given.score = recall.score;
            given.memory = std::move(*memory);
            context.as_of = std::min(context.as_of, recall.as_of);
        }
        if (request.not_given_max != 0) search_again(context, request);
        for (auto* part : {&context.given, &context.not_given})
            for (auto& each : *part) {
                const auto current = get(*now, each.memory_id);
                if (!current) return current.error();
                each.since = since_then(each.memory, *current);
                if (each.memory && is_masked(each.memory->scope)) mask(*each.memory);
            }
    }
    return answer;
}

}  // namespace annal
