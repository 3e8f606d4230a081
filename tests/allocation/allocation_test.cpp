// Memory that runs out: each allocation of ours that a call makes on its caller's thread fails once. ANNAL_TRIALS
// (tests/support/seed.h) scales how many of them: 10 is every tenth.
#include "failing_new.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <annal/engine.h>

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <new>
#include <set>
#include <string>

using namespace annal;
using namespace annal::testing;

namespace {

const Scope shop{.project = "shop", .agent = "qa", .user = {}, .session = "s1"};

class Store {
 public:
    Store() { open(); }

    Engine& operator*() { return *engine_; }
    Engine* operator->() { return engine_.get(); }
    void open() {
        engine_.reset();
        auto opened = Engine::open({.directory = dir_.path() / "store", .scrub_bytes_per_second = 0});
        if (!opened) FAIL(opened.error().message);
        engine_ = std::move(*opened);
    }
    RecordRequest request() {
        RecordRequest request;
        request.scope = shop;
        request.content = "memory number " + std::to_string(++number_) + " says something of the checkout";
        request.tags = {"a", "b"};
        request.metadata = R"({"build":{"number":7}})";
        request.embedding = Embedding{"m", {0.6F, 0.8F}};
        request.context.idempotency_key = "key " + std::to_string(number_);
        return request;
    }
    Receipt record(const RecordRequest& request) {
        auto receipt = engine_->record(request);
        if (!receipt) FAIL(receipt.error().message);
        return *receipt;
    }
    Target target(const MemoryId& id) {
        Target target;
        target.scope = shop;
        target.memory_id = id;
        target.context.reason = "a test that runs out of memory";
        return target;
    }

 private:
    TempDir dir_;
    std::unique_ptr<Engine> engine_;
    int number_ = 0;
};

struct Outcome {
    bool failed = false;   // An allocation did.
    bool thrown = false;   // And the caller was thrown std::bad_alloc.
    bool refused = false;  // Or told so.
};

Outcome call(std::uint64_t allocation, const std::function<bool()>& doing) {
    Outcome outcome;
    bool done = false;
    fail_allocation(allocation);
    try {
        done = doing();
    } catch (const std::bad_alloc&) {
        outcome.thrown = true;
    }
    outcome.failed = allocation_failed();
    fail_allocation(0);
    outcome.refused = !done && !outcome.thrown;
    return outcome;
}

// Fails the first allocation, the second, and so on, until the call makes no more. `make` prepares one call.
std::uint64_t fail_each(const std::function<std::function<bool()>()>& make, const std::function<void()>& after) {
    const auto stride = static_cast<std::uint64_t>(std::max(1, 100 / trials(100)));
    std::uint64_t failed = 0;
    for (std::uint64_t allocation = 1;; allocation += stride) {
        const auto doing = make();
        const auto outcome = call(allocation, doing);
        INFO("allocation " << allocation);
        if (!outcome.failed) {
            CHECK_FALSE(outcome.thrown);
            CHECK_FALSE(outcome.refused);
            return failed;
        }
        ++failed;
        after();
    }
}

}  // namespace

TEST_CASE("a read that runs out of memory ends in an error or std::bad_alloc, and the next one answers",
          "[allocation]") {
    Store store;
    const auto id = store.record(store.request()).memory_id;
    for (int i = 0; i < 5; ++i) store.record(store.request());
    REQUIRE(store->wait_for(store->head(), std::chrono::minutes(1)));
    const auto seq = store->head();

    const std::pair<const char*, std::function<bool()>> reads[] = {
        {"get", [&] { return static_cast<bool>(store->get(shop, id)); }},
        {"list", [&] { return static_cast<bool>(store->list({.scope = shop})); }},
        {"history", [&] { return static_cast<bool>(store->history(shop, id)); }},
        {"search",
         [&] {
             SearchRequest request;
             request.scope = shop;
             request.text = "checkout memory";
             request.vector = Embedding{"m", {1.0F, 0.0F}};
             return static_cast<bool>(store->search(request));
         }},
        {"list as of",
         [&] {
             ListRequest request{.scope = shop};
             request.read.as_of = Seq{2};
             return static_cast<bool>(store->list(request));
         }},
        {"log", [&] { return static_cast<bool>(store->read_log(Seq{0}, "shop", [](const auto&) { return true; })); }},
        {"status", [&] { return static_cast<bool>(store->status()); }},
        {"proof", [&] { return static_cast<bool>(store->prove_inclusion(Seq{1}, seq)); }},
    };
    std::uint64_t points = 0;
    for (const auto& [name, read] : reads) {
        INFO(name);
        points += fail_each([&read = read] { return read; }, [&read = read] { REQUIRE(read()); });
    }
    WARN(points << " allocations of reads failed");
    const auto report = store->verify();
    REQUIRE(report);
    CHECK(report->all_well());
}

TEST_CASE("memory that runs out at any allocation of ours is an error, and the store goes on or is opened again",
          "[allocation]") {
    Store store;
    const auto first = store.record(store.request());
    std::set<std::uint64_t> answered{first.seq.value};
    std::uint64_t points = 0, reopened = 0;
    const auto goes_on = [&] {
        auto request = store.request();
        auto receipt = store->record(request);
        if (!receipt) {
            // Nobody knows what a write left that ended in the middle: it is found out by opening again.
            CHECK(receipt.error().code == ErrorCode::unavailable);
            ++reopened;
            store.open();
            receipt = store->record(request);
        }
        REQUIRE(receipt);
        CHECK(answered.insert(receipt->seq.value).second);
    };
    using Write = std::function<bool()>;
    const std::pair<const char*, std::function<Write()>> writes[] = {
        {"record",
         [&]() -> Write {
             return [&store, request = store.request(), &answered] {
                 const auto receipt = store->record(request);
                 if (receipt) answered.insert(receipt->seq.value);
                 return static_cast<bool>(receipt);
             };
         }},
        {"batch",
         [&]() -> Write {
             std::vector<RecordRequest> batch;
             for (int i = 0; i < 3; ++i) batch.push_back(store.request());
             return [&store, batch] { return static_cast<bool>(store->record_batch(batch)); };
         }},
        {"revise",
         [&]() -> Write {
             ReviseRequest request;
             request.target = store.target(store.record(store.request()).memory_id);
             request.content = "now it says something else";
             return [&store, request] { return static_cast<bool>(store->revise(request)); };
         }},
        {"forget",
         [&]() -> Write {
             const auto id = store.record(store.request()).memory_id;
             return [&store, target = store.target(id)] { return static_cast<bool>(store->forget(target)); };
         }},
    };
    for (const auto& [name, make] : writes) {
        INFO(name);
        points += fail_each(make, goes_on);
    }
    WARN(points << " allocations of writes failed; opened again " << reopened << " times");
    REQUIRE(store->wait_for(store->head(), std::chrono::minutes(1)));
    const auto report = store->verify();
    REQUIRE(report);
    for (const auto& check : report->checks) {
        INFO(check.name << ": " << check.found);
        CHECK(check.state == Check::State::ok);
    }
    store.open();
    CHECK(store->head().value >= *answered.rbegin());
}
