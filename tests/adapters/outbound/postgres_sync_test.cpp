// A store, a runner and a real server together.
#include "adapters/outbound/postgres_connection.h"
#include "adapters/outbound/postgres_sink.h"
#include "adapters/outbound/sync.h"
#include "engine/test_engine.h"
#include "support/postgres_server.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <thread>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

TEST_CASE("a PostgreSQL that is down for ten thousand writes hinders none, and is caught up", "[postgres][sync]") {
    constexpr int writes = 10'000, batch = 100;
    const auto server = postgres_server_or_skip();
    TestEngine engine;
    SyncOptions options;
    options.seed = test_seed();
    options.poll = 1ms;
    options.backoff = {.first = 1ms, .longest = 20ms};
    options.breaker = {.failures_max = 5, .open_for = 20ms};
    auto runner = SyncRunner::start(*engine, options);
    REQUIRE(runner);
    PostgresOptions far;
    far.connection = server->connection();
    REQUIRE((*runner)->add("far", make_postgres_sink(far)));
    REQUIRE((*runner)->wait_for("far", Seq{0}, 60s));

    server->stop();
    std::uint64_t lag = 0;
    for (int i = 0; i < writes; i += batch) {
        std::vector<RecordRequest> requests;
        for (int j = i; j < i + batch; ++j) {
            RecordRequest request;
            request.scope.project = "p" + std::to_string(i / batch % 3);
            request.content = "memory " + std::to_string(j);
            request.context.durability = Durability::buffered;
            requests.push_back(std::move(request));
        }
        REQUIRE(engine->record_batch(requests));
        const auto status = (*runner)->status().at(0);
        CHECK(status.lag_events > lag);
        lag = status.lag_events;
    }
    CHECK(lag == writes);
    while ((*runner)->status().at(0).retries == 0) std::this_thread::yield();
    CHECK((*runner)->status().at(0).state == SyncState::retrying);

    server->start();
    const auto caught_up = (*runner)->wait_for("far", engine->head(), 120s);
    if (!caught_up) FAIL(caught_up.error().message);
    const auto status = (*runner)->status().at(0);
    CHECK(status.lag_events == 0);
    CHECK(status.state == SyncState::following);
    CHECK(status.records == writes);  // Each once.
    const auto sink = make_postgres_sink(far);
    const auto compared = compare(*engine, *sink);
    REQUIRE(compared);
    INFO(compared->first_difference);
    CHECK(compared->equal());
    CHECK(compared->records == writes);
}

TEST_CASE("a memory that PostgreSQL refuses becomes a dead letter, and the others of its batch go on",
          "[postgres][sync]") {
    const auto server = postgres_server_or_skip();
    TestEngine engine;
    PostgresOptions far;
    far.connection = server->connection();
    SyncOptions options;
    options.poll = 1ms;
    auto runner = SyncRunner::start(*engine, options);
    REQUIRE(runner);
    REQUIRE((*runner)->add("far", make_postgres_sink(far)));
    REQUIRE((*runner)->wait_for("far", Seq{0}, 60s));
    auto connection = PostgresConnection::open(far);
    REQUIRE(connection);
    // As somebody's hand may, or a limit of the server's.
    REQUIRE((*connection)->run_script("ALTER TABLE notes ADD CONSTRAINT hand CHECK (content NOT LIKE 'bad%')"));
    const Scope scope{"shop", "", "", ""};
    const auto write = [&](int count, int bad_each) {
        std::vector<RecordRequest> requests;
        for (int i = 1; i <= count; ++i)
            requests.push_back({.scope = scope, .content = (i % bad_each == 0 ? "bad " : "good ") + std::to_string(i)});
        REQUIRE(engine->record_batch(requests));
    };
    const auto check_equal = [&](std::uint64_t records, std::uint64_t dead_letters) {
        const auto sink = make_postgres_sink(far);
        const auto compared = compare(*engine, *sink);
        REQUIRE(compared);
        CHECK(compared->equal());
        CHECK(compared->records == records);
        CHECK(compared->dead_letters == dead_letters);
        const auto walk = sink->walk();
        REQUIRE(walk);
        const auto letters = (*walk)->dead_letters();
        REQUIRE(letters);
        for (const auto& letter : *letters) {
            CHECK(letter.reason.find("23514") != std::string::npos);
            CHECK(letter.reason.find("bad") == std::string::npos);
        }
    };
    write(300, 70);
    const auto reached = (*runner)->wait_for("far", engine->head(), 120s);
    if (!reached) FAIL(reached.error().message);
    check_equal(296, 4);
    CHECK((*runner)->status().at(0).state == SyncState::following);
    CHECK((*runner)->status().at(0).dead_letters == 4);

    // Not one of them, but all: nothing that a dead letter mends.
    write(20, 1);
    const auto failed = (*runner)->wait_for("far", engine->head(), 120s);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().details.at("sqlstate") == "23514");
    CHECK((*runner)->status().at(0).state == SyncState::failed);
    REQUIRE((*connection)->run_script("ALTER TABLE notes DROP CONSTRAINT hand"));
    REQUIRE((*runner)->resume("far"));
    REQUIRE((*runner)->wait_for("far", engine->head(), 120s));
    check_equal(308, 12);
}
