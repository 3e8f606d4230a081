// A store, a runner and a real server together.
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
