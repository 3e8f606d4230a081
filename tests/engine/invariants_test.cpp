// The invariants of the design that only the whole engine can show.
#include "support/seed.h"
#include "test_engine.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace annal::testing {
namespace {

constexpr int dimension = 8;
constexpr std::string_view words[] = {"deploy",  "checkout", "cache",  "index", "timeout", "retry",
                                      "invoice", "login",    "schema", "queue", "backup",  "alert"};

// Writes at random, and knows what must be there: the model every read is compared with.
class RandomWriter {
 public:
    RandomWriter(TestEngine& engine, std::uint64_t seed) : engine_(engine), random_(seed) {}

    struct Expected {
        Scope scope;
        std::string content;
        bool forgotten = false;
    };
    const std::map<MemoryId, Expected>& memories() const { return memories_; }

    void step() {
        const auto choice = random_() % 10;
        if (memories_.empty() || choice < 5) return record();
        auto chosen = std::next(memories_.begin(), static_cast<std::ptrdiff_t>(random_() % memories_.size()));
        auto& [id, expected] = *chosen;
        const auto on = target(expected.scope, id);
        if (expected.forgotten) {
            REQUIRE(engine_->restore(on));
            expected.forgotten = false;
        } else if (choice < 8) {
            REQUIRE(engine_->forget(on));
            expected.forgotten = true;
        } else {
            ReviseRequest revision{.target = on};
            revision.content = expected.content = sentence();
            if (random_() % 2 == 0) revision.embedding = vector();
            REQUIRE(engine_->revise(revision));
            if (!revision.embedding)
                with_vector_.erase(id);
            else
                with_vector_.insert(id);
        }
    }

    std::set<MemoryId> live(const Scope& scope) const {
        std::set<MemoryId> ids;
        for (const auto& [id, expected] : memories_)
            if (!expected.forgotten && scope.contains(expected.scope)) ids.insert(id);
        return ids;
    }
    std::set<MemoryId> live_with_vector(const Scope& scope) const {
        std::set<MemoryId> ids;
        for (const auto& id : live(scope))
            if (with_vector_.contains(id)) ids.insert(id);
        return ids;
    }
    Embedding vector() {
        Embedding embedding{"m", {}};
        std::normal_distribution<float> normal;
        for (int i = 0; i < dimension; ++i) embedding.values.push_back(normal(random_));
        return embedding;
    }
    Scope scope() {
        const auto pick = [&](std::string_view name, unsigned count) {
            const auto which = random_() % (count + 1);
            return which == 0 ? std::string() : std::string(name) + std::to_string(which);
        };
        return {.project = "p" + std::to_string(random_() % 3),
                .agent = pick("a", 2),
                .user = pick("u", 2),
                .session = pick("s", 3)};
    }

 private:
    std::string sentence() {
        std::string text = "common";
        for (int i = 0; i < 4; ++i) text += " " + std::string(words[random_() % std::size(words)]);
        return text;
    }
    void record() {
        RecordRequest request{.scope = scope(), .content = sentence()};
        if (random_() % 2 == 0) {
            request.context.actor = "speaker" + std::to_string(random_() % 2);
            request.context.source = {SourceType::message, "m"};
        }
        if (random_() % 4 != 0) request.embedding = vector();
        const auto receipt = engine_.record(request);
        memories_[receipt.memory_id] = {request.scope, request.content, false};
        if (request.embedding) with_vector_.insert(receipt.memory_id);
    }

    TestEngine& engine_;
    std::mt19937_64 random_;
    std::map<MemoryId, Expected> memories_;
    std::set<MemoryId> with_vector_;
};

std::set<MemoryId> ids_of(const SearchAnswer& answer) {
    std::set<MemoryId> ids;
    for (const auto& hit : answer.hits) ids.insert(hit.memory.id);
    CHECK(ids.size() == answer.hits.size());
    return ids;
}
std::set<MemoryId> ids_of(const std::vector<Memory>& memories) {
    std::set<MemoryId> ids;
    for (const auto& memory : memories) ids.insert(memory.id);
    CHECK(ids.size() == memories.size());
    return ids;
}

// Every read of the scope answers exactly what is live in it: nothing forgotten, nothing of another scope, nothing
// missing.
void check_reads(TestEngine& engine, RandomWriter& writer, const Scope& scope) {
    INFO("scope " << scope.project << "/" << scope.agent << "/" << scope.user << "/" << scope.session);
    CHECK(ids_of(engine.list({.scope = scope, .limit = 7})) == writer.live(scope));
    CHECK(ids_of(engine.search({.scope = scope, .text = "common", .mode = SearchMode::text, .limit = 1000})) ==
          writer.live(scope));
    CHECK(
        ids_of(engine.search({.scope = scope, .vector = writer.vector(), .mode = SearchMode::vector, .limit = 1000})) ==
        writer.live_with_vector(scope));
    CHECK(ids_of(engine.search({.scope = scope, .text = "common", .vector = writer.vector(), .limit = 1000})) ==
          writer.live(scope));
}

TEST_CASE("every index holds what is live in each scope, and nothing else", "[engine][invariant-8][invariant-11]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    TestEngine engine;
    RandomWriter writer(engine, seed);
    for (int round = 0; round < trials(8); ++round) {
        for (int i = 0; i < 40; ++i) writer.step();
        if (round % 3 == 2) engine.reopen();
        for (int i = 0; i < 4; ++i) check_reads(engine, writer, writer.scope());
        for (const std::string project : {"p0", "p1", "p2"})
            check_reads(engine, writer, {.project = project, .agent = {}, .user = {}, .session = {}});
    }
    for (const auto& [id, expected] : writer.memories()) {
        Scope other = expected.scope;
        other.project = expected.scope.project == "p0" ? "p1" : "p0";
        CHECK(engine->get(other, id, {}, true).error().code == ErrorCode::not_found);
        CHECK(engine->history(other, id).error().code == ErrorCode::not_found);
        CHECK(engine->forget(target(other, id)).error().code == ErrorCode::not_found);
        const auto own = engine->get(expected.scope, id, {.min_seq = engine->head()}, true);
        REQUIRE(own);
        CHECK(own->content == expected.content);
    }
}

// What a reader can see of the store, as text.
std::string answers(TestEngine& engine) {
    std::string text;
    for (const std::string project : {"p0", "p1", "p2"}) {
        const Scope scope{.project = project, .agent = {}, .user = {}, .session = {}};
        for (const auto& memory : engine.list({.scope = scope}))
            text += to_string(memory.id) + " " + memory.content + " " + std::to_string(memory.version.value) + "\n";
        for (const auto word : words) {
            SearchRequest request{.scope = scope, .text = std::string(word), .limit = 50};
            for (const auto& hit : engine.search(request).hits)
                text += to_string(hit.memory.id) + " " + std::to_string(hit.score) + "\n";
            request.vector = Embedding{"m", std::vector<float>(dimension, 1.0F)};
            for (const auto& hit : engine.search(request).hits)
                text += to_string(hit.memory.id) + " " + std::to_string(hit.score) + "\n";
        }
    }
    return text;
}

TEST_CASE("views can be deleted: the same answers and digests come back", "[engine][invariant-6][invariant-12]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    TestEngine engine;
    RandomWriter writer(engine, seed);
    for (int i = 0; i < trials(300); ++i) writer.step();
    const auto before = engine.digests();
    const auto answers_before = answers(engine);

    engine.close();
    std::filesystem::remove_all(engine.path() / "views");
    engine.open();
    CHECK(engine.digests() == before);
    CHECK(answers(engine) == answers_before);

    REQUIRE(engine->rebuild({}));
    CHECK(engine.digests() == before);
    CHECK(answers(engine) == answers_before);
    const auto status = engine->status();
    REQUIRE(status);
    for (const auto& projection : status->projections) CHECK(projection.generation >= 1);

    engine.reopen();
    CHECK(engine.digests() == before);
    CHECK(answers(engine) == answers_before);
}

TEST_CASE("the counts of status are those of a recount", "[engine]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    TestEngine engine;
    RandomWriter writer(engine, seed);
    for (int i = 0; i < trials(200); ++i) writer.step();
    REQUIRE(engine->wait_for(engine->head(), std::chrono::seconds(60)));
    const auto status = engine->status();
    REQUIRE(status);
    std::uint64_t counted = 0;
    for (const auto& [kind, count] : status->counts) counted += count;
    std::uint64_t expected = 0;
    for (const auto& [id, memory] : writer.memories()) expected += memory.forgotten ? 0 : 1;
    CHECK(counted == expected);
}

}  // namespace
}  // namespace annal::testing
