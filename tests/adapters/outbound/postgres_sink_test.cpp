#include "adapters/outbound/postgres_sink.h"

#include "../sink_conformance.h"
#include "adapters/outbound/postgres_connection.h"
#include "adapters/outbound/postgres_migrations.h"
#include "adapters/outbound/sql_migration.h"
#include "events/hex.h"
#include "support/cutting_proxy.h"
#include "support/postgres_server.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <barrier>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <thread>

namespace annal::testing {
namespace {

using Key = std::pair<std::string, MemoryId>;

// Live memories with every part present or absent, and text that is hard on SQL.
class RandomRecords {
 public:
    explicit RandomRecords(std::uint64_t seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    bool chance(std::uint64_t one_in = 2) { return below(one_in) == 0; }
    double fraction() { return static_cast<double>(random_() >> 11) * 0x1p-53; }

    std::string text(std::size_t pieces = 12) {
        static const std::vector<std::string> hard{"tea", " ",    "'",  "\"", "\\",   "{a,b}",    "NULL",
                                                   "$1",  "\n",   "\t", "%s", "\x01", "\xc3\xa9", "\xf0\x9f\x8d\xb5",
                                                   ";--", "rain "};
        std::string text;
        for (auto count = below(pieces); count > 0; --count) text += hard[below(hard.size())];
        return text;
    }
    Timestamp time() { return {static_cast<std::int64_t>(below(253'402'300'800'000'000))}; }
    std::optional<Timestamp> maybe_time() { return chance() ? std::optional(time()) : std::nullopt; }
    MemoryId id() {
        MemoryId id;
        for (auto& byte : id.bytes) byte = static_cast<std::uint8_t>(random_());
        return id;
    }
    KindFields fields(Kind kind) {
        auto fields = empty_fields(kind);
        std::visit([&](auto& typed) { visit_fields(typed, [&](const char*, auto& value) { fill(value); }); }, fields);
        return fields;
    }
    std::string metadata() {
        switch (below(4)) {
            case 0:
                return "null";
            case 1:
                return R"({"b":1.10,"a":[true,null,-0.0,1e300,5e-324,18446744073709551615],"z":{"k":"'\"\\é"}})";
            case 2:
                return Json(text()).dump();
            default:
                return "[" + Json(fraction()).dump() + "]";
        }
    }
    SinkRecord record(Kind kind, Seq seq) {
        SinkRecord record;
        auto& memory = record.memory;
        memory.id = id();
        memory.version = {1 + below(9)};
        memory.seq = memory.created_seq = seq;
        memory.scope = {projects[below(projects.size())], chance() ? "agent" : "", chance() ? "ann" : "", text(2)};
        memory.fields = fields(kind);
        memory.content = text(30);
        for (auto count = below(4); count > 0; --count) memory.tags.push_back(text(3));
        memory.metadata = metadata();
        memory.claim = static_cast<Claim>(below(claim_names.size()));
        memory.confidence = fraction();
        memory.occurrence_count = random_() >> 1;
        memory.success_count = below(5);
        memory.actor = text(2);
        memory.source = {static_cast<SourceType>(below(source_type_names.size())), text(3)};
        memory.recorded_at = time();
        memory.updated_at = time();
        memory.occurred_at = time();
        memory.valid_from = maybe_time();
        memory.valid_to = maybe_time();
        memory.expires_at = maybe_time();
        memory.verified_at = maybe_time();
        if (chance()) memory.superseded_by = id();
        if (chance()) {
            record.embedding = Embedding{chance() ? "m'1" : "m\\2", std::vector<float>(chance() ? 3 : 8)};
            for (auto& value : record.embedding->values)
                value = std::ldexp(static_cast<float>(fraction()) - 0.5F, -static_cast<int>(below(130)));
            record.embedding->values[0] = -0.0F;
            memory.embedding_model = record.embedding->model;
            memory.embedding_dimension = static_cast<std::uint32_t>(record.embedding->values.size());
        }
        return record;
    }

 private:
    void fill(std::string& value) { value = text(); }
    void fill(bool& value) { value = chance(); }
    void fill(double& value) { value = fraction(); }
    void fill(std::optional<std::int64_t>& value) {
        if (chance()) value = static_cast<std::int64_t>(random_());
    }
    static inline const std::vector<std::string> projects{"B", "a", "a b", "a-b", "ab", "shop"};
    std::mt19937_64 random_;
};

const std::string& store = sink_store_id;

SinkPosition at(std::uint64_t seq) {
    return position_at(seq);
}
SinkBatch batch(std::uint64_t from, std::uint64_t to) {
    return batch_between(from, to);
}

struct Server {
    explicit Server(PostgresServer::Sync sync = PostgresServer::Sync::off) : server(postgres_server_or_skip(sync)) {}
    PostgresOptions options(const std::string& schema = "annal") const {
        PostgresOptions options;
        options.connection = server->connection();
        options.schema = schema;
        return options;
    }
    // One value, or a statement without.
    std::string sql(const std::string& statement) const {
        auto connection = PostgresConnection::open(options());
        if (!connection) FAIL(connection.error().message);
        auto rows = (*connection)->run(statement);
        if (!rows) FAIL(statement << ": " << rows.error().message);
        return rows->size() == 0 ? "" : PostgresReader(*rows, 0).text();
    }
    std::unique_ptr<PostgresServer> server;
};

template <class T>
T must(Result<T> result) {
    if (!result) FAIL(result.error().message);
    return std::move(*result);
}

std::map<Key, SinkRecord> walked(Sink& sink, const SinkPosition& expected) {
    auto walk = must(sink.walk());
    CHECK(walk->position() == expected);
    std::map<Key, SinkRecord> all;
    std::optional<Key> last;
    while (true) {
        auto some = must(walk->next(7));
        if (some.empty()) return all;
        for (auto& record : some) {
            Key key{record.memory.scope.project, record.memory.id};
            CHECK((!last || *last < key));
            last = key;
            all.emplace(std::move(key), std::move(record));
        }
    }
}

void check_same(const std::map<Key, SinkRecord>& is, const std::map<Key, SinkRecord>& should_be) {
    REQUIRE(is.size() == should_be.size());
    for (const auto& [key, record] : should_be) {
        const auto found = is.find(key);
        REQUIRE(found != is.end());
        REQUIRE(canonical_text(found->second) == canonical_text(record));
    }
}

void check_clean(const Error& error) {
    for (const auto* secret : {"hunter2", "swordfish", "nobody", "/tmp", "/dev/shm", "password="}) {
        CHECK(error.message.find(secret) == std::string::npos);
        for (const auto& [key, value] : error.details) CHECK(value.find(secret) == std::string::npos);
    }
}

std::string proxied(const CuttingProxy& proxy) {
    return "host=" + proxy.folder().string() + " port=5432 dbname=postgres user=postgres";
}

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

TEST_CASE("a batch from another position changes nothing, nor does one of who was fenced", "[postgres]") {
    const Server server;
    const auto first = make_postgres_sink(server.options());
    const auto second = make_postgres_sink(server.options());
    must(first->take_over(store));
    RandomRecords random(4);
    auto next = batch(0, 3);
    next.upserts = {random.record(Kind::note, Seq{1})};
    must(first->apply(next));
    const auto refused = [&](Sink& sink, const SinkBatch& wrong, const char* detail) {
        const auto applied = sink.apply(wrong);
        REQUIRE_FALSE(applied);
        CHECK(applied.error().code == ErrorCode::conflict);
        CHECK(applied.error().details.contains(detail));
        CHECK(walked(sink, at(3)).size() == 1);
    };
    refused(*first, next, "position");  // The same again, as after an answer that was lost.
    auto other = batch(3, 4);
    other.upserts = {random.record(Kind::note, Seq{4})};
    other.from.hash[0] ^= 1;
    refused(*first, other, "position");
    other.from = at(3);
    other.from.epoch = 2;
    refused(*first, other, "position");
    CHECK(must(second->take_over(store)) == at(3));
    refused(*first, batch(3, 4), "fenced");
    CHECK(first->clear().error().details.contains("fenced"));
    const auto stranger = second->take_over("0191e3c0-0000-7000-8000-00000000000f");
    REQUIRE_FALSE(stranger);
    CHECK(stranger.error().details.at("store_id") == store);
    must(second->apply(batch(3, 4)));  // The stranger did not raise the fence.
}

TEST_CASE("of two that race for a sink, who lost it never writes again", "[postgres]") {
    const Server server;
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    constexpr std::uint64_t batches = 60;
    must(make_postgres_sink(server.options())->take_over(store));
    std::mutex both;
    std::uint64_t fence_seen = 0;  // Of the last take_over, under `both`.
    std::atomic<std::uint64_t> reached = 0, stale = 0;
    std::atomic<bool> wrong = false;
    // Each takes over and writes until it is told that it was fenced. Every batch brings one memory of its own.
    const auto race = [&](std::uint64_t which) {
        RandomRecords random(seed + which);
        const auto sink = make_postgres_sink(server.options());
        while (reached < batches) {
            auto taken = sink->take_over(store);
            if (!taken) return void(wrong = true);
            {
                const std::lock_guard lock(both);
                ++fence_seen;
            }
            for (std::uint64_t seq = *taken ? (*taken)->seq.value : 0; seq < batches; reached = ++seq) {
                auto next = batch(seq, seq + 1);
                next.upserts = {random.record(Kind::note, Seq{seq + 1})};
                const auto applied = sink->apply(next);
                if (applied) continue;
                if (!applied.error().details.contains("fenced")) wrong = true;
                ++stale;
                break;
            }
        }
    };
    std::thread one(race, 1), two(race, 2);
    one.join();
    two.join();
    CHECK_FALSE(wrong);
    CHECK(server.sql("SELECT count(*) || ' ' || count(DISTINCT seq) || ' ' || max(seq) FROM annal.notes") ==
          "60 60 60");
    CHECK(server.sql("SELECT fence::text FROM annal.sync_checkpoint") == std::to_string(fence_seen + 1));
}

namespace {

// Applies batches of random upserts, removals and events through a proxy that loses the connection now and then, and
// holds what is there against what the position says.
void lose_connections(const Server& server, CuttingProxy& proxy, int batches, const std::function<void()>& lose,
                      const std::function<void()>& mend) {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    RandomRecords random(seed);
    auto options = server.options();
    options.connection = proxied(proxy);
    options.keep_events = true;
    const auto sink = make_postgres_sink(options);
    must(sink->take_over(store));
    const auto direct = make_postgres_sink(server.options());  // Only to look.
    std::map<Key, SinkRecord> model;
    std::uint64_t seq = 0;
    std::uint64_t batch_bytes = 20'000;  // About; so that cuts are spread over all of a batch.
    int cuts = 0, committed = 0;
    for (int i = 0; i < batches; ++i) {
        auto next = batch(seq, seq + 1);
        auto after = model;
        for (auto count = random.below(8); count > 0; --count) {
            const auto record = random.record(static_cast<Kind>(random.below(kind_count)), Seq{seq + 1});
            next.upserts.push_back(record);
            after[{record.memory.scope.project, record.memory.id}] = record;
        }
        if (!model.empty() && random.chance()) {
            const auto any = std::next(model.begin(), static_cast<std::ptrdiff_t>(random.below(model.size())));
            next.removals.push_back({any->first.first, any->second.memory.kind(), any->first.second});
            after.erase(any->first);
        }
        Engine::LogEntry event;
        event.seq = Seq{seq + 1};
        event.changes = "{}";
        next.events.push_back(event);

        const auto passed = proxy.passed();
        const bool cut = i > 0 && random.chance();
        if (cut) proxy.cut_after(random.below(batch_bytes + batch_bytes / 8), lose);
        const auto applied = sink->apply(next);
        proxy.never_cut();
        if (cut) mend();
        if (applied) batch_bytes = proxy.passed() - passed;
        if (!applied) {
            ++cuts;
            CHECK(applied.error().code == ErrorCode::unavailable);
            const auto there = must(sink->take_over(store));
            if (there != at(seq + 1)) {
                REQUIRE((there ? *there == at(seq) : seq == 0));
                continue;
            }
            ++committed;  // Only the answer was lost.
        }
        model = std::move(after);
        ++seq;
        if (i % 8 == 0) check_same(walked(*direct, at(seq)), model);
    }
    CHECK(cuts > 0);
    if (seq > 0) check_same(walked(*direct, at(seq)), model);
    CHECK(server.sql("SELECT count(*) || ' ' || COALESCE(max(seq), 0) FROM annal.events") ==
          std::to_string(seq) + " " + std::to_string(seq));
    UNSCOPED_INFO(cuts << " batches cut, " << committed << " of them after they were committed");
}

}  // namespace

TEST_CASE("a connection that drops at any byte leaves a batch whole or nothing of it", "[postgres]") {
    const Server server;
    CuttingProxy proxy(server.server->socket());
    lose_connections(
        server, proxy, trials(1000), [] {}, [] {});
}

TEST_CASE("a server that is killed at any byte leaves a batch whole or nothing of it", "[postgres]") {
    const Server server(PostgresServer::Sync::on);
    CuttingProxy proxy(server.server->socket());
    lose_connections(
        server, proxy, trials(200), [&] { server.server->kill_now(); }, [&] { server.server->start(); });
}

TEST_CASE("tables that are newer, or were changed by hand, are refused in words", "[postgres]") {
    const Server server;
    const auto sink = make_postgres_sink(server.options());
    must(sink->take_over(store));
    auto next = batch(0, 1);
    RandomRecords random(5);
    auto record = random.record(Kind::outcome, Seq{1});
    record.embedding = Embedding{"m", {1, 0, 0}};
    next.upserts = {record};
    must(sink->apply(next));
    const auto refused = [&](const std::string& change, ErrorCode code, const std::string& says) {
        const auto fence = server.sql("SELECT COALESCE(max(fence), 1)::text FROM annal.sync_checkpoint");
        server.sql(change);
        const auto taken = make_postgres_sink(server.options())->take_over(store);
        REQUIRE_FALSE(taken);
        CHECK(taken.error().code == code);
        INFO(taken.error().message);
        CHECK(taken.error().message.find(says) != std::string::npos);
        check_clean(taken.error());
        CHECK_FALSE(sink->walk());
        CHECK(server.sql("SELECT COALESCE(max(fence), 1)::text FROM annal.sync_checkpoint") == fence);
    };
    SECTION("newer") {
        refused("INSERT INTO annal.schema_migrations VALUES (5, 'later', 'x')", ErrorCode::unimplemented, "version 5");
    }
    SECTION("another text") {
        refused("UPDATE annal.schema_migrations SET checksum = 'x' WHERE number = 2", ErrorCode::data_loss,
                "migration 2");
    }
    SECTION("a column is gone") {
        refused("ALTER TABLE annal.outcomes DROP COLUMN duration_ms", ErrorCode::data_loss, "outcomes.duration_ms");
        next = batch(1, 2);
        next.upserts = {record};
        const auto applied = sink->apply(next);  // By one that took over before.
        REQUIRE_FALSE(applied);
        CHECK(applied.error().code == ErrorCode::data_loss);
        CHECK(applied.error().details.at("sqlstate") == "42703");
        check_clean(applied.error());
    }
    SECTION("a column is of another type") {
        refused("ALTER TABLE annal.notes ALTER COLUMN version TYPE integer", ErrorCode::data_loss, "notes.version");
    }
    SECTION("a table is gone") {
        refused("DROP TABLE annal.preferences", ErrorCode::data_loss, "preferences");
    }
    SECTION("vectors of one dimension only") {
        const auto index = server.sql("SELECT indexname::text FROM pg_indexes WHERE indexdef LIKE '%hnsw%'");
        server.sql("DROP INDEX annal." + index);
        refused("ALTER TABLE annal.outcomes ALTER COLUMN embedding TYPE vector(3)", ErrorCode::data_loss,
                "outcomes.embedding is of type vector(3)");
        next = batch(1, 2);
        record.embedding = Embedding{"m", {1, 0}};
        next.upserts = {record};
        const auto applied = sink->apply(next);
        REQUIRE_FALSE(applied);
        CHECK(applied.error().code == ErrorCode::invalid_argument);
        check_clean(applied.error());
    }
    SECTION("the checkpoint is gone") {
        refused("DELETE FROM annal.sync_checkpoint", ErrorCode::data_loss, "checkpoint");
    }
    SECTION("a row that no memory is") {
        server.sql("UPDATE annal.outcomes SET claim = 'swordfish'");
        const auto rows = must(sink->walk())->next(1);
        REQUIRE_FALSE(rows);
        CHECK(rows.error().code == ErrorCode::data_loss);
        CHECK(rows.error().details.at("column") == "claim");
        check_clean(rows.error());
    }
    SECTION("a value is another one") {
        server.sql("UPDATE annal.outcomes SET content = 'swordfish'");
        CHECK(walked(*sink, at(1)).begin()->second.memory.content == "swordfish");
    }
}

TEST_CASE("a database that cannot be reached says why, and no secret", "[postgres]") {
    const Server server;
    server.sql("CREATE ROLE guest LOGIN PASSWORD 'swordfish'");
    const auto refused = [&](const std::string& connection, ErrorCode code) {
        auto options = server.options();
        options.connection = connection;
        const auto sink = make_postgres_sink(options);
        const auto taken = sink->take_over(store);
        REQUIRE_FALSE(taken);
        INFO(taken.error().message);
        CHECK(taken.error().code == code);
        check_clean(taken.error());
        const auto applied = sink->apply(batch(0, 1));
        REQUIRE_FALSE(applied);
        CHECK(applied.error().code == code);
        CHECK(sink->walk().error().code == code);
    };
    refused(server.server->connection("postgres", "guest") + " password=hunter2", ErrorCode::unauthenticated);
    refused(server.server->connection("postgres", "guest"), ErrorCode::unauthenticated);
    refused(server.server->connection("postgres", "nobody") + " password=hunter2", ErrorCode::unauthenticated);
    refused(server.server->connection("nobody_has_it"), ErrorCode::not_found);
    refused("host=/nobody/has/it password=hunter2", ErrorCode::unavailable);
    refused("password=hunter2 nobody", ErrorCode::invalid_argument);
    refused("postgresql://guest:hunter2@[nobody", ErrorCode::invalid_argument);
    auto options = server.options();
    options.connection = server.server->connection("postgres", "guest") + " password=swordfish";
    CHECK(make_postgres_sink(options)->take_over(store).error().code == ErrorCode::permission_denied);
    for (const auto* name : {"", "A", "a\"b", "1a", "a-b"})
        CHECK(make_postgres_sink(server.options(name))->take_over(store).error().code == ErrorCode::invalid_argument);
    options = server.options();
    options.prefix = std::string(17, 'p');
    CHECK(make_postgres_sink(options)->take_over(store).error().code == ErrorCode::invalid_argument);
    server.server->stop();
    refused(server.server->connection() + " password=hunter2", ErrorCode::unavailable);
    server.server->start();
    must(make_postgres_sink(server.options())->take_over(store));
}

TEST_CASE("a server that does not answer is given up on in time", "[postgres]") {
    const Server server;
    must(make_postgres_sink(server.options())->take_over(store));  // Makes the tables, however long it takes.
    auto options = server.options();
    options.call_timeout = std::chrono::seconds(2);
    const auto sink = make_postgres_sink(options);
    must(sink->take_over(store));
    auto other = must(PostgresConnection::open(server.options()));
    must(other->run_script("BEGIN; UPDATE sync_checkpoint SET fence = fence"));  // Holds the row.
    CHECK(sink->apply(batch(0, 1)).error().code == ErrorCode::deadline_exceeded);
    must(other->run_script("ROLLBACK"));
    must(sink->apply(batch(0, 1)));

    const TempDir folder;  // A socket that takes connections and says nothing.
    const int silent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, (folder.path() / ".s.PGSQL.5432").c_str(), sizeof address.sun_path - 1);
    REQUIRE(bind(silent, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(listen(silent, 4) == 0);
    options.connection = "host=" + folder.path().string() + " port=5432";
    options.connect_timeout = std::chrono::milliseconds(100);
    CHECK(make_postgres_sink(options)->take_over(store).error().code == ErrorCode::deadline_exceeded);
    close(silent);
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
