// Random commands on an engine: what reads, projections and sinks are tested on.
#pragma once

#include "support/stopped_clock.h"
#include "test_engine.h"

#include <annal/engine.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace annal::testing {

// Memories of few words that meet, of several agents and sessions, some spoken, some with
// a vector; revised, reinforced, promoted, superseded, forgotten, restored and reverted.
class RandomHistory {
 public:
    explicit RandomHistory(std::uint64_t seed) : random_(seed) {}

    std::size_t below(std::size_t end) { return static_cast<std::size_t>(random_() % end); }
    bool one_in(std::size_t n) { return below(n) == 0; }
    std::string text() {
        std::string text = "word" + std::to_string(below(12));
        for (auto left = below(7); left > 0; --left)
            text += " word" + std::to_string(std::min(below(25), below(25))) + (one_in(8) ? "?" : "");
        return text;
    }
    Scope scope() {
        return {.project = one_in(6) ? "other" : "shop",
                .agent = one_in(3) ? "qa" : "",
                .user = one_in(4) ? "ann" : "",
                .session = one_in(3) ? "" : "s" + std::to_string(below(3))};
    }
    std::vector<std::string> tags() {
        std::vector<std::string> tags;
        for (auto left = below(3); left > 0; --left) tags.push_back("tag" + std::to_string(below(4)));
        return tags;
    }
    Embedding vector() {
        Embedding vector{one_in(6) ? "n" : "m", std::vector<float>(8)};
        std::normal_distribution<float> normal;
        for (auto& value : vector.values) value = normal(random_);
        return vector;
    }
    Filter filter() {
        Filter filter;
        if (one_in(3)) filter.kinds = {one_in(2) ? Kind::note : Kind::heuristic};
        if (one_in(3)) filter.tags = {"tag" + std::to_string(below(4))};
        if (one_in(4)) filter.claims = {Claim::observation};
        if (one_in(4)) filter.confidence_min = 0.5;
        if (one_in(4)) filter.valid_at = time();
        return filter;
    }
    Timestamp time() { return {1'790'000'000'000'000 + static_cast<std::int64_t>(below(400)) * 1'000'000}; }

    void step(Engine& engine, StoppedClock& clock) {
        clock.advance(static_cast<std::int64_t>(below(2'000'000)));
        if (known_.empty() || one_in(3)) return record(engine);
        const auto& [scope, id] = known_[below(known_.size())];
        const auto at = target(scope, id);
        switch (below(9)) {  // A command that does not fit the memory's state is refused: nothing is written.
            case 0:
            case 1:
            case 2:
                return revise(engine, at);
            case 3:
                return static_cast<void>(engine.reinforce(at, one_in(2)));
            case 4:
                return static_cast<void>(engine.promote_claim(at, static_cast<Claim>(below(4))));
            case 5:
                return static_cast<void>(engine.change_confidence(at, static_cast<double>(below(11)) / 10));
            case 6:
                return static_cast<void>(one_in(3) ? engine.supersede(at, known_[below(known_.size())].second)
                                                   : engine.revert(at, Version{1 + below(4)}));
            case 7:
                return static_cast<void>(engine.forget(at));
            default:
                return static_cast<void>(engine.restore(at));
        }
    }
    const std::vector<std::pair<Scope, MemoryId>>& known() const { return known_; }

 private:
    void record(Engine& engine) {
        RecordRequest request{.scope = scope(), .content = text(), .tags = tags()};
        if (one_in(4)) request.fields = HeuristicFields{text(), text()};
        if (one_in(2)) {
            request.context.source = {SourceType::message, "m"};
            request.context.actor = one_in(2) ? "Caroline" : "Melanie";
        }
        if (one_in(3)) request.confidence = static_cast<double>(below(11)) / 10;
        if (one_in(2)) request.embedding = vector();
        if (one_in(4)) request.valid_from = time();
        if (one_in(8)) request.expires_at = time();
        const auto receipt = engine.record(request);
        if (!receipt) FAIL(receipt.error().message);
        known_.emplace_back(request.scope, receipt->memory_id);
    }
    void revise(Engine& engine, const Target& at) {
        ReviseRequest request{.target = at};
        if (one_in(2)) request.content = text();
        if (one_in(3)) request.tags = tags();
        if (one_in(3)) request.embedding = vector();
        if (one_in(6)) request.valid_to = Timestamp{1'790'000'900'000'000};
        if (one_in(8)) request.expires_at = time();
        static_cast<void>(engine.revise(request));
    }

    std::mt19937_64 random_;
    std::vector<std::pair<Scope, MemoryId>> known_;
};

}  // namespace annal::testing
