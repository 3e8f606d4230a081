#include "query/text_ranking.h"

#include "query/ranking_constants.h"
#include "support/seed.h"
#include "support/text_store.h"

#include <catch2/catch_approx.hpp>

#include <algorithm>
#include <cmath>
#include <set>

using namespace annal;
using namespace annal::testing;

namespace {

std::vector<TextHit> search(const TextStore& store, std::string_view text, const OrdinalSet* passing = nullptr,
                            std::size_t limit = 10) {
    auto hits = rank_text(*store.reader(), {.text = text, .passing = passing, .limit = limit});
    REQUIRE(hits);
    for (const auto& hit : *hits)
        CHECK(hit.score == Catch::Approx((hit.own + hit.neighbours + hit.session) * hit.speaker * hit.question));
    return std::move(*hits);
}

std::vector<Seq> ordinals(const std::vector<TextHit>& hits) {
    std::vector<Seq> all;
    for (const auto& hit : hits) all.push_back(hit.ordinal);
    return all;
}

// The formula of text_ranking.h, word by word, over every memory of the model: score by ordinal.
std::map<Seq, double> naive_scores(const TextStore& store, std::string_view query, const OrdinalSet* passing,
                                   double g) {
    struct Document {
        std::map<std::string, std::uint32_t> terms;
        double length = 0;
        bool visible = false;
    };
    std::map<Seq, Document> documents;
    std::map<std::string, std::vector<Seq>> sessions;
    std::map<std::string, double> df;
    double memories = 0;
    double length_total = 0;
    for (const auto& [ordinal, memory] : store.model) {
        if (memory.said.project != "p") continue;
        if (!memory.said.session.empty()) sessions[memory.said.session].push_back(ordinal);
        if (!memory.live) continue;
        auto& document = documents[ordinal];
        document.terms = memory.terms();
        document.length = memory.length();
        document.visible = passing == nullptr || passing->contains(ordinal);
        for (const auto& [term, tf] : document.terms) ++df[term];
        ++memories;
        length_total += document.length;
    }

    Analyzer analyzer;
    std::vector<std::string> list;
    analyzer.terms(query, list);
    const std::set<std::string> terms(list.begin(), list.end());
    std::vector<std::string> words;
    analyzer.words(query, words);
    for (auto& word : words)
        if (word.ends_with("'s")) word.resize(word.size() - 2);

    const auto x = [&](Seq ordinal, const std::string& term) {
        const auto found = documents.find(ordinal);
        if (found == documents.end() || !found->second.visible || !found->second.terms.contains(term)) return 0.0;
        return found->second.terms.at(term) / (1 - 0.4 + 0.4 * found->second.length / (length_total / memories));
    };
    std::map<Seq, double> scores;
    for (const auto& [i, document] : documents) {
        if (!document.visible) continue;
        const auto& memory = store.model.at(i);
        const auto gate = memory.said.spoken ? g : 0;
        const auto& session = sessions[memory.said.session];
        const auto place = std::ranges::find(session, i) - session.begin();
        const auto at = [&](std::ptrdiff_t distance) {
            const auto there = place + distance;
            const bool inside = !memory.said.session.empty() && there >= 0 && there < std::ssize(session);
            return inside ? session[static_cast<std::size_t>(there)] : Seq{0};
        };
        double base = 0;
        bool candidate = false;
        for (const auto& term : terms) {
            if (!df.contains(term)) continue;
            const auto asks = at(-1) != Seq{0} && Analyzer::questions(store.model.at(at(-1)).said.content).asks;
            const auto n = 0.3 * (x(at(-1), term) + x(at(1), term)) + 0.15 * (x(at(-2), term) + x(at(2), term)) +
                           (asks ? 0.3 * x(at(-1), term) : 0);
            bool elsewhere = false;
            if (!memory.said.session.empty())
                for (const auto other : session) elsewhere |= other != i && x(other, term) > 0;
            const auto z = x(i, term) + gate * (n + (elsewhere ? 0.1 : 0));
            base += std::log(1 + (memories - df[term] + 0.5) / (df[term] + 0.5)) * z * 1.9 / (z + 0.9);
            candidate |= x(i, term) > 0;
            // A neighbour of one that holds a term is looked at too, be it not spoken itself.
            for (const int distance : {-2, -1, 1, 2}) candidate |= g > 0 && x(at(distance), term) > 0;
        }
        bool named = false;
        std::vector<std::string> name;
        if (memory.said.spoken) analyzer.words(memory.said.actor, name);
        for (const auto& part : name)
            for (const auto& word : words)
                named |= !is_stop_word(word) && (word == part || (word.size() >= 3 && part.starts_with(word)));
        const auto asked = std::round(Analyzer::questions(memory.said.content).asked_share * 255) / 255.0;
        const auto score = base * (named ? 1.5 : 1) * (1 - 0.3 * asked);
        if (candidate && score > 0) scores[i] = score;
    }
    return scores;
}

}  // namespace

TEST_CASE("scores are those of the formula, for random memories, scopes and queries", "[query]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    for (int trial = 0; trial < trials(8); ++trial) {
        TextStore store;
        RandomTexts texts(seed + static_cast<unsigned>(trial), 25);
        auto& random = texts.random();
        for (int i = 0; i < 120; ++i) texts.step(store);
        store.catch_up();
        const auto gate = context_gate(store.reader()->table().statistics());
        CHECK(gate == 1);  // Few pairs yet.
        for (int q = 0; q < 15; ++q) {
            OrdinalSet some;
            for (const auto& [ordinal, memory] : store.model)
                if (random() % 3 != 0) some.insert(ordinal);
            const auto* passing = q % 3 == 0 ? &some : nullptr;
            const auto query = texts.text(6) + (q % 2 == 0 ? "Mel" : q % 5 == 0 ? "caroline's" : "");
            CAPTURE(query, trial, q);
            const auto expected = naive_scores(store, query, passing, gate);
            const auto hits = search(store, query, passing, 200);
            REQUIRE(hits.size() == expected.size());
            for (std::size_t i = 0; i < hits.size(); ++i) {
                REQUIRE(expected.contains(hits[i].ordinal));
                CHECK(std::abs(hits[i].score - expected.at(hits[i].ordinal)) < 1e-9);
                if (i > 0) CHECK(hits[i - 1].score >= hits[i].score);
                if (i > 0 && hits[i - 1].score == hits[i].score) CHECK(hits[i - 1].ordinal < hits[i].ordinal);
            }
            auto first = search(store, query, passing, 5);
            REQUIRE(first.size() == std::min<std::size_t>(5, hits.size()));
            for (std::size_t i = 0; i < first.size(); ++i) CHECK(first[i].ordinal == hits[i].ordinal);
        }
    }
}

TEST_CASE("without sessions and speakers it is BM25", "[query]") {
    TextStore store;
    store.record({.content = "red apple", .spoken = false});
    store.record({.content = "red red apple pie with green cream", .spoken = false});
    store.record({.content = "green pear", .spoken = false});
    store.catch_up();
    const auto hits = search(store, "red pie");
    REQUIRE(ordinals(hits) == std::vector{Seq{2}, Seq{1}});
    // N 3, mean length 10 / 3; "red" in 2, "pie" in 1.
    const auto saturated = [](double tf, double length) {
        const auto x = tf / (0.6 + 0.4 * length / (10.0 / 3));
        return x * 1.9 / (x + 0.9);
    };
    const auto idf_red = std::log(1 + 1.5 / 2.5);
    const auto idf_pie = std::log(1 + 2.5 / 1.5);
    CHECK(hits[0].score == Catch::Approx(idf_red * saturated(2, 6) + idf_pie * saturated(1, 6)).margin(1e-9));
    CHECK(hits[1].score == Catch::Approx(idf_red * saturated(1, 2)).margin(1e-9));
    CHECK(hits[0].own == hits[0].score);
    CHECK(hits[0].neighbours == 0);
    CHECK(hits[0].matched_terms == std::vector<std::string>{"red", "pie"});
}

TEST_CASE("notes in one session lend each other nothing", "[query]") {
    TextStore store;
    store.record({.content = "red apple", .session = "s", .spoken = false});
    store.record({.content = "something else", .session = "s", .spoken = false});
    store.catch_up();
    CHECK(ordinals(search(store, "apple")) == std::vector{Seq{1}});
}

TEST_CASE("an answer is found by its question's words, and by neither when the question is gone or hidden", "[query]") {
    TextStore store;
    const auto question = store.record({.content = "How long do you have the bakery?", .session = "s", .actor = "Ann"});
    const auto answer = store.record({.content = "Three years now.", .session = "s", .actor = "Ben"});
    store.record({.content = "unrelated talk", .session = "t", .actor = "Ann"});
    store.catch_up();
    auto hits = search(store, "bakery");
    REQUIRE(ordinals(hits) == std::vector{answer, question});
    CHECK(hits[0].own == 0);
    CHECK(hits[0].neighbours > 0);
    CHECK(hits[0].matched_terms.empty());
    CHECK(hits[1].question == Catch::Approx(0.7));

    OrdinalSet only_answer;
    only_answer.insert(answer);
    CHECK(search(store, "bakery", &only_answer).empty());

    store.forget(question);
    store.catch_up();
    CHECK(search(store, "bakery").empty());
    store.restore(question);
    store.catch_up();
    CHECK(ordinals(search(store, "bakery")) == ordinals(hits));
}

TEST_CASE("the place of a forgotten memory stays open", "[query]") {
    TextStore store;
    std::vector<Seq> turns;
    for (const auto* text : {"lighthouse", "one", "two", "three"})
        turns.push_back(store.record({.content = text, .session = "s", .actor = "Ann"}));
    store.catch_up();
    const auto before = search(store, "lighthouse");
    REQUIRE(ordinals(before) == std::vector{turns[0], turns[1], turns[2]});
    store.forget(turns[1]);
    store.catch_up();
    // The third does not move up beside the first, and the fourth does not come into its reach.
    const auto after = search(store, "lighthouse");
    REQUIRE(ordinals(after) == std::vector{turns[0], turns[2]});
    CHECK(after[1].neighbours < after[0].own * 0.5);
}

TEST_CASE("a query that names a speaker prefers what he said", "[query]") {
    TextStore store;
    store.record({.content = "painted a sunrise", .session = "s1", .actor = "Caroline"});
    store.record({.content = "painted a sunrise", .session = "s2", .actor = "Melanie"});
    store.record({.content = "painted a sunrise", .session = "s3", .actor = "Theo"});
    store.catch_up();
    CHECK(ordinals(search(store, "sunrise")) == std::vector{Seq{1}, Seq{2}, Seq{3}});
    CHECK(search(store, "sunrise of Mel")[0].ordinal == Seq{2});
    CHECK(search(store, "Melanie's sunrise")[0].ordinal == Seq{2});
    CHECK(search(store, "sunrise of Me")[0].ordinal == Seq{1});
    CHECK(search(store, "the sunrise")[0].ordinal == Seq{1});  // "the" does not name Theo.
}

TEST_CASE("as many hits as asked for, when as many match", "[query]") {
    TextStore store;
    for (int i = 0; i < 400; ++i)
        store.record({.content = i % 40 == 0 ? "common rare" : "common",
                      .session = "s" + std::to_string(i / 20),
                      .actor = "Ann"});
    store.record({.content = "nothing of it", .spoken = false});
    store.catch_up();
    // "common" is too common to choose candidates by while "rare" gives enough, which it does not.
    CHECK(search(store, "common rare", nullptr, 10).size() == 10);
    CHECK(search(store, "common rare", nullptr, 300).size() == 300);
    CHECK(search(store, "common rare", nullptr, 1000).size() == 400);
    OrdinalSet few;
    for (std::uint64_t i = 1; i <= 7; ++i) few.insert(Seq{i});
    CHECK(search(store, "common rare", &few, 10).size() == 7);
    CHECK(search(store, "absent").empty());
    CHECK(search(store, "").empty());
    CHECK(search(store, "common", nullptr, 0).empty());
}

TEST_CASE("a query of stop words alone finds what is made of them", "[query]") {
    TextStore store;
    store.record({.content = "The Who", .spoken = false});
    store.record({.content = "the band who sang", .spoken = false});
    store.catch_up();
    CHECK(ordinals(search(store, "the who")) == std::vector{Seq{1}});
}

TEST_CASE("a query of very many words is answered by the rarest", "[query]") {
    TextStore store;
    std::string query;
    for (int i = 0; i < 60; ++i) {
        query += "word" + std::to_string(i) + " ";
        for (int times = 0; times < (i < 50 ? 3 : 1); ++times)
            store.record({.content = "word" + std::to_string(i), .spoken = false});
    }
    store.catch_up();
    CHECK(search(store, query, nullptr, 1000)[0].matched_terms[0] == "word50");
}

TEST_CASE("the gate opens for conversations and closes for memories in any order", "[query]") {
    const auto gate_of = [](bool shuffled) {
        TextStore store;
        RandomTexts texts(7, 400);
        std::vector<Said> turns;
        for (int topic = 0; topic < 60; ++topic)
            for (int turn = 0; turn < 12; ++turn)
                turns.push_back(
                    {.content = "topic" + std::to_string(topic) + " " + texts.text(6), .session = "s", .actor = "Ann"});
        if (shuffled) std::ranges::shuffle(turns, texts.random());
        for (const auto& turn : turns) store.record(turn);
        store.catch_up();
        const auto& statistics = store.reader()->table().statistics();
        CHECK(statistics.context_pairs >= ranking::gate_pairs_min);
        return context_gate(statistics);
    };
    CHECK(gate_of(false) == 1);
    CHECK(gate_of(true) == 0);

    CHECK(context_gate({.context_pairs = 199, .predecessor_sum = 1, .other_sum = 1}) == 1);
    CHECK(context_gate({.context_pairs = 200, .predecessor_sum = 1, .other_sum = 1}) == 0);
    CHECK(context_gate({.context_pairs = 200, .predecessor_sum = 4, .other_sum = 2}) == Catch::Approx(0.5));
    CHECK(context_gate({.context_pairs = 200, .predecessor_sum = 1, .other_sum = 0}) == 1);
    CHECK(context_gate({.context_pairs = 200, .predecessor_sum = 0, .other_sum = 0}) == 0);
}
