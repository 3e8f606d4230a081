#include "golden_events.h"

#include <algorithm>

namespace annal::testing {
namespace {

template <class Id>
Id id(std::uint8_t last) {
    return Id{{0x01, 0x97, 0x0e, 0x2c, 0x7b, 0x1e, 0x7c, 0x3a, 0x9f, 0, 1, 2, 3, 4, 5, last}};
}

constexpr Timestamp day(std::int64_t count) {
    return {1'763'659'406'123'456 + count * 86'400'000'000};
}

MemoryRecorded recorded(std::string content, KindFields fields) {
    MemoryRecorded body;
    body.content = std::move(content);
    body.fields = std::move(fields);
    return body;
}

MemoryRecorded recorded_in_full() {
    auto body = recorded("Checkout needs a 2 s wait: l’état arrive après le clic. 結帳要等兩秒。",
                         HeuristicFields{"the checkout test is flaky", "wait for the network to be idle"});
    body.tags = {"checkout", "flaky test", "e2e"};
    body.metadata = R"({"run":{"id":17,"ok":true},"times":[1.5,2,null]})";
    body.claim = Claim::inference;
    body.confidence = 0.75;
    body.occurrence_count = 4;
    body.success_count = 3;
    body.valid_from = day(-10);
    body.valid_to = day(20);
    body.expires_at = day(30);
    body.embedding = Embedding{"hashing-v1", {0.6F, -0.8F, 0.0F, -0.0F}};
    body.embedding_norm = 2.5F;
    return body;
}

MemoryRevised revised_in_full() {
    MemoryRevised body;
    body.content = "Checkout needs a 3 s wait";
    body.fields = OutcomeFields{"test", "run the checkout suite", "wait", true, 1250, "", "good"};
    body.tags.emplace();  // All removed.
    body.metadata = "null";
    body.occurred_at = day(-2);
    body.valid_from = std::optional(day(-5));
    body.valid_to = std::optional<Timestamp>{};
    body.expires_at = std::optional(day(60));
    body.embedding = Embedding{"hashing-v1", {0.0F, 1.0F}};
    return body;
}

MemoryRevised revised_in_one() {
    MemoryRevised body;
    body.tags = {"checkout"};
    return body;
}

MemoryRecalled recalled_in_full() {
    MemoryRecalled body{"run-10", "flaky checkout", 3, 0.5};
    body.memory = id<MemoryId>(0x78);
    body.place = 2;
    body.as_of = Seq{43};
    body.mode = SearchMode::text;
    body.by_vector = true;
    body.of_any_user = true;
    return body;
}

std::vector<std::pair<std::string, EventBody>> bodies() {
    return {
        {"MemoryRecorded", recorded_in_full()},
        {"MemoryRecorded.note", recorded("likes tea", {})},
        {"MemoryRecorded.heuristic", recorded("wait", HeuristicFields{"flaky", "wait"})},
        {"MemoryRecorded.outcome", recorded("it failed", OutcomeFields{"deploy", "deploy to staging", "blue/green",
                                                                       false, 0, "timeout", "retry"})},
        {"MemoryRecorded.preference", recorded("short answers", PreferenceFields{"style"})},
        {"MemoryRecorded.domain_knowledge", recorded("orders close at noon", DomainKnowledgeFields{"shipping"})},
        {"MemoryRecorded.anti_pattern", recorded("sleep(5)", AntiPatternFields{"slow and flaky", "wait for an event"})},
        {"MemoryRecorded.entity", recorded("Ann of accounting", EntityFields{"Ann", "person"})},
        {"MemoryRecorded.relation", recorded("Ann owns billing", RelationFields{"Ann", "billing", "owns", 0.9, true})},
        {"MemoryRevised", revised_in_full()},
        {"MemoryRevised.tags", revised_in_one()},
        {"MemoryReinforced", MemoryReinforced{true}},
        {"ClaimPromoted", ClaimPromoted{Claim::inference, Claim::verified}},
        {"ConfidenceChanged", ConfidenceChanged{0.75, 0.9}},
        {"MemoryVerified", MemoryVerified{"verified", "ran the suite 20 times", 0.95}},
        {"MemorySuperseded", MemorySuperseded{id<MemoryId>(0x77)}},
        {"MemoryForgotten", MemoryForgotten{true}},
        {"MemoryRestored", MemoryRestored{Seq{41}}},
        {"ErasureRequested", ErasureRequested{"user:ann"}},
        {"ErasureCompleted", ErasureCompleted{Seq{42}, 17}},
        {"MemoryRecalled", MemoryRecalled{"run-9", "flaky checkout", 2, 11.25}},
        {"PolicyChanged", PolicyChanged{"ranking.weights", R"({"text":1})", R"({"text":0.5})"}},
        {"ErasureRequested.counts", ErasureRequested{"user:ann", 17, 23, 2}},
        {"ErasureCompleted.epoch", ErasureCompleted{Seq{42}, 17, 5}},
        {"MemoryRecalled.memory", recalled_in_full()},
    };
}

}  // namespace

std::vector<GoldenEvent> golden_events() {
    std::vector<GoldenEvent> result;
    std::uint8_t number = 0;
    for (auto& [name, body] : bodies()) {
        ++number;
        MemoryEvent event;
        event.memory_id = id<MemoryId>(number);
        event.event_id = id<EventId>(static_cast<std::uint8_t>(0x80 + number));
        event.scope.project = "shop";
        if (number % 2 == 1) {  // Every other envelope is full, the rest hold no more than they must.
            event.scope = {"shop", "qa", "ann@example.org", "session 3"};
            event.occurred_at = day(-1);
            event.actor = "qa";
            event.source = {static_cast<SourceType>(number % source_type_names.size()), "turn 12"};
            event.reason = "seen twice";
            event.causation_id = "cause-1";
            event.correlation_id = "run-9";
        }
        event.body = std::move(body);
        result.push_back({name, Version{number}, Timestamp{day(0).us + number}, std::move(event)});
    }
    return result;
}

}  // namespace annal::testing
