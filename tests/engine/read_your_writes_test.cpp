// Whoever passes a receipt's seq reads his own write, whatever else is written. ANNAL_TRIALS (tests/support/seed.h)
// scales the 2,000 writes.
#include "support/seed.h"
#include "test_engine.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>
#include <vector>

namespace annal::testing {
namespace {

TEST_CASE("a write is in every read that waits for its seq", "[engine][concurrency]") {
    TestEngine engine;
    constexpr int writers = 4;
    const int writes = trials(2000) / writers + 1;
    std::atomic<int> stale = 0, failed = 0;
    std::vector<std::thread> threads;
    for (int writer = 0; writer < writers; ++writer)
        threads.emplace_back([&, writer] {
            const Scope scope{.project = "shop", .agent = "a" + std::to_string(writer), .user = {}, .session = {}};
            for (int i = 0; i < writes; ++i) {
                const std::string word = "w" + std::to_string(writer) + "x" + std::to_string(i);
                RecordRequest request{.scope = scope, .content = word};
                request.context.durability = Durability::buffered;
                const auto receipt = engine->record(request);
                if (!receipt) {
                    ++failed;
                    continue;
                }
                const ReadOptions now{.min_seq = receipt->seq, .wait_max = std::chrono::minutes(2)};
                const auto read = engine->get(scope, receipt->memory_id, now);
                if (!read || read->content != word) ++stale;
                if (i % 4 == 0) {
                    const auto found = engine->search({.scope = scope,
                                                       .text = word,
                                                       .mode = SearchMode::text,
                                                       .limit = 1,
                                                       .min_seq = receipt->seq,
                                                       .wait_max = now.wait_max});
                    if (!found || found->hits.empty() || found->hits[0].memory.id != receipt->memory_id) ++stale;
                    if (found && found->seq < receipt->seq) ++stale;
                } else {
                    const auto newest = engine->list({.scope = scope, .limit = 1, .read = now});
                    if (!newest || newest->memories.empty() || newest->memories[0].id != receipt->memory_id) ++stale;
                }
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(failed == 0);
    CHECK(stale == 0);
    CHECK(engine->head() == Seq{static_cast<std::uint64_t>(writers * writes)});
}

}  // namespace
}  // namespace annal::testing
