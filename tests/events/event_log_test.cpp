#include "events/event_log.h"

#include "events/event_log_hash.h"
#include "support/log_fixture.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <random>
#include <thread>

using namespace annal;
using namespace annal::testing;
using std::chrono::milliseconds;

namespace {

const MemoryId tea = memory_number(1), rain = memory_number(2);

std::unique_ptr<EventLog> open(const TempDir& dir, EventLogOptions options = {}) {
    options.directory = dir.path() / "log";
    auto log = EventLog::open(options);
    if (!log) FAIL(log.error().message);
    return *std::move(log);
}

class TestClock final : public Clock {
 public:
    Timestamp now() override { return time; }
    Timestamp time{1'000'000};
};

}  // namespace

TEST_CASE("an append is answered with its place and read back", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    CHECK(log->head() == Seq{0});

    const auto first = append(*log, {{tea, "likes tea"}});
    REQUIRE(first);
    CHECK(first->at(0).seq == Seq{1});
    CHECK(first->at(0).version == Version{1});
    CHECK(first->at(0).memory_id == tea);
    CHECK_FALSE(first->at(0).replayed);
    const auto second = append(*log, {{rain, "likes rain"}, {tea, "green, mostly"}});
    REQUIRE(second);
    CHECK(second->at(1).seq == Seq{3});
    CHECK(second->at(1).version == Version{2});

    const auto all = read_all(*log);
    REQUIRE(all);
    REQUIRE(all->size() == 3);
    CHECK(all->at(0).content == "likes tea");
    CHECK(all->at(2).memory == tea);
    CHECK(all->at(2).version == Version{2});

    EventArena arena;
    std::vector<EventView> stream;
    REQUIRE(log->read_stream("shop", tea, arena, stream));
    REQUIRE(stream.size() == 2);
    CHECK(stream[1].seq() == Seq{3});
    CHECK(*log->stream_version("shop", tea) == Version{2});
}

TEST_CASE("a receipt's hash is that of the event as stored", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    const auto receipts = append(*log, {{tea, "likes tea"}, {rain, "likes rain"}});
    REQUIRE(receipts);
    EventArena arena;
    std::vector<EventView> events;
    REQUIRE(log->read(Seq{0}, {}, arena, events));
    for (std::size_t i = 0; i < 2; ++i) {
        std::string stored(reinterpret_cast<const char*>(events[i].stored().data()), events[i].stored().size());
        CHECK(event_hash(events[i].seq(), stored) == receipts->at(i).hash);
        CHECK(event_hash(Seq{9}, stored) != receipts->at(i).hash);
        stored.back() = static_cast<char>(stored.back() ^ 1);
        CHECK(event_hash(events[i].seq(), stored) != receipts->at(i).hash);
    }
}

TEST_CASE("a large batch, hashed while it is written, has the hashes of a small one", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    std::vector<Note> notes;
    for (std::uint64_t i = 0; i < 300; ++i) notes.push_back({memory_number(i % 40), std::string(1000 + i, 'x')});
    for (std::uint64_t round = 0; round < 3; ++round) {
        const auto durability = round == 1 ? Durability::buffered : Durability::synced;
        const auto receipts =
            append(*log, notes, {.key = std::to_string(round), .request = 1, .durability = durability});
        REQUIRE(receipts);
        const auto again = append(*log, notes, {.key = std::to_string(round), .request = 1});
        REQUIRE(again);
        EventArena arena;
        std::vector<EventView> events;
        REQUIRE(log->read(Seq{300 * round}, {}, arena, events));
        for (std::size_t i = 0; i < notes.size(); ++i) {
            const auto stored = events[i].stored();
            const auto hash =
                event_hash(events[i].seq(), {reinterpret_cast<const char*>(stored.data()), stored.size()});
            CHECK(receipts->at(i).hash == hash);
            CHECK(again->at(i).hash == hash);
        }
        auto refused = notes;
        refused.push_back({tea, "x", ExpectedVersion::exactly({9'999})});
        CHECK_FALSE(append(*log, refused));
        CHECK(log->head() == Seq{300 * (round + 1)});
        log.reset();
        log = open(dir);
        // It is busy with nothing, so that this one need not wait.
        CHECK(append(*log, notes, {.key = std::to_string(round), .request = 1, .wait_max = milliseconds(0)}));
    }
}

TEST_CASE("an append to a stream that moved on is refused, and nothing is written", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    REQUIRE(append(*log, {{tea, "one", ExpectedVersion::absent()}}));
    REQUIRE(append(*log, {{tea, "two", ExpectedVersion::exactly(Version{1})}}));

    const auto late = append(*log, {{tea, "late", ExpectedVersion::exactly(Version{1})}});
    REQUIRE_FALSE(late);
    CHECK(late.error().code == ErrorCode::conflict);
    CHECK(late.error().details.at("expected") == "1");
    CHECK(late.error().details.at("actual") == "2");
    CHECK(late.error().details.at("memory_id") == to_string(tea));

    const auto again = append(*log, {{tea, "again", ExpectedVersion::absent()}});
    REQUIRE_FALSE(again);
    CHECK(again.error().code == ErrorCode::already_exists);
    const auto early = append(*log, {{rain, "early", ExpectedVersion::exactly(Version{1})}});
    REQUIRE_FALSE(early);
    CHECK(early.error().code == ErrorCode::conflict);
    CHECK(log->head() == Seq{2});
}

TEST_CASE("a batch is all or nothing", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    const auto refused =
        append(*log, {{tea, "a"}, {rain, "b"}, {tea, "c", ExpectedVersion::exactly(Version{5})}, {rain, "d"}});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::conflict);
    CHECK(log->head() == Seq{0});
    CHECK(*log->stream_version("shop", tea) == Version{0});

    // The refused one left nothing behind in the cached versions either.
    const auto taken = append(*log, {{tea, "a", ExpectedVersion::absent()},
                                     {tea, "b", ExpectedVersion::exactly(Version{1})},
                                     {rain, "c", ExpectedVersion::absent()}});
    REQUIRE(taken);
    CHECK(taken->at(1).version == Version{2});
    CHECK(taken->at(2).version == Version{1});
}

TEST_CASE("an idempotency key answers with the first receipt, and once", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    const auto first = append(*log, {{tea, "a"}, {rain, "b"}}, {.key = "k", .request = 1});
    REQUIRE(first);
    for (int reopened = 0; reopened < 2; ++reopened) {
        const auto again = append(*log, {{tea, "a"}, {rain, "b"}}, {.key = "k", .request = 1});
        REQUIRE(again);
        REQUIRE(again->size() == 2);
        CHECK(again->at(1).seq == first->at(1).seq);
        CHECK(again->at(1).version == first->at(1).version);
        CHECK(again->at(1).hash == first->at(1).hash);
        CHECK(again->at(1).memory_id == rain);
        CHECK(again->at(1).replayed);

        const auto other = append(*log, {{tea, "x"}}, {.key = "k", .request = 2});
        REQUIRE_FALSE(other);
        CHECK(other.error().code == ErrorCode::conflict);
        const auto found = log->find_receipts("shop", "k", std::array<std::uint8_t, 32>{});
        REQUIRE_FALSE(found);
        CHECK(found.error().code == ErrorCode::conflict);
        log.reset();
        log = open(dir);
    }
    CHECK(log->head() == Seq{2});
    std::array<std::uint8_t, 32> hash{};
    hash.fill(1);
    const auto found = log->find_receipts("shop", "k", hash);
    REQUIRE((found && *found));
    CHECK((*found)->at(0).seq == Seq{1});
    const auto unknown = log->find_receipts("shop", "another", hash);
    REQUIRE(unknown);
    CHECK_FALSE(*unknown);
}

TEST_CASE("streams and idempotency keys are of one project", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    REQUIRE(append(*log, {{tea, "a"}}, {.key = "k", .request = 1, .project = "shop"}));
    // One project's name begins another's; the same id and key mean nothing there.
    const auto other =
        append(*log, {{tea, "b", ExpectedVersion::absent()}}, {.key = "k", .request = 2, .project = "shop2"});
    REQUIRE(other);
    CHECK(other->at(0).version == Version{1});
    CHECK_FALSE(other->at(0).replayed);
    EventArena arena;
    std::vector<EventView> stream;
    REQUIRE(log->read_stream("sho", tea, arena, stream));
    CHECK(stream.empty());
    REQUIRE(log->read_stream("shop2", tea, arena, stream));
    REQUIRE(stream.size() == 1);
    CHECK(stream[0].project() == "shop2");
}

TEST_CASE("every stream's version is right, in whatever order ids and projects come", "[events][log]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    TempDir dir;
    auto log = open(dir);
    std::map<std::pair<std::string, MemoryId>, std::uint64_t> versions;
    std::uint64_t events = 0, greatest = 1'000'000;
    const auto id_of = [](std::uint64_t number) {  // In the order of the numbers.
        MemoryId id;
        for (std::size_t i = 0; i < 8; ++i) id.bytes[i] = static_cast<std::uint8_t>(number >> (56 - 8 * i));
        return id;
    };
    for (int turn = 0; turn < 300; ++turn) {
        // Few projects in one phase, ever new ones in the next, and the few again.
        const std::string project = "p" + std::to_string(turn % 100 < 70 ? random() % 3 : 1000 + random() % 2000);
        const std::size_t size = turn % 60 == 0 ? 1500 : 1 + random() % 12;
        std::vector<Note> notes;
        auto after = versions;
        for (std::size_t i = 0; i < size; ++i) {
            const auto pick = random() % 4;
            const MemoryId id = id_of(pick == 0 ? ++greatest : pick == 1 ? random() % 40 : greatest - random() % 50);
            auto& version = after[{project, id}];
            notes.push_back({id, "x", version == 0 ? ExpectedVersion::absent() : ExpectedVersion::exactly({version})});
            ++version;
        }
        const bool refused = random() % 5 == 0;
        if (refused) notes.push_back({notes[random() % size].memory, "x", ExpectedVersion::exactly({9'999})});
        const auto receipts = append(*log, notes, {.durability = Durability::buffered, .project = project});
        if (refused) {
            CHECK_FALSE(receipts);
            greatest += random() % 2;
        } else {
            if (!receipts) FAIL(turn << ": " << receipts.error().message);
            versions = std::move(after);
            events += size;
        }
        if (turn % 90 == 89) {
            log.reset();
            log = open(dir);
        }
    }
    for (std::uint64_t version = 0; version < 2; ++version)  // More projects than the log keeps in mind.
        for (int project = 0; project < 1100; ++project, ++events)
            REQUIRE(append(*log, {{id_of(1), "x", ExpectedVersion::exactly({version})}},
                           {.durability = Durability::buffered, .project = "q" + std::to_string(project)}));
    CHECK(log->head() == Seq{events});
    for (const auto& [stream, version] : versions)
        if (version != 0) CHECK(log->stream_version(stream.first, stream.second)->value == version);
}

TEST_CASE("a closed log opens with all it had, and goes on", "[events][log]") {
    TempDir dir;
    std::string store_id;
    std::vector<Stored> before;
    for (std::uint64_t round = 0; round < 3; ++round) {
        auto log = open(dir);
        if (round == 0) store_id = log->store_id();
        CHECK(log->store_id() == store_id);
        CHECK(*read_all(*log) == before);
        for (std::uint64_t i = 0; i < 400; ++i)
            REQUIRE(append(*log, {{memory_number(i % 50), "n" + std::to_string(i)}},
                           {.durability = i % 2 == 0 ? Durability::buffered : Durability::synced}));
        before = *read_all(*log);
        CHECK(before.size() == 400 * (round + 1));
        CHECK(*log->stream_version("shop", memory_number(7)) == Version{8 * (round + 1)});
    }
}

TEST_CASE("recorded_at strictly increases, whatever the clock does", "[events][log]") {
    TempDir dir;
    TestClock clock;
    auto log = open(dir, {.clock = &clock});
    for (const std::int64_t time : {5'000'000, 5'000'000, 1'000, 7'000'000, 6'999'999}) {
        clock.time = {time};
        REQUIRE(append(*log, {{tea, "x"}, {tea, "y"}}));
    }
    log.reset();
    clock.time = {1};
    log = open(dir, {.clock = &clock});
    REQUIRE(append(*log, {{tea, "after"}}));
    const auto all = *read_all(*log);
    CHECK(all.front().recorded_at == Timestamp{5'000'000});
    for (std::size_t i = 1; i < all.size(); ++i) CHECK(all[i - 1].recorded_at < all[i].recorded_at);
}

TEST_CASE("a page of the log keeps its limits and has at least one event", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    for (int i = 0; i < 20; ++i) REQUIRE(append(*log, {{tea, std::string(1000, 'x')}}));
    EventArena arena;
    std::vector<EventView> page;
    REQUIRE(log->read(Seq{0}, {.events_max = 7, .bytes_max = 1 << 20}, arena, page));
    CHECK(page.size() == 7);
    REQUIRE(log->read(Seq{7}, {.events_max = 100, .bytes_max = 1}, arena, page));
    CHECK(page.size() == 8);
    CHECK(page.back().seq() == Seq{8});
    REQUIRE(log->read(Seq{18}, {}, arena, page));
    CHECK(page.back().seq() == Seq{20});
    const auto size = page.size();
    REQUIRE(log->read(Seq{20}, {}, arena, page));
    REQUIRE(log->read(Seq{99}, {}, arena, page));
    CHECK(page.size() == size);
}

TEST_CASE("whoever waits for the head is told when it moves, and at the close", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    CHECK(log->wait_past(Seq{0}, milliseconds(1)) == Seq{0});
    REQUIRE(append(*log, {{tea, "a"}}));
    CHECK(log->wait_past(Seq{0}, milliseconds(0)) == Seq{1});
    Seq seen;
    std::thread waiter([&] { seen = log->wait_past(Seq{1}, std::chrono::minutes(5)); });
    REQUIRE(append(*log, {{tea, "b"}}));
    waiter.join();
    CHECK(seen == Seq{2});
    std::thread closed([&log = *log] { static_cast<void>(log.wait_past(Seq{2}, std::chrono::minutes(5))); });
    std::this_thread::yield();
    // Whether it is waiting by now or not, the close does not hang. A thread that has not called yet may not.
    REQUIRE(append(*log, {{tea, "c"}}));
    closed.join();
    log.reset();
}

TEST_CASE("bad appends are refused with what is wrong", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    CHECK(append(*log, {}).error().code == ErrorCode::invalid_argument);
    CHECK(append(*log, {{tea, "a"}}, {.project = ""}).error().code == ErrorCode::invalid_argument);
    CHECK(append(*log, {{tea, "a"}}, {.key = std::string(257, 'k')}).error().code == ErrorCode::invalid_argument);
    EncodedEvent blank{tea, {}, EventType::memory_recorded, {1, 2, 3}};
    AppendItem item{ExpectedVersion::any(), &blank};
    CHECK(log->append({.project = "shop", .items = {&item, 1}}).error().code == ErrorCode::invalid_argument);
    const auto large = append(*log, std::vector<Note>(6, {tea, std::string(900'000, 'x')}));
    REQUIRE_FALSE(large);
    CHECK(large.error().code == ErrorCode::resource_exhausted);
    CHECK(large.error().details.at("limit") == std::to_string(4 << 20));
    CHECK(log->head() == Seq{0});
}

TEST_CASE("one process opens a log, once", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    const auto second = EventLog::open({.directory = dir.path() / "log"});
    REQUIRE_FALSE(second);
    CHECK(second.error().code == ErrorCode::already_exists);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {  // A child of fork() may ask, and is refused; it opens nothing.
        const auto third = EventLog::open({.directory = dir.path() / "log"});
        const auto forked = log->stream_version("shop", tea);
        const auto refused = append(*log, {{tea, "child"}});
        const bool good = !forked && forked.error().code == ErrorCode::unavailable && !refused &&
                          refused.error().code == ErrorCode::unavailable && !third &&
                          third.error().code == ErrorCode::already_exists;
        log.reset();  // Leaves the parent's alone.
        _exit(good ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
    REQUIRE(append(*log, {{tea, "parent"}}));
    log.reset();
    CHECK(open(dir)->head() == Seq{1});
}

TEST_CASE("a log that is not there is made only when that is wished", "[events][log]") {
    TempDir dir;
    const auto missing = EventLog::open({.directory = dir.path() / "a" / "b", .create_if_missing = false});
    REQUIRE_FALSE(missing);
    CHECK(missing.error().code == ErrorCode::not_found);
    CHECK_FALSE(std::filesystem::exists(dir.path() / "a"));
    CHECK(EventLog::open({.directory = dir.path() / "a" / "b"}));
    CHECK(EventLog::open({.directory = dir.path() / "a" / "b", .create_if_missing = false}));
    std::ofstream(dir.path() / "file") << "x";
    CHECK(EventLog::open({.directory = dir.path() / "file"}).error().code == ErrorCode::invalid_argument);
    CHECK(EventLog::open({}).error().code == ErrorCode::invalid_argument);
}

TEST_CASE("many threads: one order, dense versions, each append once", "[events][log]") {
    TempDir dir;
    auto log = open(dir);
    constexpr std::uint64_t threads = 16, appends = 60, streams = 8;
    std::vector<std::thread> writers;
    std::atomic<std::uint64_t> accepted = 0;
    for (std::uint64_t t = 0; t < threads; ++t)
        writers.emplace_back([&, t] {
            for (std::uint64_t i = 0; i < appends; ++i) {
                const auto receipts =
                    append(*log, {{memory_number((t + i) % streams), std::to_string(t) + "/" + std::to_string(i)}});
                if (receipts) ++accepted;
            }
        });
    for (auto& writer : writers) writer.join();
    CHECK(accepted == threads * appends);
    CHECK(log->head() == Seq{threads * appends});
    const auto all = *read_all(*log);
    std::map<MemoryId, std::uint64_t> versions;
    std::vector<std::string> contents;
    for (std::size_t i = 0; i < all.size(); ++i) {
        CHECK(all[i].seq == Seq{i + 1});
        CHECK(all[i].version == Version{++versions[all[i].memory]});
        contents.push_back(all[i].content);
    }
    std::sort(contents.begin(), contents.end());
    CHECK(std::adjacent_find(contents.begin(), contents.end()) == contents.end());
}
