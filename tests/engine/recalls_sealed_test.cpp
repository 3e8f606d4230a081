// What a run asked of a user's memories is sealed as they are: without the key nobody reads it, and it goes with them.
#include "projections/view_store.h"
#include "sealed_store.h"
#include "support/scopes.h"
#include "test_engine.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>

using namespace annal;
using namespace annal::testing;

namespace {

SearchAnswer search_for_run(SealedStore& store, const Scope& scope, std::string text, std::string run_id) {
    SearchRequest request{.scope = scope, .text = std::move(text), .mode = SearchMode::text};
    request.run_id = std::move(run_id);
    request.min_seq = store->head();
    auto answer = store->search(request);
    if (!answer) FAIL(answer.error().message);
    return *answer;
}

Result<RunAnswer> explain(SealedStore& store, const Scope& scope, std::string run_id) {
    ExplainRequest request{.scope = scope, .run_id = std::move(run_id)};
    request.read = store.all();
    return store->explain(request);
}

Result<RecallsAnswer> recalls(SealedStore& store, const Scope& scope, MemoryId id) {
    RecallsRequest request{.scope = scope, .memory_id = id};
    request.read = store.all();
    return store->recalls(request);
}

std::size_t count(const std::vector<RunContext>& contexts) {
    std::size_t given = 0;
    for (const auto& context : contexts) given += context.given.size();
    return given;
}

}  // namespace

TEST_CASE("what a run asked of a user's memories is in no file of the log", "[engine][recalls][sealing]") {
    SealedStore store;
    store.note(ann, "ann likes tea");
    store.note({"shop", "qa", "", ""}, "the shop sells coffee");
    REQUIRE(search_for_run(store, ann, "secretive tea", "run-secretive").hits.size() == 1);
    REQUIRE(search_for_run(store, shop, "secretive wide tea", "run-secretive").hits.size() == 1);
    REQUIRE(search_for_run(store, shop, "plainly coffee", "run-plainly").hits.size() == 1);
    CHECK(any_file_holds(store.path() / "log", "plainly coffee"));
    CHECK(any_file_holds(store.path() / "log", "run-plainly"));
    CHECK_FALSE(any_file_holds(store.path() / "log", "secretive"));
    CHECK(explain(store, shop, "run-secretive")->contexts.size() == 2);
    REQUIRE(store->verify()->all_well());
    store.close();
    CHECK_FALSE(any_file_holds(store.path() / "log", "secretive"));
    CHECK_FALSE(any_file_holds(store.path() / "views", "secretive"));
}

TEST_CASE("a locked store counts what was given of users' memories, and shows none of it",
          "[engine][recalls][sealing]") {
    SealedStore store;
    const auto of_ann = store.note(ann, "ann likes tea").memory_id;
    const auto of_shop = store.note(shop, "the shop sells tea").memory_id;
    REQUIRE(search_for_run(store, shop, "tea", "run").hits.size() == 2);
    REQUIRE(search_for_run(store, ann, "tea at home", "run").hits.size() == 1);
    const auto digests = store.digests();
    store.open("");
    const auto answer = explain(store, shop, "run");
    REQUIRE(answer);
    CHECK(answer->sealed == 2);
    CHECK(answer->erased == 0);
    REQUIRE(answer->contexts.size() == 1);
    REQUIRE(answer->contexts[0].given.size() == 1);
    CHECK(answer->contexts[0].given[0].memory_id == of_shop);
    CHECK(answer->contexts[0].not_given.empty());
    CHECK(answer->contexts[0].degraded.size() == 1);  // Users' memories are left out of the search.
    CHECK(explain(store, ann, "run")->sealed == 1);   // The other is of a run that is not hers.

    CHECK(recalls(store, ann, of_ann)->recalls.size() == 1);
    const auto of_hers = recalls(store, shop, of_ann);
    REQUIRE(of_hers);
    REQUIRE(of_hers->recalls.size() == 2);
    for (const auto& recall : of_hers->recalls) {
        CHECK(recall.payload == Payload::sealed);
        CHECK(recall.recorded_at.us > 0);
        CHECK(recall.run_id.empty());
        CHECK(recall.query.empty());
        CHECK(recall.actor.empty());
        CHECK(recall.memory_id.is_nil());
    }
    CHECK(recalls(store, shop, of_shop)->recalls.at(0).query == "tea");

    // What has no user goes on being put down.
    const auto found = search_for_run(store, shop, "tea", "run-2");
    REQUIRE(found.hits.size() == 1);
    CHECK(found.recalled_seq == store->head());
    RecallRequest refused{.scope = shop, .run_id = "run-2"};
    refused.memories = {{of_ann, 1, 1}};
    CHECK(store->recall(refused).error().code == ErrorCode::permission_denied);

    store.open(key_r);
    CHECK(store.digests() != digests);  // Of run-2.
    CHECK(explain(store, shop, "run")->sealed == 0);
    CHECK(count(explain(store, shop, "run")->contexts) == 3);
    CHECK(count(explain(store, ann, "run")->contexts) == 1);
}

TEST_CASE("what was given before there was a key is masked, too", "[engine][recalls][sealing]") {
    SealedStore store;
    store.close();
    std::filesystem::remove_all(store.path());
    store.open("");  // Sealing is off.
    const auto of_ann = store.note(ann, "ann likes tea").memory_id;
    search_for_run(store, ann, "tea at home", "run");
    CHECK(recalls(store, ann, of_ann)->recalls.at(0).query == "tea at home");
    store.open(key_r);
    store.open("");
    const auto masked = recalls(store, ann, of_ann);
    REQUIRE(masked);
    CHECK(masked->recalls.at(0).payload == Payload::sealed);
    CHECK(masked->recalls.at(0).query.empty());
    CHECK(explain(store, ann, "run")->sealed == 1);
    CHECK(explain(store, ann, "run")->contexts.empty());
}

TEST_CASE("with a user's key goes what was asked of his memories, and that it was asked stays",
          "[engine][recalls][sealing]") {
    SealedStore store;
    const auto of_ann = store.note(ann, "ann likes tea").memory_id;
    const auto of_bob = store.note(bob, "bob likes tea").memory_id;
    REQUIRE(search_for_run(store, shop, "tea", "run").hits.size() == 2);
    REQUIRE(search_for_run(store, ann, "tea at home", "run").hits.size() == 1);
    store.digests();  // All is applied.
    store.erase({"shop", "ann"});
    store.open(key_r);
    for (const bool rebuilt : {false, true}) {
        INFO(rebuilt);
        if (rebuilt) REQUIRE(store->rebuild(""));
        const auto answer = explain(store, shop, "run");
        REQUIRE(answer);
        CHECK(answer->erased == 2);
        CHECK(answer->sealed == 0);
        REQUIRE(answer->contexts.size() == 1);
        REQUIRE(answer->contexts[0].given.size() == 1);
        CHECK(answer->contexts[0].given[0].memory_id == of_bob);
        CHECK(answer->contexts[0].query == "tea");
        CHECK(explain(store, ann, "run")->erased == 1);
        CHECK(recalls(store, bob, of_bob)->recalls.empty());  // It was a run of the whole project.
        const auto hers = recalls(store, shop, of_ann);
        if (rebuilt) CHECK(hers.error().code == ErrorCode::not_found);
        if (!rebuilt) {
            REQUIRE(hers);
            CHECK(hers->recalls.at(0).payload == Payload::erased);
            CHECK(hers->recalls.at(0).query.empty());
        }
    }
    REQUIRE(store->verify()->all_well());
}

TEST_CASE("a search does not wait for the projection of recalls", "[engine][recalls][sealing]") {
    SealedStore store;
    store.note(ann, "ann likes tea");
    const auto of_shop = store.note(shop, "the shop sells tea").memory_id;
    store.digests();  // All is applied.
    store.close();
    {
        auto views = ViewStore::open({.directory = store.path() / "views"});
        REQUIRE(views);
        REQUIRE((*views)->drop("recalls"));
    }
    store.open("");  // It waits at the first event, the others have gone by.
    const auto found = store.search(10);
    REQUIRE(found);
    CHECK(found->hits.size() == 1);
    CHECK(recalls(store, shop, of_shop).error().code == ErrorCode::unavailable);
    CHECK(explain(store, shop, "run").error().code == ErrorCode::unavailable);
}

TEST_CASE("an erasure takes what was asked of a user's memories out of log and views", "[engine][recalls][erasure]") {
    SealedStore store;
    const auto of_ann = store.note(ann, "ann likes tea").memory_id;
    const auto of_bob = store.note(bob, "bob likes tea").memory_id;
    REQUIRE(search_for_run(store, shop, "secretive tea", "run").hits.size() == 2);
    REQUIRE(search_for_run(store, ann, "secretive tea at home", "run").hits.size() == 1);
    const auto erased = store->erase({.project = "shop", .user = "ann"});
    REQUIRE(erased);
    CHECK(erased->events == 3);
    CHECK(erased->memories == 1);
    CHECK_FALSE(any_file_holds(store.path(), "secretive"));
    const auto answer = explain(store, shop, "run");
    REQUIRE(answer);
    CHECK(answer->erased == 2);
    REQUIRE(answer->contexts.size() == 1);
    CHECK(answer->contexts[0].given.at(0).memory_id == of_bob);
    CHECK(answer->contexts[0].not_given.empty());
    CHECK(recalls(store, shop, of_ann).error().code == ErrorCode::not_found);
    RecallRequest late{.scope = shop, .run_id = "run"};
    late.memories = {{of_ann, 1, 1}};
    CHECK(store->recall(late).error().code == ErrorCode::not_found);
    const auto digests = store.digests();
    REQUIRE(store->rebuild(""));
    CHECK(store.digests() == digests);
    REQUIRE(store->verify()->all_well());
}

TEST_CASE("of a search that an erasure overtakes, nothing is put down of the user", "[engine][recalls][erasure]") {
    SealedStore store;
    for (int i = 0; i < 20; ++i) {
        store.note(ann, "ann likes tea number " + std::to_string(i));
        store.note(bob, "bob likes tea number " + std::to_string(i));
    }
    REQUIRE(store->wait_for(store->head(), std::chrono::seconds(60)));
    std::atomic<bool> done = false;
    std::atomic<int> asked = 0, failed = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&] {
            while (!done && asked < 2'000) {
                SearchRequest request{.scope = shop, .text = "likes tea", .mode = SearchMode::text, .limit = 40};
                request.run_id = "run";
                if (!store->search(request)) ++failed;
                ++asked;
            }
        });
    while (asked < 8) std::this_thread::yield();
    const auto erased = store->erase({.project = "shop", .user = "ann"});
    done = true;
    for (auto& thread : threads) thread.join();
    REQUIRE(erased);
    CHECK(failed == 0);
    ExplainRequest request{.scope = shop, .run_id = "run", .not_given_max = 0, .limit = 100};
    request.read = store.all();
    std::size_t gone = 0, given = 0;
    for (std::optional<Seq> next{Seq{0}}; next;) {
        request.after = next;
        const auto page = store->explain(request);
        REQUIRE(page);
        for (const auto& context : page->contexts)
            for (const auto& each : context.given) ++(each.memory ? given : gone);
        next = page->next;
    }
    CHECK(given > 0);
    CHECK(gone == 0);
}
