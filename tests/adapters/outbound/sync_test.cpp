#include "adapters/outbound/sync.h"
#include "adapters/memory_sink.h"
#include "adapters/sink_record.h"
#include "engine/random_history.h"
#include "engine/sealed_store.h"
#include "engine/test_engine.h"
#include "support/seed.h"

#include <annal/changes.h>

#include <atomic>
#include <thread>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

namespace {

const Scope shop{.project = "shop", .agent = {}, .user = {}, .session = {}};

// Until it is so: for what a thread is about to do.
template <class So>
bool eventually(So&& so) {
    const auto until = std::chrono::steady_clock::now() + 60s;
    while (!so()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

SyncOptions options_of(Clock* clock = nullptr) {
    SyncOptions options;
    options.clock = clock;
    options.seed = test_seed();
    options.poll = 1ms;
    return options;
}
std::unique_ptr<SyncRunner> start(Engine& engine, SyncOptions options = options_of()) {
    auto runner = SyncRunner::start(engine, std::move(options));
    if (!runner) FAIL(runner.error().message);
    return *std::move(runner);
}
SyncStatus status_of(const SyncRunner& runner, std::string_view name) {
    for (auto& status : runner.status())
        if (status.name == name) return status;
    FAIL("there is no sink " << name);
    return {};
}
void reach_head(SyncRunner& runner, std::string_view name, Engine& engine) {
    const auto reached = runner.wait_for(name, engine.head(), 60s);
    if (!reached) FAIL(reached.error().message);
}

struct Far {
    std::shared_ptr<MemoryFarSide> side = std::make_shared<MemoryFarSide>();
    std::atomic<bool> down{false};
    std::atomic<int> calls{0};

    Far() {
        side->fault = [this](std::string_view, bool done) -> std::optional<Error> {
            if (done) return std::nullopt;
            ++calls;
            if (!down) return std::nullopt;
            return Error{ErrorCode::unavailable, "nobody answers", {}};
        };
    }
    std::unique_ptr<Sink> open(MemorySinkOptions options = {}) const { return make_memory_sink(side, options); }
    std::size_t count() const {
        const std::lock_guard hold(side->mutex);
        return side->rows.size();
    }
};

SinkComparison compared(Engine& engine, Sink& sink) {
    auto comparison = compare(engine, sink);
    if (!comparison) FAIL(comparison.error().message);
    return *std::move(comparison);
}
void check_equal(Engine& engine, const Far& far) {
    const auto sink = far.open();
    const auto comparison = compared(engine, *sink);
    INFO(comparison.first_difference);
    REQUIRE(comparison.equal());
    REQUIRE(comparison.position.seq == engine.head());
}

// Every event once, in order.
void check_events(const Far& far, Seq head) {
    REQUIRE(far.side->events.size() == head.value);
    for (std::size_t i = 0; i < far.side->events.size(); ++i) REQUIRE(far.side->events[i].seq.value == i + 1);
}

}  // namespace

TEST_CASE("sinks follow the log while it is written, each in its own batches", "[adapters][sync]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    RandomHistory history(seed);
    TestEngine engine;
    Far none, one, two;
    auto runner = start(*engine);
    REQUIRE(runner->add("none", none.open()));
    CHECK(runner->wait_for("none", Seq{0}, 60s));  // There is nothing to wait for.
    REQUIRE(runner->remove("none"));
    REQUIRE(runner->add("one", one.open({.capabilities = {.keeps_events = true, .batch_records_max = 3}})));
    REQUIRE(runner->add("two", two.open({.capabilities = {.batch_bytes_max = 2000}})));
    const auto twice = runner->add("two", two.open());
    REQUIRE_FALSE(twice);
    CHECK(twice.error().code == ErrorCode::already_exists);
    for (int i = 0; i < 400; ++i) history.step(*engine, engine.clock());
    reach_head(*runner, "one", *engine);
    reach_head(*runner, "two", *engine);
    check_equal(*engine, one);
    check_equal(*engine, two);
    check_events(one, engine->head());
    const auto status = status_of(*runner, "one");
    CHECK(status.state == SyncState::following);
    CHECK(status.lag_events == 0);
    CHECK(status.batches * 3 >= engine->head().value);
    CHECK(status.records > 0);
    CHECK(runner->wait_for("three", Seq{1}, 1ms).error().code == ErrorCode::not_found);

    // What is removed is followed no more, and comes back to where it was.
    REQUIRE(runner->remove("one"));
    engine.note(shop, "after");
    reach_head(*runner, "two", *engine);
    CHECK(one.side->position->seq < engine->head());
    REQUIRE(runner->add("one", one.open({.capabilities = {.keeps_events = true}})));
    reach_head(*runner, "one", *engine);
    check_events(one, engine->head());
}

TEST_CASE("a sink that is down hinders neither writes nor others, and is caught up later", "[adapters][sync]") {
    TestEngine engine;
    Far down, well;
    down.down = true;
    auto runner = start(*engine, options_of(&engine.clock()));
    REQUIRE(runner->add("down", down.open()));
    REQUIRE(runner->add("well", well.open()));
    for (int i = 0; i < 300; ++i) engine.note(shop, "memory " + std::to_string(i));
    reach_head(*runner, "well", *engine);
    check_equal(*engine, well);

    // Five failures in a row; each wait of a backoff is over after 30 s at the latest.
    const auto failed = [&] { return status_of(*runner, "down").retries; };
    for (std::uint64_t failures = 1; failures <= 5; ++failures) {
        REQUIRE(eventually([&] { return failed() == failures; }));
        if (failures < 5) engine.clock().advance(30'000'000);
    }
    CHECK(status_of(*runner, "down").breaker == BreakerState::open);
    CHECK(status_of(*runner, "down").state == SyncState::retrying);
    // From then on one call in 30 s.
    const auto calls = down.calls.load();
    CHECK(calls == 5);
    for (int i = 1; i <= 4; ++i) {
        engine.clock().advance(30'000'000);
        REQUIRE(eventually([&] { return down.calls == calls + i; }));
        REQUIRE(eventually([&] { return failed() == 5 + static_cast<std::uint64_t>(i); }));
    }
    CHECK(down.calls == calls + 4);
    const auto late = status_of(*runner, "down");
    CHECK(late.lag_events == engine->head().value);
    CHECK(late.lag_seconds >= 240);
    REQUIRE(late.error);
    CHECK(late.error->code == ErrorCode::unavailable);
    CHECK(runner->wait_for("down", Seq{1}, 1ms).error().code == ErrorCode::deadline_exceeded);

    down.down = false;
    engine.clock().advance(60'000'000);
    reach_head(*runner, "down", *engine);
    check_equal(*engine, down);
    const auto again = status_of(*runner, "down");
    CHECK(again.state == SyncState::following);
    CHECK(again.breaker == BreakerState::closed);
    CHECK(again.lag_events == 0);
    CHECK(again.lag_seconds == 0);
    CHECK_FALSE(again.error);
}

TEST_CASE("lag rises while a sink is down, and falls batch by batch; counters only rise", "[adapters][sync]") {
    TestEngine engine;
    Far far;
    SyncCounters before;
    before.records = 1000;
    before.request_units = 2.5;
    auto runner = start(*engine, options_of(&engine.clock()));
    REQUIRE(runner->add("far", far.open({.capabilities = {.batch_records_max = 1}}), false, before));
    engine.note(shop, "before it");
    reach_head(*runner, "far", *engine);
    CHECK(status_of(*runner, "far").records == 1001);
    CHECK(status_of(*runner, "far").request_units == 2.5);

    far.down = true;
    std::uint64_t events = 0;
    double seconds = -1;
    for (int i = 0; i < 20; ++i) {
        engine.note(shop, "memory " + std::to_string(i));
        const auto status = status_of(*runner, "far");
        CHECK(status.lag_events > std::exchange(events, status.lag_events));
        CHECK(status.lag_seconds > std::exchange(seconds, status.lag_seconds));
        engine.clock().advance(1'000'000);
    }
    CHECK(events == 20);
    REQUIRE(eventually([&] { return status_of(*runner, "far").retries > 0; }));
    const auto retries = status_of(*runner, "far").retries;

    far.down = false;
    engine.clock().advance(60'000'000);
    while (events > 0) {
        const auto status = status_of(*runner, "far");
        REQUIRE(status.lag_events <= std::exchange(events, status.lag_events));
        engine.clock().advance(60'000'000);  // Whatever it waits for.
    }
    const auto status = status_of(*runner, "far");
    CHECK(status.lag_seconds == 0);
    CHECK(status.records == 1021);
    CHECK(status.retries >= retries);
}

TEST_CASE("a batch whose answer was lost is not applied again", "[adapters][sync]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    RandomHistory history(seed);
    TestEngine engine;
    Far far;
    far.side->fault = [&](std::string_view, bool) -> std::optional<Error> {  // Before, or after it had its effect.
        if (random() % 4 != 0) return std::nullopt;
        return Error{random() % 2 == 0 ? ErrorCode::unavailable : ErrorCode::deadline_exceeded, "lost", {}};
    };
    auto options = options_of();
    options.backoff = {.first = 0ms, .longest = 0ms};
    options.breaker.open_for = 0ms;
    auto runner = start(*engine, options);
    REQUIRE(runner->add("far", far.open({.capabilities = {.keeps_events = true, .batch_records_max = 5}})));
    for (int i = 0; i < 300; ++i) history.step(*engine, engine.clock());
    reach_head(*runner, "far", *engine);
    runner.reset();
    far.side->fault = nullptr;
    check_equal(*engine, far);
    check_events(far, engine->head());
}

TEST_CASE("a retry waits as long as the far side asks", "[adapters][sync]") {
    TestEngine engine;
    engine.note(shop, "tea");
    Far far;
    std::atomic<int> refused{0};
    far.side->fault = [&](std::string_view call, bool done) -> std::optional<Error> {
        if (call != "apply" || done) return std::nullopt;
        if (refused++ > 0) return std::nullopt;
        return Error{ErrorCode::resource_exhausted, "too many requests", {{"retry_after_ms", "3600000"}}};
    };
    auto runner = start(*engine, options_of(&engine.clock()));
    REQUIRE(runner->add("far", far.open()));
    REQUIRE(eventually([&] { return status_of(*runner, "far").retries == 1; }));
    engine.clock().advance(3'599'999'999);
    CHECK(runner->wait_for("far", Seq{1}, 50ms).error().code == ErrorCode::deadline_exceeded);
    engine.clock().advance(1);
    reach_head(*runner, "far", *engine);
}

TEST_CASE("of two that follow for one sink, the one that took it over last does", "[adapters][sync]") {
    TestEngine engine;
    Far far;
    auto first = start(*engine);
    REQUIRE(first->add("far", far.open({.capabilities = {.keeps_events = true}})));
    engine.note(shop, "one");
    reach_head(*first, "far", *engine);
    auto second = start(*engine);
    REQUIRE(second->add("far", far.open({.capabilities = {.keeps_events = true}})));
    reach_head(*second, "far", *engine);
    engine.note(shop, "two");
    reach_head(*second, "far", *engine);
    REQUIRE(eventually([&] { return status_of(*first, "far").state == SyncState::fenced; }));
    const auto waited = first->wait_for("far", engine->head(), 60s);
    REQUIRE_FALSE(waited);
    CHECK(waited.error().details.contains("fenced"));

    for (int i = 0; i < 20; ++i) {  // Both want it, again and again.
        engine.note(shop, std::to_string(i));
        REQUIRE((i % 2 == 0 ? first : second)->resume("far"));
        engine.note(shop, "and " + std::to_string(i));
    }
    // The one that was resumed last is not always the last to take it over: each does so on a thread of its own.
    REQUIRE(eventually(
        [&] { return first->wait_for("far", engine->head(), 1s) || second->wait_for("far", engine->head(), 1s); }));
    check_equal(*engine, far);
    check_events(far, engine->head());
    for (const auto* sync : {first.get(), second.get()}) CHECK(status_of(*sync, "far").state != SyncState::failed);
}

TEST_CASE("a sink at a place that the log does not have is left alone until it is made anew", "[adapters][sync]") {
    TestEngine engine;
    engine.note(shop, "tea");
    engine.note(shop, "rain");
    const auto store = engine->status()->store_id;
    Far far;
    {
        const auto other = far.open();
        REQUIRE(other->take_over(store));
        SinkBatch batch;
        batch.from.store_id = batch.to.store_id = store;
        batch.to.epoch = 1;
        SECTION("further than the log") {
            batch.to.seq = Seq{9};
        }
        SECTION("at another event") {
            batch.to.seq = Seq{2};
        }
        batch.to.hash.fill(7);
        SinkRecord record;
        record.memory.scope = shop;
        record.memory.content = "of another history";
        batch.upserts = {record};
        REQUIRE(other->apply(batch));
    }
    auto runner = start(*engine);
    REQUIRE(runner->add("far", far.open()));
    const auto waited = runner->wait_for("far", Seq{2}, 60s);
    REQUIRE_FALSE(waited);
    CHECK(waited.error().details.contains("needs_resync"));
    CHECK(status_of(*runner, "far").state == SyncState::needs_resync);
    CHECK(far.count() == 1);
    CHECK(compare(*engine, *far.open()).error().code == ErrorCode::conflict);

    REQUIRE(runner->resync("far"));
    reach_head(*runner, "far", *engine);
    check_equal(*engine, far);
    CHECK(far.count() == 2);
}

TEST_CASE("another store's sink is not touched, not by a resync either", "[adapters][sync]") {
    TestEngine engine, other;
    engine.note(shop, "tea");
    other.note(shop, "rain");
    Far far;
    {
        auto runner = start(*other);
        REQUIRE(runner->add("far", far.open()));
        reach_head(*runner, "far", *other);
    }
    auto runner = start(*engine);
    REQUIRE(runner->add("far", far.open()));
    CHECK(runner->wait_for("far", Seq{1}, 60s).error().details.contains("store_id"));
    CHECK(status_of(*runner, "far").state == SyncState::failed);
    REQUIRE(runner->resync("far"));
    CHECK(runner->wait_for("far", Seq{1}, 60s).error().details.contains("store_id"));
    check_equal(*other, far);
    CHECK(compare(*engine, *far.open()).error().details.contains("store_id"));
}

TEST_CASE("what a sink can never take is a dead letter, and the rest goes on", "[adapters][sync]") {
    TestEngine engine;
    const auto large = engine.note(shop, std::string(100, 'x'));
    engine.note(shop, "small");
    Far far;
    auto runner = start(*engine);
    REQUIRE(runner->add("far", far.open({.capabilities = {}, .content_bytes_max = 50})));
    reach_head(*runner, "far", *engine);
    CHECK(status_of(*runner, "far").dead_letters == 1);
    auto comparison = compared(*engine, *far.open());
    CHECK(comparison.equal());
    CHECK(comparison.memories == 2);
    CHECK(comparison.records == 1);
    CHECK(comparison.dead_letters == 1);
    REQUIRE(engine->revise({.target = target(shop, large.memory_id), .content = "smaller"}));
    reach_head(*runner, "far", *engine);
    comparison = compared(*engine, *far.open());
    CHECK(comparison.equal());
    CHECK(comparison.dead_letters == 0);
}

TEST_CASE("a paused sink stands still until it is resumed", "[adapters][sync]") {
    TestEngine engine;
    Far far, other;
    auto runner = start(*engine);
    REQUIRE(runner->add("far", far.open()));
    REQUIRE(runner->add("other", other.open(), true));
    engine.note(shop, "tea");
    reach_head(*runner, "far", *engine);
    REQUIRE(runner->pause("far"));
    const auto calls = far.calls.load();
    engine.note(shop, "rain");
    CHECK(status_of(*runner, "far").state == SyncState::paused);
    CHECK(status_of(*runner, "far").lag_events == 1);
    CHECK_FALSE(runner->wait_for("far", engine->head(), 1ms));
    CHECK(far.calls == calls);
    CHECK(other.calls == 0);
    REQUIRE(runner->resume("far"));
    REQUIRE(runner->resume("other"));
    reach_head(*runner, "far", *engine);
    reach_head(*runner, "other", *engine);
    check_equal(*engine, far);
    check_equal(*engine, other);
}

TEST_CASE("an erasure reaches every sink", "[adapters][sync][sealing]") {
    const Scope ann{.project = "shop", .agent = {}, .user = "ann", .session = {}};
    SealedStore store;
    store.note(ann, "ann has tea");
    store.note(shop, "the shop has tea");
    Far far;
    auto runner = start(*store);
    REQUIRE(runner->add("far", far.open({.capabilities = {.keeps_events = true}})));
    reach_head(*runner, "far", *store);
    CHECK(far.count() == 2);
    REQUIRE(runner->pause("far"));
    REQUIRE(store->erase({.project = "shop", .user = "ann", .actor = {}, .reason = "asked to"}));
    auto comparison = compared(*store, *far.open());  // As of before it was asked for.
    CHECK(comparison.equal());
    CHECK(comparison.to_be_erased == 1);
    REQUIRE(runner->resume("far"));
    reach_head(*runner, "far", *store);
    check_equal(*store, far);
    CHECK(far.count() == 1);
    for (const auto& event : far.side->events) CHECK(event.changes.find("ann has tea") == std::string::npos);
    CHECK(status_of(*runner, "far").erasures == 1);
    runner.reset();

    store.note(ann, "ann is back");
    store.open("");  // Without the root key nothing of hers is given to anybody.
    runner = start(*store);
    REQUIRE(runner->add("far", far.open()));
    CHECK(runner->wait_for("far", store->head(), 60s).error().code == ErrorCode::permission_denied);
    CHECK(status_of(*runner, "far").state == SyncState::failed);
}

TEST_CASE("a comparison finds every difference, and tells no memory's text", "[adapters][sync]") {
    TestEngine engine;
    const auto tea = engine.note(shop, "tea is in the secret cupboard");
    engine.record({.scope = shop, .content = "rain", .embedding = Embedding{"m", {3, 4}}});
    engine.note({.project = "home", .agent = {}, .user = {}, .session = {}}, "snow");
    Far far;
    auto runner = start(*engine);
    REQUIRE(runner->add("far", far.open()));
    reach_head(*runner, "far", *engine);
    runner.reset();
    check_equal(*engine, far);
    auto& rows = far.side->rows;
    auto& record = *rows.at({"shop", tea.memory_id}).record;
    std::string said;
    SECTION("a content") {
        record.memory.content = "another cupboard";
        said = "content";
    }
    SECTION("a version") {
        record.memory.version = Version{7};
        said = "version";
    }
    SECTION("one bit of a vector") {
        for (auto& [key, row] : rows)
            if (row.record->embedding) row.record->embedding->values[0] = std::nextafter(0.6F, 1.0F);
        said = "vector";
    }
    SECTION("a memory too few") {
        rows.erase({"shop", tea.memory_id});
        said = "missing";
    }
    SECTION("a memory too many") {
        auto copy = record;
        copy.memory.id.bytes[15] ^= 1;
        rows[{"shop", copy.memory.id}].record = copy;
        said = "is not to be";
    }
    const auto comparison = compared(*engine, *far.open());
    CHECK_FALSE(comparison.equal());
    CHECK(comparison.different + comparison.missing + comparison.extra == 1);
    CHECK(comparison.first_difference.find(said) != std::string::npos);
    CHECK(comparison.first_difference.find("cupboard") == std::string::npos);
}
