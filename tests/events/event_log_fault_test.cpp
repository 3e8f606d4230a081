// Failure at every file operation, and 300 simulated power losses. ANNAL_TRIALS (tests/support/seed.h) scales both: 10
// is every tenth operation.
#include "support/fault_env.h"
#include "support/log_fixture.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <map>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr int operations_stride_default = 1;
constexpr int power_losses_default = 300;
constexpr int failed_syncs_default = 60;

struct World {  // A log on a file system that can fail, and what its callers were told.
    explicit World(std::filesystem::path where)
        : directory(std::move(where)),
          files(std::make_shared<FaultFileSystem>(directory)),
          env(std::make_unique<FaultEnv>(files)) {}

    Result<std::unique_ptr<EventLog>> open() const {
        EventLogOptions options;
        options.directory = directory;
        options.env = env.get();
        options.disk_free_bytes_min = 0;
        options.stream_rows_max = 16;                   // So that rows of streams are written now and then,
        options.journal_bytes_max = journal_bytes_max;  // and the next journal is begun,
        options.large_batch_bytes_min = 4 << 10;        // and some rows are made while the disk syncs.
        return EventLog::open(options);
    }

    std::filesystem::path directory;
    std::uint64_t journal_bytes_max = 8 << 10;
    std::shared_ptr<FaultFileSystem> files;
    std::unique_ptr<rocksdb::Env> env;
};

// An append's own: RocksDB's threads have operations, too.
bool of_journal(const std::string& operation) {
    return operation.find(".journal") != std::string::npos;
}

struct Told {
    std::map<std::uint64_t, std::string> acknowledged;  // By seq: durable for certain.
    std::map<std::uint64_t, std::string> buffered;      // Taken, promised nothing.
    int failures = 0;

    void forget_buffered_up_to_sync() {
        acknowledged.insert(buffered.begin(), buffered.end());  // A sync covers all that was written before it.
        buffered.clear();
    }
};

// Appends, closes and opens again; stops at the first failure. Deterministic but for RocksDB's background threads.
void work(const World& world, std::mt19937_64& random, Told& told, int rounds, int appends) {
    for (int round = 0; round < rounds; ++round) {
        auto log = world.open();
        if (!log) {
            ++told.failures;
            return;
        }
        for (int i = 0; i < appends; ++i) {
            std::vector<Note> notes;
            const std::size_t size = random() % 4 == 0 ? 1 + random() % 20 : 1;
            for (std::size_t n = 0; n < size; ++n)
                notes.push_back(
                    {memory_number(random() % 9), std::to_string(random()) + std::string(random() % 900, 'x')});
            const bool synced = random() % 4 != 0;
            const auto receipts =
                append(**log, notes, {.durability = synced ? Durability::synced : Durability::buffered});
            if (!receipts) {
                ++told.failures;
                CHECK((*log)->head() < Seq{1'000'000});  // Still answers.
                return;
            }
            for (std::size_t n = 0; n < size; ++n) told.buffered[receipts->at(n).seq.value] = notes[n].content;
            if (synced) told.forget_buffered_up_to_sync();
        }
    }
}

// What every log must satisfy after anything: all that was acknowledged, in order, without a gap.
void check_log(const EventLog& log, const Told& told) {
    const auto all = read_all(log);
    if (!all) FAIL(all.error().message);
    std::map<MemoryId, std::uint64_t> versions;
    for (std::size_t i = 0; i < all->size(); ++i) {
        if ((*all)[i].seq != Seq{i + 1}) FAIL("a gap before seq " << (*all)[i].seq.value);
        if ((*all)[i].version != Version{++versions[(*all)[i].memory]}) FAIL("a version is not dense at " << i + 1);
    }
    for (const auto& [seq, content] : told.acknowledged) {
        if (seq > all->size()) FAIL("acknowledged event " << seq << " is lost; the head is " << all->size());
        if ((*all)[seq - 1].content != content) FAIL("acknowledged event " << seq << " is another one");
    }
    for (const auto& [seq, content] : told.buffered)
        if (seq <= all->size() && (*all)[seq - 1].content != content)
            FAIL("buffered event " << seq << " is another one");
    for (const auto& [memory, version] : versions) {
        CHECK(log.stream_version("shop", memory)->value == version);
        EventArena arena;
        std::vector<EventView> stream;
        if (auto read = log.read_stream("shop", memory, arena, stream); !read) FAIL(read.error().message);
        CHECK(stream.size() == version);
    }
}

// Fails each file operation of a run of appends once, one run after the other.
void fail_each_operation(FaultFileSystem::Fault fault) {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    constexpr int rounds = 2, appends = 12;
    std::uint64_t operations = 0;
    {
        TempDir dir(TempDir::On::memory);
        World world(dir.path() / "log");
        Told told;
        std::mt19937_64 random(seed);
        work(world, random, told, rounds, appends);
        CHECK(told.failures == 0);
        operations = world.files->operations();
    }
    const auto stride = static_cast<std::uint64_t>(std::max(1, 100 * operations_stride_default / trials(100)));
    int met = 0, surfaced = 0;
    for (std::uint64_t at = 1 + seed % stride; at <= operations; at += stride) {
        TempDir dir(TempDir::On::memory);
        World world(dir.path() / "log");
        Told told;
        std::mt19937_64 random(seed);
        world.files->arm(fault, at);
        work(world, random, told, rounds, appends);
        INFO("operation " << at << " of " << operations << ": " << world.files->met());
        if (!world.files->met().empty()) ++met;
        surfaced += told.failures;
        world.files->arm(FaultFileSystem::Fault::none, 0);
        auto log = world.open();
        if (!log) FAIL("it does not open after the failure: " << log.error().message);
        check_log(**log, told);
        REQUIRE(append(**log, {{memory_number(1), "goes on"}}));
    }
    CHECK(met > 0);
    CHECK(surfaced > 0);
}

}  // namespace

TEST_CASE("an error at any file operation surfaces or is harmless; nothing acknowledged is lost", "[events][fault]") {
    fail_each_operation(FaultFileSystem::Fault::io_error);
}

TEST_CASE("a full disk at any file operation surfaces or is harmless; nothing acknowledged is lost",
          "[events][fault]") {
    fail_each_operation(FaultFileSystem::Fault::no_space);
}

// A kill leaves all that was handed to the system, synced or not; the real directory is what it leaves.
TEST_CASE("a process that ends at any file operation leaves every event it answered", "[events][fault]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    constexpr int rounds = 2, appends = 12;
    const auto stride = static_cast<std::uint64_t>(std::max(1, 100 * operations_stride_default / trials(100)));
    int ended = 0;
    for (std::uint64_t at = 1 + seed % stride;; at += stride) {
        TempDir dir(TempDir::On::memory);
        Told told;
        std::mt19937_64 random(seed);
        {
            World world(dir.path() / "log");
            world.files->arm(FaultFileSystem::Fault::power_loss, at);
            work(world, random, told, rounds, appends);
            INFO("operation " << at << ": " << world.files->met());
            if (world.files->met().empty()) break;  // It was through before.
            ++ended;
        }
        told.forget_buffered_up_to_sync();
        if (at % 4 == 0) {  // And at any operation of its recovery.
            World world(dir.path() / "log");
            world.files->arm(FaultFileSystem::Fault::power_loss, 1 + random() % 60);
            static_cast<void>(world.open());
        }
        INFO("operation " << at);
        World world(dir.path() / "log");
        auto log = world.open();
        if (!log) FAIL("it does not open: " << log.error().message);
        check_log(**log, told);
        REQUIRE(append(**log, {{memory_number(1), "goes on"}}));
    }
    CHECK(static_cast<std::uint64_t>(ended) * stride >= 50);
}

TEST_CASE("whichever sync fails, what is acknowledged after it is on disk all the same", "[events][fault]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    int refused = 0;
    for (int trial = 0; trial < trials(failed_syncs_default); ++trial) {
        TempDir dir(TempDir::On::memory);
        Told told;
        World world(dir.path() / "log");
        world.files->arm(FaultFileSystem::Fault::io_error, 1 + random() % 60,
                         [](const std::string& operation) { return operation.starts_with("sync "); });
        for (int round = 0; round < 3 && world.files->met().empty(); ++round) work(world, random, told, 1, 25);
        INFO("trial " << trial << ": " << world.files->met());
        told.buffered.clear();
        // Whoever asks again, in the same process or in the next one, may be told what the disk does not have.
        for (int again = 0; again < 2; ++again) work(world, random, told, 1, 5);
        refused += told.failures;
        const auto after = dir.path() / "after";
        world.files->image(after, random);
        EventLogOptions options;
        options.directory = after;
        const auto log = EventLog::open(options);
        if (!log) FAIL("trial " << trial << ": it does not open: " << log.error().message);
        told.buffered.clear();
        check_log(**log, told);
    }
    CHECK(refused > 0);
}

TEST_CASE("a failed sync of the log ends appends for good, and reads go on", "[events][fault]") {
    TempDir dir;
    World world(dir.path() / "log");
    Told told;
    {
        auto log = *world.open();
        REQUIRE(append(*log, {{memory_number(1), "before"}}));
        // An append writes the log and syncs it: whichever of the two fails, no later one is acknowledged.
        world.files->arm(FaultFileSystem::Fault::io_error, 2, of_journal);
        const auto failed = append(*log, {{memory_number(1), "unknown"}});
        INFO(world.files->met());
        REQUIRE_FALSE(failed);
        CHECK(failed.error().code == ErrorCode::unavailable);
        CHECK(failed.error().details.at("outcome") == "unknown");
        for (int i = 0; i < 3; ++i) {
            const auto refused = append(*log, {{memory_number(2), "after"}});
            REQUIRE_FALSE(refused);
            CHECK(refused.error().code == ErrorCode::unavailable);
            CHECK(refused.error().message.find("reopen") != std::string::npos);
        }
        CHECK(log->head() == Seq{1});
        CHECK(read_all(*log)->size() == 1);
    }
    told.acknowledged[1] = "before";
    auto log = *world.open();
    check_log(*log, told);
    CHECK(*log->stream_version("shop", memory_number(2)) == Version{0});
}

TEST_CASE("a full disk refuses appends until there is room; reads go on throughout", "[events][fault]") {
    TempDir dir;
    World world(dir.path() / "log");
    auto log = *world.open();
    Told told;
    for (int round = 0; round < 5; ++round) {
        const auto before = append(*log, {{memory_number(1), "before"}});
        REQUIRE(before);
        told.acknowledged[before->at(0).seq.value] = "before";
        world.files->arm(FaultFileSystem::Fault::no_space, 2, of_journal);
        const auto failed = append(*log, {{memory_number(1), "unknown"}});
        REQUIRE_FALSE(failed);
        CHECK(failed.error().code == ErrorCode::resource_exhausted);
        check_log(*log, told);

        // There is room again: the next append finds out what reached the disk, and goes on.
        std::vector<Receipt> after;
        for (int tries = 0; after.empty() && tries < 2'000; ++tries) {
            if (auto receipts = append(*log, {{memory_number(2), "after"}}))
                after = *receipts;
            else
                log->wait_past(Seq{1'000'000}, std::chrono::milliseconds(5));
        }
        REQUIRE_FALSE(after.empty());
        told.acknowledged[after[0].seq.value] = "after";
        check_log(*log, told);
    }
}

TEST_CASE("a batch whose sync met a full disk is told of once there is room, not before", "[events][fault]") {
    for (const std::size_t notes : {1, 40}) {  // A large batch's rows are made while the disk syncs.
        TempDir dir;
        World world(dir.path() / "log");
        world.journal_bytes_max = 1 << 20;  // The sync is of the batch.
        auto log = *world.open();
        Told told;
        const std::vector<Note> batch(notes, {memory_number(1), std::string(300, 'u')});
        const AppendHow how{.key = "once"};
        for (int i = 0; i < 3; ++i) REQUIRE(append(*log, {{memory_number(2), "before"}}));
        const auto before = log->head();
        world.files->arm(FaultFileSystem::Fault::no_space, 1,
                         [](const std::string& operation) { return operation.starts_with("sync "); });
        const auto failed = append(*log, batch, how);
        REQUIRE_FALSE(failed);
        CHECK(world.files->met().find(".journal") != std::string::npos);
        CHECK(failed.error().code == ErrorCode::resource_exhausted);
        CHECK(log->head() == before);
        CHECK(read_all(*log)->size() == before.value);
        // Nobody is told of it while it may be lost.
        CHECK_FALSE(log->find_receipts("shop", "once", {})->has_value());

        world.files->arm(FaultFileSystem::Fault::none, 0);
        std::optional<std::vector<Receipt>> again;
        for (int tries = 0; !again && tries < 2'000; ++tries) {
            if (auto receipts = append(*log, batch, how))
                again = *receipts;
            else
                log->wait_past(Seq{1'000'000}, std::chrono::milliseconds(5));
        }
        REQUIRE(again);
        CHECK(log->head() == Seq{before.value + notes});
        REQUIRE(append(*log, {{memory_number(1), "after"}}));
        for (std::size_t i = 0; i < notes; ++i) told.acknowledged[before.value + 1 + i] = batch[i].content;
        told.acknowledged[before.value + notes + 1] = "after";
        check_log(*log, told);
        CHECK(log->head() == Seq{before.value + notes + 1});
        CHECK(log->find_receipts("shop", "once", {})->has_value());
        const auto root = *log->root(log->head());
        log.reset();
        log = *world.open();
        check_log(*log, told);
        CHECK(*log->root(log->head()) == root);
    }
}

TEST_CASE("the disk nearly full refuses an append before RocksDB meets it", "[events][fault]") {
    TempDir dir;
    EventLogOptions options;
    options.directory = dir.path() / "log";
    options.disk_free_bytes_min = std::uint64_t{1} << 62;
    auto log = *EventLog::open(options);
    const auto refused = append(*log, {{memory_number(1), "x"}});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::resource_exhausted);
    for (const auto* detail : {"free", "needed", "limit"}) CHECK(refused.error().details.count(detail) == 1);
    CHECK(log->head() == Seq{0});
}

TEST_CASE("a disk that fills up is noticed before a sixteenth of the reserve is used, and room at once",
          "[events][fault]") {
    constexpr std::uint64_t reserve = std::uint64_t{1} << 20;
    TempDir dir;
    World world(dir.path() / "log");
    EventLogOptions options;
    options.directory = world.directory;
    options.env = world.env.get();
    options.disk_free_bytes_min = reserve;
    auto log = *EventLog::open(options);
    const auto append_kilobyte = [&] { return append(*log, {{memory_number(1), std::string(1024, 'x')}}); };
    for (int round = 0; round < 3; ++round) {
        world.files->set_free_bytes(2 * reserve);
        REQUIRE(append_kilobyte());  // Whatever was refused before.
        world.files->set_free_bytes(reserve);
        std::uint64_t taken = 0;
        Result<std::vector<Receipt>> receipts = append_kilobyte();
        for (; receipts && taken < 1000; receipts = append_kilobyte()) ++taken;
        CHECK(taken * 1024 <= reserve / 16);
        REQUIRE_FALSE(receipts);
        CHECK(receipts.error().code == ErrorCode::resource_exhausted);
        CHECK(receipts.error().details.at("free") == std::to_string(reserve));
        CHECK_FALSE(append_kilobyte());
    }
}

TEST_CASE("a disk that others fill up is noticed in time, without asking at every append", "[events][fault]") {
    TempDir dir;
    World world(dir.path() / "log");
    EventLogOptions options;
    options.directory = world.directory;
    options.env = world.env.get();
    options.disk_free_bytes_min = std::uint64_t{1} << 40;
    world.files->set_free_bytes(std::uint64_t{1} << 41);
    auto log = *EventLog::open(options);
    const auto append_buffered = [&] {
        return append(*log, {{memory_number(1), "x"}}, {.durability = Durability::buffered});
    };
    std::uint64_t taken = 0;
    while (append_buffered() && world.files->free_bytes_asked() < 3) ++taken;
    CHECK(taken > 3);
    world.files->set_free_bytes(0);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (append_buffered() && std::chrono::steady_clock::now() < deadline) continue;
    CHECK(std::chrono::steady_clock::now() < deadline);
}

TEST_CASE("power loss at any moment takes nothing that was acknowledged", "[events][fault]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < trials(power_losses_default); ++trial) {
        TempDir dir(TempDir::On::memory);
        Told told;
        auto where = dir.path() / "log";
        // One in eight loses power again while it recovers.
        const int losses = trial % 8 == 0 ? 2 : 1;
        for (int loss = 0; loss < losses; ++loss) {
            World world(where);
            const auto next = dir.path() / ("after" + std::to_string(loss));
            world.files->arm(FaultFileSystem::Fault::power_loss, 1 + random() % (loss == 0 ? 900 : 60));
            work(world, random, told, 3, 25);
            INFO("trial " << trial << ": " << world.files->met());
            world.files->image(next, random);
            where = next;
            told.buffered.clear();  // What was not synced may be gone, and its places taken anew.
        }
        EventLogOptions options;
        options.directory = where;
        const auto log = EventLog::open(options);
        if (!log) FAIL("trial " << trial << ": it does not open: " << log.error().message);
        check_log(**log, told);
        REQUIRE(append(**log, {{memory_number(1), "goes on"}}));
    }
}
