// A rebuild is answered through: by lists, reads and searches of every mode, while others write.
#include "support/scopes.h"
#include "support/seed.h"
#include "test_engine.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <set>
#include <thread>

namespace annal::testing {
namespace {

TEST_CASE("reads during rebuilds never fail, and never miss a memory", "[engine][rebuild]") {
    TestEngine engine;
    constexpr std::size_t memories = 60;
    const auto record = [&](std::size_t i) {
        RecordRequest request{.scope = shop, .content = "common memory " + std::to_string(i)};
        request.embedding = Embedding{"m", {static_cast<float>(i), 1, 2}};
        return engine->record(request);
    };
    for (std::size_t i = 0; i < memories; ++i) REQUIRE(record(i));
    REQUIRE(engine->wait_for(Seq{memories}, std::chrono::seconds(60)));

    std::atomic<bool> stop{false};
    std::atomic<int> failed{0}, short_of{0}, asked{0};
    std::vector<std::thread> threads;
    for (const auto mode : {SearchMode::text, SearchMode::vector, SearchMode::hybrid})
        threads.emplace_back([&, mode] {
            while (!stop) {
                SearchRequest request{.scope = shop, .mode = mode, .limit = 1000};
                if (mode != SearchMode::vector) request.text = "common";
                if (mode != SearchMode::text) request.vector = Embedding{"m", {1, 1, 1}};
                const auto answer = engine->search(request);
                if (!answer) ++failed;
                if (answer && answer->hits.size() < memories) ++short_of;
                const auto list = engine->list({.scope = shop, .limit = 1000});
                if (!list) ++failed;
                if (list && list->memories.size() < memories) ++short_of;
                ++asked;
            }
        });
    std::atomic<int> rebuilds_begun{0};
    threads.emplace_back([&] {  // A writer that reads what it wrote.
        for (std::size_t i = memories; !stop;) {
            if (i >= memories + 5 * static_cast<std::size_t>(rebuilds_begun)) {
                std::this_thread::yield();
                continue;
            }
            const auto receipt = record(i++);
            if (!receipt || !engine->get(shop, receipt->memory_id, {.min_seq = receipt->seq})) ++failed;
        }
    });
    const auto swaps = trials(10);
    for (int swap = 0; swap < swaps; ++swap) {
        ++rebuilds_begun;
        CHECK(engine->rebuild({}));
    }
    while (asked < 10) std::this_thread::yield();
    stop = true;
    for (auto& thread : threads) thread.join();
    CHECK(failed == 0);
    CHECK(short_of == 0);
    const auto status = engine->status();
    REQUIRE(status);
    for (const auto& projection : status->projections) {
        CHECK(projection.generation == static_cast<std::uint64_t>(swaps) + 1);
        CHECK(projection.building_generation == 0);
    }

    // One folder of vectors is left, and the next process finds it.
    const auto digests = engine.digests();
    std::set<std::string> folders;
    for (const auto& entry : std::filesystem::directory_iterator(engine.path() / "views"))
        folders.insert(entry.path().filename().string());
    CHECK(folders == std::set<std::string>{"keys", "vectors-g" + std::to_string(swaps + 1)});
    engine.reopen();
    CHECK(engine.digests() == digests);
    const auto reopened = engine->status();
    REQUIRE(reopened);
    for (const auto& projection : reopened->projections) CHECK(projection.note.empty());
}

}  // namespace
}  // namespace annal::testing
