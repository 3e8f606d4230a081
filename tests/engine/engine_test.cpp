#include "support/scopes.h"
#include "test_engine.h"

#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

namespace annal::testing {
namespace {

TEST_CASE("a memory is found as soon as its receipt says", "[engine]") {
    TestEngine engine;
    const auto receipt = engine.note(shop_qa, "checkout needs a 2 s wait");
    CHECK(receipt.seq == Seq{1});
    CHECK(receipt.version == Version{1});

    const auto answer = engine->search({.scope = shop, .text = "flaky checkout", .min_seq = receipt.seq});

    REQUIRE(answer);
    REQUIRE(answer->hits.size() == 1);
    CHECK(answer->hits[0].memory.id == receipt.memory_id);
    CHECK(answer->hits[0].memory.content == "checkout needs a 2 s wait");
    CHECK(answer->hits[0].memory.actor == "qa");
    CHECK(answer->seq >= receipt.seq);
    CHECK(answer->degraded.empty());
}

TEST_CASE("a read that asks for a seq not written yet runs into its deadline", "[engine]") {
    TestEngine engine;
    engine.note(shop, "one");
    const auto answer =
        engine->search({.scope = shop, .text = "one", .min_seq = Seq{2}, .wait_max = std::chrono::milliseconds(20)});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::deadline_exceeded);
}

TEST_CASE("revise changes what is set and nothing else", "[engine]") {
    TestEngine engine;
    const auto first = engine.record({.scope = shop, .content = "old words", .tags = {"a"}, .metadata = "{\"n\":1}"});
    ReviseRequest revision{.target = target(shop, first.memory_id)};
    revision.content = "new words";

    const auto second = engine->revise(revision);

    REQUIRE(second);
    CHECK(second->version == Version{2});
    const auto memory = engine->get(shop, first.memory_id, {.min_seq = second->seq});
    REQUIRE(memory);
    CHECK(memory->content == "new words");
    CHECK(memory->tags == std::vector<std::string>{"a"});
    CHECK(memory->metadata == "{\"n\":1}");
    CHECK(memory->created_seq == first.seq);
    CHECK(engine.search({.scope = shop, .text = "old"}).hits.empty());
    CHECK(engine.search({.scope = shop, .text = "new"}).hits.size() == 1);
}

TEST_CASE("an expected version that is not the memory's is a conflict, and nothing is written", "[engine]") {
    TestEngine engine;
    const auto first = engine.note(shop, "tea");
    ReviseRequest revision{.target = target(shop, first.memory_id)};
    revision.content = "coffee";
    revision.target.expected_version = ExpectedVersion::exactly(Version{1});
    REQUIRE(engine->revise(revision));

    revision.content = "milk";
    const auto late = engine->revise(revision);

    REQUIRE_FALSE(late);
    CHECK(late.error().code == ErrorCode::conflict);
    CHECK(late.error().details.at("expected") == "1");
    CHECK(late.error().details.at("actual") == "2");
    CHECK(engine->head() == Seq{2});
}

TEST_CASE("a repeated request with its key answers as the first did, whatever happened since", "[engine]") {
    TestEngine engine;
    RecordRequest request{.scope = shop, .content = "tea"};
    request.context.idempotency_key = "k1";
    const auto first = engine.record(request);
    const auto again = engine.record(request);
    CHECK(again.memory_id == first.memory_id);
    CHECK(again.event_id == first.event_id);
    CHECK(again.hash == first.hash);
    CHECK(again.replayed);

    request.content = "coffee";
    const auto other = engine->record(request);
    REQUIRE_FALSE(other);
    CHECK(other.error().code == ErrorCode::conflict);

    auto forget = target(shop, first.memory_id);
    forget.context.idempotency_key = "k2";
    const auto forgotten = engine->forget(forget);
    REQUIRE(forgotten);
    engine.reopen();
    const auto forgotten_again = engine->forget(forget);
    REQUIRE(forgotten_again);
    CHECK(forgotten_again->seq == forgotten->seq);
    CHECK(engine->head() == Seq{2});
}

TEST_CASE("the id of a memory can be given, once", "[engine]") {
    TestEngine engine;
    RecordRequest request{.scope = shop, .content = "tea"};
    request.memory_id = *parse_memory_id("01970e2c-7b1e-7c3a-9f00-0123456789ab");
    CHECK(engine.record(request).memory_id == *request.memory_id);
    const auto again = engine->record(request);
    REQUIRE_FALSE(again);
    CHECK(again.error().code == ErrorCode::already_exists);
}

TEST_CASE("one id in two projects is two memories", "[engine][invariant-11]") {
    TestEngine engine;
    const Scope office{.project = "office", .agent = {}, .user = {}, .session = {}};
    RecordRequest request{.scope = shop, .content = "tea"};
    request.memory_id = *parse_memory_id("01970e2c-7b1e-7c3a-9f00-0123456789ab");
    request.embedding = Embedding{"m", {1, 0}};
    engine.record(request);
    request.scope = office;
    request.content = "tea time";
    engine.record(request);

    REQUIRE(engine->forget(target(shop, *request.memory_id)));

    const auto read = [&](const Scope& scope) {
        return engine->get(scope, *request.memory_id, {.min_seq = engine->head()});
    };
    CHECK_FALSE(read(shop));
    REQUIRE(read(office));
    CHECK(read(office)->content == "tea time");
    for (const auto mode : {SearchMode::text, SearchMode::vector}) {
        SearchRequest search{.scope = shop, .text = "tea", .vector = Embedding{"m", {1, 0}}, .mode = mode};
        CHECK(engine.search(search).hits.empty());
        search.scope = office;
        CHECK(engine.search(search).hits.size() == 1);
    }
}

TEST_CASE("a batch is all or nothing", "[engine]") {
    TestEngine engine;
    std::vector<RecordRequest> requests(3, {.scope = shop, .content = "tea"});
    REQUIRE(engine->record_batch(requests));
    CHECK(engine->head() == Seq{3});

    requests[1].content = " ";
    const auto refused = engine->record_batch(requests);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().details.at("index") == "1");

    requests[1].content = "tea";
    requests[0].memory_id = requests[2].memory_id = *parse_memory_id("01970e2c-7b1e-7c3a-9f00-0123456789ab");
    CHECK_FALSE(engine->record_batch(requests));
    CHECK(engine->head() == Seq{3});
}

TEST_CASE("forget takes a memory out of every read but history, and restore brings it back", "[engine]") {
    TestEngine engine;
    RecordRequest request{.scope = shop, .content = "tea"};
    request.embedding = Embedding{"m", {1, 0}};
    const auto receipt = engine.record(request);
    const SearchRequest by_vector{.scope = shop, .vector = Embedding{"m", {1, 0}}, .mode = SearchMode::vector};
    REQUIRE(engine.search(by_vector).hits.size() == 1);

    REQUIRE(engine->forget(target(shop, receipt.memory_id)));
    CHECK(engine.search({.scope = shop, .text = "tea"}).hits.empty());
    CHECK(engine.search(by_vector).hits.empty());
    CHECK(engine.list({.scope = shop}).empty());
    const auto gone = engine->get(shop, receipt.memory_id, {.min_seq = engine->head()});
    REQUIRE_FALSE(gone);
    CHECK(gone.error().code == ErrorCode::not_found);
    CHECK(engine->history(shop, receipt.memory_id)->size() == 2);
    CHECK(engine->forget(target(shop, receipt.memory_id)).error().code == ErrorCode::not_found);

    REQUIRE(engine->restore(target(shop, receipt.memory_id)));
    CHECK(engine.search({.scope = shop, .text = "tea"}).hits.size() == 1);
    CHECK(engine.search(by_vector).hits.size() == 1);
    CHECK(engine->restore(target(shop, receipt.memory_id)).error().code == ErrorCode::invalid_argument);
}

TEST_CASE("history says who, when, why and what", "[engine]") {
    TestEngine engine;
    const auto receipt = engine.note(shop_qa, "tea");
    engine.clock().advance(1'000'000);
    auto doubt = target(shop, receipt.memory_id, "measured again");
    doubt.context.actor = "auditor";
    doubt.context.source = {SourceType::test_result, "run 7"};
    REQUIRE(engine->change_confidence(doubt, 0.25));
    REQUIRE(engine->promote_claim(doubt, Claim::verified));
    REQUIRE(engine->reinforce(doubt, true));

    const auto history = engine->history(shop, receipt.memory_id);

    REQUIRE(history);
    REQUIRE(history->size() == 4);
    CHECK((*history)[0].type == "MemoryRecorded");
    CHECK((*history)[1].type == "ConfidenceChanged");
    CHECK((*history)[1].actor == "auditor");
    CHECK((*history)[1].reason == "measured again");
    CHECK((*history)[1].source == Source{SourceType::test_result, "run 7"});
    CHECK((*history)[1].changes == R"({"confidence":{"from":1.0,"to":0.25}})");
    CHECK((*history)[2].changes == R"({"claim":{"from":"observation","to":"verified"}})");
    CHECK((*history)[1].recorded_at > (*history)[0].recorded_at);
    const auto memory = engine->get(shop, receipt.memory_id, {.min_seq = engine->head()});
    REQUIRE(memory);
    CHECK(memory->confidence == 0.25);
    CHECK(memory->claim == Claim::verified);
    CHECK(memory->occurrence_count == 1);
    CHECK(memory->success_count == 1);
}

TEST_CASE("an expired or superseded memory is in no search and no list", "[engine]") {
    TestEngine engine;
    RecordRequest request{.scope = shop, .content = "tea today"};
    request.expires_at = Timestamp{engine.clock().now().us + 1'000'000};
    engine.record(request);
    const auto old = engine.note(shop, "tea once");
    const auto fresh = engine.note(shop, "tea forever");
    CHECK(engine.search({.scope = shop, .text = "tea"}).hits.size() == 3);

    engine.clock().advance(1'000'000);
    REQUIRE(engine->supersede(target(shop, old.memory_id), fresh.memory_id));

    const auto answer = engine.search({.scope = shop, .text = "tea"});
    REQUIRE(answer.hits.size() == 1);
    CHECK(answer.hits[0].memory.id == fresh.memory_id);
    CHECK(engine.list({.scope = shop}).size() == 1);
}

TEST_CASE("hybrid search with no vector that stands for meaning is text search, unchanged", "[engine]") {
    TestEngine engine{std::shared_ptr<Embedder>(make_hashing_embedder())};
    for (int i = 0; i < 40; ++i)
        engine.note(shop, "deploy number " + std::to_string(i) + (i % 3 ? " failed" : " went well") +
                              (i % 5 ? "" : " after a retry"));
    for (const std::string query : {"failed deploy", "retry", "what went well", "number 7"}) {
        const auto text = engine.search({.scope = shop, .text = query, .mode = SearchMode::text, .limit = 40});
        const auto hybrid = engine.search({.scope = shop, .text = query, .limit = 40});
        REQUIRE(text.hits.size() == hybrid.hits.size());
        for (std::size_t i = 0; i < text.hits.size(); ++i) {
            CHECK(text.hits[i].memory.id == hybrid.hits[i].memory.id);
            CHECK(text.hits[i].score == hybrid.hits[i].score);
        }
    }
    CHECK(engine.search({.scope = shop, .text = "deploi nmber", .mode = SearchMode::vector}).hits.size() == 10);
}

TEST_CASE("hybrid search with a vector fuses both arms and tells the ranks", "[engine]") {
    TestEngine engine;
    RecordRequest request{.scope = shop, .content = "alpha"};
    request.embedding = Embedding{"m", {1, 0, 0}};
    const auto alpha = engine.record(request);
    request.content = "beta";
    request.embedding = Embedding{"m", {0, 1, 0}};
    const auto beta = engine.record(request);

    const auto answer = engine.search({.scope = shop, .text = "alpha", .vector = Embedding{"m", {0, 2, 0}}});

    REQUIRE(answer.hits.size() == 2);
    CHECK(answer.hits[0].memory.id == alpha.memory_id);  // In both arms.
    CHECK(answer.hits[0].parts.text_rank == 1);
    CHECK(answer.hits[0].parts.vector_rank == 2);
    CHECK(answer.hits[1].memory.id == beta.memory_id);
    CHECK(answer.hits[1].parts.text_rank == 0);
    CHECK(answer.hits[1].parts.similarity == 1.0);
}

TEST_CASE("a vector of a model the project does not know leaves the text arm, and says so", "[engine]") {
    TestEngine engine;
    engine.note(shop, "alpha");
    const auto answer = engine.search({.scope = shop, .text = "alpha", .vector = Embedding{"other", {1}}});
    CHECK(answer.hits.size() == 1);
    CHECK(answer.degraded.size() == 1);
    CHECK(engine->search({.scope = shop, .text = "alpha", .mode = SearchMode::vector}).error().code ==
          ErrorCode::invalid_argument);
}

TEST_CASE("a vector of another dimension than its model's is refused", "[engine]") {
    TestEngine engine;
    RecordRequest request{.scope = shop, .content = "alpha"};
    request.embedding = Embedding{"m", {1, 0, 0}};
    engine.record(request);
    const auto answer = engine->search({.scope = shop, .vector = Embedding{"m", {1, 0}}, .min_seq = engine->head()});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::invalid_argument);
}

TEST_CASE("a store that is not there is not made by one who only reads", "[engine]") {
    TempDir dir;
    const auto missing = Engine::open({.directory = dir.path() / "none", .create_if_missing = false});
    REQUIRE_FALSE(missing);
    CHECK(missing.error().code == ErrorCode::not_found);
    CHECK_FALSE(std::filesystem::exists(dir.path() / "none"));
}

TEST_CASE("a second owner is told that the store is taken", "[engine]") {
    TestEngine engine;
    const auto second = Engine::open({.directory = engine.path()});
    REQUIRE_FALSE(second);
    CHECK(second.error().code == ErrorCode::already_exists);
}

TEST_CASE("a forked child gets an error, not a hang", "[engine]") {
    TestEngine engine;
    const auto receipt = engine.note(shop, "tea");
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const bool refused = engine->record({.scope = shop, .content = "x"}).error().code == ErrorCode::unavailable &&
                             engine->get(shop, receipt.memory_id).error().code == ErrorCode::unavailable &&
                             engine->search({.scope = shop, .text = "tea"}).error().code == ErrorCode::unavailable &&
                             engine->forget(target(shop, receipt.memory_id)).error().code == ErrorCode::unavailable &&
                             engine->list({.scope = shop}).error().code == ErrorCode::unavailable &&
                             engine->status().error().code == ErrorCode::unavailable;
        engine.close();
        _exit(refused ? 0 : 1);
    }
    int outcome = 0;
    REQUIRE(waitpid(child, &outcome, 0) == child);
    CHECK(outcome == 0);
    CHECK(engine.search({.scope = shop, .text = "tea"}).hits.size() == 1);
}

TEST_CASE("the log can be read in order, narrowed to a project", "[engine]") {
    TestEngine engine;
    engine.note(shop, "one");
    engine.note({.project = "other", .agent = {}, .user = {}, .session = {}}, "two");
    engine.note(shop, "three");
    std::vector<std::uint64_t> seqs;
    REQUIRE(engine->read_log(Seq{0}, "shop", [&](const Engine::LogEntry& entry) {
        seqs.push_back(entry.seq.value);
        return true;
    }));
    CHECK(seqs == std::vector<std::uint64_t>{1, 3});
}

}  // namespace
}  // namespace annal::testing
