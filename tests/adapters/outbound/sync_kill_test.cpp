// Engine and runner in one process that is killed: what the sink has is what the log says, as of where the sink says it
// is, and what is missing comes.
#include "adapters/outbound/file_sink.h"
#include "adapters/outbound/sync.h"
#include "engine/random_history.h"
#include "support/child_process.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <cstdlib>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

namespace {

std::unique_ptr<Engine> open_engine(const std::filesystem::path& path, Clock* clock) {
    auto engine = Engine::open({.directory = path / "store", .clock = clock});
    if (!engine) FAIL(engine.error().message);
    return *std::move(engine);
}
std::unique_ptr<Sink> open_sink(const std::filesystem::path& path) {
    return make_file_sink({.directory = path / "sink", .journal_bytes_min = 20'000});
}

}  // namespace

TEST_CASE("sync child", "[.][sync_child]") {
    const std::filesystem::path path = std::getenv(ChildProcess::argument_name);
    StoppedClock clock;
    const auto engine = open_engine(path, &clock);
    const auto runner = SyncRunner::start(*engine, {.poll = 1ms});
    if (!runner || !(*runner)->add("file", open_sink(path))) std::_Exit(2);
    RandomHistory history(std::random_device{}());
    for (;;) {
        history.step(*engine, clock);
        if (write(ChildProcess::news_fd, "+", 1) != 1) std::_Exit(3);
    }
}

TEST_CASE("a sink holds what the log says, whenever the process was killed", "[adapters][sync][crash]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    const TempDir dir(TempDir::On::memory);
    for (int kill = 0; kill < trials(30); ++kill) {
        {
            ChildProcess child("sync child", dir.path().string());
            for (auto news = 1 + random() % 150; news > 0 && child.next_news(); --news) continue;
            child.kill_now();
        }
        StoppedClock clock;
        const auto engine = open_engine(dir.path(), &clock);
        const auto sink = open_sink(dir.path());
        const auto found = compare(*engine, *sink);
        if (!found && found.error().code == ErrorCode::not_found) continue;  // Killed before its first batch.
        if (!found) FAIL(found.error().message);
        INFO("kill " << kill << ": " << found->first_difference);
        REQUIRE(found->equal());
        REQUIRE(found->position.seq <= engine->head());
    }
    StoppedClock clock;
    const auto engine = open_engine(dir.path(), &clock);
    auto runner = SyncRunner::start(*engine);
    REQUIRE(runner);
    REQUIRE((*runner)->add("file", open_sink(dir.path())));
    REQUIRE((*runner)->wait_for("file", engine->head(), 60s));
    runner->reset();
    const auto found = compare(*engine, *open_sink(dir.path()));
    REQUIRE(found);
    CHECK(found->equal());
    CHECK(found->position.seq == engine->head());
}
