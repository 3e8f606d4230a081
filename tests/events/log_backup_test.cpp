// Backups of a log: taken while it is written, restored to what they were, and refused when they are not.
#include "events/log_backup.h"
#include "events/event_log.h"
#include "support/log_fixture.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <fstream>
#include <random>
#include <thread>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<EventLog> open_plain(const fs::path& directory) {
    EventLogOptions options;
    options.directory = directory;
    auto log = EventLog::open(options);
    if (!log) FAIL(log.error().message);
    return *std::move(log);
}

void append_some(EventLog& log, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
        REQUIRE(
            append(log, {{memory_number(i % 7), "event " + std::to_string(i)}}, {.durability = Durability::buffered}));
}

BackupInfo back_up(const EventLog& log, const fs::path& directory, std::size_t keep = 0) {
    const auto backup = log.backup(directory, keep, {});
    if (!backup) FAIL(backup.error().message);
    return *backup;
}

Result<BackupInfo> restore(const fs::path& backups, const fs::path& to, std::uint32_t id = 0) {
    return restore_backup(backups, id, to, system_clock(), {}, {});
}

}  // namespace

TEST_CASE("backups taken under load are each a prefix of the log, with its root", "[events][backup]") {
    TempDir dir;
    auto log = open_plain(dir.path() / "log");
    std::atomic<bool> done = false;
    std::thread writer([&] {
        for (std::uint64_t i = 0; !done; ++i)
            static_cast<void>(append(*log, {{memory_number(i % 5), std::string(200, 'x')}},
                                     {.durability = i % 50 == 0 ? Durability::synced : Durability::buffered}));
    });
    std::vector<BackupInfo> taken;
    for (int i = 0; i < trials(10); ++i) taken.push_back(back_up(*log, dir.path() / "backups", 4));
    done = true;
    writer.join();

    const auto listed = list_backups(dir.path() / "backups");
    REQUIRE(listed);
    REQUIRE(listed->size() == std::min<std::size_t>(4, taken.size()));
    for (std::size_t i = 0; i < listed->size(); ++i) {
        const auto& expected = taken[taken.size() - listed->size() + i];
        CHECK((*listed)[i].id == expected.id);
        CHECK((*listed)[i].root == *log->root(expected.seq));
        const auto to = dir.path() / ("restored" + std::to_string(i));
        const auto restored = restore(dir.path() / "backups", to, expected.id);
        if (!restored) FAIL(restored.error().message);
        auto copy = open_plain(to);
        CHECK(copy->head() == expected.seq);
        CHECK(*copy->root(copy->head()) == expected.root);
        CHECK(copy->store_id() == log->store_id());
        CHECK(copy->epoch() > log->epoch());
        append_some(*copy, 20);
    }
}

TEST_CASE("a log restored twice is two logs: each has an epoch of its own, kept", "[events][backup]") {
    TempDir dir;
    std::uint64_t epoch = 0;
    {
        auto log = open_plain(dir.path() / "log");
        append_some(*log, 3);
        back_up(*log, dir.path() / "backups");
    }
    REQUIRE(restore(dir.path() / "backups", dir.path() / "a"));
    for (int i = 0; i < 2; ++i) {
        auto log = open_plain(dir.path() / "a");
        CHECK(log->epoch() > 1);
        if (i == 1) CHECK(log->epoch() == epoch);
        epoch = log->epoch();
        append_some(*log, 1);
    }
    auto again = open_plain(dir.path() / "a");
    back_up(*again, dir.path() / "b");
    REQUIRE(restore(dir.path() / "b", dir.path() / "c"));
    CHECK(open_plain(dir.path() / "c")->epoch() > epoch);
}

TEST_CASE("a damaged backup is refused, and leaves nothing behind", "[events][backup]") {
    TempDir dir;
    {
        auto log = open_plain(dir.path() / "log");
        append_some(*log, 600);
        back_up(*log, dir.path() / "good");
    }
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    std::vector<fs::path> files;
    for (const auto& each : fs::recursive_directory_iterator(dir.path() / "good"))
        if (each.is_regular_file() && each.file_size() != 0)
            files.push_back(fs::relative(each.path(), dir.path() / "good"));
    int refused = 0;
    for (int trial = 0; trial < trials(60); ++trial) {
        const auto bad = dir.path() / "bad", to = dir.path() / "restored" / "log";
        fs::copy(dir.path() / "good", bad, fs::copy_options::recursive);
        const auto& file = files[random() % files.size()];
        const auto size = fs::file_size(bad / file);
        const auto at = random() % size;
        INFO(file << " at " << at);
        if (trial % 3 == 0) {
            fs::resize_file(bad / file, at);
        } else {
            std::fstream bytes(bad / file, std::ios::binary | std::ios::in | std::ios::out);
            bytes.seekg(static_cast<std::streamoff>(at));
            const char byte = static_cast<char>(bytes.get() ^ (1 << random() % 8));
            bytes.seekp(static_cast<std::streamoff>(at));
            bytes.put(byte);
        }
        const auto restored = restore(bad, to);
        if (restored) {  // Only what the log does not depend on (options, a lock) may differ.
            auto log = open_plain(to);
            CHECK(log->head() == Seq{600});
            CHECK(*log->root(Seq{600}) == restored->root);
            CHECK(read_all(*log));
            log.reset();
            fs::remove_all(to.parent_path());
        } else {
            ++refused;
            CHECK_FALSE(fs::exists(to.parent_path()));
        }
        fs::remove_all(bad);
    }
    CHECK(refused > 0);
}

TEST_CASE("a backup that was not called good is not restored, and the next run removes it", "[events][backup]") {
    TempDir dir;
    auto log = open_plain(dir.path() / "log");
    append_some(*log, 10);
    const auto backups = dir.path() / "backups";
    back_up(*log, backups);
    append_some(*log, 10);
    CHECK(back_up(*log, backups).id == 2);
    fs::remove(backups / "backup-2");  // As if the process had died before.
    REQUIRE(list_backups(backups)->size() == 1);
    CHECK(restore(backups, dir.path() / "a")->seq == Seq{10});
    CHECK(restore(backups, dir.path() / "b", 2).error().code == ErrorCode::not_found);
    CHECK(back_up(*log, backups).seq == Seq{20});
    CHECK(list_backups(backups)->size() == 2);
    const auto copies = fs::directory_iterator(backups / "private");
    CHECK(std::distance(begin(copies), end(copies)) == 2);
}

TEST_CASE("a directory of backups may be named from where the process is", "[events][backup]") {
    TempDir dir;
    auto log = open_plain(dir.path() / "log");
    append_some(*log, 3);
    const auto backups = fs::relative(dir.path() / "backups");
    REQUIRE(backups.is_relative());
    back_up(*log, backups);
    append_some(*log, 3);
    CHECK(back_up(*log, backups).seq == Seq{6});
    CHECK(restore(backups, fs::relative(dir.path() / "restored"))->seq == Seq{6});
}

TEST_CASE("a copy that is whole, but of another history, is refused", "[events][backup]") {
    TempDir dir;
    for (const auto* name : {"log", "fork"}) {
        if (std::string_view(name) == "fork") fs::copy(dir.path() / "log", dir.path() / "fork");
        auto log = open_plain(dir.path() / name);
        append_some(*log, std::string_view(name) == "fork" ? 0 : 10);
    }
    for (const auto* name : {"log", "fork"}) {
        auto log = open_plain(dir.path() / name);
        REQUIRE(append(*log, {{memory_number(1), name}}));
        back_up(*log, dir.path() / (std::string(name) + "-backups"));
    }
    const auto described = dir.path() / "log-backups" / "backup-1";
    fs::copy_file(described, dir.path() / "fork-backups" / "backup-1", fs::copy_options::overwrite_existing);
    const auto restored = restore(dir.path() / "fork-backups", dir.path() / "restored");
    REQUIRE_FALSE(restored);
    CHECK(restored.error().code == ErrorCode::data_loss);
    CHECK_FALSE(fs::exists(dir.path() / "restored"));
    CHECK(restore(dir.path() / "log-backups", dir.path() / "restored"));
}
