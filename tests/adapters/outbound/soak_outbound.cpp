// Sinks under kills and misfortune for as long as one likes: see tools/soak --outbound. Each test goes on until the
// time or the count that it is given is over, and prints what it did.
//   ANNAL_SOAK_MINUTES   of each; default 1
//   ANNAL_SOAK_KILLS     of the first, at most; default 2000
//   ANNAL_SOAK_EVENTS    of the second, at most; default 1000000
#include "adapters/outbound/cosmos_sink.h"
#include "adapters/outbound/postgres_sink.h"
#include "adapters/outbound/sync.h"
#include "adapters/sink_batch.h"
#include "engine/random_history.h"
#include "support/child_process.h"
#include "support/cosmos_fake.h"
#include "support/patient_caller.h"
#include "support/postgres_server.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <annal/changes.h>

#include <libpq-fe.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
    const char* const given = std::getenv(variable);
    return given ? std::strtoull(given, nullptr, 10) : otherwise;
}

class Timer {
 public:
    bool over() const { return seconds() >= 60 * limit_; }
    double seconds() const { return std::chrono::duration<double>(steady_clock::now() - begun_).count(); }

    void tell(const char* what, std::uint64_t done, std::uint64_t of) {
        if (steady_clock::now() - told_ < 1min) return;
        told_ = steady_clock::now();
        std::fprintf(stderr, "%.0f min: %llu of %llu %s\n", seconds() / 60, static_cast<unsigned long long>(done),
                     static_cast<unsigned long long>(of), what);
    }

 private:
    const double limit_ = static_cast<double>(number_of("ANNAL_SOAK_MINUTES", 1));
    const steady_clock::time_point begun_ = steady_clock::now();
    steady_clock::time_point told_ = begun_;
};

void print(const std::vector<std::pair<const char*, std::uint64_t>>& figures) {
    std::printf("\n| figure | |\n|---|---|\n");
    for (const auto& [name, value] : figures)
        std::printf("| %s | %llu |\n", name, static_cast<unsigned long long>(value));
    std::fflush(stdout);
}

std::unique_ptr<Engine> open_engine(const std::filesystem::path& path, Clock* clock) {
    auto engine = Engine::open({.directory = path, .clock = clock});
    if (!engine) FAIL(engine.error().message);
    return *std::move(engine);
}

std::unique_ptr<Sink> postgres_sink(const std::string& connection) {
    PostgresOptions options;
    options.connection = connection;
    options.keep_events = true;
    return make_postgres_sink(options);
}

// The first value of the answer.
std::string asked(const std::string& connection, const char* sql) {
    PGconn* const to = PQconnectdb((connection + " options='-c client_min_messages=warning'").c_str());
    PGresult* const result = PQexec(to, sql);
    std::string value = PQresultStatus(result) == PGRES_TUPLES_OK ? PQgetvalue(result, 0, 0) : PQerrorMessage(to);
    PQclear(result);
    PQfinish(to);
    return value;
}

// Of two, the one that took the sink over before the other gets nothing in.
void refuse_stale(Engine& engine, const std::string& connection) {
    const auto status = engine.status();
    if (!status) FAIL(status.error().message);
    const auto stale = postgres_sink(connection);
    const auto at = stale->take_over(status->store_id);
    if (!at) FAIL(at.error().message);
    REQUIRE(at->has_value());
    REQUIRE(postgres_sink(connection)->take_over(status->store_id));
    auto changes = engine.changes({.after = (*at)->seq, .events_max = 60, .with_events = true});
    if (!changes) FAIL(changes.error().message);
    const auto late = stale->apply(to_batch(std::move(*changes), **at, status->epoch, *stale));
    REQUIRE_FALSE(late);
    REQUIRE(late.error().details.contains("fenced"));
}

}  // namespace

// Writes, with two that follow for one sink: whoever is fenced takes it over again.
TEST_CASE("outbound soak child", "[.][soak_child]") {
    const std::string argument = std::getenv(ChildProcess::argument_name);
    const auto cut = argument.find('\n');
    StoppedClock clock;
    const auto engine = open_engine(argument.substr(0, cut), &clock);
    SyncOptions options;
    options.poll = 1ms;
    options.backoff = {.first = 1ms, .longest = 20ms};
    options.breaker.open_for = 20ms;
    std::vector<std::unique_ptr<SyncRunner>> runners;
    for (int i = 0; i < 2; ++i) {
        auto runner = SyncRunner::start(*engine, options);
        if (!runner || !(*runner)->add("far", postgres_sink(argument.substr(cut + 1)))) std::_Exit(2);
        runners.push_back(*std::move(runner));
    }
    RandomHistory history(std::random_device{}());
    for (std::uint64_t fenced = 0;;) {
        history.step(*engine, clock);
        std::uint64_t lag = ~std::uint64_t{0};
        for (const auto& runner : runners) {
            const auto status = runner->status().at(0);
            lag = std::min(lag, status.lag_events);
            if (status.state == SyncState::needs_resync) std::_Exit(4);
            if (status.state != SyncState::fenced || !history.one_in(20)) continue;
            if (!runner->resume("far")) std::_Exit(5);
            ++fenced;
            if (write(ChildProcess::news_fd, "f", 1) != 1) std::_Exit(3);
        }
        if (lag > 300) std::this_thread::sleep_for(1ms);  // So that the sink is never far from where the kill comes.
        if (write(ChildProcess::news_fd, "+", 1) != 1) std::_Exit(3);
    }
}

TEST_CASE("kills of engine and server, and two that race for one sink: rows are the log's, none lost or twice",
          "[soak][postgres]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    Timer timer;
    const auto kills_max = number_of("ANNAL_SOAK_KILLS", 2000);
    const auto server = postgres_server_or_skip(PostgresServer::Sync::on);
    const auto connection = server->connection();
    std::uint64_t stores = 0, engine_kills = 0, server_kills = 0, takeovers = 0, verified = 0, events = 0, stale = 0;
    std::optional<TempDir> dir;
    const auto more = [&] { return engine_kills + server_kills < kills_max && !timer.over(); };
    while (more()) {
        dir.emplace(TempDir::On::memory);
        asked(connection, "DROP SCHEMA IF EXISTS annal CASCADE");
        ++stores;
        std::uint64_t head = 0;
        while (more() && head < 5000) {
            {
                ChildProcess child("outbound soak child", dir->path().string() + "\n" + connection);
                for (auto kills = random() % 3;; --kills) {
                    for (auto news = 1 + random() % 100; news > 0; --news) {
                        const auto said = child.next_news_byte();
                        if (!said) FAIL("the process ended by itself");
                        if (*said == 'f') ++takeovers;
                    }
                    if (kills == 0) break;
                    server->kill_now();
                    server->start();
                    ++server_kills;
                }
                child.kill_now();
                ++engine_kills;
                timer.tell("kills", engine_kills + server_kills, kills_max);
            }
            StoppedClock clock;
            const auto engine = open_engine(dir->path(), &clock);
            head = engine->head().value;
            const auto sink = postgres_sink(connection);
            const auto found = compare(*engine, *sink);
            if (!found && found.error().code == ErrorCode::not_found) continue;  // Before its first batch.
            if (!found) FAIL(found.error().message);
            INFO("kill " << engine_kills << ": " << found->first_difference);
            REQUIRE(found->equal());
            // A batch that the killed one had sent may come in still: all of it, beside its position.
            const auto events_there = asked(
                connection,
                ("SELECT CASE WHEN count(*) = max(seq) AND max(seq) >= " + std::to_string(found->position.seq.value) +
                 " AND max(seq) = (SELECT seq FROM annal.sync_checkpoint) "
                 "THEN 'all' ELSE count(*) || ' to ' || max(seq) END FROM annal.events")
                    .c_str());
            REQUIRE(events_there == "all");
            ++verified;
            if (engine_kills % 4 == 0) {
                refuse_stale(*engine, connection);
                ++stale;
            }
        }
        events += head;
    }
    print({{"seed", seed},
           {"seconds", static_cast<std::uint64_t>(timer.seconds())},
           {"stores", stores},
           {"events written", events},
           {"kills of the engine", engine_kills},
           {"kills of the server", server_kills},
           {"times that a fenced one took the sink over again", takeovers},
           {"batches of a stale one, all told that it is fenced", stale},
           {"comparisons of every record and event, all equal", verified}});
}

TEST_CASE("an account that throttles, fails, and loses answers: documents are the log's, none lost or twice",
          "[soak][cosmos]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    Timer timer;
    const auto events_max = number_of("ANNAL_SOAK_EVENTS", 1'000'000);
    std::uint64_t stores = 0, events = 0, verified = 0, failed = 0, fenced = 0, requests = 0, throttled = 0;
    while (events < events_max && !timer.over()) {
        ++stores;
        PatientCaller caller;
        CosmosFake fake{caller.clock};
        fake.fail_by([chance = std::mt19937_64(random())](int) mutable {
            using enum CosmosFault;
            const auto drawn = chance() % 100;
            if (drawn < 30) return throttle;
            if (drawn < 35) return drawn % 2 == 0 ? timeout : unavailable;
            if (drawn < 39) return part_fails;
            if (drawn < 42) return retry_with;
            if (drawn < 45) return drop_before;
            return drawn < 50 ? drop_after : none;
        });
        const auto open_sink = [&](int attempts_max) {
            CosmosSinkOptions options;
            options.account.endpoint = fake.url();
            options.account.key = CosmosFake::key();
            options.account.service = caller.options();
            options.account.service.seed = random();
            options.account.service.attempts_max = attempts_max;
            options.account.service.breaker.failures_max = 1'000'000;
            options.account.service.patience = std::chrono::hours(1000);
            auto sink = make_cosmos_sink(std::move(options));
            if (!sink) FAIL(sink.error().message);
            return *std::move(sink);
        };
        RandomHistory history(random());
        TestEngine engine;
        const auto store = engine->status()->store_id;
        const SinkPosition start{store, 1, {}, {}};
        const auto patience = [&] { return 3 + static_cast<int>(random() % 8); };
        auto sink = open_sink(patience());
        std::unique_ptr<Sink> stale;  // That believes the sink is still its own.
        SinkPosition at = start;
        bool taken = false;
        const auto failure = [&](const Error& error) {
            ++failed;
            INFO(error.message);
            REQUIRE((error.code == ErrorCode::unavailable || error.code == ErrorCode::resource_exhausted ||
                     error.code == ErrorCode::deadline_exceeded || error.details.contains("position")));
            taken = false;
        };
        const auto take = [&] {
            const auto there = sink->take_over(store);
            if (!there) return failure(there.error());
            at = *there ? **there : start;
            taken = true;
        };
        for (int pass = 0; pass < 40 && events < events_max && !timer.over(); ++pass) {
            timer.tell("events", events + engine->head().value, events_max);
            for (int i = 0; i < 100; ++i) history.step(*engine, engine.clock());
            while (!taken || at.seq < engine->head()) {
                if (!taken) {
                    take();
                    continue;
                }
                auto changes = engine->changes({.after = at.seq, .events_max = 1 + random() % 60});
                if (!changes) FAIL(changes.error().message);
                const auto batch = to_batch(std::move(*changes), at, 1, *sink);
                if (random() % 20 == 0) {
                    // Another takes over, as a restart does; the one before must not get a batch in.
                    stale = std::exchange(sink, open_sink(patience()));
                    taken = false;
                    while (!taken) take();
                    const auto late = stale->apply(batch);
                    REQUIRE_FALSE(late);
                    if (late.error().details.contains("fenced")) ++fenced;
                    caller.clock.advance(300'000);  // A wait that it was told of, and the other was not.
                    continue;
                }
                const auto applied = sink->apply(batch);
                if (applied)
                    at = batch.to;
                else
                    failure(applied.error());
            }
            if (pass % 10 != 9) continue;
            const auto found = compare(*engine, *open_sink(1000));
            if (!found) FAIL(found.error().message);
            INFO(found->first_difference);
            REQUIRE(found->equal());
            REQUIRE(found->position == at);
            ++verified;
        }
        events += engine->head().value;
        const auto counts = fake.counts();
        requests += static_cast<std::uint64_t>(counts.requests);
        throttled += static_cast<std::uint64_t>(counts.throttled);
        REQUIRE(counts.without_partition == 0);
        REQUIRE(counts.unsigned_requests == 0);
        REQUIRE(counts.refused == 0);
        REQUIRE(counts.too_early == 0);
    }
    print({{"seed", seed},
           {"seconds", static_cast<std::uint64_t>(timer.seconds())},
           {"stores", stores},
           {"events", events},
           {"requests", requests},
           {"of them throttled; none came before its time", throttled},
           {"calls of the sink that failed after all, and were done over", failed},
           {"batches of a stale one, told that it is fenced (the others lost their way before)", fenced},
           {"comparisons of every record, all equal", verified}});
}
