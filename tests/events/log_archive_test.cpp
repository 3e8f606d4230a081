// Events that were moved out of a log are read as before, by whatever asks for them; a segment that is missing, damaged
// or another's is refused; and no failure on the way takes an event.
#include "events/event_log.h"
#include "events/log_backup.h"
#include "events/log_proofs.h"
#include "events/segment_file.h"
#include "proofs/trees.h"
#include "support/fault_env.h"
#include "support/log_fixture.h"
#include "support/seed.h"
#include "support/tampered_log.h"
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

constexpr int archive_power_losses_default = 40, archive_operations_stride_default = 3;
constexpr std::uint64_t streams = 7;

EventLogOptions options_of(const fs::path& directory) {
    EventLogOptions options;
    options.directory = directory;
    options.disk_free_bytes_min = 0;
    options.stream_rows_max = 16;
    return options;
}

std::unique_ptr<EventLog> open(const EventLogOptions& options) {
    auto log = EventLog::open(options);
    if (!log) FAIL(log.error().message);
    return *std::move(log);
}

// Of `count` events, the last of them synced; every tenth batch has a key.
void append_varied(EventLog& log, std::uint64_t count) {
    for (std::uint64_t done = 0; done < count;) {
        const auto first = log.head().value;
        std::vector<Note> notes;
        for (; notes.size() < 10 && done < count; ++done)
            notes.push_back({memory_number((first + notes.size()) % streams),
                             "event " + std::to_string(first + notes.size() + 1) +
                                 std::string((first + notes.size()) % 11 * 40, 'x')});
        const auto receipts = append(log, notes,
                                     {.key = first % 100 == 0 ? "key " + std::to_string(first) : "",
                                      .durability = done == count ? Durability::synced : Durability::buffered});
        REQUIRE(receipts);
    }
}

ArchiveReport archive(EventLog& log, std::uint64_t up_to, const fs::path& directory = {}) {
    auto report = log.archive(Seq{up_to}, directory, {});
    if (!report) FAIL(report.error().message);
    return *std::move(report);
}

// All that a log answers about its events.
struct Answers {
    std::vector<Stored> events;
    std::vector<std::vector<Seq>> streams;
    std::vector<Hash> roots;
    std::vector<std::string> proofs;
    std::vector<Hash> receipts;
    bool operator==(const Answers&) const = default;
};

Answers ask(const EventLog& log, std::uint64_t head) {
    Answers answers;
    auto all = read_all(log);
    if (!all) FAIL(all.error().message);
    all->resize(std::min<std::size_t>(all->size(), head));
    answers.events = *std::move(all);
    for (std::uint64_t i = 0; i < streams; ++i) {
        EventArena arena;
        std::vector<EventView> events;
        const auto read = log.read_stream("shop", memory_number(i), arena, events);
        if (!read) FAIL(read.error().message);
        auto& seqs = answers.streams.emplace_back();
        for (const auto& event : events)
            if (event.seq().value <= head) seqs.push_back(event.seq());
    }
    for (std::uint64_t size = 0; size <= head; size += 37) answers.roots.push_back(*log.root(Seq{size}));
    for (std::uint64_t seq = 1; seq <= head; seq += 101) {
        const auto inclusion = prove_inclusion(log, Seq{seq}, Seq{head});
        if (!inclusion) FAIL(inclusion.error().message);
        answers.proofs.push_back(*inclusion + *prove_consistency(log, Seq{seq}, Seq{head}));
    }
    for (std::uint64_t first = 0; first < head; first += 100) {
        const auto found = log.find_receipts("shop", "key " + std::to_string(first), {});
        if (!found || !*found) FAIL("the receipts of " << first << " are gone");
        for (const auto& receipt : **found) answers.receipts.push_back(receipt.hash);
    }
    return answers;
}

void check_parts(const EventLog& log) {
    for (std::size_t part = 0; part < log_part_names.size(); ++part) {
        const auto checked = log.check(static_cast<LogPart>(part), 0, log.head(), [](const Checked&) { return true; });
        if (!checked) FAIL(log_part_names[part] << ": " << checked.error().message);
    }
}

std::size_t rows_of_events(const fs::path& directory) {
    std::size_t rows = 0;
    tamper(
        directory, [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& family) { rows = keys_of(db, family).size(); },
        "events");
    return rows;
}

std::vector<fs::path> segments_in(const fs::path& directory) {
    std::vector<fs::path> found;
    for (const auto& each : fs::directory_iterator(directory))
        if (parse_segment_file_name(each.path().filename().string())) found.push_back(each.path());
    std::ranges::sort(found);
    return found;
}

Result<CheckedSegment> check(const fs::path& segment) {
    return check_segment(*rocksdb::FileSystem::Default(), segment);
}

}  // namespace

TEST_CASE("events that were archived are read as before, and the log goes on", "[events][archive]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "log");
    auto log = open(options);
    append_varied(*log, 1000);
    const auto before = ask(*log, 1000);
    const auto root = *log->root(Seq{512});

    const auto first = archive(*log, 600);
    REQUIRE(first.segments.size() == 1);
    CHECK(first.archived_seq == Seq{512});
    CHECK(first.segments[0].file == dir.path() / "archive" / "events-000000000001-000000000512.jsonl");
    CHECK(first.segments[0].bytes == fs::file_size(first.segments[0].file));
    CHECK(first.segments[0].root == root);
    CHECK(ask(*log, 1000) == before);
    const auto second = archive(*log, 1000);  // The last 256 stay.
    CHECK(second.archived_seq == Seq{512});
    CHECK(second.segments.empty());
    append_varied(*log, 100);
    CHECK(archive(*log, 1000, dir.path() / "cold").archived_seq == Seq{768});
    CHECK(ask(*log, 1000) == before);
    check_parts(*log);
    const auto status = log->archived(true);
    CHECK(status.archived_seq == Seq{768});
    CHECK(status.recorded_at == before.events[767].recorded_at);
    CHECK(status.segments == 2);
    CHECK(status.missing.empty());

    for (std::uint64_t head = 1100; head < 1120; head += 10) {
        log.reset();
        CHECK(rows_of_events(dir.path() / "log") == head - 768);
        log = open(options);
        CHECK(log->archived(false).archived_seq == Seq{768});
        CHECK(ask(*log, 1000) == before);
        check_parts(*log);
        append_varied(*log, 10);
    }
}

TEST_CASE("a read goes across what was archived, within its limits", "[events][archive]") {
    TempDir dir;
    auto log = open(options_of(dir.path() / "log"));
    append_varied(*log, 800);
    archive(*log, 256);
    archive(*log, 512);
    EventArena arena;
    std::vector<EventView> events;
    REQUIRE(log->read(Seq{250}, {.events_max = 300}, arena, events));
    REQUIRE(events.size() == 300);
    for (std::size_t i = 0; i < events.size(); ++i) CHECK(events[i].seq() == Seq{251 + i});
    events.clear();
    REQUIRE(log->read(Seq{510}, {.events_max = 1}, arena, events));
    CHECK(events.size() == 1);
    events.clear();
    REQUIRE(log->read(Seq{0}, {.events_max = 1000, .bytes_max = 1}, arena, events));
    CHECK(events.size() == 1);
}

TEST_CASE("what is archived gives its space back", "[events][archive]") {
    TempDir dir;
    auto log = open(options_of(dir.path() / "log"));
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    for (int i = 0; i < 200; ++i) {
        std::string noise(40'000, '\0');  // That no codec makes smaller.
        for (auto& byte : noise) byte = static_cast<char>('!' + random() % 90);
        std::vector<Note> notes;
        for (std::uint64_t n = 0; n < 10; ++n) notes.push_back({memory_number(n), noise.substr(n * 4000, 4000)});
        REQUIRE(append(*log, notes, {.durability = Durability::buffered}));
    }
    REQUIRE(append(*log, {{memory_number(1), "synced"}}));
    const auto bytes_before = log->bytes_on_disk();
    archive(*log, 1700);
    CHECK(log->bytes_on_disk() < bytes_before / 3);
    CHECK(read_all(*log)->size() == 2001);
}

TEST_CASE("an event of a missing segment is unavailable, and the error says which; all else goes on",
          "[events][archive]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "log");
    auto log = open(options);
    append_varied(*log, 1000);
    StoredTree expected;
    for (std::uint64_t i = 0; i < 1000; ++i) expected.append(*log->tree_node({0, i}));
    archive(*log, 256);
    archive(*log, 512);
    log.reset();
    fs::rename(dir.path() / "archive", dir.path() / "away");
    log = open(options);

    CHECK(log->archived(true).missing.size() == 2);
    EventArena arena;
    std::vector<EventView> events;
    for (const std::uint64_t after : {0, 3, 255, 256, 511}) {
        const auto read = log->read(Seq{after}, {}, arena, events);
        REQUIRE_FALSE(read);
        CHECK(read.error().code == ErrorCode::unavailable);
        const std::string name =
            after < 256 ? "events-000000000001-000000000256.jsonl" : "events-000000000257-000000000512.jsonl";
        CHECK(read.error().details.at("file") == name);
        CHECK(read.error().details.at("first") == (after < 256 ? "1" : "257"));
        CHECK(read.error().details.at("last") == (after < 256 ? "256" : "512"));
        CHECK(read.error().message.find(name) != std::string::npos);
    }
    CHECK(log->read_stream("shop", memory_number(1), arena, events).error().code == ErrorCode::unavailable);
    CHECK(prove_inclusion(*log, Seq{3}, Seq{1000}).error().code == ErrorCode::unavailable);  // It tells of the event.
    CHECK(log->check(LogPart::events, 0, log->head(), [](const Checked&) { return true; }).error().code ==
          ErrorCode::unavailable);

    events.clear();
    REQUIRE(log->read(Seq{512}, {.events_max = 1000}, arena, events));
    CHECK(events.size() == 488);
    CHECK(*log->stream_version("shop", memory_number(1)) == Version{143});
    const auto node = [&](MerkleNodeId id) { return log->tree_node(id); };
    for (const std::uint64_t index : {0, 3, 255, 256, 511, 512, 999}) {
        CHECK(*log->tree_node({0, index}) == expected.leaves[index]);
        CHECK(*inclusion_proof(index, 1000, node) == rfc::path(index, expected.leaves));
    }
    for (const std::uint64_t size : {1, 200, 256, 300, 512, 900}) {
        CHECK(*log->root(Seq{size}) == expected.roots[size]);
        CHECK(prove_consistency(*log, Seq{size}, Seq{1000}));
    }
    CHECK(prove_inclusion(*log, Seq{600}, Seq{1000}));
    for (const auto part : {LogPart::files, LogPart::streams, LogPart::tree})
        CHECK(log->check(part, 0, log->head(), [](const Checked&) { return true; }));
    append_varied(*log, 100);

    fs::rename(dir.path() / "away", dir.path() / "archive");
    CHECK(read_all(*log)->size() == 1100);
    check_parts(*log);
}

TEST_CASE("an open needs no segment, after a crash either", "[events][archive]") {
    TempDir dir;
    auto log = open(options_of(dir.path() / "log"));
    append_varied(*log, 1000);
    archive(*log, 512);
    append_varied(*log, 5);
    fs::create_directories(dir.path() / "elsewhere");
    fs::copy(dir.path() / "log", dir.path() / "elsewhere" / "log");  // As a kill leaves it.
    auto crashed = open(options_of(dir.path() / "elsewhere" / "log"));
    CHECK(crashed->archived(true).missing.size() == 1);
    CHECK(crashed->head() == Seq{1005});
    CHECK(*crashed->stream_version("shop", memory_number(0)) == Version{144});
    CHECK(*crashed->root(Seq{1005}) == *log->root(Seq{1005}));
}

TEST_CASE("a segment in a directory of its own is found there, or beside the log", "[events][archive]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "log");
    auto log = open(options);
    append_varied(*log, 600);
    archive(*log, 256, dir.path() / "cold");
    CHECK_FALSE(fs::exists(dir.path() / "archive"));
    log.reset();
    log = open(options);
    CHECK(read_all(*log));
    log.reset();
    fs::rename(dir.path() / "cold", dir.path() / "archive");
    log = open(options);
    CHECK(read_all(*log)->size() == 600);
}

TEST_CASE("what is not of this log is not archived over, and not taken for it", "[events][archive]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "log");
    auto log = open(options);
    append_varied(*log, 600);
    auto other = open(options_of(dir.path() / "other" / "log"));
    append_varied(*other, 700);
    const auto foreign = archive(*other, 256).segments.at(0).file;
    const auto name = foreign.filename();
    fs::create_directories(dir.path() / "archive");
    fs::copy_file(foreign, dir.path() / "archive" / name);
    const auto refused = log->archive(Seq{300}, {}, {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::already_exists);
    CHECK(refused.error().details.at("file") == name);
    CHECK(fs::file_size(dir.path() / "archive" / name) == fs::file_size(foreign));
    CHECK(read_all(*log)->size() == 600);

    REQUIRE(archive(*log, 300, dir.path() / "mine").archived_seq == Seq{256});
    fs::remove_all(dir.path() / "mine");  // Now only the other's is there.
    log.reset();
    log = open(options);
    EventArena arena;
    std::vector<EventView> events;
    const auto read = log->read(Seq{}, {}, arena, events);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == ErrorCode::data_loss);
    CHECK(events.empty());
}

TEST_CASE("a segment that a run left is taken by the next, if it is whole", "[events][archive]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "log");
    auto log = open(options);
    append_varied(*log, 1000);
    log.reset();
    fs::copy(dir.path() / "log", dir.path() / "then");
    log = open(options);
    archive(*log, 512);
    log.reset();
    const auto segment = segments_in(dir.path() / "archive").at(0);
    for (const bool whole : {true, false}) {
        fs::remove_all(dir.path() / "log");
        fs::copy(dir.path() / "then", dir.path() / "log");
        if (!whole) fs::resize_file(segment, fs::file_size(segment) - 100);
        log = open(options);
        const auto report = log->archive(Seq{700}, {}, {});
        if (whole) {
            REQUIRE(report);
            REQUIRE(report->segments.size() == 1);
            CHECK(report->segments[0].was_there);
            CHECK(report->segments[0].bytes == fs::file_size(segment));
        } else {
            REQUIRE_FALSE(report);
            CHECK(report.error().code == ErrorCode::already_exists);
        }
        CHECK(read_all(*log)->size() == 1000);
        log.reset();
    }
}

TEST_CASE("a damaged segment is refused: no read gives another event than was archived", "[events][archive]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "log");
    auto log = open(options);
    append_varied(*log, 600);
    const auto before = *read_all(*log);
    const auto segment = archive(*log, 256).segments.at(0).file;
    log.reset();
    std::string good;
    REQUIRE(rocksdb::ReadFileToString(rocksdb::Env::Default(), segment.string(), &good).ok());
    const auto header_bytes = good.find('\n');
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < trials(100); ++trial) {
        auto bad = good;
        const auto at = random() % good.size();
        if (trial % 5 == 0)
            bad.resize(at);
        else
            bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
        INFO("trial " << trial << ": " << (trial % 5 == 0 ? "cut" : "changed") << " at " << at);
        std::ofstream(segment, std::ios::binary | std::ios::trunc) << bad;

        const auto checked = check(segment);
        if (checked)  // Whose it says it is can be told by its signed head alone.
            CHECK(at < header_bytes);
        else
            CHECK(checked.error().code == ErrorCode::data_loss);
        auto opened = open(options);
        for (Seq after{}; after < Seq{256};) {
            EventArena arena;
            std::vector<EventView> events;
            const auto read = opened->read(after, {.events_max = 16}, arena, events);
            MemoryEvent unpacked;
            for (const auto& event : events) {  // Those before an error, too.
                REQUIRE(event.seq().value == ++after.value);
                REQUIRE(content_of(event, unpacked) == before[after.value - 1].content);
            }
            if (read) continue;
            CHECK(read.error().code == ErrorCode::data_loss);
            break;
        }
    }
}

TEST_CASE("a segment says by itself that it is whole, and goes on from the one before it", "[events][archive]") {
    TempDir dir;
    auto log = open(options_of(dir.path() / "log"));
    const SigningKey::Seed seed{1};
    log->sign_with(*SigningKey::from_seed("annal/test", seed));
    append_varied(*log, 1000);
    const auto first = check(archive(*log, 256).segments.at(0).file);
    const auto second = check(archive(*log, 700).segments.at(0).file);
    REQUIRE(first);
    REQUIRE(second);
    CHECK(first->header.store_id == log->store_id());
    CHECK(first->header.epoch == 1);
    CHECK(first->header.after() == Seq{});
    CHECK(second->header.after() == Seq{256});
    CHECK(second->header.before.root() == first->root);
    CHECK(second->root == *log->root(Seq{512}));
    const auto key = SigningKey::from_seed("annal/test", seed)->verifier();
    for (const auto* each : {&*first, &*second}) {
        const auto head = verify_head(each->header.signed_head, "annal/test", key);
        REQUIRE(head);
        CHECK(Seq{head->size} == each->header.to);
        CHECK(head->root == each->root);
        CHECK(head->extensions.front() == "epoch 1");
    }
    check_parts(*log);  // The heads that were signed for it are in the log.
}

TEST_CASE("an index made anew reads what was archived, and is not thrown away when it cannot", "[events][archive]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "log");
    auto log = open(options);
    append_varied(*log, 1000);
    const auto before = ask(*log, 1000);
    archive(*log, 600);
    const auto forget_index = [&] {
        log.reset();
        tamper(
            dir.path() / "log",
            [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& family) {
                REQUIRE(db.Put({}, &family, indexed_key, number_key(5000)).ok());
            },
            "streams");
    };
    forget_index();
    log = open(options);
    CHECK(ask(*log, 1000) == before);
    check_parts(*log);

    forget_index();
    fs::rename(dir.path() / "archive", dir.path() / "away");
    const auto refused = EventLog::open(options);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::unavailable);
    CHECK(refused.error().details.at("first") == "1");
    fs::rename(dir.path() / "away", dir.path() / "archive");
    log = open(options);
    CHECK(ask(*log, 1000) == before);
}

TEST_CASE("a log whose events are not those of its tree is not archived", "[events][archive]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "log");
    auto log = open(options);
    append_varied(*log, 1000);
    log.reset();
    tamper(
        dir.path() / "log",
        [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& family) {
            std::string one;
            REQUIRE(db.Get({}, &family, number_key(100), &one).ok());
            one[event_header_bytes + 40] ^= 1;
            REQUIRE(db.Put({}, &family, number_key(100), one).ok());
        },
        "events");
    log = open(options);
    const auto refused = log->archive(Seq{512}, {}, {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::data_loss);
    CHECK_FALSE(fs::exists(dir.path() / "archive" / "events-000000000001-000000000512.jsonl"));
    CHECK(log->archived(false).archived_seq == Seq{});
}

TEST_CASE("readers and a writer go on while events are archived", "[events][archive]") {
    TempDir dir;
    auto log = open(options_of(dir.path() / "log"));
    append_varied(*log, 2000);
    const auto before = *read_all(*log);
    std::atomic<bool> done = false;
    std::atomic<int> rounds = 0;
    std::vector<std::string> failures(3);
    std::vector<std::thread> readers;
    for (std::size_t reader = 0; reader < failures.size(); ++reader)
        readers.emplace_back([&, reader] {
            std::mt19937_64 random(reader);
            while ((!done || rounds < 30) && failures[reader].empty()) {
                ++rounds;
                if (reader == 0) {
                    const auto all = read_all(*log);
                    if (!all)
                        failures[reader] = all.error().message;
                    else if (!std::equal(before.begin(), before.end(), all->begin()))
                        failures[reader] = "other events";
                } else if (reader == 1) {
                    EventArena arena;
                    std::vector<EventView> events;
                    if (auto read = log->read_stream("shop", memory_number(random() % streams), arena, events); !read)
                        failures[reader] = read.error().message;
                } else if (auto proof = prove_inclusion(*log, Seq{1 + random() % 2000}, Seq{2000}); !proof) {
                    failures[reader] = proof.error().message;
                }
            }
        });
    for (std::uint64_t up_to = 256; up_to <= 2000; up_to += 256) {
        archive(*log, up_to);
        append_varied(*log, 20);
    }
    done = true;
    for (auto& reader : readers) reader.join();
    for (const auto& failure : failures) CHECK(failure == "");
    CHECK(log->archived(false).archived_seq == Seq{1792});
    check_parts(*log);
}

TEST_CASE("a backup has the segments of its log, once, and a restore brings them back", "[events][archive][backup]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "store" / "log");
    const auto backups = dir.path() / "backups";
    auto log = open(options);
    append_varied(*log, 1000);
    const auto before = ask(*log, 1000);
    REQUIRE(log->backup(backups, 0, {}));
    archive(*log, 256);
    REQUIRE(log->backup(backups, 0, {}));
    const auto copy = segments_in(backups / "archive").at(0);
    const auto written_at = fs::last_write_time(copy);
    archive(*log, 700, dir.path() / "cold");
    const auto third = log->backup(backups, 0, {});
    REQUIRE(third);
    CHECK(segments_in(backups / "archive").size() == 2);
    CHECK(fs::last_write_time(copy) == written_at);
    log.reset();

    const auto restore = [&](std::uint32_t id, const fs::path& to) {
        return restore_backup(backups, id, to / "log", system_clock(), {}, {});
    };
    fs::remove_all(dir.path() / "store");
    fs::remove_all(dir.path() / "cold");
    for (std::uint32_t id = 1; id <= 3; ++id) {
        const auto to = dir.path() / ("restored" + std::to_string(id));
        const auto restored = restore(id, to);
        if (!restored) FAIL(restored.error().message);
        auto again = open(options_of(to / "log"));
        CHECK(ask(*again, 1000) == before);
        CHECK(again->archived(true).archived_seq.value == (id == 1 ? 0u : id == 2 ? 256u : 512u));
        CHECK(again->archived(true).missing.empty());
        append_varied(*again, 500);
        archive(*again, 1000);
        check_parts(*again);
    }

    fs::resize_file(copy, fs::file_size(copy) / 2);
    const auto damaged = restore(3, dir.path() / "damaged");
    REQUIRE_FALSE(damaged);
    CHECK(damaged.error().code == ErrorCode::data_loss);
    CHECK_FALSE(fs::exists(dir.path() / "damaged"));
    CHECK(restore(1, dir.path() / "older"));
    fs::remove(copy);
    const auto missing = restore(3, dir.path() / "missing");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().code == ErrorCode::data_loss);
    CHECK_FALSE(fs::exists(dir.path() / "missing"));
}

TEST_CASE("a backup without a segment that it should have is not called good", "[events][archive][backup]") {
    TempDir dir;
    const auto options = options_of(dir.path() / "store" / "log");
    const auto backups = dir.path() / "backups";
    auto log = open(options);
    append_varied(*log, 1000);
    const auto segment = archive(*log, 512).segments.at(0).file;
    fs::rename(segment, dir.path() / "away");
    const auto refused = log->backup(backups, 0, {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::unavailable);
    CHECK(list_backups(backups)->empty());
    fs::rename(dir.path() / "away", segment);
    REQUIRE(log->backup(backups, 0, {}));
    fs::rename(segment, dir.path() / "away");
    CHECK(log->backup(backups, 0, {}));  // It is there from before.
    const auto copy = segments_in(backups / "archive").at(0);
    fs::resize_file(copy, 100);
    CHECK_FALSE(log->backup(backups, 0, {}));
    fs::rename(dir.path() / "away", segment);
    CHECK(log->backup(backups, 0, {}));  // Mended.
    CHECK(check(copy));
}

namespace {

// A log of 700 events on files that can fail, its segments among them.
struct World {
    explicit World(std::filesystem::path where)
        : directory(std::move(where)),
          files(std::make_shared<FaultFileSystem>(directory)),
          env(std::make_unique<FaultEnv>(files)) {}

    EventLogOptions options() const {
        auto options = options_of(directory);
        options.env = env.get();
        options.archive_directory = directory;
        return options;
    }

    std::filesystem::path directory;
    std::shared_ptr<FaultFileSystem> files;
    std::unique_ptr<rocksdb::Env> env;
};

constexpr std::uint64_t world_events = 700;

void make_log(const fs::path& directory) {
    auto log = open(options_of(directory));
    append_varied(*log, world_events);
}

// Whatever happened: all events are there, and it can be archived and go on.
void check_survived(const EventLogOptions& options, const std::vector<Stored>& before, Seq archived) {
    auto log = open(options);
    const auto all = read_all(*log);
    if (!all) FAIL(all.error().message);
    REQUIRE(all->size() >= before.size());
    REQUIRE(std::equal(before.begin(), before.end(), all->begin()));
    CHECK(archive(*log, archived.value).archived_seq == archived);
    append_varied(*log, 10);
    check_parts(*log);
    CHECK(segments_in(options.archive_directory).size() == 1);
}

void fail_each_operation_of_an_archiving(FaultFileSystem::Fault fault) {
    TempDir dir;
    make_log(dir.path() / "made");
    const auto before = *read_all(*open(options_of(dir.path() / "made")));
    const auto stride = static_cast<std::uint64_t>(std::max(1, 100 * archive_operations_stride_default / trials(100)));
    int surfaced = 0;
    for (std::uint64_t at = 1;; at += stride) {
        TempDir trial(TempDir::On::memory);
        fs::copy(dir.path() / "made", trial.path() / "log");
        const World world(trial.path() / "log");
        std::string met;
        {
            auto log = open(world.options());
            world.files->arm(fault, at);
            if (!log->archive(Seq{300}, {}, {})) ++surfaced;
            met = world.files->met();
            world.files->arm(FaultFileSystem::Fault::none, 0);
            INFO("operation " << at << ": " << met);
            const auto all = read_all(*log);
            if (!all) FAIL(all.error().message);
            REQUIRE(*all == before);
        }
        INFO("operation " << at << ": " << met);
        check_survived(world.options(), before, Seq{256});
        if (met.empty()) break;
    }
    CHECK(surfaced > 0);
}

}  // namespace

TEST_CASE("an error at any file operation of an archiving takes no event", "[events][archive][fault]") {
    fail_each_operation_of_an_archiving(FaultFileSystem::Fault::io_error);
}

TEST_CASE("a full disk at any file operation of an archiving takes no event", "[events][archive][fault]") {
    fail_each_operation_of_an_archiving(FaultFileSystem::Fault::no_space);
}

TEST_CASE("power loss at any moment of an archiving takes no event", "[events][archive][fault]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    TempDir dir;
    make_log(dir.path() / "made");
    for (int trial = 0; trial < trials(archive_power_losses_default); ++trial) {
        TempDir where(TempDir::On::memory);
        fs::copy(dir.path() / "made", where.path() / "log");
        const World world(where.path() / "log");
        std::vector<Stored> before;
        {
            auto log = open(world.options());
            append_varied(*log, 300);  // Whose index only the archiving makes durable.
            before = *read_all(*log);
            world.files->arm(FaultFileSystem::Fault::power_loss, 1 + random() % 90);
            static_cast<void>(log->archive(Seq{600}, {}, {}));
            INFO("trial " << trial << ": " << world.files->met());
            world.files->image(where.path() / "after", random);
        }
        auto options = options_of(where.path() / "after");
        options.archive_directory = where.path() / "after";
        INFO("trial " << trial << ": " << world.files->met());
        auto without = options;
        without.archive_directory = where.path() / "nothing";
        CHECK(open(without)->head() == before.back().seq);  // An open needs no segment.
        check_survived(options, before, Seq{512});
    }
}
