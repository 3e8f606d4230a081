// What PostgreSQL answers against what the store itself does, which it is a copy of.
#include "adapters/outbound/postgres_memories.h"
#include "adapters/outbound/postgres_sink.h"
#include "adapters/outbound/sync.h"
#include "engine/test_engine.h"
#include "support/postgres_server.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <random>
#include <set>
#include <thread>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

namespace {

template <class T>
T must(Result<T> result) {
    if (!result) FAIL(result.error().message);
    return std::move(*result);
}

// A store, and a PostgreSQL that is brought up to it when asked.
struct Copied {
    std::unique_ptr<PostgresServer> server = postgres_server_or_skip();
    TestEngine engine;
    PostgresOptions far = options_of(*server);
    std::unique_ptr<SyncRunner> runner;

    static PostgresOptions options_of(const PostgresServer& server) {
        PostgresOptions options;
        options.connection = server.connection();
        return options;
    }
    void sync() {
        if (!runner) {
            SyncOptions options;
            options.poll = 1ms;
            runner = must(SyncRunner::start(*engine, options));
            must(runner->add("far", make_postgres_sink(far)));
        }
        must(runner->wait_for("far", engine->head(), 120s));
    }
    PostgresMemoriesOptions reading() {
        PostgresMemoriesOptions options;
        options.postgres = far;
        options.clock = &engine.clock();
        return options;
    }
    std::unique_ptr<PostgresMemories> open() { return must(PostgresMemories::open(reading())); }
    std::string sql(const std::string& statement) const {
        const auto connection = must(PostgresConnection::open(options_of(*server)));
        const auto rows = must(connection->run(statement));
        return rows.size() == 0 ? "" : PostgresReader(rows, 0).text();
    }
};

// Memories of every kind, said and written, and questions about them.
class Random {
 public:
    explicit Random(std::uint64_t seed) : random_(seed) {}

    std::size_t below(std::size_t limit) { return random_() % limit; }
    bool chance(std::size_t one_in = 2) { return below(one_in) == 0; }
    const std::string& any(const std::vector<std::string>& of) { return of[below(of.size())]; }

    std::string words(std::size_t most) {
        static const std::vector<std::string> all{"checkout",
                                                  "waits",
                                                  "waiting",
                                                  "the",
                                                  "flaky",
                                                  "Ann's",
                                                  "refund",
                                                  "policy",
                                                  "load_page",
                                                  "main.cpp",
                                                  "it's",
                                                  "a\\b",
                                                  "tea",
                                                  "rain",
                                                  "who",
                                                  "2024",
                                                  "\xe6\x9d\xb1\xe4\xba\xac\xe9\xa7\x85",
                                                  "cafe",
                                                  "of",
                                                  "May",
                                                  "Benedikt"};
        std::string text;
        for (auto count = 1 + below(most); count > 0; --count) text += (text.empty() ? "" : " ") + any(all);
        return text + (chance(4) ? "?" : ".");
    }
    std::vector<float> vector(std::size_t dimension) {
        std::normal_distribution<float> normal;
        std::vector<float> values(dimension);
        for (auto& value : values) value = normal(random_);
        return values;
    }
    RecordRequest memory(Timestamp now) {
        RecordRequest request;
        request.scope = {chance(5) ? "other" : "shop", any(agents), any(users), any(sessions)};
        request.content = words(14);
        request.fields = empty_fields(static_cast<Kind>(below(kind_count)));
        if (auto* heuristic = std::get_if<HeuristicFields>(&request.fields)) heuristic->condition = words(4);
        if (auto* outcome = std::get_if<OutcomeFields>(&request.fields)) outcome->error_message = words(4);
        if (chance(3)) request.tags = {any(tags)};
        if (chance(4)) request.tags.push_back(any(tags));
        request.metadata = any(metadata);
        request.claim = static_cast<Claim>(below(claim_names.size()));
        request.confidence = static_cast<double>(below(5)) / 4;
        if (chance()) {
            request.context.source = {SourceType::message, "m"};
            request.context.actor = any({"Ann", "Benedikt", "Caro Ann", ""});
        }
        const auto time = [&] { return Timestamp{now.us + (static_cast<std::int64_t>(below(9)) - 4) * 3'600'000'000}; };
        if (chance(3)) request.occurred_at = time();
        if (chance(4)) request.valid_from = time();
        if (chance(4)) request.valid_to = Timestamp{std::max(time(), request.valid_from.value_or(Timestamp{}))};
        if (chance(6)) request.expires_at = time();
        if (chance()) request.embedding = Embedding{chance(3) ? "m'2" : "m1", vector(8)};
        return request;
    }
    Filter filter(Timestamp now) {
        Filter filter;
        const auto time = [&] { return Timestamp{now.us + (static_cast<std::int64_t>(below(9)) - 4) * 3'600'000'000}; };
        if (chance(4)) filter.kinds = {static_cast<Kind>(below(kind_count)), static_cast<Kind>(below(kind_count))};
        if (chance(5)) filter.tags = {any(tags)};
        if (chance(5)) filter.claims = {static_cast<Claim>(below(4)), static_cast<Claim>(below(4))};
        if (chance(5)) filter.confidence_min = static_cast<double>(below(5)) / 4;
        if (chance(8)) filter.occurred_from = time();
        if (chance(8)) filter.occurred_to = Timestamp{filter.occurred_from.value_or(time()).us + 3'600'000'000};
        if (chance(8)) filter.recorded_from = time();
        if (chance(8)) filter.recorded_to = Timestamp{filter.recorded_from.value_or(time()).us + 3'600'000'000};
        if (chance(6)) filter.valid_at = time();
        if (chance(5)) filter.metadata.push_back(condition());
        return filter;
    }
    Filter::Metadata condition() {
        switch (below(6)) {
            case 0:
                return {"env", std::nullopt, std::nullopt, std::nullopt};
            case 1:
                return {"env", "\"prod\"", std::nullopt, std::nullopt};
            case 2:
                return {"a.b", "1", std::nullopt, std::nullopt};
            case 3:
                return {"n", std::nullopt, 2.0, std::nullopt};
            case 4:
                return {"n", std::nullopt, std::nullopt, 2.5};
            default:
                return {"o", R"({"y":[1,2],"x":"'"})", std::nullopt, std::nullopt};
        }
    }
    Scope scope() {
        Scope scope{chance(5) ? "other" : "shop", "", "", ""};
        if (chance(4)) scope.agent = any(agents);
        if (chance(5)) scope.user = any(users);
        if (chance(5)) scope.session = any(sessions);
        return scope;
    }

    static inline const std::vector<std::string> agents{"", "qa", "ops"}, users{"", "", "ann"},
        sessions{"", "s1", "s2", "s3"}, tags{"it's", "b c", "flaky", "\xc3\xa9{,}\""},
        metadata{"null",         R"({"env":"prod"})", R"({"env":null,"n":2})",          R"({"a":{"b":1.0},"n":2.5})",
                 R"({"a.b":1})", R"({"n":"2"})",      R"({"o":{"x":"'","y":[1,2.0]}})", R"(["env"])"};

 private:
    std::mt19937_64 random_;
};

// The same but for how JSON is spelled, which jsonb does not keep.
void check_same(const Memory& is, const Memory& should_be) {
    CHECK(is.id == should_be.id);
    CHECK(is.content == should_be.content);
    CHECK(is.fields == should_be.fields);
    CHECK(is.version == should_be.version);
    CHECK(is.seq == should_be.seq);
    CHECK(is.scope == should_be.scope);
    CHECK(is.tags == should_be.tags);
    CHECK(is.recorded_at == should_be.recorded_at);
    CHECK(is.embedding_model == should_be.embedding_model);
    CHECK(is.embedding_dimension == should_be.embedding_dimension);
}

void check_same(const SearchAnswer& is, const SearchAnswer& should_be) {
    CHECK(is.seq == should_be.seq);
    CHECK(is.degraded == should_be.degraded);
    REQUIRE(is.hits.size() == should_be.hits.size());
    for (std::size_t i = 0; i < is.hits.size(); ++i) {
        const auto& [memory, score, parts] = is.hits[i];
        const auto& expected = should_be.hits[i];
        check_same(memory, expected.memory);
        CHECK(score == expected.score);
        CHECK(parts.text_rank == expected.parts.text_rank);
        CHECK(parts.vector_rank == expected.parts.vector_rank);
        CHECK(parts.text == expected.parts.text);
        CHECK(parts.own == expected.parts.own);
        CHECK(parts.neighbours == expected.parts.neighbours);
        CHECK(parts.session == expected.parts.session);
        CHECK(parts.speaker == expected.parts.speaker);
        CHECK(parts.question == expected.parts.question);
        CHECK(parts.similarity == expected.parts.similarity);
        CHECK(parts.matched_terms == expected.parts.matched_terms);
    }
}

void fill(TestEngine& engine, Random& random, int count) {
    std::vector<Receipt> there;
    std::vector<RecordRequest> said;
    for (const auto* project : {"shop", "other"}) {  // Of each model there is one for good.
        for (const auto* model : {"m1", "m'2"}) {
            RecordRequest request{.scope = {project, "", "", ""}, .content = "tea"};
            request.embedding = Embedding{model, random.vector(8)};
            engine.record(request);
        }
    }
    for (int i = 0; i < count; ++i) {
        const auto request = random.memory(engine.clock().now());
        there.push_back(engine.record(request));
        said.push_back(request);
        engine.clock().advance(600'000'000);
        const auto at = random.below(there.size());
        Target target{.scope = said[at].scope, .memory_id = there[at].memory_id, .expected_version = {}, .context = {}};
        target.context.reason = "a test";
        if (random.chance(10)) {
            ReviseRequest revision;
            revision.target = target;
            revision.content = random.words(14);
            revision.embedding = Embedding{"m1", random.vector(8)};
            static_cast<void>(engine->revise(revision));
        }
        if (random.chance(12)) static_cast<void>(engine->supersede(target, there.back().memory_id));
        // One that leaves no place open in a session: PostgreSQL does not know of such places.
        if (random.chance(12) && said[at].scope.session.empty()) static_cast<void>(engine->forget(target, false));
    }
}

std::set<MemoryId> ids_of(const SearchAnswer& answer) {
    std::set<MemoryId> ids;
    for (const auto& hit : answer.hits) ids.insert(hit.memory.id);
    return ids;
}

double overlap(const SearchAnswer& is, const SearchAnswer& should_be) {
    if (should_be.hits.empty()) return 1;
    const auto ids = ids_of(is);
    std::size_t common = 0;
    for (const auto& hit : should_be.hits) common += ids.count(hit.memory.id);
    return static_cast<double>(common) / static_cast<double>(should_be.hits.size());
}

}  // namespace

TEST_CASE("a search in PostgreSQL answers what the store does: hits, order, scores and reasons", "[postgres][search]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    Random random(seed);
    Copied copied;
    const bool reals = GENERATE(false, true);
    if (reals) {  // A user who may not install pgvector.
        copied.sql("CREATE ROLE plain LOGIN PASSWORD 'x'");
        copied.sql("CREATE SCHEMA annal AUTHORIZATION plain");
        copied.far.connection = copied.server->connection("postgres", "plain") + " password=x";
    }
    fill(copied.engine, random, 130);
    copied.sync();
    const auto there = copied.open();
    for (int i = 0; i < trials(reals ? 40 : 150); ++i) {
        SearchRequest request;
        request.scope = random.scope();
        request.mode = static_cast<SearchMode>(random.below(3));
        request.text = random.words(5);
        if (request.mode == SearchMode::vector || (request.mode == SearchMode::hybrid && random.chance()))
            request.vector = Embedding{random.any({"m1", "m'2", "m1", "none"}), random.vector(8)};
        request.limit = random.chance() ? 10 : 1 + random.below(60);
        request.filter = random.filter(copied.engine.clock().now());
        INFO("search " << i << ", mode " << static_cast<int>(request.mode) << ": " << request.text);
        auto expected = copied.engine.search(request);
        if (reals && request.mode != SearchMode::text && request.vector && request.vector->model != "none")
            expected.degraded.push_back("vector: this database has no pgvector: vectors are compared one by one");
        check_same(must(there->search(request)), expected);
    }
}

TEST_CASE("a list and a get in PostgreSQL answer what the store does", "[postgres][search]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    Random random(seed);
    Copied copied;
    fill(copied.engine, random, 100);
    copied.sync();
    const auto there = copied.open();
    for (int i = 0; i < trials(60); ++i) {
        ListRequest request;
        request.scope = random.scope();
        request.order = static_cast<ListOrder>(random.below(3));
        request.limit = 1 + random.below(20);
        request.filter = random.filter(copied.engine.clock().now());
        const auto expected = copied.engine.list(request);
        std::vector<Memory> listed;
        do {
            auto page = must(there->list(request));
            CHECK(page.seq == copied.engine->head());
            CHECK(page.memories.size() <= request.limit);
            listed.insert(listed.end(), page.memories.begin(), page.memories.end());
            request.cursor = page.next_cursor;
        } while (!request.cursor.empty());
        INFO("list " << i << " in order " << static_cast<int>(request.order));
        REQUIRE(listed.size() == expected.size());
        for (std::size_t n = 0; n < listed.size(); ++n) check_same(listed[n], expected[n]);
        if (listed.empty()) continue;
        check_same(must(there->get(request.scope, listed[0].id, {})), expected[0]);
        const Scope elsewhere{"third", "", "", ""};
        CHECK(there->get(elsewhere, listed[0].id, {}).error().code == ErrorCode::not_found);
    }
}

TEST_CASE("among many candidates PostgreSQL finds at least nine of the store's ten", "[postgres][search]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    Random random(seed);
    Copied copied;
    std::vector<RecordRequest> requests;
    for (int i = 0; i < 3000; ++i) {
        RecordRequest request;
        request.scope = {"shop", "", "", i % 3 == 0 ? "" : "s" + std::to_string(i / 30)};
        request.content = random.words(40);
        requests.push_back(std::move(request));
    }
    for (std::size_t at = 0; at < requests.size(); at += 500)
        must(copied.engine->record_batch(std::span(requests).subspan(at, 500)));
    copied.sync();
    const auto there = copied.open();
    double sum = 0;
    constexpr int searches = 30;
    for (int i = 0; i < searches; ++i) {
        SearchRequest request;
        request.scope.project = "shop";
        request.mode = SearchMode::text;
        request.text = random.words(6);
        sum += overlap(must(there->search(request)), copied.engine.search(request));
    }
    UNSCOPED_INFO("overlap " << sum / searches);
    CHECK(sum / searches >= 0.9);
}

TEST_CASE("an index of PostgreSQL finds near vectors, and a filter leaves none out", "[postgres][search]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    Random random(seed);
    Copied copied;
    std::vector<RecordRequest> requests, small;
    for (int i = 0; i < 600; ++i) {
        RecordRequest request;
        request.scope.project = i % 50 == 0 ? "small" : "shop";
        request.content = "memory " + std::to_string(i);
        if (i % 40 == 1) request.tags = {"rare"};
        request.embedding = Embedding{"m", random.vector(16)};
        (i % 50 == 0 ? small : requests).push_back(std::move(request));
    }
    must(copied.engine->record_batch(requests));
    must(copied.engine->record_batch(small));
    copied.sync();
    auto options = copied.reading();
    options.exact_scan_max = 0;  // Even of so few the index is asked.
    options.postgres.connection += " options='-c enable_seqscan=off -c enable_sort=off -c enable_bitmapscan=off'";
    const auto by_index = must(PostgresMemories::open(options));
    const auto exact = copied.open();
    double sum = 0;
    constexpr int searches = 30;
    for (int i = 0; i < searches; ++i) {
        SearchRequest request;
        request.scope.project = "shop";
        request.mode = SearchMode::vector;
        request.vector = Embedding{"m", random.vector(16)};
        sum += overlap(must(by_index->search(request)), copied.engine.search(request));
        for (const auto* project : {"shop", "small"}) {
            request.scope.project = project;
            if (request.scope.project == "shop") request.filter.tags = {"rare"};
            request.limit = 12;
            check_same(must(by_index->search(request)), copied.engine.search(request));
            request.filter.tags.clear();
        }
        request.limit = 50;
        request.scope.project = "shop";
        check_same(must(exact->search(request)), copied.engine.search(request));
    }
    UNSCOPED_INFO("overlap " << sum / searches);
    CHECK(sum / searches >= 0.95);
}

TEST_CASE("a search in PostgreSQL waits for its seq, and gives up in time", "[postgres][search]") {
    Copied copied;
    const auto there = copied.open();
    SearchRequest request;
    request.scope.project = "shop";
    request.text = "tea";
    CHECK(there->search(request).error().code == ErrorCode::not_found);  // Nothing was synced yet.
    copied.engine.note(request.scope, "tea");
    copied.sync();
    CHECK(must(there->search(request)).hits.size() == 1);

    request.min_seq = Seq{2};
    request.wait_max = 0ms;
    const auto late = there->search(request);
    REQUIRE_FALSE(late);
    CHECK(late.error().code == ErrorCode::deadline_exceeded);
    CHECK(late.error().details.at("reached") == "1");

    request.wait_max = 120s;
    std::thread reader([&, min_seq = request.min_seq] {
        const auto answer = there->search(request);
        if (!answer || answer->hits.size() != 2 || answer->seq < min_seq) std::abort();
    });
    copied.engine.note(request.scope, "more tea");
    copied.sync();
    reader.join();

    // Forgotten: gone there too, once it is reached.
    Target target{.scope = request.scope, .memory_id = {}, .expected_version = {}, .context = {}};
    target.memory_id = must(there->search(request)).hits[0].memory.id;
    target.context.reason = "a test";
    const auto forgotten = must(copied.engine->forget(target, false));
    copied.sync();
    request.min_seq = forgotten.seq;
    CHECK(must(there->search(request)).hits.size() == 1);
}

TEST_CASE("what PostgreSQL cannot answer is refused in words", "[postgres][search]") {
    Copied copied;
    const Scope scope{"shop", "", "", ""};
    RecordRequest recorded{.scope = scope, .content = "tea"};
    recorded.embedding = Embedding{"m", {1, 0, 0}};
    const auto receipt = copied.engine.record(recorded);
    copied.sync();
    const auto there = copied.open();
    SearchRequest request;
    request.scope = scope;
    request.text = "tea";
    const auto refused = [&](const SearchRequest& asked, ErrorCode code) {
        const auto answer = there->search(asked);
        REQUIRE_FALSE(answer);
        CHECK(answer.error().code == code);
        return answer.error();
    };
    auto asked = request;
    asked.as_of = AsOf(Seq{1});
    CHECK(refused(asked, ErrorCode::unimplemented).details.at("field") == "as_of");
    asked = request;
    asked.run_id = "run";
    CHECK(refused(asked, ErrorCode::unimplemented).details.at("field") == "run_id");
    asked = request;
    asked.limit = 0;
    CHECK(refused(asked, ErrorCode::invalid_argument).details.at("field") == "limit");
    asked = request;
    asked.mode = SearchMode::vector;
    CHECK(refused(asked, ErrorCode::invalid_argument).details.at("field") == "vector");
    asked.vector = Embedding{"m", {1, 0}};
    CHECK(refused(asked, ErrorCode::invalid_argument).details.at("expected") == "3");
    CHECK(there->get(scope, receipt.memory_id, {.as_of = AsOf(Seq{1})}).error().code == ErrorCode::unimplemented);
    CHECK(there->get(scope, receipt.memory_id, {}, true).error().code == ErrorCode::unimplemented);
    ListRequest listed;
    listed.scope = scope;
    listed.include_forgotten = true;
    CHECK(there->list(listed).error().code == ErrorCode::unimplemented);

    auto options = copied.reading();
    options.store_id = "0191e3c0-0000-7000-8000-00000000000f";
    const auto stranger = must(PostgresMemories::open(options))->search(request);
    REQUIRE_FALSE(stranger);
    CHECK(stranger.error().code == ErrorCode::conflict);
    options.store_id = stranger.error().details.at("store_id");
    CHECK(must(must(PostgresMemories::open(options))->search(request)).hits.size() == 1);
    options.postgres.connection = "password=hunter2 nobody";
    const auto unread = PostgresMemories::open(options);
    REQUIRE_FALSE(unread);
    CHECK(unread.error().message.find("hunter2") == std::string::npos);

    copied.sql("UPDATE annal.sync_checkpoint SET analyzer = 'another'");
    CHECK(must(there->search(request)).degraded.size() == 1);
    copied.sql("INSERT INTO annal.schema_migrations VALUES (5, 'later', 'x')");
    CHECK(must(PostgresMemories::open(copied.reading()))->search(request).error().code == ErrorCode::unimplemented);
}

TEST_CASE("readers share a few connections, and outlive a restart of the server", "[postgres][search]") {
    Copied copied;
    SearchRequest request;
    request.scope.project = "shop";
    request.text = "tea";
    copied.engine.note(request.scope, "tea");
    copied.sync();
    copied.runner.reset();
    auto options = copied.reading();
    options.connections_max = 4;
    options.lease_wait = 120s;
    const auto there = must(PostgresMemories::open(options));
    std::atomic<int> answered{0};
    std::vector<std::thread> readers;
    for (int i = 0; i < 64; ++i)
        readers.emplace_back([&] {
            if (const auto answer = there->search(request); answer && answer->hits.size() == 1) ++answered;
        });
    for (auto& reader : readers) reader.join();
    CHECK(answered == 64);
    CHECK(copied.sql("SELECT (count(*) <= 4)::text FROM pg_stat_activity WHERE application_name = 'annal' "
                     "AND pid <> pg_backend_pid()") == "true");

    copied.server->stop();
    CHECK(there->search(request).error().code == ErrorCode::unavailable);
    copied.server->start();
    CHECK(must(there->search(request)).hits.size() == 1);

    PostgresPool pool(copied.far, 1);
    {
        const auto first = must(pool.lease(0ms));
        const auto second = pool.lease(0ms);
        REQUIRE_FALSE(second);
        CHECK(second.error().code == ErrorCode::resource_exhausted);
    }
    must(pool.lease(0ms));
}
