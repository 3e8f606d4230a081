// Many writers at once: who wins is decided once, and everybody is told the truth about it. ANNAL_TRIALS
// (tests/support/seed.h) scales the million attempts, the 100,000 requests and the million events.
#include "support/log_fixture.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

using namespace annal;
using namespace annal::testing;

namespace {

std::unique_ptr<EventLog> open_log(const TempDir& dir) {
    EventLogOptions options;
    options.directory = dir.path() / "log";
    auto log = EventLog::open(options);
    if (!log) FAIL(log.error().message);
    return *std::move(log);
}

template <class Body>
void in_threads(std::size_t count, const Body& body) {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back([&body, i] { body(i); });
    for (auto& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("of writers racing for one version, one wins and the others are told", "[events][log][concurrency]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    TempDir dir;
    auto log = open_log(dir);
    constexpr std::size_t writers = 64, streams = 1'000;
    const int attempts = std::max(1, trials(1'000'000) / static_cast<int>(writers));
    std::mutex mutex;
    std::map<std::pair<std::uint64_t, std::uint64_t>, int> wins;  // By stream and version.
    std::atomic<std::uint64_t> accepted = 0, conflicts = 0, others = 0;
    in_threads(writers, [&](std::size_t writer) {
        std::mt19937_64 random(seed + writer);
        for (int i = 0; i < attempts; ++i) {
            const std::uint64_t stream = random() % streams;
            const auto version = log->stream_version("shop", memory_number(stream));
            if (!version) {
                ++others;
                continue;
            }
            const auto receipts = append(*log, {{memory_number(stream), "x", ExpectedVersion::exactly(*version)}},
                                         {.durability = Durability::buffered});
            if (receipts) {
                ++accepted;
                const std::lock_guard lock(mutex);
                ++wins[{stream, receipts->at(0).version.value}];
                if (receipts->at(0).version.value != version->value + 1) ++others;
            } else if (receipts.error().code == ErrorCode::conflict) {
                ++conflicts;
                if (receipts.error().details.at("actual") <= receipts.error().details.at("expected") &&
                    receipts.error().details.at("actual").size() <= receipts.error().details.at("expected").size())
                    ++others;  // A version only grows.
            } else {
                ++others;
            }
        }
    });
    CHECK(others == 0);
    CHECK(accepted + conflicts == writers * static_cast<std::uint64_t>(attempts));
    CHECK(log->head() == Seq{accepted});
    std::uint64_t versions = 0;
    for (std::uint64_t stream = 0; stream < streams; ++stream)
        versions += log->stream_version("shop", memory_number(stream))->value;
    CHECK(versions == accepted);
    CHECK(std::all_of(wins.begin(), wins.end(), [](const auto& win) { return win.second == 1; }));
}

TEST_CASE("a storm of retries appends each request once", "[events][log][concurrency]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    TempDir dir;
    auto log = open_log(dir);
    constexpr std::size_t writers = 64;
    const auto requests = static_cast<std::uint64_t>(trials(100'000));
    std::vector<std::atomic<std::uint64_t>> places(requests);  // Where a request was said to be; 0: nobody knows yet.
    std::atomic<std::uint64_t> next = 0, fresh = 0, wrong = 0, lost = 0, taken_for_another = 0;
    in_threads(writers, [&](std::size_t writer) {
        std::mt19937_64 random(seed + writer);
        const auto ask = [&](std::uint64_t request, bool impatient) {
            AppendHow how;
            how.key = "request " + std::to_string(request);
            how.request = static_cast<std::uint8_t>(request);
            how.durability = random() % 2 == 0 ? Durability::synced : Durability::buffered;
            if (impatient) how.wait_max = std::chrono::milliseconds(0);
            const auto receipts = append(*log, {{memory_number(request % 1009), how.key}}, how);
            if (!receipts) {
                if (!impatient || receipts.error().code != ErrorCode::deadline_exceeded) ++wrong;
                return;
            }
            if (!receipts->at(0).replayed) ++fresh;
            const auto seq = receipts->at(0).seq.value;
            if (const auto before = places[request].exchange(seq); before != 0 && before != seq) ++wrong;
        };
        for (std::uint64_t request = next++; request < requests; request = next++) {
            // Three of ten clients lose the answer, or give up, and ask again; so may others meanwhile.
            auto again = random() % 10 < 3 ? 1 + random() % 5 : 0;
            ask(request, again > 0 && random() % 2 == 0);
            for (lost += again > 0; again > 0; --again) ask(request, false);
            if (random() % 8 == 0) ask(random() % (request + 1), false);
            if (random() % 8 != 0) continue;
            AppendHow other;  // The same key for something else.
            other.key = "request " + std::to_string(request);
            other.request = static_cast<std::uint8_t>(request + 1);
            other.durability = Durability::buffered;
            const auto refused = append(*log, {{memory_number(0), "another"}}, other);
            if (refused || refused.error().code != ErrorCode::conflict) ++taken_for_another;
        }
    });
    CHECK(wrong == 0);
    CHECK(taken_for_another == 0);
    CHECK(lost * 5 > requests);
    CHECK(fresh == requests);
    CHECK(log->head() == Seq{requests});
    CHECK(std::all_of(places.begin(), places.end(), [](const auto& seq) { return seq != 0; }));
}

TEST_CASE("of different requests under one key one wins, whole", "[events][log][concurrency]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    TempDir dir;
    auto log = open_log(dir);
    constexpr std::size_t writers = 32;
    const auto requests = static_cast<std::uint64_t>(trials(3'000));
    std::mutex mutex;
    std::map<std::uint64_t, std::set<std::uint64_t>> places;  // Where a request was said to be.
    std::atomic<int> fresh = 0, wrong = 0;
    in_threads(writers, [&](std::size_t writer) {
        std::mt19937_64 random(seed + writer);
        for (std::uint64_t i = 0; i < requests / 4; ++i) {
            const std::uint64_t request = random() % requests;
            AppendHow how;
            how.key = "request " + std::to_string(request);
            how.request = static_cast<std::uint8_t>(request);
            how.durability = random() % 2 == 0 ? Durability::synced : Durability::buffered;
            const bool other = random() % 8 == 0;  // The same key for something else.
            if (other) ++how.request;
            const auto receipts =
                append(*log, {{memory_number(request % 17), how.key}, {memory_number(99), how.key}}, how);
            if (!receipts) {
                if (receipts.error().code != ErrorCode::conflict) ++wrong;  // The other one came first.
                continue;
            }
            if (receipts->size() != 2 || receipts->at(1).seq.value != receipts->at(0).seq.value + 1) ++wrong;
            if (!receipts->at(0).replayed) ++fresh;
            const std::lock_guard lock(mutex);
            places[request * 2 + (other ? 1 : 0)].insert(receipts->at(0).seq.value);
        }
    });
    CHECK(wrong == 0);
    CHECK(log->head() == Seq{2 * static_cast<std::uint64_t>(fresh)});
    for (const auto& [request, seqs] : places) {
        CHECK(seqs.size() == 1);
        // Either the request or the other one of its key, never both.
        CHECK(places.count(request ^ 1) == 0);
    }
}

TEST_CASE("a reader beside the writers sees every event, in order, once", "[events][log][concurrency]") {
    TempDir dir;
    auto log = open_log(dir);
    constexpr std::size_t writers = 16;
    const auto appends = static_cast<std::uint64_t>(trials(50));
    std::atomic<std::uint64_t> seen = 0;
    std::atomic<int> wrong = 0;
    std::thread reader([&] {
        Seq after{};
        EventArena arena;
        std::vector<EventView> page;
        while (after.value < writers * appends) {
            log->wait_past(after, std::chrono::seconds(30));
            arena.clear();
            page.clear();
            if (!log->read(after, {.events_max = 37}, arena, page) || page.empty()) {
                ++wrong;
                return;
            }
            for (const auto& event : page) {
                if (event.seq().value != after.value + 1) ++wrong;
                after = event.seq();
                ++seen;
            }
        }
    });
    in_threads(writers, [&](std::size_t writer) {
        for (std::uint64_t i = 0; i < appends; ++i) {
            const auto receipts = append(*log, {{memory_number(writer), "x"}});
            // What was acknowledged can be read.
            EventArena arena;
            std::vector<EventView> page;
            if (!receipts || log->head() < receipts->at(0).seq ||
                !log->read(Seq{receipts->at(0).seq.value - 1}, {.events_max = 1}, arena, page) || page.size() != 1)
                ++wrong;
        }
    });
    reader.join();
    CHECK(wrong == 0);
    CHECK(seen == writers * appends);
}

TEST_CASE("of a million events readers never see a gap", "[events][log][concurrency]") {
    TempDir dir;
    auto log = open_log(dir);
    constexpr std::size_t writers = 4, readers = 2, batch = 125;
    const auto batches = static_cast<std::uint64_t>(trials(2'000));
    const std::uint64_t all = writers * batches * batch;
    std::atomic<int> wrong = 0;
    in_threads(writers + readers, [&](std::size_t thread) {
        if (thread < writers) {
            const std::vector<Note> notes(batch, {memory_number(thread), "x"});
            for (std::uint64_t i = 0; i < batches; ++i)
                if (!append(*log, notes, {.durability = Durability::buffered})) ++wrong;
            return;
        }
        EventArena arena;
        std::vector<EventView> page;
        for (Seq after{}; after.value < all;) {
            log->wait_past(after, std::chrono::seconds(30));
            arena.clear();
            page.clear();
            if (!log->read(after, {.events_max = 100 * thread}, arena, page) || page.empty()) {
                ++wrong;
                return;
            }
            for (const auto& event : page) {
                if (event.seq().value != after.value + 1) ++wrong;
                after = event.seq();
            }
        }
    });
    CHECK(wrong == 0);
    CHECK(log->head() == Seq{all});
}

TEST_CASE("an append that cannot be taken in time writes nothing", "[events][log][concurrency]") {
    TempDir dir;
    auto log = open_log(dir);
    std::atomic<std::uint64_t> taken = 0, late = 0, wrong = 0;
    in_threads(24, [&](std::size_t writer) {
        for (int i = 0; i < 20; ++i) {
            AppendHow how;
            how.wait_max = std::chrono::milliseconds(writer % 3 == 0 ? 0 : 30'000);
            const auto receipts = append(*log, {{memory_number(writer), "x"}}, how);
            if (receipts)
                ++taken;
            else if (receipts.error().code == ErrorCode::deadline_exceeded && writer % 3 == 0)
                ++late;
            else
                ++wrong;
        }
    });
    CHECK(wrong == 0);
    CHECK(taken + late == 24 * 20);
    CHECK(log->head() == Seq{taken});
}
