// A log in memory, the MemoryView that follows it, and a naive account of the same events to hold it against.
#pragma once

#include "events/codec.h"
#include "projections/memory_view.h"
#include "support/memory_space.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace annal::testing {

inline MemoryId memory_id(std::uint64_t number) {
    MemoryId id;
    for (std::size_t i = 0; i < 8; ++i) id.bytes[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
    id.bytes[0] = 1;
    return id;
}

struct LoggedEvent {
    Seq seq;
    Version version;
    Timestamp recorded_at;
    MemoryEvent event;
};

class EventFeed {
 public:
    // `gap`: between the seqs of two events, as if other projects wrote between; spreads few memories over many blocks.
    explicit EventFeed(std::uint64_t gap = 1) : gap_(gap) {}

    const LoggedEvent& append(MemoryEvent event) {
        const auto count = events_.size() + 1;
        const Version version{++versions_[event.memory_id].value};
        const Timestamp recorded_at{1'700'000'000'000'000 + static_cast<std::int64_t>(count) * 1'000'000};
        event.event_id.bytes[0] = 2;
        return events_.emplace_back(LoggedEvent{Seq{count * gap_}, version, recorded_at, std::move(event)});
    }
    const std::deque<LoggedEvent>& events() const { return events_; }
    Seq head() const { return events_.empty() ? Seq{} : events_.back().seq; }

    // As the projector gets it. The view lives as long as `arena` is not cleared.
    EventView view(const LoggedEvent& logged, EventArena& arena) const {
        auto encoded = encode(logged.event);
        REQUIRE(encoded);
        stamp(encoded->bytes, logged.version, logged.recorded_at);
        const std::string stored(encoded->bytes.begin(), encoded->bytes.end());
        const auto decoded = decode(logged.seq, stored, arena);
        REQUIRE(decoded);
        return *decoded;
    }

 private:
    std::uint64_t gap_;
    std::deque<LoggedEvent> events_;  // References stay good.
    std::map<MemoryId, Version> versions_;
};

// The view, and where it has got to.
struct FollowedView {
    MemorySpace space;
    std::unique_ptr<MemoryView> view = MemoryView::create();
    Seq applied;

    FollowedView() { REQUIRE(view->open(space, applied)); }

    // The next `count` events, in one batch.
    Status apply(const EventFeed& feed, std::size_t count = SIZE_MAX, bool discard = false) {
        EventArena arena;
        std::vector<EventView> events;
        count = std::min(count, feed.events().size() - next_);
        for (std::size_t i = 0; i < count; ++i) events.push_back(feed.view(feed.events()[next_ + i], arena));
        const auto batch = space.new_batch();
        auto status = view->apply(events, *batch);
        if (!status || discard) {
            view->discard();
            return status;
        }
        REQUIRE(space.write(*batch));
        view->committed();
        next_ += count;
        applied = feed.head();
        if (next_ < feed.events().size()) applied = feed.events()[next_ - 1].seq;
        return Done{};
    }
    void reopen() {
        view = MemoryView::create();
        REQUIRE(view->open(space, applied));
    }
    std::unique_ptr<MemoryView::Reader> reader(std::optional<Seq> as_of = {}) const { return view->reader(as_of); }
    std::string digest() const {
        auto digest = view->digest();
        REQUIRE(digest);
        return *digest;
    }

 private:
    std::size_t next_ = 0;
};

inline std::string text_of(const Memory& memory) {  // All of it, for comparing and for reading when it differs.
    std::ostringstream out;
    const auto time = [&](std::string_view name, const std::optional<Timestamp>& value) {
        if (value) out << ' ' << name << '=' << value->us;
    };
    out << to_string(memory.id) << " v" << memory.version.value << " seq=" << memory.seq.value
        << " created=" << memory.created_seq.value << " scope=" << memory.scope.project << '|' << memory.scope.agent
        << '|' << memory.scope.user << '|' << memory.scope.session << ' ' << to_string(memory.kind()) << " content='"
        << memory.content << "' tags=";
    for (const auto& tag : memory.tags) out << '[' << tag << ']';
    out << " metadata=" << memory.metadata << ' ' << to_string(memory.claim) << " confidence=" << memory.confidence
        << " met=" << memory.occurrence_count << '/' << memory.success_count << " actor=" << memory.actor
        << " source=" << to_string(memory.source.type) << ':' << memory.source.ref
        << " recorded=" << memory.recorded_at.us << " updated=" << memory.updated_at.us
        << " occurred=" << memory.occurred_at.us << " forgotten=" << memory.forgotten
        << " model=" << memory.embedding_model << '/' << memory.embedding_dimension;
    time("valid_from", memory.valid_from);
    time("valid_to", memory.valid_to);
    time("expires", memory.expires_at);
    time("verified", memory.verified_at);
    if (memory.superseded_by) out << " by=" << to_string(*memory.superseded_by);
    const auto field = [&](const char* name, const auto& value) {
        out << ' ' << name << '=';
        if constexpr (requires { value.has_value(); })
            out << (value ? std::to_string(*value) : "none");
        else
            out << value;
    };
    std::visit([&](const auto& fields) { visit_fields(fields, field); }, memory.fields);
    return out.str();
}
inline std::string text_of(const std::optional<Memory>& memory) {
    return memory ? text_of(*memory) : "nothing";
}

inline std::vector<std::string> texts_of(const std::vector<Memory>& memories) {
    std::vector<std::string> texts;
    for (const auto& memory : memories) texts.push_back(text_of(memory));
    return texts;
}

// What the view should say, found by looking at everything.
class NaiveView {
 public:
    void apply(const LoggedEvent& logged) {
        auto& states = states_[logged.event.memory_id];
        std::optional<Memory> next;
        if (!states.empty()) next = states.back();
        if (!fold(next, logged)) return;
        next->version = logged.version;
        next->seq = logged.seq;
        next->updated_at = logged.recorded_at;
        states.push_back(*next);
    }

    std::optional<Memory> get(const Scope& scope, MemoryId id) const { return at_seq(scope, id, Seq{UINT64_MAX}); }
    std::optional<Memory> at_seq(const Scope& scope, MemoryId id, Seq seq) const {
        std::optional<Memory> found;
        if (const auto at = states_.find(id); at != states_.end())
            for (const auto& state : at->second)
                if (state.seq <= seq && scope.contains(state.scope)) found = state;
        return found;
    }
    NaiveView up_to(Seq seq) const {
        NaiveView then;
        for (const auto& [id, states] : states_)
            for (const auto& state : states)
                if (state.seq <= seq) then.states_[id].push_back(state);
        return then;
    }
    std::vector<MemoryId> ids() const {
        std::vector<MemoryId> ids;
        for (const auto& [id, states] : states_) ids.push_back(id);
        return ids;
    }

    // In the order asked, without limit or cursor.
    std::vector<Memory> list(const ListRequest& request, Timestamp now) const {
        std::vector<Memory> found;
        for (const auto& [id, states] : states_) {
            if (states.empty()) continue;
            const auto& memory = states.back();
            if (!request.scope.contains(memory.scope) || !passes(request.filter, memory)) continue;
            if (memory.expires_at && *memory.expires_at <= now) continue;
            if (!request.include_forgotten && (memory.forgotten || memory.superseded_by)) continue;
            found.push_back(memory);
        }
        std::ranges::sort(found, [&](const Memory& a, const Memory& b) {
            if (request.order == ListOrder::confidence && a.confidence != b.confidence)
                return a.confidence > b.confidence;
            return request.order == ListOrder::oldest_first ? a.created_seq < b.created_seq
                                                            : a.created_seq > b.created_seq;
        });
        return found;
    }
    std::map<std::string, std::uint64_t> counts(std::string_view project) const {
        std::map<std::string, std::uint64_t> counts;
        for (const auto& row : kind_table) counts[std::string(row.name)] = 0;
        for (const auto& [id, states] : states_)
            if (!states.empty() && !states.back().forgotten &&
                (project.empty() || states.back().scope.project == project))
                ++counts[std::string(to_string(states.back().kind()))];
        return counts;
    }

    // What matching() must find.
    std::vector<Memory> live(const Scope& scope, const Filter& filter, Timestamp now) const {
        ListRequest request;
        request.scope = scope;
        request.filter = filter;
        request.order = ListOrder::oldest_first;
        return list(request, now);
    }

    static bool passes(const Filter& filter, const Memory& memory) {
        const auto any = [](const auto& wanted, auto value) {
            return wanted.empty() || std::ranges::find(wanted, value) != wanted.end();
        };
        if (!any(filter.kinds, memory.kind()) || !any(filter.claims, memory.claim)) return false;
        for (const auto& tag : filter.tags)
            if (std::ranges::find(memory.tags, tag) == memory.tags.end()) return false;
        if (filter.confidence_min && memory.confidence < *filter.confidence_min) return false;
        if (filter.occurred_from && memory.occurred_at < *filter.occurred_from) return false;
        if (filter.occurred_to && memory.occurred_at >= *filter.occurred_to) return false;
        if (filter.recorded_from && memory.recorded_at < *filter.recorded_from) return false;
        if (filter.recorded_to && memory.recorded_at >= *filter.recorded_to) return false;
        if (filter.valid_at && memory.valid_from && *memory.valid_from > *filter.valid_at) return false;
        if (filter.valid_at && memory.valid_to && *memory.valid_to <= *filter.valid_at) return false;
        return std::ranges::all_of(filter.metadata, [&](const auto& one) { return metadata_passes(one, memory); });
    }

 private:
    static bool metadata_passes(const Filter::Metadata& condition, const Memory& memory) {
        auto value = nlohmann::json::parse(memory.metadata);
        std::string path = condition.path;
        while (!path.empty()) {  // No key of these tests holds a dot.
            const auto dot = path.find('.');
            const auto key = path.substr(0, dot);
            path = dot == std::string::npos ? "" : path.substr(dot + 1);
            if (!value.is_object() || !value.contains(key)) return false;
            value = nlohmann::json(value[key]);
        }
        if (condition.equals && value != nlohmann::json::parse(*condition.equals)) return false;
        if (!condition.at_least && !condition.at_most) return true;
        if (!value.is_number()) return false;
        return (!condition.at_least || value.get<double>() >= *condition.at_least) &&
               (!condition.at_most || value.get<double>() <= *condition.at_most);
    }

    static bool fold(std::optional<Memory>& memory, const LoggedEvent& logged) {
        const auto& event = logged.event;
        if (const auto* body = std::get_if<MemoryRecorded>(&event.body)) {
            memory = Memory{};
            memory->id = event.memory_id;
            memory->created_seq = logged.seq;
            memory->scope = event.scope;
            memory->fields = body->fields;
            memory->content = body->content;
            memory->tags = body->tags;
            memory->metadata = body->metadata;
            memory->claim = body->claim;
            memory->confidence = body->confidence;
            memory->occurrence_count = body->occurrence_count;
            memory->success_count = body->success_count;
            memory->actor = event.actor;
            memory->source = event.source;
            memory->recorded_at = logged.recorded_at;
            memory->occurred_at = event.occurred_at.value_or(logged.recorded_at);
            memory->valid_from = body->valid_from;
            memory->valid_to = body->valid_to;
            memory->expires_at = body->expires_at;
            if (body->embedding) memory->embedding_model = body->embedding->model;
            if (body->embedding) memory->embedding_dimension = std::uint32_t(body->embedding->values.size());
            return true;
        }
        if (!memory) return false;
        if (const auto* body = std::get_if<MemoryRevised>(&event.body)) {
            if (body->content) {
                memory->content = *body->content;
                memory->embedding_model.clear();
                memory->embedding_dimension = 0;
            }
            if (body->embedding) memory->embedding_model = body->embedding->model;
            if (body->embedding) memory->embedding_dimension = std::uint32_t(body->embedding->values.size());
            if (body->fields) memory->fields = *body->fields;
            if (body->tags) memory->tags = *body->tags;
            if (body->metadata) memory->metadata = *body->metadata;
            if (body->occurred_at) memory->occurred_at = *body->occurred_at;
            if (body->valid_from) memory->valid_from = *body->valid_from;
            if (body->valid_to) memory->valid_to = *body->valid_to;
            if (body->expires_at) memory->expires_at = *body->expires_at;
        } else if (const auto* reinforced = std::get_if<MemoryReinforced>(&event.body)) {
            memory->occurrence_count += 1;
            memory->success_count += reinforced->success ? 1 : 0;
        } else if (const auto* promoted = std::get_if<ClaimPromoted>(&event.body)) {
            memory->claim = promoted->to;
        } else if (const auto* changed = std::get_if<ConfidenceChanged>(&event.body)) {
            memory->confidence = changed->to;
        } else if (std::holds_alternative<MemoryVerified>(event.body)) {
            memory->verified_at = logged.recorded_at;
        } else if (const auto* superseded = std::get_if<MemorySuperseded>(&event.body)) {
            memory->superseded_by = superseded->by;
        } else if (std::holds_alternative<MemoryForgotten>(event.body)) {
            memory->forgotten = true;
        } else if (std::holds_alternative<MemoryRestored>(event.body)) {
            memory->forgotten = false;
        } else {
            return false;
        }
        return true;
    }

    std::map<MemoryId, std::vector<Memory>> states_;
};

// Follows every cursor to the end.
inline std::vector<Memory> all_pages(const MemoryView::Reader& reader, ListRequest request, Timestamp now) {
    std::vector<Memory> all;
    for (;;) {
        const auto page = reader.list(request, now);
        REQUIRE(page);
        REQUIRE(page->memories.size() <= request.limit);
        REQUIRE((page->next_cursor.empty() || page->memories.size() == request.limit));
        all.insert(all.end(), page->memories.begin(), page->memories.end());
        if (page->next_cursor.empty()) return all;
        REQUIRE(page->next_cursor != request.cursor);  // Else there is no end.
        request.cursor = page->next_cursor;
    }
}

}  // namespace annal::testing
