// A text index on a space in memory, and a naive account of the same memories to hold it against.
#pragma once

#include "projections/text_index.h"

#include "support/memory_space.h"
#include "support/projector_feed.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace annal::testing {

struct Said {  // One memory, as a test writes it.
    std::string content{};
    std::string session{};
    std::string actor{};
    bool spoken = true;
    std::vector<std::string> tags{};
    std::string caption{};
    std::string condition{};  // Makes it a heuristic.
    std::string project = "p";
};

struct ModelMemory {
    Said said;
    MemoryId id;
    bool live = true;
    bool parked = false;  // Forgotten, but not for good.

    std::map<std::string, std::uint32_t> terms() const {
        Analyzer analyzer;
        std::vector<std::string> all;
        analyzer.terms(said.content, all);
        analyzer.terms(said.condition, all);
        for (const auto& tag : said.tags) {
            analyzer.terms(tag, all);
            analyzer.terms(tag, all);
        }
        analyzer.terms(said.caption, all);
        if (said.spoken) {
            analyzer.terms("8 May 2023", all);
            analyzer.terms(said.actor, all);
        }
        std::map<std::string, std::uint32_t> counts;
        for (const auto& term : all) ++counts[term];
        return counts;
    }
    std::uint32_t length() const {
        std::uint32_t sum = 0;
        for (const auto& [term, tf] : terms()) sum += tf;
        return sum;
    }
};

class TextStore {
 public:
    TextStore() { REQUIRE(index->open(space, applied)); }

    Seq record(const Said& said) {
        MemoryEvent event = about(said, numbered_id(tape.head().value + 1));
        event.occurred_at = Timestamp{1'683'554'400'000'000};  // 8 May 2023
        MemoryRecorded body;
        body.content = said.content;
        body.tags = said.tags;
        if (!said.caption.empty()) body.metadata = "{\"caption\":\"" + said.caption + "\"}";
        if (!said.condition.empty()) body.fields = HeuristicFields{said.condition, ""};
        event.body = std::move(body);
        const auto id = event.memory_id;
        const auto ordinal = tape.append(std::move(event));
        model[ordinal] = {said, id, true, false};
        return ordinal;
    }
    void revise_content(Seq ordinal, const std::string& content) {
        auto& memory = model.at(ordinal);
        MemoryEvent event = about(memory.said, memory.id);
        MemoryRevised body;
        body.content = content;
        event.body = std::move(body);
        tape.append(std::move(event));
        memory.said.content = content;
    }
    void revise_tags(Seq ordinal, const std::vector<std::string>& tags) {
        auto& memory = model.at(ordinal);
        MemoryEvent event = about(memory.said, memory.id);
        MemoryRevised body;
        body.tags = tags;
        event.body = std::move(body);
        tape.append(std::move(event));
        memory.said.tags = tags;
    }
    void forget(Seq ordinal, bool for_good = false) {
        auto& memory = model.at(ordinal);
        MemoryEvent event = about(memory.said, memory.id);
        event.body = MemoryForgotten{for_good};
        tape.append(std::move(event));
        memory.live = false;
        memory.parked = !for_good;
    }
    void restore(Seq ordinal) {
        auto& memory = model.at(ordinal);
        MemoryEvent event = about(memory.said, memory.id);
        event.body = MemoryRestored{ordinal};
        tape.append(std::move(event));
        if (memory.parked) memory.live = true;
        memory.parked = false;
    }

    // What happened so far, in one batch.
    void catch_up() { REQUIRE(follow(tape, *index, space, applied, tape.head())); }
    std::unique_ptr<TextIndex::Reader> reader(std::string_view project = "p") const { return index->reader(project); }

    MemorySpace space;
    EventTape tape;
    std::unique_ptr<TextIndex> index = TextIndex::create();
    Seq applied;
    std::map<Seq, ModelMemory> model;  // By ordinal.

 private:
    static MemoryEvent about(const Said& said, MemoryId id) {
        MemoryEvent event;
        event.memory_id = id;
        event.scope = {said.project, "", "", said.session};
        event.actor = said.actor;
        event.source.type = said.spoken ? SourceType::message : SourceType::none;
        return event;
    }
};

// Random events on the store: mostly records, of few words, so that they meet.
class RandomTexts {
 public:
    RandomTexts(std::uint64_t seed, std::size_t vocabulary) : random_(seed), vocabulary_(vocabulary) {}

    std::string text(std::size_t words_max) {
        std::string text;
        for (auto left = random_() % (words_max + 1); left > 0; --left) {
            // Low numbers more often.
            const auto word = std::min(random_() % vocabulary_, random_() % vocabulary_);
            text += "word" + std::to_string(word) + (random_() % 7 == 0 ? "? " : random_() % 7 == 0 ? ". " : " ");
        }
        return text;
    }
    Said said() {
        Said said;
        said.content = text(12);
        if (random_() % 5 != 0) said.session = "s" + std::to_string(random_() % 4);
        said.spoken = random_() % 4 != 0;
        said.actor = std::vector<std::string>{"Caroline", "Melanie Ann", "", "bot"}[random_() % 4];
        if (random_() % 4 == 0) said.tags = {text(2), "tag" + std::to_string(random_() % 5)};
        if (random_() % 6 == 0) said.caption = text(4);
        if (!said.spoken && random_() % 3 == 0) said.condition = text(3);
        if (random_() % 6 == 0) said.project = "q";
        return said;
    }
    void step(TextStore& store) {
        const auto dice = random_() % 10;
        if (dice < 5 || store.model.empty()) {
            store.record(said());
            return;
        }
        auto at = store.model.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(random_() % store.model.size()));
        const auto& [ordinal, memory] = *at;
        if (dice == 5) {
            store.revise_content(ordinal, text(12));
        } else if (dice == 6) {
            store.revise_tags(ordinal, {text(2)});
        } else if (memory.live) {
            store.forget(ordinal, random_() % 4 == 0);
        } else {
            store.restore(ordinal);
        }
    }
    std::mt19937_64& random() { return random_; }

 private:
    std::mt19937_64 random_;
    std::size_t vocabulary_;
};

}  // namespace annal::testing
