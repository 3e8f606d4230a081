// verify, and the background check: damage of every kind is named; what is whole is said to be.
#include "engine/scrubber.h"
#include "raw_database.h"
#include "support/scopes.h"
#include "support/seed.h"
#include "test_engine.h"

#include <catch2/catch_test_macros.hpp>

#include <rocksdb/db.h>

#include <atomic>
#include <fstream>
#include <random>
#include <thread>

namespace annal::testing {
namespace {

namespace fs = std::filesystem;

Embedding vector_of(float x) {
    return {"m", {x, 1, 2, 3}};
}

void fill(TestEngine& engine, int memories) {
    for (int i = 0; i < memories; ++i) {
        RecordRequest request{.scope = shop_qa, .content = "memory number " + std::to_string(i)};
        request.embedding = vector_of(static_cast<float>(i));
        request.context.idempotency_key = "key " + std::to_string(i);
        const auto receipt = engine.record(request);
        if (i % 5 == 0) REQUIRE(engine->forget(target(shop_qa, receipt.memory_id)));
    }
    REQUIRE(engine->wait_for(engine->head(), std::chrono::seconds(60)));
}

VerifyReport verified(TestEngine& engine) {
    REQUIRE(engine->wait_for(engine->head(), std::chrono::seconds(60)));
    auto report = engine->verify();
    if (!report) FAIL(report.error().message);
    return *report;
}

std::string failures(const VerifyReport& report) {
    std::string text;
    for (const auto& check : report.checks)
        if (check.state != Check::State::ok) text += check.name + ": " + check.found + "\n";
    return text;
}

const Check& check_named(const VerifyReport& report, std::string_view name) {
    for (const auto& check : report.checks)
        if (check.name == name) return check;
    FAIL("no such check: " << name);
    return report.checks.front();
}

bool of_shop(std::string_view key, std::string_view = {}) {
    return key.starts_with(std::string_view("shop\0", 5));
}

// What verify finds when `change` was made to the closed store.
VerifyReport after(const char* database, const std::function<void(Raw&)>& change, int memories = 30) {
    TestEngine engine;
    fill(engine, memories);
    engine.close();
    {
        Raw raw(engine.path() / database);
        change(raw);
    }
    engine.open();
    return verified(engine);
}

TEST_CASE("all is well with a store that is whole, while others write to it", "[engine][verify]") {
    TestEngine engine;
    fill(engine, 200);
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        for (int i = 0; !stop && i < 500; ++i)
            if (!engine->record({.scope = shop_qa, .content = "meanwhile " + std::to_string(i)})) stop = true;
    });
    std::vector<std::string> told;
    const auto report = engine->verify({}, [&](std::string_view check, std::uint64_t, std::uint64_t) {
        if (told.empty() || told.back() != check) told.emplace_back(check);
    });
    stop = true;
    writer.join();
    REQUIRE(report);
    CHECK(failures(*report) == "");
    CHECK(report->all_well());
    CHECK(report->seq >= Seq{240});
    CHECK(told == std::vector<std::string>{"log.files", "log.events", "log.streams", "log.idempotency", "log.tree",
                                           "views.files", "views.memory_view", "views.text", "views.vectors",
                                           "views.recalls"});
    CHECK(check_named(*report, "log.events").count == report->seq.value);
    CHECK(check_named(*report, "log.idempotency").count == 200);
    CHECK(check_named(*report, "views.vectors").count > 200);
    const auto log_alone = engine->verify({.projections = false});
    REQUIRE(log_alone);
    CHECK(log_alone->checks.size() == 6);
    for (const auto& entry : fs::directory_iterator(engine.path() / "views"))
        CHECK(entry.path().filename().string().find("check") == std::string::npos);

    TestEngine empty;
    CHECK(failures(verified(empty)) == "");
}

TEST_CASE("a row of a projection that is changed, gone or too much is named", "[engine][verify]") {
    for (const std::string view : {"memory_view", "text", "vectors"}) {
        const auto own = [&](std::string_view key, std::string_view) {
            return view == "vectors" ? key.starts_with('m') : of_shop(key);
        };
        const auto report = [&](const std::function<void(Raw&)>& change) {
            const auto found = after("views/keys", change);
            INFO(failures(found));
            CHECK(check_named(found, "views." + view).state == Check::State::failed);
            for (const auto& check : found.checks)
                if (check.name != "views." + view) CHECK(check.state == Check::State::ok);
            CHECK(failures(found).find("number") == std::string::npos);  // A word of the memories.
            return check_named(found, "views." + view).found;
        };
        INFO(view);
        const auto gone = report([&](Raw& raw) { raw.erase(view, raw.find(view, own).first); });
        CHECK(gone.find("found none") != std::string::npos);
        CHECK(gone.find("shop") != std::string::npos);
        const auto much = report([&](Raw& raw) { raw.put(view, raw.find(view, own).first + "x", "y"); });
        CHECK(much.find("expected no such row, found 1 bytes") != std::string::npos);
        if (view == "vectors") continue;  // A changed row is damage to it, and built anew at the open.
        const auto changed = report([&](Raw& raw) {
            auto row = raw.find(view, own);
            row.second.back() = static_cast<char>(row.second.back() ^ 1);
            raw.put(view, row.first, row.second);
        });
        CHECK(changed.find("of checksum") != std::string::npos);
    }
}

TEST_CASE("a float of the vectors' files that is another is named", "[engine][verify]") {
    TestEngine engine;
    fill(engine, 30);
    const auto file = [&] {
        for (const auto& entry : fs::directory_iterator(engine.path() / "views" / "vectors"))
            if (entry.path().extension() == ".rows") return entry.path();
        FAIL("there are no rows");
        return fs::path();
    }();
    {
        std::fstream rows(file, std::ios::in | std::ios::out | std::ios::binary);  // Mapped by the store, and seen.
        rows.seekp(4096 + 16 + 5);
        rows.put('\x55');
    }
    const auto found = verified(engine);
    CHECK(failures(found).find("views.vectors: a row of the vectors' files fails its checksum") == 0);
    REQUIRE(engine->rebuild("vectors"));
    CHECK(failures(verified(engine)) == "");
}

// The open itself looks at the last 256 events: what is changed here lies before them.
constexpr int many = 300;  // Memories, of 360 events: event 1 records the first, event 2 forgets it.

TEST_CASE("what the log's indexes miss, or have too much, is named", "[engine][verify]") {
    const auto changed = [](const std::function<void(Raw&)>& change) { return after("log", change, many); };
    const auto expect = [](const char* name, const VerifyReport& found, std::string_view text) {
        INFO(failures(found));
        CHECK(check_named(found, name).state == Check::State::failed);
        CHECK(check_named(found, name).found.find(text) != std::string::npos);
        CHECK(check_named(found, "views.text").state == Check::State::skipped);
        CHECK_FALSE(found.all_well());
    };
    const auto row_of = [](Raw& raw, const char* family, std::uint8_t seq) {
        return raw.find(family, [&](std::string_view key, std::string_view value) {
            return of_shop(key) && value.substr(0, 8) == std::string(7, '\0') + static_cast<char>(seq);
        });
    };
    auto found = changed([&](Raw& raw) { raw.erase("streams", row_of(raw, "streams", 1).first); });
    expect("log.events", found, "event 1 has no row in its stream");
    expect("log.streams", found, "a stream has no version 1");
    found = changed([&](Raw& raw) {
        auto row = row_of(raw, "streams", 5);
        row.second[7] = 6;
        raw.put("streams", row.first, row.second);
    });
    expect("log.events", found, "the stream of event 5 names 6");
    found = changed([&](Raw& raw) {
        auto row = row_of(raw, "streams", 5);  // Of another stream: a stray row, dense and rising by itself.
        row.first[8] = static_cast<char>(row.first[8] ^ 1);
        raw.put("streams", row.first, row.second);
    });
    expect("log.streams", found, "361 rows for 360 events");
    found = changed([&](Raw& raw) {
        auto row = row_of(raw, "idem", 5);
        row.second[6] = 9;
        raw.put("idem", row.first, row.second);
    });
    expect("log.idempotency", found, "names events that are not there");
    found = changed([&](Raw& raw) {
        auto row = row_of(raw, "idem", 5);
        row.first[0] = 'x';
        raw.put("idem", row.first, row.second);
    });
    expect("log.idempotency", found, "of another project");
}

TEST_CASE("an event that is gone, or was recorded before the one it follows, is named", "[engine][verify]") {
    for (const bool gone : {false, true}) {
        const auto change = [&](Raw& raw) {
            auto row = raw.find("events", [](std::string_view key, std::string_view) { return key.back() == 5; });
            if (gone) return raw.erase("events", row.first);
            for (std::size_t i = 16; i < 24; ++i) row.second[i] = i == 16 ? 1 : 0;
            raw.put("events", row.first, row.second);
        };
        const auto found = after("log", change, many);
        INFO(failures(found));
        CHECK(check_named(found, "log.events").found.find(gone ? "the log has a gap" : "event 5 is recorded") == 0);
    }
}

// A flipped bit of a table file below `directory`, until it is put right; not in the last 64 bytes, where not every bit
// says something.
class FlippedBit {
 public:
    FlippedBit(const fs::path& directory, std::mt19937_64& random) {
        const auto tables = tables_in(directory);
        table_ = tables[random() % tables.size()];
        at_ = static_cast<std::streamoff>(random() % (fs::file_size(table_) - 64));
        bit_ = 1 << random() % 8;
        flip();
    }
    FlippedBit(fs::path table, std::uint64_t at, std::mt19937_64& random)
        : table_(std::move(table)), at_(static_cast<std::streamoff>(at)), bit_(1 << random() % 8) {
        flip();
    }
    static std::vector<fs::path> tables_in(const fs::path& directory) {
        std::vector<fs::path> tables;
        for (const auto& entry : fs::directory_iterator(directory))
            if (entry.path().extension() == ".sst") tables.push_back(entry.path());
        REQUIRE_FALSE(tables.empty());
        std::ranges::sort(tables);
        return tables;
    }
    void flip() {
        std::fstream file(table_, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(at_);
        const auto byte = static_cast<char>(file.get() ^ bit_);
        file.seekp(at_);
        file.put(byte);
        REQUIRE(file.good());
    }
    std::string name() const { return table_.filename().string() + " at " + std::to_string(at_); }

 private:
    fs::path table_;
    std::streamoff at_ = 0;
    int bit_ = 0;
};

// An engine whose tables are on disk.
void settle(TestEngine& engine) {
    engine.reopen();
    REQUIRE(engine->wait_for(engine->head(), std::chrono::seconds(60)));
}

TEST_CASE("a flipped bit anywhere in a table of the log is found by verify", "[engine][verify][damage]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    TestEngine engine;
    fill(engine, 40);
    settle(engine);
    const auto stride = static_cast<std::uint64_t>(100 * 97 / trials(100));
    for (const auto& table : FlippedBit::tables_in(engine.path() / "log"))
        for (auto at = random() % stride; at < fs::file_size(table); at += stride) {
            FlippedBit bit(table, at, random);
            INFO(bit.name());
            const auto found = engine->verify({.projections = false});
            REQUIRE(found);
            CHECK(check_named(*found, "log.files").state == Check::State::failed);
            bit.flip();
        }
    CHECK(failures(verified(engine)) == "");
}

TEST_CASE("a flipped bit in a table of the views is found by verify", "[engine][verify][damage]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < trials(6); ++trial) {
        TestEngine engine;
        fill(engine, 40);
        settle(engine);
        const FlippedBit bit(engine.path() / "views" / "keys", random);
        INFO(bit.name());
        const auto found = engine->verify({.projections = false});
        REQUIRE(found);
        CHECK(check_named(*found, "views.files").state == Check::State::failed);
    }
}

// The background check of an engine's store, without its thread.
struct Scrubbed {
    explicit Scrubbed(const fs::path& directory) {
        auto opened = EventLog::open({.directory = directory / "log", .clock = &clock});
        REQUIRE(opened);
        log = std::move(*opened);
        auto store = ViewStore::open({.directory = directory / "views"});
        REQUIRE(store);
        views = std::move(*store);
        open();
    }
    void open() {
        auto made = Scrubber::open(*log, *views,
                                   {.bytes_per_second = rate,
                                    .clock = &clock,
                                    .clock_asked_every = std::chrono::milliseconds(1),
                                    .on_message = [this](auto, auto what) { messages.emplace_back(what); }});
        REQUIRE(made);
        scrubber = std::move(*made);
    }
    static constexpr std::uint64_t rate = 1000;  // Bytes a second.
    StoppedClock clock;
    std::vector<std::string> messages;
    std::unique_ptr<EventLog> log;
    std::unique_ptr<ViewStore> views;
    std::unique_ptr<Scrubber> scrubber;
};

TEST_CASE("the background check goes on where it was ended, and says what it read", "[engine][scrub]") {
    TestEngine engine;
    fill(engine, 40);
    settle(engine);
    engine.close();
    Scrubbed scrubbed(engine.path());
    std::size_t pages = 0;
    std::uint64_t bytes = 0;
    REQUIRE(scrubbed.scrubber->pass([&](std::uint64_t read) {
        ++pages;
        bytes += read;
        return true;
    }));
    CHECK(bytes > 10'000);
    CHECK(scrubbed.scrubber->status().last_pass == scrubbed.clock.now());
    CHECK(scrubbed.scrubber->status().errors == 0);

    scrubbed.clock.advance(5);
    std::size_t pages_in_parts = 0;
    for (std::size_t parts = 0; parts <= pages; ++parts) {
        const bool finished = scrubbed.scrubber->pass([&](std::uint64_t) {
            ++pages_in_parts;
            return pages_in_parts % 2 != 0;
        });
        if (finished) break;
        scrubbed.open();  // As the next process does.
    }
    CHECK(scrubbed.scrubber->status().last_pass == scrubbed.clock.now());
    CHECK(pages_in_parts >= pages);
    CHECK(pages_in_parts <= pages + log_part_names.size() + 1);  // The end of a part may be met twice.
    CHECK(scrubbed.messages.empty());
}

TEST_CASE("a flipped bit is found by the background check, and a damaged view is cured", "[engine][scrub][damage]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < trials(8); ++trial) {
        const bool log = trial % 2 == 0;
        TestEngine engine;
        fill(engine, 40);
        settle(engine);
        engine.close();
        Scrubbed scrubbed(engine.path());
        const FlippedBit bit(engine.path() / (log ? "log" : "views/keys"), random);
        INFO(bit.name());
        REQUIRE(scrubbed.scrubber->pass([](std::uint64_t) { return true; }));
        CHECK(scrubbed.scrubber->status().errors >= 1);
        REQUIRE_FALSE(scrubbed.messages.empty());
        CHECK(scrubbed.messages.front().find(log ? "log." : "views.files") != std::string::npos);
        scrubbed.open();
        CHECK(scrubbed.scrubber->status().errors >= 1);  // Kept.
    }
}

TEST_CASE("the thread of the background check keeps its rate by the clock it is given", "[engine][scrub]") {
    TestEngine engine;
    fill(engine, 40);
    const auto status = engine->status();
    REQUIRE(status);
    CHECK(status->scrub.bytes_per_second == EngineOptions().scrub_bytes_per_second);
    settle(engine);
    engine.close();
    Scrubbed scrubbed(engine.path());
    std::uint64_t bytes = 0;
    REQUIRE(scrubbed.scrubber->pass([&](std::uint64_t read) {
        bytes += read;
        return true;
    }));
    const auto first = scrubbed.scrubber->status().last_pass;
    scrubbed.scrubber->start();
    scrubbed.clock.advance(std::int64_t{24} * 3600 * 1'000'000);
    const auto begun = scrubbed.clock.now();
    while (scrubbed.scrubber->status().last_pass == first) {
        scrubbed.clock.advance(100'000);
        std::this_thread::yield();
    }
    const auto seconds = static_cast<double>(scrubbed.clock.now().us - begun.us) / 1e6;
    CHECK(seconds >= static_cast<double>(bytes) / static_cast<double>(Scrubbed::rate));
    CHECK(scrubbed.scrubber->status().errors == 0);
}

}  // namespace
}  // namespace annal::testing
