#include "adapters/outbound/cosmos_sink.h"

#include "../sink_conformance.h"
#include "support/cosmos_fake.h"
#include "support/patient_caller.h"

#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <random>
#include <thread>

using namespace annal;
using namespace annal::testing;

namespace {

// An account; every sink of it is patient, so that a test chooses what goes wrong.
class CosmosSide final : public FarSide {
 public:
    explicit CosmosSide(int attempts_max = 1000) : attempts_max_(attempts_max) {}
    ~CosmosSide() override {
        const auto counts = fake.counts();
        CHECK(counts.without_partition == 0);
        CHECK(counts.unsigned_requests == 0);
        CHECK(counts.too_early == 0);
        CHECK(counts.refused == 0);
    }

    std::unique_ptr<Sink> open() override {
        CosmosSinkOptions options;
        options.account.endpoint = fake.url();
        options.account.key = CosmosFake::key();
        options.account.service = caller.options();
        options.account.service.attempts_max = attempts_max_;
        options.account.service.breaker.failures_max = 1'000'000;
        options.account.service.patience = std::chrono::hours(1000);
        auto made = make_cosmos_sink(std::move(options));
        if (!made) FAIL(made.error().message);
        return std::move(*made);
    }

    PatientCaller caller{};
    CosmosFake fake{caller.clock};

 private:
    int attempts_max_;
};

// 30 of 100 requests are throttled, some fail, or are lost before or after their effect.
std::function<CosmosFault(int)> misfortune(std::uint64_t seed) {
    return [random = std::mt19937_64(seed)](int) mutable {
        using enum CosmosFault;
        const auto drawn = random() % 100;
        if (drawn < 30) return throttle;
        if (drawn < 35) return drawn % 2 == 0 ? timeout : unavailable;
        if (drawn < 39) return part_fails;
        if (drawn < 43) return retry_with;
        if (drawn < 46) return drop_before;
        return drawn < 50 ? drop_after : none;
    };
}

// Of three projects, more than one batch of Cosmos DB's holds.
SinkBatch large_batch(std::uint64_t from, std::uint64_t to, const std::string& content) {
    auto batch = batch_between(from, to);
    for (std::uint8_t i = 1; i <= 120; ++i)
        batch.upserts.push_back(sink_record(i, content + " " + std::to_string(i), Seq{to},
                                            {i <= 110   ? "shop"
                                             : i <= 115 ? "home"
                                                        : "work",
                                             "", "", ""}));
    return batch;
}

}  // namespace

TEST_CASE("CosmosSink keeps the sink contract", "[adapters][sink][cosmos]") {
    check_sink_contract([] { return std::make_unique<CosmosSide>(); });
}

TEST_CASE("CosmosSink keeps the sink contract whatever the account does", "[adapters][sink][cosmos]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    check_sink_contract([seed] {
        auto side = std::make_unique<CosmosSide>();
        side->fake.fail_by(misfortune(seed));
        return side;
    });
}

TEST_CASE("a batch that was cut off anywhere is done over, and nothing is doubled or lost", "[sink][cosmos]") {
    const bool done = GENERATE(false, true);  // Whether the last request that came through was answered.
    for (int cut = 1;; ++cut) {
        INFO("cut at request " << cut << (done ? ", done" : ""));
        const auto far = std::make_unique<CosmosSide>(1);
        auto sink = far->open();
        SinkModel model(true);
        REQUIRE(sink->take_over(sink_store_id));
        const auto first = large_batch(0, 10, "before");
        REQUIRE(sink->apply(first));
        model.apply(first);

        auto batch = large_batch(10, 20, "after");
        batch.upserts.resize(115);
        batch.removals = {removal_of(sink_record(120, "", Seq{20}, {"work", "", "", ""})),
                          removal_of(sink_record(121, "was never there", Seq{20}))};
        far->fake.fail_by([&](int number) {
            if (number < cut) return CosmosFault::none;
            return done && number == cut ? CosmosFault::drop_after : CosmosFault::drop_before;
        });
        const bool whole = static_cast<bool>(sink->apply(batch));
        far->fake.fail_by({});

        if (!whole) {
            sink = far->open();
            const auto there = sink->take_over(sink_store_id);
            REQUIRE(there);
            REQUIRE(*there);
            if (**there == batch.from) {
                // A shorter one first: restarts cut as they like.
                auto shorter = batch_between(10, 15);
                shorter.upserts = {sink_record(1, "in between", Seq{15}),
                                   sink_record(120, "", Seq{15}, {"work", "", "", ""})};
                if (cut % 2 == 0) {
                    REQUIRE(sink->apply(shorter));
                    batch.from = shorter.to;
                }
                REQUIRE(sink->apply(batch));
            } else {
                REQUIRE(**there == batch.to);
            }
        }
        model.apply(batch);
        auto walk = far->open()->walk();
        if (!walk) FAIL(walk.error().message);
        REQUIRE(SinkModel::walked(**walk, 100) == model.text());
        if (whole) break;
        REQUIRE(cut < 100);
    }
}

TEST_CASE("in the midst of a batch there is no one position to walk", "[sink][cosmos]") {
    CosmosSide far(1);
    auto sink = far.open();
    REQUIRE(sink->take_over(sink_store_id));
    REQUIRE(sink->apply(large_batch(0, 10, "before")));
    far.fake.fail_by([](int number) { return number > 2 ? CosmosFault::drop_before : CosmosFault::none; });
    CHECK_FALSE(sink->apply(large_batch(10, 20, "after")));
    far.fake.fail_by({});
    const auto walk = far.open()->walk();
    REQUIRE_FALSE(walk);
    CHECK(walk.error().code == ErrorCode::unavailable);
}

TEST_CASE("a project that another log led ahead is found out", "[sink][cosmos]") {
    CosmosSide far(1);
    auto sink = far.open();
    REQUIRE(sink->take_over(sink_store_id));
    REQUIRE(sink->apply(large_batch(0, 10, "before")));
    far.fake.fail_by([](int number) { return number > 2 ? CosmosFault::drop_before : CosmosFault::none; });
    CHECK_FALSE(sink->apply(large_batch(10, 20, "of a log that was lost")));
    far.fake.fail_by({});
    auto restored = large_batch(10, 20, "of the log that was restored");
    SECTION("at the same place") {
        restored.to.hash[0] ^= 1;
    }
    SECTION("further on") {
        restored.to = position_at(25, 2);
    }
    const auto applied = sink->apply(restored);
    REQUIRE_FALSE(applied);
    CHECK(applied.error().code == ErrorCode::conflict);
    CHECK(applied.error().details.contains("position"));
}

TEST_CASE("a clear that was cut off is gone on with before the next batch, whoever brings it", "[sink][cosmos]") {
    for (int cut = 1;; ++cut) {
        INFO("cut at request " << cut);
        CosmosSide far(1);
        auto sink = far.open();
        REQUIRE(sink->take_over(sink_store_id));
        REQUIRE(sink->apply(large_batch(0, 10, "before")));
        far.fake.fail_by([cut](int number) { return number >= cut ? CosmosFault::drop_before : CosmosFault::none; });
        const bool whole = static_cast<bool>(sink->clear());
        far.fake.fail_by({});
        sink = far.open();
        const auto there = sink->take_over(sink_store_id);
        REQUIRE(there);
        if (*there) {  // Nothing had begun.
            CHECK(cut <= 2);
            continue;
        }
        auto batch = batch_between(0, 1);
        batch.upserts = {sink_record(1, "tea", Seq{1})};
        REQUIRE(sink->apply(batch));
        CHECK(far.fake.dump().find("before") == std::string::npos);
        if (whole) break;
        REQUIRE(cut < 100);
    }
}

TEST_CASE("two engines that race for one sink leave what one would have left", "[sink][cosmos]") {
    constexpr std::uint64_t batches = 12;
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    CosmosSide far;
    SinkModel model(true);
    const auto batch_after = [](std::uint64_t seq) {
        auto batch = batch_between(seq, seq + 1);
        for (std::uint8_t i = 1; i <= 4; ++i)
            batch.upserts.push_back(sink_record(i, "state " + std::to_string(seq), Seq{seq + 1},
                                                {"project " + std::to_string((seq + i) % 5), "", "", ""}));
        return batch;
    };
    std::vector<std::string> texts{{}};  // By position.
    for (std::uint64_t seq = 0; seq < batches; ++seq) {
        model.apply(batch_after(seq));
        texts.push_back(model.text());
    }
    std::atomic<int> fenced{0};
    std::atomic<int> odd{0};  // Errors that nobody expects: assertions are for one thread.
    const auto engine = [&](std::uint64_t chance) {
        std::mt19937_64 random(chance);
        const auto sink = far.open();
        for (;;) {
            const auto there = sink->take_over(sink_store_id);
            if (!there) {
                if (there.error().code != ErrorCode::conflict && there.error().code != ErrorCode::unavailable) ++odd;
                continue;
            }
            auto seq = *there ? (**there).seq.value : 0;
            while (seq < batches) {
                const auto applied = sink->apply(batch_after(seq));
                if (!applied) {
                    const bool lost = applied.error().details.contains("fenced");
                    fenced += lost ? 1 : 0;
                    if (!lost && applied.error().code != ErrorCode::unavailable &&
                        !applied.error().details.contains("position"))
                        ++odd;
                    break;
                }
                ++seq;
                if (random() % 3 == 0) break;
            }
            if (seq == batches) return;
        }
    };
    std::atomic<bool> over{false};
    std::atomic<int> mixed{0};  // Walks of no one position.
    std::thread reader([&] {
        while (!over) {
            auto walk = far.open()->walk();
            if (walk && SinkModel::walked(**walk, 100) != texts.at((*walk)->position().seq.value)) ++mixed;
        }
    });
    std::thread one(engine, seed);
    std::thread other(engine, seed + 1);
    one.join();
    other.join();
    over = true;
    reader.join();
    CHECK(odd == 0);
    CHECK(mixed == 0);
    INFO("fenced " << fenced.load());
    const auto walk = far.open()->walk();
    if (!walk) FAIL(walk.error().message);
    CHECK(SinkModel::walked(**walk, 100) == model.text());
}

TEST_CASE("many upserts share a request, and a batch that concerns nobody is one", "[sink][cosmos]") {
    CosmosSide far;
    const auto sink = far.open();
    REQUIRE(sink->take_over(sink_store_id));
    REQUIRE(sink->apply(large_batch(0, 10, "first")));
    auto before = far.fake.counts();
    REQUIRE(sink->apply(large_batch(10, 20, "second")));
    // Two of the 110, one of each of the others, the position.
    CHECK(far.fake.counts().requests - before.requests == 5);
    before = far.fake.counts();
    REQUIRE(sink->apply(batch_between(20, 30)));
    CHECK(far.fake.counts().requests - before.requests == 1);
}

TEST_CASE("what an account charges, throttles and is asked again is counted", "[sink][cosmos]") {
    CosmosSide far;
    const auto sink = far.open();
    far.fake.fail_next(
        {CosmosFault::throttle, CosmosFault::throttle, CosmosFault::unavailable, CosmosFault::drop_before});
    REQUIRE(sink->take_over(sink_store_id));
    CHECK(sink->usage().throttles == 2);
    CHECK(sink->usage().repeats == 4);
    far.fake.fail_by({});
    const auto before = sink->usage();
    REQUIRE(sink->apply(large_batch(0, 10, "first")));
    REQUIRE(sink->walk());
    const auto usage = sink->usage();
    const auto counts = far.fake.counts();
    CHECK(counts.throttled == 2);
    CHECK(usage.request_units == counts.request_units);
    CHECK(usage.request_units > before.request_units);
    CHECK(usage.bytes_sent > before.bytes_sent + 120 * 200);
    CHECK(usage.repeats == before.repeats);
}

TEST_CASE("a record that no document holds is refused, and one that just fits is written", "[sink][cosmos]") {
    CosmosSide far;
    const auto sink = far.open();
    REQUIRE(sink->take_over(sink_store_id));
    auto record = sink_record(1, std::string(1'890'000, 'x'), Seq{1});
    CHECK_FALSE(sink->refuses(record));
    auto batch = batch_between(0, 1);
    batch.upserts = {record, sink_record(2, std::string(1'000'000, 'y'), Seq{1})};
    CHECK(sink->apply(batch));
    record.memory.content += std::string(20'000, 'x');
    const auto why = sink->refuses(record);
    REQUIRE(why);
    CHECK(why->find("xxx") == std::string::npos);  // Nothing of the content.
}
