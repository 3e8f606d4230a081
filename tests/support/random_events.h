// Events of every type with every part present or absent at random: what codecs, logs and projectors are tested on.
#pragma once

#include "events/event.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace annal::testing {

class RandomEvents {
 public:
    explicit RandomEvents(std::uint64_t seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    bool chance(std::uint64_t one_in = 2) { return below(one_in) == 0; }
    double fraction() { return static_cast<double>(below(1'000'001)) / 1e6; }

    // Any bytes, zeros and broken UTF-8 included; empty one time in four.
    std::string text(std::size_t size_max = 60) {
        std::string result(chance(4) ? 0 : below(size_max), '\0');
        for (auto& c : result) c = static_cast<char>(random_());
        return result;
    }
    Timestamp time() { return {static_cast<std::int64_t>(below(253'402'300'800'000'000))}; }
    template <class Id>
    Id id() {
        Id id;
        for (auto& byte : id.bytes) byte = static_cast<std::uint8_t>(random_());
        return id;
    }

    MemoryEvent event() { return event(static_cast<EventType>(1 + below(event_type_count))); }
    MemoryEvent event(EventType type) {
        MemoryEvent event;
        event.memory_id = id<MemoryId>();
        event.event_id = id<EventId>();
        event.scope = {"p" + text(), text(), text(), text()};
        event.occurred_at = maybe_time();
        event.actor = text();
        event.source = {static_cast<SourceType>(below(source_type_names.size())), text()};
        event.reason = text();
        event.causation_id = text();
        event.correlation_id = text();
        event.body = body(type);
        return event;
    }

    KindFields fields(Kind kind) {
        switch (kind) {
            case Kind::note:
                return {};
            case Kind::heuristic:
                return HeuristicFields{text(), text()};
            case Kind::outcome: {
                OutcomeFields outcome{text(), text(), text(), chance(), {}, text(), text()};
                if (chance()) outcome.duration_ms = static_cast<std::int64_t>(random_());
                return outcome;
            }
            case Kind::preference:
                return PreferenceFields{text()};
            case Kind::domain_knowledge:
                return DomainKnowledgeFields{text()};
            case Kind::anti_pattern:
                return AntiPatternFields{text(), text()};
            case Kind::entity:
                return EntityFields{text(), text()};
            case Kind::relation:
                return RelationFields{text(), text(), text(), fraction(), chance()};
        }
        return {};
    }

 private:
    std::optional<Timestamp> maybe_time() { return chance() ? std::optional(time()) : std::nullopt; }
    std::optional<std::optional<Timestamp>> maybe_change() {
        return chance() ? std::optional(maybe_time()) : std::nullopt;
    }
    Claim claim() { return static_cast<Claim>(below(claim_names.size())); }
    std::vector<std::string> tags() {
        std::vector<std::string> tags(below(5));
        for (auto& tag : tags) tag = text();
        return tags;
    }
    Embedding embedding() {
        Embedding result{text(), std::vector<float>(1 + below(40))};
        std::normal_distribution<float> normal;
        for (auto& value : result.values) value = chance(8) ? -0.0F : normal(random_);
        return result;
    }

    EventBody body(EventType type) {
        switch (type) {
            case EventType::memory_recorded:
                return recorded();
            case EventType::memory_revised:
                return revised();
            case EventType::memory_reinforced:
                return MemoryReinforced{chance()};
            case EventType::claim_promoted:
                return ClaimPromoted{claim(), claim()};
            case EventType::confidence_changed:
                return ConfidenceChanged{fraction(), fraction()};
            case EventType::memory_verified:
                return MemoryVerified{text(), text(), fraction()};
            case EventType::memory_superseded:
                return MemorySuperseded{id<MemoryId>()};
            case EventType::memory_forgotten:
                return MemoryForgotten{chance()};
            case EventType::memory_restored:
                return MemoryRestored{Seq{random_()}};
            case EventType::erasure_requested:
                return ErasureRequested{text(), random_(), random_(), random_()};
            case EventType::erasure_completed:
                return ErasureCompleted{Seq{random_()}, random_(), random_()};
            case EventType::memory_recalled:
                return recalled();
            case EventType::policy_changed:
                return PolicyChanged{text(), text(), text()};
        }
        return {};
    }
    MemoryRecorded recorded() {
        MemoryRecorded body;
        body.content = text(600);
        body.fields = fields(static_cast<Kind>(below(kind_count)));
        body.tags = tags();
        if (chance()) body.metadata = text();
        body.claim = claim();
        body.confidence = chance(4) ? 1.0 : fraction();
        body.occurrence_count = chance() ? random_() : 0;
        body.success_count = chance() ? random_() : 0;
        body.valid_from = maybe_time();
        body.valid_to = maybe_time();
        body.expires_at = maybe_time();
        if (chance()) {
            body.embedding = embedding();
            body.embedding_norm = static_cast<float>(fraction()) * 8;
        }
        return body;
    }
    MemoryRecalled recalled() {
        MemoryRecalled body{text(), text(), static_cast<std::uint32_t>(random_()), fraction() * 100 - 50};
        if (chance()) body.memory = id<MemoryId>();
        body.place = static_cast<std::uint32_t>(below(300));
        if (chance()) body.as_of = Seq{random_()};
        if (chance()) body.mode = static_cast<SearchMode>(below(search_mode_names.size()));
        body.by_vector = chance();
        body.of_any_user = chance();
        return body;
    }
    MemoryRevised revised() {
        MemoryRevised body;
        if (chance()) body.content = text(600);
        if (chance()) body.fields = fields(static_cast<Kind>(1 + below(kind_count - 1)));
        if (chance()) body.tags = tags();
        if (chance()) body.metadata = text();
        body.occurred_at = maybe_time();
        body.valid_from = maybe_change();
        body.valid_to = maybe_change();
        body.expires_at = maybe_change();
        if (chance()) {
            body.embedding = embedding();
            body.embedding_norm = static_cast<float>(fraction()) * 8;
        }
        return body;
    }

    std::mt19937_64 random_;
};

}  // namespace annal::testing
