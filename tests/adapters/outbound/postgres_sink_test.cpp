#include "postgres_sink_fixture.h"

#include "adapters/outbound/postgres_migrations.h"
#include "adapters/outbound/sql_migration.h"
#include "events/hex.h"

#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <barrier>
#include <limits>
#include <thread>

namespace annal::testing {
namespace {

// A schema of its own.
class PostgresSide final : public FarSide {
 public:
    explicit PostgresSide(Server& server, CuttingProxy& proxy) : server_(server), proxy_(proxy) {
        static int count = 0;
        options_ = server.options("far_" + std::to_string(++count));
    }
    ~PostgresSide() override { server_.sql("DROP SCHEMA IF EXISTS " + options_.schema + " CASCADE"); }

    std::unique_ptr<Sink> open() override { return make_postgres_sink(options_); }
    // Loses the connection at a byte of the conversation. The server may still be at work then, but whoever takes the
    // sink over waits for it, at the checkpoint's row.
    bool apply_and_die(const SinkBatch& batch, const std::string& store_id, std::uint64_t chance) override {
        auto options = options_;
        options.connection = proxied(proxy_);
        const auto sink = make_postgres_sink(options);
        must(sink->take_over(store_id));
        proxy_.cut_after(chance % (4000 + 1200 * (batch.upserts.size() + batch.removals.size())));
        static_cast<void>(sink->apply(batch));
        proxy_.never_cut();
        return true;
    }

 private:
    Server& server_;
    CuttingProxy& proxy_;
    PostgresOptions options_;
};

}  // namespace

TEST_CASE("PostgresSink keeps the sink contract", "[postgres][sink]") {
    Server server;
    CuttingProxy proxy(server.server->socket());
    check_sink_contract([&] { return std::make_unique<PostgresSide>(server, proxy); });
}

TEST_CASE("every part of a memory of every kind comes back from PostgreSQL with its bits", "[postgres]") {
    const Server server;
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    RandomRecords random(seed);
    const bool reals = GENERATE(false, true);
    auto options = server.options();
    if (reals) {  // A user who may not install pgvector.
        server.sql("CREATE ROLE plain LOGIN PASSWORD 'x'");
        server.sql("CREATE SCHEMA annal AUTHORIZATION plain");
        options.connection = server.server->connection("postgres", "plain") + " password=x";
    }
    std::string warning;
    options.on_message = [&](std::string_view, std::string_view message) { warning = message; };
    const auto sink = make_postgres_sink(options);
    REQUIRE_FALSE(must(sink->take_over(store)));
    CHECK(warning.empty() == !reals);
    std::map<Key, SinkRecord> model;
    for (std::uint64_t seq = 0; seq < 5; ++seq) {
        auto next = batch(seq, seq + 1);
        const bool alike = seq % 2 == 1;  // Many of a kind share statements.
        for (std::size_t i = 0; i < (alike ? 1 + random.below(200) : 100); ++i) {
            auto record = random.record(static_cast<Kind>(alike ? seq : random.below(kind_count)), Seq{seq + 1});
            if (!model.empty() && random.chance()) {  // One that is there already.
                const auto& old =
                    std::next(model.begin(), static_cast<std::ptrdiff_t>(random.below(model.size())))->second;
                if (old.memory.seq == Seq{seq + 1}) continue;
                record.memory.id = old.memory.id;
                record.memory.scope.project = old.memory.scope.project;
                record.memory.fields = random.fields(old.memory.kind());
            }
            REQUIRE_FALSE(sink->refuses(record));
            next.upserts.push_back(record);
            model[{record.memory.scope.project, record.memory.id}] = record;
        }
        must(sink->apply(next));
        check_same(walked(*sink, at(seq + 1)), model);
    }
    CHECK(
        server.sql("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'annal.notes'::regclass "
                   "AND attname = 'embedding'") == (reals ? "real[]" : "vector"));
}

TEST_CASE("what is in PostgreSQL reads as what it is to who asks in SQL", "[postgres]") {
    const Server server;
    const auto sink = make_postgres_sink(server.options());
    must(sink->take_over(store));
    auto record = sink_record(1, "the kettles boil", Seq{1}, {"shop", "qa", "ann", "s1"});
    record.memory.recorded_at = {1'767'225'600'123'456};
    record.memory.tags = {"a", "b c"};
    record.memory.metadata = R"({"k":{"n":1.5}})";
    record.memory.claim = Claim::verified;
    record.memory.fields = OutcomeFields{.task_type = "brew", .success = true, .duration_ms = 12};
    record.embedding = Embedding{"m", {0.5F, -0.25F}};
    auto next = batch(0, 1);
    next.upserts = {record};
    must(sink->apply(next));
    CHECK(server.sql("SELECT concat_ws('|', memory_id, project, agent, user_id, session, content, "
                     "recorded_at AT TIME ZONE 'UTC', tags[2], metadata->'k'->>'n', claim, confidence, task_type, "
                     "success, duration_ms, vector_model, embedding, words @@ to_tsquery('english', 'kettle & brew')) "
                     "FROM annal.outcomes") ==
          "0191e3c0-0000-7000-8000-000000000001|shop|qa|ann|s1|the kettles boil|2026-01-01 00:00:00.123456|b c|1.5|"
          "verified|1|brew|t|12|m|[0.5,-0.25]|t");
    CHECK(server.sql("SELECT concat_ws('|', store_id, epoch, seq, encode(hash, 'hex')) FROM annal.sync_checkpoint") ==
          store + "|1|1|" + to_hex(next.to.hash));
}

TEST_CASE("migrations go up and down with data in the tables, and a dry run changes nothing", "[postgres]") {
    const Server server;
    auto options = server.options("far");
    options.prefix = "m_";
    auto connection = must(PostgresConnection::open(options));
    const auto applied = [&] {
        int count = 0;
        for (const auto& state : must(postgres_migration_status(*connection))) count += state.applied_at ? 1 : 0;
        return count;
    };
    const int newest = static_cast<int>(postgres_migrations().size());
    const std::string tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'far'";
    CHECK(applied() == 0);
    CHECK(must(migrate_postgres(*connection, {.dry_run = true})).size() == static_cast<std::size_t>(newest));
    CHECK(server.sql(tables) == "0");
    CHECK(applied() == 0);

    const auto insert = [&](int number) {
        server.sql(
            "INSERT INTO far.m_entities VALUES ('p', '00000000-0000-7000-8000-00000000000" + std::to_string(number) +
            "', 1, 1, 1, '', '', '', 'the kettles boil', '{kitchen}', '{}', 'inference', 1, 0, 0, '', 'none', '', "
            "now(), now(), now(), NULL, NULL, NULL, NULL, NULL, false, 'plain', '', 0, NULL, NULL, 'n', 't')");
    };
    const auto rows = [&] { return server.sql("SELECT count(*)::text FROM far.m_entities"); };
    for (int to = 1; to <= newest; ++to) {
        const auto steps = must(migrate_postgres(*connection, {.to = to}));
        REQUIRE(steps.size() == 1);
        CHECK(steps[0].number == to);
        CHECK(steps[0].up);
        CHECK(applied() == to);
        insert(to);
    }
    const std::string boiling =
        "SELECT count(*)::text FROM far.m_entities WHERE words @@ to_tsquery('english', 'boiling & kitchen')";
    CHECK(server.sql(boiling) == std::to_string(newest));  // Those of before the words were there, too.
    CHECK(must(migrate_postgres(*connection)).empty());

    CHECK(must(migrate_postgres(*connection, {.to = 0, .dry_run = true})).size() == static_cast<std::size_t>(newest));
    CHECK(applied() == newest);
    CHECK(rows() == std::to_string(newest));
    for (int to = newest - 1; to >= 1; --to) {
        const auto steps = must(migrate_postgres(*connection, {.to = to}));
        REQUIRE(steps.size() == 1);
        CHECK_FALSE(steps[0].up);
        CHECK(applied() == to);
        CHECK(rows() == std::to_string(newest));
    }
    must(migrate_postgres(*connection));
    CHECK(server.sql(boiling) == std::to_string(newest));
    must(migrate_postgres(*connection, {.to = 0}));
    CHECK(server.sql(tables) == "0");
    CHECK(applied() == 0);
    CHECK(migrate_postgres(*connection, {.to = newest + 1}).error().code == ErrorCode::invalid_argument);
}

TEST_CASE("two that migrate at once do it once", "[postgres]") {
    const Server server;
    std::atomic<int> steps = 0, failed = 0;
    std::barrier start(4);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            const auto connection = PostgresConnection::open(server.options());
            start.arrive_and_wait();
            const auto done =
                connection ? migrate_postgres(**connection) : Result<std::vector<MigrationStep>>(connection.error());
            if (done)
                steps += static_cast<int>(done->size());
            else
                ++failed;
        });
    for (auto& thread : threads) thread.join();
    CHECK(failed == 0);
    CHECK(steps == static_cast<int>(postgres_migrations().size()));
}

TEST_CASE("the tables have the indexes that reads ask for", "[postgres]") {
    const Server server;
    const auto sink = make_postgres_sink(server.options());
    must(sink->take_over(store));
    RandomRecords random(1);
    auto next = batch(0, 1);
    auto record = random.record(Kind::outcome, Seq{1});
    record.memory.scope.project = "a";
    for (const std::size_t dimension : {384U, 385U, 2000U, 2001U, 4000U, 4001U}) {
        record.memory.id = random.id();
        record.embedding = Embedding{"it's", std::vector<float>(dimension, 0.5F)};
        next.upserts.push_back(record);
    }
    must(sink->apply(next));
    const std::string indexes = "SELECT count(*)::text FROM pg_indexes WHERE schemaname = 'annal' AND indexdef LIKE ";
    for (const auto& row : kind_table) {
        const std::string on = "'% ON annal." + std::string(row.table) + " USING ";
        for (const auto* what :
             {"btree (project, memory_id)", "btree (project, recorded_at DESC)",
              "btree (project, agent, recorded_at DESC)",
              "btree (project, confidence) WHERE (confidence > (0)::double precision)",
              "btree (project, user_id) WHERE%", "gin (tags)", "gin (metadata)", "gin (words)", "gin (terms)",
              "btree (project, session, agent, user_id, created_seq) INCLUDE (term_count)",
              "btree (project, vector_model) WHERE (vector_model IS NOT NULL)"}) {
            INFO(on << what);
            CHECK(server.sql(indexes + on + what + "'") == "1");
        }
    }
    const std::string ours = "'%(m=''16'', ef_construction=''64'') WHERE%''it''''s''::text%' AND indexdef LIKE ";
    CHECK(server.sql(indexes + ours + "'%USING hnsw (((embedding)::vector(384)) vector_cosine_ops)%'") == "1");
    CHECK(server.sql(indexes + ours + "'%::vector(%'") == "3");
    CHECK(server.sql(indexes + ours + "'%::halfvec(%'") == "2");
    // And what is near is found by it.
    auto connection = must(PostgresConnection::open(server.options()));
    must(connection->run_script("SET enable_seqscan = off; SET enable_sort = off"));
    auto plan = must(connection->run(
        "EXPLAIN SELECT memory_id FROM outcomes WHERE vector_model = 'it''s' AND vector_dims(embedding) = 384 ORDER BY "
        "embedding::vector(384) <=> array_fill(0.5, ARRAY[384])::vector(384) LIMIT 3"));
    std::string text;
    for (std::size_t i = 0; i < plan.size(); ++i) text += PostgresReader(plan, i).text() + "\n";
    INFO(text);
    CHECK(text.find("outcomes_hnsw_384_") != std::string::npos);
}

TEST_CASE("removals, erasures and dead letters reach every table", "[postgres]") {
    const Server server;
    auto options = server.options();
    options.keep_events = true;
    const auto sink = make_postgres_sink(options);
    REQUIRE(sink->capabilities().keeps_events);
    must(sink->take_over(store));
    RandomRecords random(2);
    auto next = batch(0, 8);
    for (const auto& row : kind_table) {
        auto record = random.record(row.kind, Seq{1 + static_cast<std::uint64_t>(row.kind)});
        record.memory.scope = {"shop", "", row.kind == Kind::note ? "bob" : "ann", ""};
        next.upserts.push_back(record);
        Engine::LogEntry event;
        event.seq = record.memory.seq;
        event.memory_id = record.memory.id;
        event.type = "MemoryRecorded";
        event.scope = record.memory.scope;
        event.actor = "who";
        event.changes = R"({"content":"tea"})";
        next.events.push_back(event);
    }
    must(sink->apply(next));
    CHECK(server.sql("SELECT count(*)::text FROM annal.events WHERE changes->>'content' = 'tea'") == "8");
    const auto note = next.upserts[0].memory;
    const auto late = next.upserts[7].memory;

    next = batch(8, 9);  // ann, as she was before seq 8; and the note is too large now.
    next.erasures = {{"shop", "ann", Seq{8}}, {"elsewhere", "bob", Seq{8}}};
    next.dead_letters = {{"shop", Kind::note, note.id, Seq{9}, "it is too large", "bob", Seq{1}}};
    must(sink->apply(next));
    auto left = walked(*sink, at(9));
    REQUIRE(left.size() == 1);
    CHECK(left.begin()->second.memory.id == late.id);
    CHECK(server.sql("SELECT count(*)::text FROM annal.events WHERE changes = '{\"erased\": true}' AND actor = ''") ==
          "6");
    auto letters = must(must(sink->walk())->dead_letters());
    REQUIRE(letters.size() == 1);
    CHECK(letters[0].memory_id == note.id);
    CHECK(letters[0].kind == Kind::note);
    CHECK(letters[0].seq == Seq{9});
    CHECK(letters[0].reason == "it is too large");

    next = batch(9, 10);  // Gone, and what stood for it.
    next.removals = {{"shop", Kind::relation, late.id}};
    next.erasures = {{"shop", "bob", Seq{10}}};
    must(sink->apply(next));
    CHECK(walked(*sink, at(10)).empty());
    CHECK(must(must(sink->walk())->dead_letters()).empty());

    must(sink->clear());
    CHECK(sink->walk().error().code == ErrorCode::not_found);
    CHECK(server.sql("SELECT count(*)::text FROM annal.events") == "0");
    REQUIRE_FALSE(must(sink->take_over("another store")));
}

TEST_CASE("what PostgreSQL cannot hold is refused beforehand, and all else is taken", "[postgres]") {
    const Server server;
    const auto sink = make_postgres_sink(server.options());
    must(sink->take_over(store));
    RandomRecords random(3);
    const auto good = random.record(Kind::entity, Seq{1});
    CHECK_FALSE(sink->refuses(good));
    const std::string zero("a\0b", 3);
    const auto refused = [&](auto&& change) {
        auto record = good;
        record.memory.id = random.id();
        change(record.memory);
        CHECK(sink->refuses(record));
        auto next = batch(0, 1);  // And rightly so: nothing of the batch is there after it.
        next.upserts = {good, record};
        CHECK_FALSE(sink->apply(next));
        CHECK_FALSE(must(sink->take_over(store)));
    };
    refused([&](Memory& memory) { memory.content = zero; });
    refused([&](Memory& memory) { memory.content = "\xff"; });
    refused([&](Memory& memory) { memory.tags = {zero}; });
    refused([&](Memory& memory) { std::get<EntityFields>(memory.fields).name = zero; });
    refused([&](Memory& memory) { memory.metadata = R"([{"k":"\u0000"}])"; });
    refused([&](Memory& memory) { memory.metadata = R"({"\u0000":1})"; });
    auto large = good;
    large.memory.occurrence_count = std::numeric_limits<std::uint64_t>::max();
    CHECK(sink->refuses(large));
    large = good;  // The largest of everything else.
    large.memory.content = std::string(8192, 'a');
    for (std::size_t i = 0; i < 8192; i += 7) large.memory.content[i] = ' ';
    large.memory.scope = {std::string(128, 'p'), std::string(128, 'a'), std::string(128, 'u'), std::string(128, 's')};
    large.memory.metadata = R"({"k":")" + std::string(8000, 'x') + R"("})";
    large.memory.tags.assign(32, "");
    for (auto& tag : large.memory.tags)
        for (int i = 0; i < 64; ++i) tag += "\xf0\x9f\x8d\xb5";
    REQUIRE_FALSE(sink->refuses(large));
    auto next = batch(0, 1);
    next.upserts = {large};
    must(sink->apply(next));
}

TEST_CASE("a walk sees one position while batches go on", "[postgres]") {
    const Server server;
    const auto sink = make_postgres_sink(server.options());
    must(sink->take_over(store));
    RandomRecords random(6);
    auto next = batch(0, 1);
    std::map<Key, SinkRecord> model;
    for (int i = 0; i < 700; ++i) {  // More than are fetched together.
        auto record = random.record(static_cast<Kind>(i % 2), Seq{1});
        next.upserts.push_back(record);
        model[{record.memory.scope.project, record.memory.id}] = record;
    }
    must(sink->apply(next));
    auto walk = must(sink->walk());
    auto later = batch(1, 2);
    for (const auto& record : next.upserts)
        later.removals.push_back({record.memory.scope.project, record.memory.kind(), record.memory.id});
    must(sink->apply(later));
    std::map<Key, SinkRecord> seen;
    for (auto some = must(walk->next(64)); !some.empty(); some = must(walk->next(64)))
        for (auto& record : some) seen[{record.memory.scope.project, record.memory.id}] = record;
    CHECK(walk->position() == at(1));
    check_same(seen, model);
    CHECK(walked(*sink, at(2)).empty());
}

}  // namespace annal::testing
