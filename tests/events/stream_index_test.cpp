// The rows of streams: in memory at first, then in RocksDB beside the log, and made anew from the events.
#include "events/event_log.h"
#include "support/log_fixture.h"
#include "support/tampered_log.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <map>
#include <thread>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t streams = 5;
constexpr std::size_t rows_max = 8;

std::unique_ptr<EventLog> open(const fs::path& directory, std::size_t stream_rows_max = rows_max) {
    EventLogOptions options;
    options.directory = directory;
    options.stream_rows_max = stream_rows_max;
    auto log = EventLog::open(options);
    if (!log) FAIL(log.error().message);
    return *std::move(log);
}

// Every stream, asked for by its id, is what the events in order say it is.
void check_streams(const EventLog& log) {
    const auto all = read_all(log);
    if (!all) FAIL(all.error().message);
    std::map<MemoryId, std::vector<Seq>> expected;
    for (const auto& event : *all) expected[event.memory].push_back(event.seq);
    for (std::uint64_t i = 0; i < streams; ++i) {
        const auto& seqs = expected[memory_number(i)];
        CHECK(log.stream_version("shop", memory_number(i))->value == seqs.size());
        EventArena arena;
        std::vector<EventView> events;
        if (auto read = log.read_stream("shop", memory_number(i), arena, events); !read) FAIL(read.error().message);
        REQUIRE(events.size() == seqs.size());
        for (std::size_t n = 0; n < events.size(); ++n) {
            CHECK(events[n].seq() == seqs[n]);
            CHECK(events[n].version() == Version{n + 1});
        }
    }
}

void append_one(EventLog& log, std::uint64_t number, Durability durability = Durability::synced) {
    REQUIRE(append(log, {{memory_number(number % streams), std::to_string(number)}}, {.durability = durability}));
}

}  // namespace

TEST_CASE("a stream is whole while its rows wait, when they are written, and after a crash", "[events][streams]") {
    TempDir dir;
    const auto durability = GENERATE(Durability::synced, Durability::buffered);
    auto log = open(dir.path() / "log");
    for (std::uint64_t i = 0; i < 4 * rows_max; ++i) {
        append_one(*log, i, durability);
        check_streams(*log);
        const auto crashed = dir.path() / ("crashed" + std::to_string(i));  // What a kill -9 leaves now.
        fs::copy(dir.path() / "log", crashed);
        auto again = open(crashed, i % 2 == 0 ? rows_max : 3);
        CHECK(again->head() == Seq{i + 1});
        check_streams(*again);
        append_one(*again, i);
        check_streams(*again);
    }
}

TEST_CASE("one append of more events than may wait is found like any other", "[events][streams]") {
    TempDir dir;
    auto log = open(dir.path() / "log");
    std::vector<Note> notes;
    for (std::uint64_t i = 0; i < 20 * rows_max; ++i) notes.push_back({memory_number(i % streams), std::to_string(i)});
    for (int i = 0; i < 3; ++i) {
        REQUIRE(append(*log, notes));
        append_one(*log, 1);
        check_streams(*log);
    }
    log.reset();
    check_streams(*open(dir.path() / "log"));
}

TEST_CASE("a check that is ended early finds nothing wrong with what it did not look at", "[events][streams]") {
    TempDir dir;
    const auto log = open(dir.path() / "log");
    for (std::uint64_t batch = 0; batch < 10; ++batch) {
        std::vector<Note> notes;
        for (std::uint64_t i = 0; i < 1000; ++i) notes.push_back({memory_number(1000 * batch + i), "a"});
        REQUIRE(append(*log, notes, {.durability = Durability::buffered}));
    }
    for (const auto part : {LogPart::events, LogPart::streams, LogPart::idempotency, LogPart::tree}) {
        const auto ended = log->check(part, 0, log->head(), [](const Checked&) { return false; });
        if (!ended) FAIL(ended.error().message);
        CHECK(ended->count < log->head().value);
    }
    CHECK(log->check(LogPart::streams, 0, log->head(), [](const Checked&) { return true; })->count == 10'000);
}

TEST_CASE("rows are written by the time that enough wait, with how far they go, and by a close", "[events][streams]") {
    TempDir dir;
    const auto rows_at = [&](std::uint64_t appends) {
        const auto directory = dir.path() / std::to_string(appends);
        auto log = open(directory);
        for (std::uint64_t i = 0; i < appends; ++i) append_one(*log, i, Durability::buffered);
        log.reset();
        std::size_t rows = 0;
        tamper(
            directory,
            [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle&, rocksdb::ColumnFamilyHandle& family) {
                rows = keys_of(db, family).size();
                std::string indexed;
                REQUIRE(db.Get({}, &family, indexed_key, &indexed).ok());
                CHECK(indexed == std::string(7, '\0') + static_cast<char>(appends));
            },
            "events", "streams");
        return rows;
    };
    for (const auto appends : {rows_max - 1, rows_max, rows_max + 1, 3 * rows_max})
        CHECK(rows_at(appends) == appends + 1);
}

TEST_CASE("an index that is missing is made from the events", "[events][streams]") {
    TempDir dir;
    {
        auto log = open(dir.path());
        for (std::uint64_t i = 0; i < 50; ++i) append_one(*log, i, Durability::buffered);
    }
    const bool all = GENERATE(false, true);  // As an older version left it, or nothing at all.
    tamper(
        dir.path(),
        [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle&, rocksdb::ColumnFamilyHandle& family) {
            for (const auto& key : keys_of(db, family))
                if (all || key == indexed_key) REQUIRE(db.Delete({}, &family, key).ok());
        },
        "events", "streams");
    for (int i = 0; i < 2; ++i) {
        auto log = open(dir.path());
        check_streams(*log);
        append_one(*log, 7);
        check_streams(*log);
    }
}

TEST_CASE("an index that goes beyond a log cut short is made anew, and nothing of the lost events shows",
          "[events][streams]") {
    TempDir dir;
    {
        auto log = open(dir.path());
        for (std::uint64_t i = 0; i < 50; ++i) append_one(*log, i);
    }
    tamper(
        dir.path(),
        [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& events, rocksdb::ColumnFamilyHandle&) {
            const auto keys = keys_of(db, events);
            for (std::size_t i = 33; i < keys.size(); ++i) REQUIRE(db.Delete({}, &events, keys[i]).ok());
        },
        "events", "streams");
    fs::remove(dir.path() / "witness");
    auto log = open(dir.path());
    CHECK(log->head() == Seq{33});
    check_streams(*log);
    for (std::uint64_t i = 0; i < 30; ++i) append_one(*log, i / 7);
    check_streams(*log);
    log.reset();
    log = open(dir.path());
    CHECK(log->head() == Seq{63});
    check_streams(*log);
}

TEST_CASE("readers see every stream without a gap while its rows go from memory to RocksDB", "[events][streams]") {
    TempDir dir;
    auto log = open(dir.path(), 4);
    std::atomic<bool> done = false;
    std::atomic<std::uint64_t> written = 0, wrong = 0;
    std::vector<std::thread> readers;
    for (int reader = 0; reader < 3; ++reader)
        readers.emplace_back([&] {
            EventArena arena;
            std::vector<EventView> events;
            while (!done) {
                arena.clear();
                events.clear();
                const std::uint64_t least = written;
                const auto version = log->stream_version("shop", memory_number(0));
                if (!version || version->value < least) ++wrong;
                if (!log->read_stream("shop", memory_number(0), arena, events) || events.size() < least) ++wrong;
                for (std::size_t i = 0; i < events.size(); ++i) wrong += events[i].version() != Version{i + 1} ? 1 : 0;
            }
        });
    for (std::uint64_t i = 1; i <= 400; ++i) {
        const auto receipts = append(*log, {{memory_number(0), "x"}}, {.durability = Durability::buffered});
        if (receipts) written = i;
    }
    done = true;
    for (auto& reader : readers) reader.join();
    CHECK(written == 400);
    CHECK(wrong == 0);
}
