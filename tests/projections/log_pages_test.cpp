#include "projections/log_pages.h"

#include "ledger.h"

#include <catch2/catch_test_macros.hpp>

#include <thread>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr std::uint64_t page_events = 10;

struct Reader {  // Of pages of a log, counting those that it had to read.
    LogPages& pages;
    const EventLog& log;
    int reads = 0;

    Result<LogPage> page(Seq after) {
        LogPage page;
        auto got = pages.get(after, page, [&](LogPage& into) {
            ++reads;
            into.after = after;
            into.arena = std::make_shared<EventArena>();
            return log.read(after, {page_events, 1 << 20}, *into.arena, into.events);
        });
        if (!got) return got.error();
        return page;
    }
};

}  // namespace

TEST_CASE("a page is read by the first who asks, and stays whole for who holds it", "[log_pages]") {
    MemoryEventLog log;
    grow(log, 200);
    LogPages pages;
    Reader first{pages, log}, second{pages, log};
    std::vector<LogPage> held;
    for (std::uint64_t after = 0; after < 200; after += page_events) {
        const auto one = first.page(Seq{after});
        const auto other = second.page(Seq{after});
        REQUIRE(one);
        REQUIRE(other);
        CHECK(other->arena == one->arena);
        CHECK(one->shared);
        held.push_back(*other);
    }
    CHECK(first.reads == 20);
    CHECK(second.reads == 0);
    std::uint64_t seq = 0;
    for (const auto& page : held)
        for (const auto& event : page.events) {
            MemoryEvent unpacked;
            CHECK(event.seq() == Seq{++seq});
            CHECK(content_of(event, unpacked) == std::to_string(amount(seq)));
        }
    CHECK(seq == 200);

    Reader late{pages, log};  // What it asks for first is gone.
    CHECK(late.page(Seq{0})->events.front().seq() == Seq{1});
    CHECK(late.reads == 1);
}

TEST_CASE("a page that could not be read is read again", "[log_pages]") {
    LogPages pages;
    LogPage page;
    const auto failing = [](LogPage&) -> Status { return Error{ErrorCode::unavailable, "not now", {}}; };
    CHECK(pages.get(Seq{0}, page, failing).error().message == "not now");
    MemoryEventLog log;
    grow(log, 20);
    Reader reader{pages, log};
    CHECK(reader.page(Seq{0})->events.size() == page_events);
    CHECK(reader.reads == 1);
}

TEST_CASE("many threads read each page of a log together", "[log_pages]") {
    MemoryEventLog log;
    grow(log, 2000);
    LogPages pages;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (int n = 0; n < 4; ++n)
        threads.emplace_back([&] {
            Reader reader{pages, log};
            for (std::uint64_t after = 0; after < 2000; after += page_events) {
                const auto page = reader.page(Seq{after});
                if (!page || page->events.size() != page_events || page->events.front().seq() != Seq{after + 1})
                    ++wrong;
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
}
