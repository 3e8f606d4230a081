// What agents were given: put down with a search or by the host, told again by memory and by run, and explained.
#include "support/scopes.h"
#include "support/seed.h"
#include "test_engine.h"

#include "adapters/json.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <sys/resource.h>

#include <csignal>
#include <limits>
#include <random>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

namespace {

SearchAnswer search_for_run(TestEngine& engine, const Scope& scope, std::string text, std::string run_id,
                            std::size_t limit = 10) {
    SearchRequest request{.scope = scope, .text = std::move(text), .mode = SearchMode::text, .limit = limit};
    request.run_id = std::move(run_id);
    return engine.search(request);
}

RecallsAnswer recalls_of(TestEngine& engine, const Scope& scope, MemoryId id, std::optional<AsOf> as_of = {}) {
    RecallsRequest request{.scope = scope, .memory_id = id};
    request.read = {.min_seq = engine->head(), .wait_max = 60s, .as_of = as_of};
    if (as_of) request.read.min_seq = {};
    auto answer = engine->recalls(request);
    if (!answer) FAIL(answer.error().message);
    return *answer;
}

ExplainRequest to_explain(TestEngine& engine, const Scope& scope, std::string run_id) {
    ExplainRequest request{.scope = scope, .run_id = std::move(run_id)};
    request.read = {.min_seq = engine->head(), .wait_max = 60s, .as_of = {}};
    return request;
}

RunAnswer explained(TestEngine& engine, const Scope& scope, std::string run_id) {
    auto answer = engine->explain(to_explain(engine, scope, std::move(run_id)));
    if (!answer) FAIL(answer.error().message);
    return *answer;
}

std::vector<std::string> contents(const std::vector<RunMemory>& memories) {
    std::vector<std::string> texts;
    for (const auto& each : memories) texts.push_back(each.memory ? each.memory->content : "gone");
    return texts;
}

Receipt revise(TestEngine& engine, MemoryId id, std::string content, ExpectedVersion expected = {}) {
    ReviseRequest request{.target = target(shop, id)};
    request.target.expected_version = expected;
    request.content = std::move(content);
    auto receipt = engine->revise(request);
    if (!receipt) FAIL(receipt.error().message);
    return *receipt;
}

}  // namespace

TEST_CASE("a search for a run puts down what it gave, and nothing else does", "[engine][recalls]") {
    TestEngine engine;
    const auto first = engine.note(shop_qa, "checkout needs a 2 s wait");
    const auto second = engine.note(shop_qa, "checkout is flaky on Mondays");
    engine.note(shop_qa, "refunds take five days");
    const auto head = engine->head();
    const auto plain = engine.search({.scope = shop_qa, .text = "checkout", .mode = SearchMode::text});
    CHECK(plain.recalled_seq == Seq{0});
    CHECK(engine->head() == head);
    const auto none = search_for_run(engine, shop_qa, "unheard", "run-1");
    CHECK(none.hits.empty());
    CHECK(none.recalled_seq == Seq{0});
    CHECK(none.degraded.empty());
    CHECK(engine->head() == head);

    engine.clock().advance(1'000'000);
    const auto answer = search_for_run(engine, shop_qa, "checkout", "run-1");
    REQUIRE(answer.hits.size() == 2);
    CHECK(answer.degraded.empty());
    CHECK(answer.recalled_seq == Seq{head.value + 2});
    CHECK(engine->head() == answer.recalled_seq);
    CHECK(to_text(to_json(answer)).find("\"recalled_seq\":5") != std::string::npos);
    CHECK(to_text(to_json(plain)).find("recalled_seq") == std::string::npos);
    for (std::size_t i = 0; i < 2; ++i) {
        const auto& hit = answer.hits[i];
        const auto recalls = recalls_of(engine, shop_qa, hit.memory.id).recalls;
        REQUIRE(recalls.size() == 1);
        const auto& recall = recalls.front();
        CHECK(recall.seq == Seq{head.value + 1 + i});
        CHECK(recall.recorded_at >= engine.clock().now());
        CHECK(recall.scope == shop_qa);
        CHECK(recall.payload == Payload::plain);
        CHECK(recall.memory_id == hit.memory.id);
        CHECK(recall.together == Seq{head.value + 1});
        CHECK(recall.run_id == "run-1");
        CHECK(recall.actor == "qa");
        CHECK(recall.query == "checkout");
        CHECK(recall.rank == i + 1);
        CHECK(recall.score == hit.score);
        CHECK(recall.as_of == head);
        CHECK(recall.mode == SearchMode::text);
        CHECK_FALSE(recall.by_vector);
    }
    // No stream but the run's has moved.
    CHECK(engine->get(shop_qa, first.memory_id, {.min_seq = engine->head()})->version == Version{1});
    revise(engine, first.memory_id, "checkout needs a 3 s wait", ExpectedVersion::exactly(Version{1}));
    CHECK(engine->history(shop_qa, first.memory_id)->size() == 2);
    CHECK(engine->history(shop_qa, second.memory_id)->size() == 1);
    CHECK(engine->status()->counts == std::vector<std::pair<std::string, std::uint64_t>>{{"note", 3},
                                                                                         {"heuristic", 0},
                                                                                         {"outcome", 0},
                                                                                         {"preference", 0},
                                                                                         {"domain_knowledge", 0},
                                                                                         {"anti_pattern", 0},
                                                                                         {"entity", 0},
                                                                                         {"relation", 0}});
    std::vector<std::string> changes;
    REQUIRE(engine->diff({.scope = shop_qa, .from = head, .to = engine->head()}, [&](const DiffEntry& entry) {
        changes.push_back(entry.memory.content);
        return true;
    }));
    CHECK(changes == std::vector<std::string>{"checkout needs a 3 s wait"});
}

TEST_CASE("a run is explained by what it was given as it was, and what was known and not given", "[engine][recalls]") {
    TestEngine engine;
    std::vector<MemoryId> ids;
    for (const char* text : {"checkout alpha", "checkout alpha beta", "checkout beta gamma delta",
                             "checkout of gamma delta and epsilon", "checkout and so many other words that it is last"})
        ids.push_back(engine.note(shop_qa, text).memory_id);
    const auto found = search_for_run(engine, shop_qa, "checkout", "run-1", 2);
    REQUIRE(found.hits.size() == 2);
    const auto all = engine.search(
        {.scope = shop_qa, .text = "checkout", .mode = SearchMode::text, .limit = 12, .as_of = AsOf(found.seq)});
    REQUIRE(all.hits.size() == 5);

    const auto same = explained(engine, shop_qa, "run-1");
    REQUIRE(same.contexts.size() == 1);
    CHECK_FALSE(same.next);
    CHECK(same.seq == engine->head());
    for (const auto* part : {&same.contexts[0].given, &same.contexts[0].not_given})
        for (const auto& each : *part) CHECK(each.since == SinceThen::same);

    // What becomes of them later changes nothing of that.
    revise(engine, found.hits[0].memory.id, "rewritten");
    REQUIRE(engine->forget(target(shop_qa, found.hits[1].memory.id)));
    REQUIRE(engine->supersede(target(shop_qa, all.hits[2].memory.id), ids[0]));
    REQUIRE(engine->forget(target(shop_qa, all.hits[3].memory.id)));
    engine.note(shop_qa, "checkout");  // It would be the best of all.
    const auto answer = explained(engine, shop_qa, "run-1");
    REQUIRE(answer.contexts.size() == 1);
    const auto& context = answer.contexts[0];
    CHECK(context.seq == Seq{6});
    CHECK(context.scope == shop_qa);
    CHECK(context.actor == "qa");
    CHECK(context.query == "checkout");
    CHECK(context.mode == SearchMode::text);
    CHECK(context.as_of == Seq{5});
    CHECK(context.degraded.empty());
    REQUIRE(context.given.size() == 2);
    REQUIRE(context.not_given.size() == 3);
    for (std::size_t i = 0; i < 5; ++i) {
        const auto& each = i < 2 ? context.given[i] : context.not_given[i - 2];
        const auto& hit = all.hits[i];
        INFO(i);
        CHECK(each.memory_id == hit.memory.id);
        CHECK(each.rank == i + 1);
        CHECK(each.score == hit.score);
        CHECK(each.parts.own == hit.parts.own);
        CHECK(each.parts.text_rank == i + 1);
        REQUIRE(each.memory);
        CHECK(to_text(to_json(*each.memory)) == to_text(to_json(hit.memory)));
        CHECK(each.since == std::vector<SinceThen>{SinceThen::changed, SinceThen::forgotten, SinceThen::superseded,
                                                   SinceThen::forgotten, SinceThen::same}[i]);
    }
    auto request = to_explain(engine, shop_qa, "run-1");
    request.not_given_max = 1;
    CHECK(engine->explain(request)->contexts[0].not_given.size() == 1);
    request.not_given_max = 0;
    CHECK(engine->explain(request)->contexts[0].not_given.empty());
    CHECK(engine->explain(request)->contexts[0].given.size() == 2);
}

TEST_CASE("what was given is what the hits said, whatever was written before it was put down", "[engine][recalls]") {
    TestEngine engine;
    const auto id = engine.note(shop_qa, "checkout waits 2 s").memory_id;
    const auto read = engine.search({.scope = shop_qa, .text = "checkout"});
    revise(engine, id, "checkout waits 9 s");
    RecallRequest request{.scope = shop_qa, .run_id = "run-1"};
    request.query = "checkout";
    request.memories = {{id, 1, read.hits[0].score}};
    request.as_of = read.seq;
    REQUIRE(engine->recall(request));
    request.as_of.reset();  // As it is now.
    REQUIRE(engine->recall(request));
    const auto answer = explained(engine, shop_qa, "run-1");
    REQUIRE(answer.contexts.size() == 2);
    CHECK(contents(answer.contexts[0].given) == std::vector<std::string>{"checkout waits 2 s"});
    CHECK(answer.contexts[0].given[0].since == SinceThen::changed);
    CHECK(contents(answer.contexts[1].given) == std::vector<std::string>{"checkout waits 9 s"});
    CHECK(answer.contexts[1].given[0].since == SinceThen::same);
    CHECK_FALSE(answer.contexts[1].mode);

    // A search of the past for a run gives the past.
    SearchRequest past{.scope = shop_qa, .text = "checkout", .as_of = AsOf(read.seq)};
    past.run_id = "run-2";
    const auto given = engine->search(past);
    REQUIRE(given);
    REQUIRE(given->recalled_seq == engine->head());
    CHECK(contents(explained(engine, shop_qa, "run-2").contexts.at(0).given) ==
          std::vector<std::string>{"checkout waits 2 s"});
}

TEST_CASE("a host says what it gave, in its order, with its ranks and scores", "[engine][recalls]") {
    TestEngine engine;
    std::vector<MemoryId> ids;
    for (int i = 0; i < 6; ++i) ids.push_back(engine.note(shop_qa, "checkout " + std::to_string(i)).memory_id);
    REQUIRE(engine->forget(target(shop_qa, ids[5])));
    RecallRequest request{.scope = shop_qa, .run_id = "run-1", .actor = "planner"};
    request.memories = {{ids[4], 7, 0.25}, {ids[1], 2, -3.5}, {ids[5], 9, 0}};
    request.query = "checkout";
    request.mode = SearchMode::text;
    const auto receipts = engine->recall(request);
    REQUIRE(receipts);
    REQUIRE(receipts->size() == 3);
    CHECK(receipts->front().memory_id != ids[4]);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK((*receipts)[i].memory_id == receipts->front().memory_id);
        CHECK((*receipts)[i].version == Version{i + 1});
    }
    const auto answer = explained(engine, shop_qa, "run-1");
    REQUIRE(answer.contexts.size() == 1);
    const auto& context = answer.contexts[0];
    CHECK(context.actor == "planner");
    CHECK(contents(context.given) == std::vector<std::string>{"checkout 4", "checkout 1", "checkout 5"});
    CHECK(context.given[0].rank == 7);
    CHECK(context.given[1].score == -3.5);
    CHECK(context.given[2].since == SinceThen::same);  // Forgotten then, as now.
    CHECK(contents(context.not_given) == std::vector<std::string>{"checkout 0", "checkout 2", "checkout 3"});

    // What cannot be searched again is explained as far as it goes.
    request.query.clear();
    REQUIRE(engine->recall(request));
    request.query = "checkout";
    request.mode = SearchMode::vector;
    request.by_vector = true;
    REQUIRE(engine->recall(request));
    const auto more = explained(engine, shop_qa, "run-1");
    REQUIRE(more.contexts.size() == 3);
    CHECK(more.contexts[1].given.size() == 3);
    CHECK(more.contexts[1].not_given.empty());
    CHECK(more.contexts[1].degraded.size() == 1);
    CHECK(more.contexts[2].by_vector);
    CHECK(more.contexts[2].not_given.size() == 3);  // By its words.
    CHECK(more.contexts[2].degraded.size() == 1);
}

TEST_CASE("a recall that is not so is refused, and nothing is written", "[engine][recalls]") {
    TestEngine engine;
    const auto id = engine.note(shop_qa, "checkout").memory_id;
    const auto late = engine.note(shop_qa, "later").memory_id;
    const auto elsewhere = engine.note({.project = "other"}, "checkout").memory_id;
    const auto of_dev = engine.note({.project = "shop", .agent = "dev"}, "checkout").memory_id;
    const auto head = engine->head();
    RecallRequest good{.scope = shop_qa, .run_id = "run-1"};
    good.memories = {{id, 1, 0.5}, {late, 2, 0.25}};
    const auto refused = [&](const auto& change, ErrorCode code, std::string_view field = {}) {
        auto request = good;
        change(request);
        const auto done = engine->recall(request);
        REQUIRE_FALSE(done);
        INFO(done.error().message);
        CHECK(done.error().code == code);
        if (!field.empty()) CHECK(done.error().details.at("field") == field);
        CHECK(engine->head() == head);
    };
    using enum ErrorCode;
    refused([](auto& r) { r.run_id.clear(); }, invalid_argument, "run_id");
    refused([](auto& r) { r.run_id = " \t"; }, invalid_argument, "run_id");
    refused([](auto& r) { r.run_id = std::string(129, 'x'); }, invalid_argument, "run_id");
    refused([](auto& r) { r.run_id = std::string("a\0b", 3); }, invalid_argument, "run_id");
    refused([](auto& r) { r.scope.project.clear(); }, invalid_argument);
    refused([](auto& r) { r.actor = std::string(129, 'x'); }, invalid_argument, "actor");
    refused([](auto& r) { r.query = std::string(1001, 'x'); }, invalid_argument, "query");
    refused([](auto& r) { r.memories.clear(); }, invalid_argument, "memories");
    refused([](auto& r) { r.memories.resize(257, r.memories[0]); }, invalid_argument, "memories");
    refused([](auto& r) { r.memories[1] = r.memories[0]; }, invalid_argument, "memories");
    refused([](auto& r) { r.memories[0].memory_id = {}; }, invalid_argument, "memory_id");
    refused([](auto& r) { r.memories[1].rank = 0; }, invalid_argument, "rank");
    refused([](auto& r) { r.memories[1].score = std::numeric_limits<double>::infinity(); }, invalid_argument, "score");
    refused([](auto& r) { r.as_of = Seq{99}; }, invalid_argument, "as_of");
    refused([](auto& r) { r.as_of = Seq{1}; }, invalid_argument, "as_of");  // Before the second was recorded.
    refused([&](auto& r) { r.memories[1].memory_id = elsewhere; }, not_found);
    refused([&](auto& r) { r.memories[1].memory_id = of_dev; }, not_found);
    REQUIRE(engine->recall(good));

    SearchRequest search{.scope = shop_qa, .text = "checkout", .limit = 257};
    search.run_id = "run-1";
    CHECK(engine->search(search).error().details.at("field") == "limit");
    search.limit = 256;
    CHECK(engine->search(search));
    search.run_id = "\n";
    CHECK(engine->search(search).error().details.at("field") == "run_id");

    auto run = to_explain(engine, shop_qa, "run-1");
    run.limit = 101;
    CHECK(engine->explain(run).error().details.at("field") == "limit");
    run.limit = 1;
    run.not_given_max = 1001;
    CHECK(engine->explain(run).error().details.at("field") == "not_given_max");
    CHECK(engine->recalls({.scope = shop_qa, .memory_id = id, .limit = 0}).error().details.at("field") == "limit");
    CHECK(engine->recalls({.scope = shop_qa, .memory_id = elsewhere}).error().code == not_found);
    CHECK(engine->explain(to_explain(engine, shop_qa, "run-2")).error().code == not_found);
}

TEST_CASE("as much as can be given at once is put down, at every limit", "[engine][recalls]") {
    TestEngine engine;
    const std::string name(128, 'n');
    const Scope scope{name, name, name, name};
    std::vector<RecordRequest> requests(256, {.scope = scope, .content = "checkout"});
    const auto receipts = engine->record_batch(requests);
    REQUIRE(receipts);
    RecallRequest request{.scope = scope, .run_id = std::string(126, 'r')};
    for (int i = 0; i < 1000; ++i) request.query += "\U0001F600";
    for (int i = 0; i < 128; ++i) request.actor += "\U0001F600";
    request.run_id += "\U0001F600";
    for (const auto& receipt : *receipts)
        request.memories.push_back({receipt.memory_id, static_cast<std::uint32_t>(request.memories.size() + 1), 1});
    REQUIRE(engine->recall(request));
    auto run = to_explain(engine, scope, request.run_id);
    run.not_given_max = 0;
    const auto answer = engine->explain(run);
    REQUIRE(answer);
    REQUIRE(answer->contexts.size() == 1);
    CHECK(answer->contexts[0].given.size() == 256);
    CHECK(answer->contexts[0].query == request.query);
}

TEST_CASE("nobody sees a run of a scope that is not in his, nor a memory", "[engine][recalls]") {
    TestEngine engine;
    const Scope bob{.project = "shop", .agent = "qa", .user = "bob", .session = {}};
    const Scope other{.project = "other", .agent = "qa", .user = {}, .session = {}};
    const auto of_ann = engine.note(ann, "checkout of ann").memory_id;
    const auto of_bob = engine.note(bob, "checkout of bob").memory_id;
    const auto of_all = engine.note(shop_qa, "checkout of all").memory_id;
    const auto elsewhere = engine.note(other, "checkout elsewhere").memory_id;
    // One name for the runs of all of them.
    search_for_run(engine, shop, "checkout all", "run", 10);
    search_for_run(engine, ann, "checkout ann", "run", 10);
    search_for_run(engine, bob, "checkout bob", "run", 10);
    search_for_run(engine, other, "checkout other", "run", 10);

    const auto queries = [&](const Scope& scope) {
        std::string all;
        for (const auto& context : explained(engine, scope, "run").contexts) {
            all += context.query + ":";
            for (const auto& each : context.given) all += " " + each.memory->content;
            for (const auto& each : context.not_given) all += " (" + each.memory->content + ")";
            all += "; ";
        }
        return all;
    };
    CHECK(queries(ann) == "checkout ann: checkout of ann; ");
    CHECK(queries({.project = "shop", .agent = {}, .user = "ann", .session = {}}) == "checkout ann: checkout of ann; ");
    CHECK(queries(bob) == "checkout bob: checkout of bob; ");
    CHECK(queries(other) == "checkout other: checkout elsewhere; ");
    const auto of_shop = queries(shop);
    for (const char* part : {"checkout all: checkout of", "checkout ann: checkout of ann;", "checkout bob: "})
        CHECK(of_shop.find(part) != std::string::npos);
    CHECK(of_shop.find("elsewhere") == std::string::npos);
    // The run of the whole project is not seen from a part of it, though his memory was in it.
    CHECK(queries(shop_qa) == "checkout ann: checkout of ann; checkout bob: checkout of bob; ");
    CHECK(engine->explain(to_explain(engine, {.project = "shop", .agent = "dev"}, "run")).error().code ==
          ErrorCode::not_found);

    const auto asked = [&](const Scope& scope, MemoryId id) {
        std::string all;
        for (const auto& recall : recalls_of(engine, scope, id).recalls) all += recall.query + "; ";
        return all;
    };
    CHECK(asked(ann, of_ann) == "checkout ann; ");
    CHECK(asked(shop, of_ann) == "checkout ann; checkout all; ");
    CHECK(asked(shop_qa, of_all).empty());
    CHECK(asked(shop, of_all) == "checkout all; ");
    for (const auto id : {of_bob, of_all, elsewhere})
        CHECK(engine->recalls({.scope = ann, .memory_id = id}).error().code == ErrorCode::not_found);

    // The stream of a run is no memory's: whoever works out its id learns nothing, and cannot put a memory there.
    std::optional<MemoryId> stream;
    REQUIRE(engine->read_log(Seq{0}, "shop", [&](const Engine::LogEntry& entry) {
        if (entry.type == "MemoryRecalled") stream = entry.memory_id;
        return true;
    }));
    REQUIRE(stream);
    CHECK(engine->history(shop, *stream).error().code == ErrorCode::not_found);
    CHECK(engine->get(shop, *stream, {}, true).error().code == ErrorCode::not_found);
    CHECK(engine->forget(target(shop, *stream)).error().code == ErrorCode::not_found);
    const auto taken = engine->record({.scope = {.project = "mine"}, .content = "x", .memory_id = *stream});
    REQUIRE_FALSE(taken);
    CHECK(taken.error().details.at("field") == "memory_id");
}

TEST_CASE("recalls and runs come in pages", "[engine][recalls]") {
    TestEngine engine;
    const auto id = engine.note(shop_qa, "checkout").memory_id;
    engine.note(shop_qa, "checkout too");
    for (int i = 0; i < 7; ++i) search_for_run(engine, shop_qa, "checkout " + std::to_string(i), "run");
    for (int i = 0; i < 3; ++i) search_for_run(engine, shop, "checkout wide " + std::to_string(i), "run");
    const auto whole = recalls_of(engine, shop_qa, id).recalls;
    REQUIRE(whole.size() == 7);
    RecallsRequest page{.scope = shop_qa, .memory_id = id, .limit = 2};
    std::vector<Seq> seqs;
    for (int pages = 0;; ++pages) {
        REQUIRE(pages < 10);
        const auto answer = engine->recalls(page);
        REQUIRE(answer);
        CHECK(answer->recalls.size() <= 2);
        for (const auto& recall : answer->recalls) seqs.push_back(recall.seq);
        if (!answer->next) break;
        page.before = answer->next;
    }
    std::vector<Seq> expected;
    for (const auto& recall : whole) expected.push_back(recall.seq);
    CHECK(seqs == expected);

    auto request = to_explain(engine, shop, "run");
    request.limit = 4;
    request.not_given_max = 0;
    std::vector<std::string> queries;
    for (int pages = 0;; ++pages) {
        REQUIRE(pages < 4);
        const auto answer = engine->explain(request);
        REQUIRE(answer);
        for (const auto& context : answer->contexts) {
            CHECK(context.given.size() == 2);
            queries.push_back(context.query);
        }
        CHECK(answer->contexts.size() == (answer->next ? 4 : 2));
        if (!answer->next) break;
        request.after = answer->next;
    }
    REQUIRE(queries.size() == 10);
    CHECK(queries.front() == "checkout 0");
    CHECK(queries.back() == "checkout wide 2");
}

TEST_CASE("recalls as of a moment are those of a store that ends there", "[engine][recalls][as_of]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t end) { return random() % end; };
    TestEngine engine;
    std::vector<MemoryId> ids;
    const auto word = [&] { return "word" + std::to_string(below(4)); };
    const auto told = [&](std::optional<AsOf> as_of) {
        const ReadOptions read{.min_seq = as_of ? Seq{} : engine->head(), .wait_max = 60s, .as_of = as_of};
        std::string all;
        for (const auto& id : ids) {
            RecallsRequest request{.scope = shop, .memory_id = id};
            request.read = read;
            const auto answer = engine->recalls(request);
            all += (answer ? to_text(to_json(*answer)) : std::string(to_string(answer.error().code))) + '\n';
        }
        for (const char* run : {"run-0", "run-1"}) {
            ExplainRequest request{.scope = shop, .run_id = run};
            request.read = read;
            const auto answer = engine->explain(request);
            all += (answer ? to_text(to_json(*answer)) : std::string(to_string(answer.error().code))) + '\n';
        }
        return all;
    };
    std::vector<std::pair<Seq, std::string>> then;
    for (int i = 0; i < 60; ++i) {
        engine.clock().advance(1'000'000);
        const auto kind = ids.empty() ? 0 : below(5);
        if (kind == 0)
            ids.push_back(engine.note(shop_qa, word() + " " + word()).memory_id);
        else if (kind == 1)
            static_cast<void>(engine->reinforce(target(shop_qa, ids[below(ids.size())]), true));
        else if (kind == 2 && below(3) == 0)
            static_cast<void>(engine->forget(target(shop_qa, ids[below(ids.size())])));
        else
            search_for_run(engine, below(2) == 0 ? shop_qa : shop, word(), "run-" + std::to_string(below(2)),
                           1 + below(3));
        if (i % 6 == 5) then.emplace_back(engine->head(), told({}));
    }
    const auto all = ids.size();
    for (const auto& [seq, text] : then) {
        INFO("as of " << seq.value);
        // Memories recorded later are not found; those of then come first.
        const auto now = told(AsOf(seq));
        std::size_t known = 0;
        for (std::size_t i = 0; i < all; ++i) known += engine->get(shop, ids[i], {.as_of = AsOf(seq)}, true) ? 1 : 0;
        std::string expected = text;
        std::size_t line = 0;
        for (std::size_t i = 0; i < known; ++i) line = expected.find('\n', line) + 1;
        for (std::size_t i = known; i < all; ++i) expected.insert(line, "not_found\n");
        REQUIRE(now == expected);
    }

    const auto digests = engine.digests();
    CHECK(digests.find("recalls=") != std::string::npos);
    const auto before = told({});
    REQUIRE(engine->rebuild("recalls"));
    CHECK(engine.digests() == digests);
    CHECK(told({}) == before);
    engine.close();
    std::filesystem::remove_all(engine.path() / "views");
    engine.open();
    CHECK(engine.digests() == digests);
    CHECK(told({}) == before);
    const auto report = engine->verify();
    REQUIRE(report);
    CHECK(report->all_well());
    CHECK(report->checks.back().name == "views.recalls");
    CHECK(report->checks.back().count > 20);
}

TEST_CASE("an answer comes though what was given cannot be put down, and says so", "[engine][recalls]") {
    TestEngine engine;
    engine.note(shop_qa, "checkout");
    REQUIRE(engine->wait_for(engine->head(), 60s));
    const auto head = engine->head();
    const auto no_signal = std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    rlimit none = before;
    none.rlim_cur = 0;  // No file grows.
    REQUIRE(setrlimit(RLIMIT_FSIZE, &none) == 0);
    SearchRequest request{.scope = shop_qa, .text = "checkout"};
    request.run_id = "run-1";
    const auto answer = engine->search(request);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    std::signal(SIGXFSZ, no_signal);
    REQUIRE(answer);
    CHECK(answer->hits.size() == 1);
    CHECK(answer->recalled_seq == Seq{0});
    REQUIRE(answer->degraded.size() == 1);
    CHECK(answer->degraded[0].starts_with("recall: not recorded: "));
    CHECK(engine->head() == head);
}
