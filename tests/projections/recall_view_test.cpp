// Which events gave a memory, and which are of a run, against a count of all.
#include "projections/recall_view.h"

#include "support/memory_space.h"
#include "support/projector_feed.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <random>
#include <set>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr Seq end_of_time{UINT64_MAX};

MemoryEvent recalled(std::string project, MemoryId stream, MemoryId memory) {
    MemoryRecalled body{"run", "query", 1, 0.5};
    body.memory = memory;
    MemoryEvent event;
    event.memory_id = stream;
    event.scope.project = std::move(project);
    event.body = std::move(body);
    return event;
}

struct Followed {
    MemorySpace space;
    std::unique_ptr<RecallView> view = RecallView::create();
    Seq applied{};

    Followed() { REQUIRE(view->open(space, applied)); }
    void follow(const EventTape& tape, Seq up_to) {
        REQUIRE(annal::testing::follow(tape, *view, space, applied, up_to));
    }
};

std::vector<Seq> gave(const RecallView::Reader& reader, std::string_view project, MemoryId memory,
                      Seq before = end_of_time, std::size_t limit = SIZE_MAX) {
    std::vector<Seq> seqs;
    REQUIRE(reader.gave(project, memory, before, [&](Seq seq) {
        seqs.push_back(seq);
        return seqs.size() < limit;
    }));
    return seqs;
}

std::vector<Seq> of_run(const RecallView::Reader& reader, std::string_view project, MemoryId stream, Seq after = {},
                        std::size_t limit = SIZE_MAX) {
    std::vector<Seq> seqs;
    REQUIRE(reader.of_run(project, stream, after, [&](Seq seq) {
        seqs.push_back(seq);
        return seqs.size() < limit;
    }));
    return seqs;
}

}  // namespace

TEST_CASE("RecallView has each recall under its memory and its run, however events are cut", "[projections][recalls]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t end) { return random() % end; };
    const std::vector<std::string> projects{"shop", "shop2", "ops"};
    EventTape tape;
    std::map<std::pair<std::string, MemoryId>, std::vector<Seq>> by_memory, by_run;
    for (int i = 0; i < 400; ++i) {
        const auto& project = projects[below(projects.size())];
        const auto memory = numbered_id(below(12)), stream = numbered_id(100 + below(5));
        if (below(3) == 0) {
            MemoryEvent other;
            other.memory_id = numbered_id(1000 + below(50));
            other.scope.project = project;
            other.body = MemoryReinforced{true};
            tape.append(other);
            continue;
        }
        const auto seq = tape.append(recalled(project, stream, memory));
        by_memory[{project, memory}].push_back(seq);
        by_run[{project, stream}].push_back(seq);
    }
    Followed cut, whole;
    while (cut.applied < tape.head())
        cut.follow(tape, Seq{std::min(tape.head().value, cut.applied.value + 1 + below(60))});
    whole.follow(tape, tape.head());
    CHECK(*cut.view->digest() == *whole.view->digest());

    const auto reader = cut.view->reader();
    CHECK(reader->applied() == tape.head());
    for (const auto& project : projects) {
        for (std::uint64_t i = 0; i < 12; ++i) {
            auto expected = by_memory[{project, numbered_id(i)}];
            std::ranges::reverse(expected);
            REQUIRE(gave(*reader, project, numbered_id(i)) == expected);
            const Seq before = expected.empty() ? Seq{1} : expected[below(expected.size())];
            std::erase_if(expected, [&](Seq seq) { return seq >= before; });
            REQUIRE(gave(*reader, project, numbered_id(i), before) == expected);
        }
        for (std::uint64_t i = 100; i < 105; ++i) {
            auto expected = by_run[{project, numbered_id(i)}];
            REQUIRE(of_run(*reader, project, numbered_id(i)) == expected);
            const Seq after = expected.empty() ? Seq{1} : expected[below(expected.size())];
            std::erase_if(expected, [&](Seq seq) { return seq <= after; });
            REQUIRE(of_run(*reader, project, numbered_id(i), after) == expected);
        }
    }
    CHECK(gave(*reader, "none", numbered_id(1)).empty());
    CHECK(gave(*reader, "shop", numbered_id(1), Seq{0}).empty());
    CHECK(of_run(*reader, "shop", numbered_id(100), end_of_time).empty());
}

TEST_CASE("a page of recalls costs a key each, however many there are", "[projections][recalls]") {
    EventTape tape;
    for (int i = 0; i < 5000; ++i) tape.append(recalled("shop", numbered_id(100), numbered_id(1)));
    Followed followed;
    followed.follow(tape, tape.head());
    const auto reader = followed.view->reader();
    const auto cost = [&](const auto& read) {
        const auto before = followed.space.keys_read();
        CHECK(read().size() == 10);
        return followed.space.keys_read() - before;
    };
    CHECK(cost([&] { return gave(*reader, "shop", numbered_id(1), Seq{3000}, 10); }) <= 12);
    CHECK(cost([&] { return of_run(*reader, "shop", numbered_id(100), Seq{3000}, 10); }) <= 12);
}

TEST_CASE("of a recall that was erased its place in the run alone is known", "[projections][recalls]") {
    EventTape tape;
    tape.append(recalled("shop", numbered_id(100), numbered_id(1)));
    tape.append(recalled("shop", numbered_id(100), numbered_id(1)));
    EventArena arena;
    auto events = tape.read(Seq{0}, tape.head(), arena);
    const auto& plain = events[0];
    events[0] = EventView(plain.seq(), plain.version(), plain.recorded_at(), plain.type(), &plain.table(),
                          plain.stored(), Payload::erased);
    Followed followed;
    const auto batch = followed.space.new_batch();
    REQUIRE(followed.view->apply(events, *batch));
    REQUIRE(followed.space.write(*batch));
    followed.view->committed();
    const auto reader = followed.view->reader();
    CHECK(gave(*reader, "shop", numbered_id(1)) == std::vector<Seq>{Seq{2}});
    CHECK(of_run(*reader, "shop", numbered_id(100)) == std::vector<Seq>{Seq{1}, Seq{2}});
}

TEST_CASE("a reader of recalls is one state, and a discarded batch leaves none", "[projections][recalls]") {
    EventTape tape;
    tape.append(recalled("shop", numbered_id(100), numbered_id(1)));
    Followed followed;
    followed.follow(tape, tape.head());
    const auto reader = followed.view->reader();
    tape.append(recalled("shop", numbered_id(100), numbered_id(1)));
    EventArena arena;
    const auto more = tape.read(followed.applied, tape.head(), arena);
    const auto batch = followed.space.new_batch();
    REQUIRE(followed.view->apply(more, *batch));
    followed.view->discard();
    CHECK(followed.view->reader()->applied() == Seq{1});
    followed.follow(tape, tape.head());
    CHECK(of_run(*reader, "shop", numbered_id(100)).size() == 1);
    CHECK(reader->applied() == Seq{1});
    CHECK(of_run(*followed.view->reader(), "shop", numbered_id(100)).size() == 2);
    CHECK(followed.view->reader()->applied() == Seq{2});
}

TEST_CASE("an event that gave no memory that is named, or is of no project, makes no row", "[projections][recalls]") {
    EventTape tape;
    tape.append(recalled("shop", numbered_id(100), MemoryId{}));
    Followed followed;
    followed.follow(tape, tape.head());
    CHECK(followed.space.map()->size() == 1);  // Of its run.

    EventTape wrong;
    wrong.append(recalled(std::string("sh\0op", 5), numbered_id(100), numbered_id(1)));
    Followed other;
    const auto refused = follow(wrong, *other.view, other.space, other.applied, wrong.head());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::internal);
}
