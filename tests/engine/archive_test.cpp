// A store whose oldest events are in an archive answers as before; without the archive it answers what it can; and an
// archive is read without its store.
#include "adapters/events_file.h"
#include "support/keystore_fixture.h"
#include "support/scopes.h"
#include "test_engine.h"

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <sstream>

namespace annal::testing {
namespace {

namespace fs = std::filesystem;

// 700 events, of which those up to `archived` are in an archive.
struct ArchivedStore {
    explicit ArchivedStore(std::uint64_t archived = 256) {
        for (int i = 0; i < 7; ++i) {
            std::vector<RecordRequest> requests(90, RecordRequest{.scope = shop});
            for (std::size_t n = 0; n < requests.size(); ++n)
                requests[n].content = "memory " + std::to_string(ids.size() + n) + " of the archive";
            const auto receipts = engine->record_batch(requests);
            REQUIRE(receipts);
            for (const auto& receipt : *receipts) ids.push_back(receipt.memory_id);
            for (int n = 0; n < 10; ++n) {
                ReviseRequest revised{.target = target(shop, ids[ids.size() - 1 - 9 * std::size_t(n)])};
                revised.content = "revised " + std::to_string(n);
                REQUIRE(engine->revise(revised));
            }
        }
        digests = engine.digests();
        engine.reopen();  // What is archived is indexed, and so are all events of a log that was closed.
        if (archived == 0) return;
        const auto report = engine->archive(Seq{archived + 1});
        REQUIRE(report);
        REQUIRE(report->archived_seq == Seq{archived});
        segment = report->segments.at(0).file;
    }
    fs::path directory() { return engine.path() / "archive"; }

    TestEngine engine;
    std::vector<MemoryId> ids;
    std::string digests;
    fs::path segment;
};

std::string history_of(Engine& engine, const MemoryId& id) {
    const auto entries = engine.history(shop, id);
    if (!entries) return entries.error().message;
    std::string text;
    for (const auto& entry : *entries)
        text += std::to_string(entry.seq.value) + " " + entry.type + entry.changes + "\n";
    return text;
}

std::string exported(Engine& engine) {
    std::string text;
    const auto report = export_events(engine, Seq{}, [&](std::string_view line) {
        text += line;
        return Status(Done{});
    });
    REQUIRE(report);
    return text;
}

Result<std::vector<SegmentReport>> read(const ReadArchiveOptions& options, std::string* said = nullptr) {
    return read_archive(options, Seq{}, [&](const Engine::LogEntry& entry) {
        if (said != nullptr) *said += std::to_string(entry.seq.value) + " " + entry.changes + "\n";
        return true;
    });
}

void replace_in(const fs::path& file, const std::string& from, const std::string& to) {
    std::stringstream bytes;
    bytes << std::ifstream(file, std::ios::binary).rdbuf();
    auto text = bytes.str();
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a store answers the same with its oldest events in an archive", "[engine][archive]") {
    ArchivedStore store(0);
    auto& engine = store.engine;
    const auto old = store.ids.at(80);
    const auto history = history_of(*engine, old);
    const auto events = exported(*engine);
    const auto root = *engine->root(Seq{700});
    const auto at_100 = engine->get(shop, old, {.as_of = Seq{95}});
    REQUIRE(at_100);

    const auto archived = engine->archive(Seq{400});
    REQUIRE(archived);
    CHECK(archived->archived_seq == Seq{256});
    for (const bool rebuilt : {false, true}) {
        if (rebuilt) REQUIRE(engine->rebuild(""));
        CHECK(engine.digests() == store.digests);
        CHECK(history_of(*engine, old) == history);
        CHECK(exported(*engine) == events);
        CHECK(engine->get(shop, old, {.as_of = Seq{95}})->content == at_100->content);
        CHECK(engine->get(shop, old)->content == "revised 1");
        const auto report = engine->verify();
        REQUIRE(report);
        for (const auto& check : report->checks)
            if (check.state != Check::State::ok) FAIL(check.name << ": " << check.found);
    }
    ReviseRequest revised{.target = target(shop, old)};
    revised.content = "revised again";
    CHECK(engine->revise(revised)->version == Version{3});
    CHECK(*engine->root(Seq{700}) == root);
    engine.close();
    fs::remove_all(engine.path() / "views");  // Views come back from the archive and the log.
    engine.open();
    CHECK(engine.search({.scope = shop, .text = "memory 5"}).hits.size() == 10);
    const auto status = engine->status();
    REQUIRE(status);
    CHECK(status->archive.archived_seq == Seq{256});
    CHECK(status->archive.bytes == fs::file_size(archived->segments.at(0).file));
}

TEST_CASE("without its archive a store answers from views and newer events, and says what it lacks",
          "[engine][archive]") {
    ArchivedStore store;
    auto& engine = store.engine;
    const auto boundary = engine->status()->archive.recorded_at;
    engine.close();
    fs::rename(store.directory(), engine.path() / "away");
    engine.open();
    const auto old = store.ids.at(80), recent = store.ids.at(600);
    CHECK(engine.digests() == store.digests);
    CHECK(engine->get(shop, old)->content == "revised 1");
    CHECK(engine.list({.scope = shop, .limit = 100}).size() == store.ids.size());
    CHECK(engine.search({.scope = shop, .text = "archive"}).hits.size() == 10);
    CHECK(engine->get(shop, old, {.as_of = Seq{600}})->content == "revised 1");
    CHECK(engine->get(shop, old, {.as_of = Seq{256}})->content == "revised 1");
    CHECK(engine->get(shop, old, {.as_of = Seq{90}}));
    CHECK(engine->list({.scope = shop, .read = {.as_of = boundary}})->seq == Seq{256});
    CHECK(engine->list({.scope = shop, .read = {.as_of = Timestamp{boundary.us + 5}}})->seq >= Seq{257});
    CHECK(history_of(*engine, recent).find("MemoryRecorded") != std::string::npos);
    CHECK(engine->record({.scope = shop, .content = "goes on"}));
    CHECK(engine->prove_consistency(Seq{100}, Seq{700}));

    const auto name = store.segment.filename().string();
    const auto lacks = [&](const auto& result) {
        REQUIRE_FALSE(result);
        CHECK(result.error().code == ErrorCode::unavailable);
        CHECK(result.error().details.at("file") == name);
    };
    lacks(engine->history(shop, old));
    lacks(engine->list({.scope = shop, .read = {.as_of = Timestamp{boundary.us - 1}}}));
    ReviseRequest revised{.target = target(shop, old)};
    revised.content = "not now";
    lacks(engine->revise(revised));
    lacks(engine->read_log(Seq{}, "", [](const auto&) { return true; }));
    CHECK(engine->read_log(Seq{256}, "", [](const auto&) { return true; }));
    CHECK_FALSE(engine->rebuild("text"));
    CHECK(engine->status()->archive.missing == std::vector{name});
    const auto report = engine->verify({.projections = false});
    REQUIRE(report);
    CHECK_FALSE(report->all_well());
    for (const auto& check : report->checks) {
        CHECK(check.state != Check::State::failed);
        if (check.name == "log.events") CHECK(check.found.find(name) != std::string::npos);
    }
    fs::rename(engine.path() / "away", store.directory());
    CHECK(engine->revise(revised));
}

TEST_CASE("what to archive is said by seq or by time of record", "[engine][archive]") {
    ArchivedStore store(0);
    auto& engine = store.engine;
    for (const std::uint64_t wrong : {0, 702}) {
        const auto refused = engine->archive(Seq{wrong});
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::invalid_argument);
    }
    CHECK(engine->archive(Seq{256})->segments.empty());
    Timestamp at_257{};
    REQUIRE(engine->read_log(Seq{256}, "", [&](const Engine::LogEntry& entry) {
        at_257 = entry.recorded_at;
        return false;
    }));
    CHECK(engine->archive(Timestamp{at_257.us - 1})->segments.empty());
    CHECK(engine->archive(at_257)->archived_seq == Seq{256});
    CHECK(engine->archive(Timestamp{at_257.us * 2})->archived_seq == Seq{256});  // The last 256 stay.
}

TEST_CASE("an archive is read and verified without its store", "[engine][archive]") {
    ArchivedStore store;
    auto& engine = store.engine;
    const auto key = engine->verifier_key();
    for (int i = 0; i < 300; ++i) engine.note(shop, "later");
    engine.reopen();
    REQUIRE(engine->archive(Seq{700}, store.directory()));
    std::string expected;
    REQUIRE(engine->read_log(Seq{}, "", [&](const Engine::LogEntry& entry) {
        if (entry.seq <= Seq{512}) expected += std::to_string(entry.seq.value) + " " + entry.changes + "\n";
        return true;
    }));
    const auto root = *engine->root(Seq{512});
    const auto store_id = engine->status()->store_id;
    engine.close();
    fs::remove_all(engine.path() / "log");

    std::string said;
    const auto segments = read({.path = store.directory(), .verifier_key = key}, &said);
    REQUIRE(segments);
    CHECK(said == expected);
    REQUIRE(segments->size() == 2);
    CHECK((*segments)[1].first == Seq{257});
    CHECK((*segments)[1].last == Seq{512});
    CHECK((*segments)[1].root == root);
    for (const auto& segment : *segments) {
        CHECK(segment.store_id == store_id);
        CHECK(segment.verified);
    }
    CHECK_FALSE(read({.path = store.segment})->at(0).verified);  // There is no key to do it with.
    CHECK(read({.path = engine.path() / "nothing"}).error().code == ErrorCode::not_found);

    const auto refused = [&](const std::string& why, const fs::path& path, const std::string& with = {}) {
        const auto result = read({.path = path, .verifier_key = with});
        REQUIRE_FALSE(result);
        INFO(result.error().message);
        CHECK(result.error().code == ErrorCode::data_loss);
        CHECK(result.error().message.find(why) != std::string::npos);
    };
    TestEngine other;
    refused("not the key's", store.segment, other->verifier_key());
    const auto copy = engine.path() / "copy.jsonl";
    fs::copy_file(store.segment, copy);
    replace_in(copy, "\"epoch\":1", "\"epoch\":2");
    CHECK(read({.path = copy}));  // Nothing but the head says of what epoch it is.
    refused("another store or epoch", copy, key);
    replace_in(copy, "\"epoch\":2", "\"epoch\":1");
    replace_in(copy, "\"events\":256", "\"events\":255");
    refused("another number of events", copy);
}

TEST_CASE("segments that do not belong together are refused", "[engine][archive]") {
    ArchivedStore store, other;
    auto& engine = store.engine;
    for (int i = 0; i < 600; ++i) engine.note(shop, "later");
    engine.reopen();
    REQUIRE(engine->archive(Seq{513}));
    REQUIRE(engine->archive(Seq{769}));
    const auto second = store.directory() / "events-000000000257-000000000512.jsonl";
    REQUIRE(read({.path = store.directory()})->size() == 3);
    fs::rename(second, engine.path() / "second");
    const auto gap = read({.path = store.directory()});
    REQUIRE_FALSE(gap);
    CHECK(gap.error().code == ErrorCode::data_loss);
    CHECK(gap.error().message.find("events 257 to 512 are missing") != std::string::npos);
    fs::rename(engine.path() / "second", second);
    fs::copy_file(other.segment, store.segment, fs::copy_options::overwrite_existing);
    const auto mixed = read({.path = store.directory()});
    REQUIRE_FALSE(mixed);
    CHECK(mixed.error().message.find("another store's") != std::string::npos);
}

TEST_CASE("segments come into an empty store one after the other, in order", "[engine][archive]") {
    ArchivedStore store;
    for (int i = 0; i < 300; ++i) store.engine.note(shop, "later");
    store.engine.reopen();
    const auto second = store.engine->archive(Seq{513});
    REQUIRE(second);
    TestEngine empty;
    const auto import_file = [&](const fs::path& path) {
        std::ifstream in(path, std::ios::binary);
        return import_events(*empty, in);
    };
    CHECK(import_file(second->segments.at(0).file).error().code == ErrorCode::conflict);
    CHECK(import_file(store.segment)->accepted == 256);
    CHECK(import_file(second->segments.at(0).file)->root == *store.engine->root(Seq{512}));
    CHECK(empty->head() == Seq{512});
    ArchivedStore other;
    CHECK(import_file(other.segment).error().code == ErrorCode::conflict);
}

TEST_CASE("a sealed event of an archive is shown to who has its store's keystore, closed, and the root key",
          "[engine][archive]") {
    TempDir dir;
    const auto store = dir.path() / "store", key = dir.path() / "root", wrong = dir.path() / "wrong";
    write_bytes(key, std::string(64, 'a'));
    write_bytes(wrong, std::string(64, 'b'));
    auto engine = *Engine::open({.directory = store, .root_key_file = key});
    const Scope ann{.project = "shop", .agent = {}, .user = "ann", .session = {}};
    for (int i = 0; i < 6; ++i) {
        std::vector<RecordRequest> requests(100, RecordRequest{.scope = ann, .content = "planted"});
        REQUIRE(engine->record_batch(requests));
    }
    engine.reset();
    engine = *Engine::open({.directory = store, .root_key_file = key});
    REQUIRE(engine->archive(Seq{300})->archived_seq == Seq{256});

    const auto shown = [&](const fs::path& of, const fs::path& root_key) {
        std::string said;
        const auto segments = read({.path = store / "archive", .store = of, .root_key_file = root_key}, &said);
        if (!segments) return std::string(to_string(segments.error().code));
        CHECK(segments->size() == 1);
        return said.substr(0, said.find('\n'));
    };
    CHECK(shown(store, key) == "already_exists");  // It is open.
    engine.reset();
    CHECK(shown(store, key).find("planted") != std::string::npos);
    for (const auto& without : {shown({}, {}), shown(store, wrong), shown(store, {})})
        CHECK(without == "1 {\"sealed\":true}");
    const auto other = dir.path() / "other";
    static_cast<void>(*Engine::open({.directory = other, .root_key_file = key}));
    CHECK(shown(other, key) == "invalid_argument");
    CHECK(shown(dir.path() / "nothing", key) == "not_found");
    std::ifstream segment(store / "archive" / "events-000000000001-000000000256.jsonl");
    std::stringstream bytes;
    bytes << segment.rdbuf();
    CHECK(bytes.str().find("planted") == std::string::npos);
}

TEST_CASE("a store restored from a backup has its archive, and views of both epochs do", "[engine][archive]") {
    ArchivedStore store;
    TempDir dir;
    REQUIRE(store.engine->backup(dir.path() / "backups"));
    REQUIRE(restore_backup(dir.path() / "backups", 0, dir.path() / "restored"));
    auto restored = Engine::open({.directory = dir.path() / "restored"});
    REQUIRE(restored);
    CHECK((*restored)->status()->epoch > 1);
    CHECK((*restored)->status()->archive.missing.empty());
    const auto report = (*restored)->verify();
    REQUIRE(report);
    CHECK(report->all_well());
    CHECK(history_of(**restored, store.ids.at(80)) == history_of(*store.engine, store.ids.at(80)));
}

}  // namespace annal::testing
