// Connections, servers and tables that fail, and others that write.
#include "postgres_sink_fixture.h"

#include "support/seed.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

namespace annal::testing {

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

}  // namespace annal::testing
