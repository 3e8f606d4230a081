// The Merkle tree that grows with a log: its root is that of the receipts, whatever happens to the process or the
// index.
#include "events/event_log.h"
#include "events/log_proofs.h"
#include "proofs/trees.h"
#include "support/log_fixture.h"
#include "support/tampered_log.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <mutex>
#include <thread>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

std::unique_ptr<EventLog> open_tree(const fs::path& directory, EventLogOptions options = {.stream_rows_max = 100}) {
    options.directory = directory;
    auto log = EventLog::open(options);
    if (!log) FAIL(log.error().message);
    return *std::move(log);
}

void append_some(EventLog& log, std::uint64_t count, StoredTree& expected,
                 Durability durability = Durability::buffered) {
    std::vector<Note> notes;
    for (std::uint64_t i = 0; i < count; ++i)
        notes.push_back({memory_number(i % 7), "event " + std::to_string(expected.leaves.size() + i)});
    const auto receipts = append(log, notes, {.durability = durability});
    REQUIRE(receipts);
    for (const auto& receipt : *receipts) expected.append(receipt.hash);
}

void check_tree(const EventLog& log, const StoredTree& expected) {
    REQUIRE(log.head().value == expected.leaves.size());
    for (std::uint64_t size = 0; size <= log.head().value; size += size < 20 ? 1 : 61) {
        const auto root = log.root(Seq{size});
        REQUIRE(root);
        CHECK(*root == expected.roots[size]);
    }
    CHECK(*log.root(log.head()) == expected.roots.back());
    const auto reader = expected.reader(expected.leaves.size());
    for (const auto& [id, hash] : expected.nodes) {
        const auto node = log.tree_node(id);
        if (!node) FAIL(node.error().message);
        CHECK(*node == hash);
    }
}

std::string node_key(unsigned level, std::uint64_t index) {
    return std::string("\0node", 5) + static_cast<char>(level) + number_key(index);
}

SigningKey key_number(std::uint8_t number) {
    SigningKey::Seed seed{};
    seed[0] = number;
    auto key = SigningKey::from_seed("annal/test", seed);
    REQUIRE(key);
    return *std::move(key);
}

}  // namespace

TEST_CASE("the root is that of the receipts' hashes, through appends, closes and crashes", "[events][tree]") {
    TempDir dir;
    StoredTree expected;
    auto log = open_tree(dir.path() / "log");
    CHECK(*log->root(Seq{}) == sha256(""));
    int round = 0;
    for (const std::uint64_t count : {1, 2, 97, 100, 56, 1, 255, 256, 700, 3}) {
        append_some(*log, count, expected, count % 2 == 0 ? Durability::buffered : Durability::synced);
        check_tree(*log, expected);
        const auto crashed = dir.path() / ("crashed" + std::to_string(++round));  // What a kill -9 leaves now.
        fs::copy(dir.path() / "log", crashed);
        {
            auto again = open_tree(crashed);
            check_tree(*again, expected);
            StoredTree longer = expected;
            append_some(*again, 300, longer);
            check_tree(*again, longer);
        }
        if (round % 3 == 0) {
            log.reset();
            log = open_tree(dir.path() / "log");
        }
    }
    const auto beyond = log->root(Seq{log->head().value + 1});
    REQUIRE_FALSE(beyond);
    CHECK(beyond.error().code == ErrorCode::invalid_argument);
    CHECK(beyond.error().details.at("head") == std::to_string(log->head().value));
}

TEST_CASE("a large append, hashed beside its write, is in the tree as any other", "[events][tree]") {
    TempDir dir;
    StoredTree expected;
    auto log = open_tree(dir.path());
    for (int i = 0; i < 5; ++i) {
        std::vector<Note> notes;
        for (std::uint64_t n = 0; n < 300; ++n) notes.push_back({memory_number(n), std::string(1000, 'x')});
        const auto receipts = append(*log, notes);
        REQUIRE(receipts);
        for (const auto& receipt : *receipts) expected.append(receipt.hash);
    }
    check_tree(*log, expected);
}

TEST_CASE("large appends of racing writers are in the tree as they are in the log", "[events][tree][concurrency]") {
    TempDir dir;
    auto log = open_tree(dir.path(), {.hashing_repeats = 20});  // So that hashing is over last.
    std::map<Seq, Hash> hashes;
    std::mutex mutex;
    std::vector<std::thread> writers;
    for (std::uint64_t writer = 0; writer < 3; ++writer)
        writers.emplace_back([&, writer] {
            std::vector<Note> notes;
            for (std::uint64_t n = 0; n < 300; ++n)
                notes.push_back({memory_number(writer), std::string(1000 + n, 'x')});
            for (int i = 0; i < 6; ++i) {
                const auto how = i % 2 == 0 ? Durability::buffered : Durability::synced;
                const auto receipts = append(*log, notes, {.durability = how});
                const std::lock_guard lock(mutex);
                if (!receipts)
                    FAIL_CHECK(receipts.error().message);
                else
                    for (const auto& receipt : *receipts) hashes[receipt.seq] = receipt.hash;
            }
        });
    for (auto& writer : writers) writer.join();
    StoredTree expected;
    for (const auto& [seq, hash] : hashes) expected.append(hash);
    check_tree(*log, expected);
}

TEST_CASE("a store in which an acknowledged event was changed is refused", "[events][tree]") {
    for (const std::uint64_t changed : {1, 130, 256, 600}) {
        TempDir dir;
        StoredTree expected;
        {
            auto log = open_tree(dir.path());
            append_some(*log, 600, expected);
        }
        std::string other;
        {
            auto encoded = encode(note(memory_number((changed - 1) % 7), "never said"));
            REQUIRE(encoded);
            EventArena arena;
            std::vector<EventView> events;
            {
                auto log = open_tree(dir.path());
                REQUIRE(log->read(Seq{changed - 1}, {1, 1}, arena, events));
            }
            stamp(encoded->bytes, events[0].version(), events[0].recorded_at());
            other.assign(encoded->bytes.begin(), encoded->bytes.end());
        }
        const bool index_too = changed != 130;  // Or the index is as it was, and only the events differ.
        tamper(
            dir.path(),
            [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& family) {
                REQUIRE(db.Put({}, &family, number_key(changed), other).ok());
            },
            "events");
        if (index_too)
            tamper(
                dir.path(),
                [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& family) {
                    REQUIRE(db.Delete({}, &family, indexed_key).ok());
                },
                "streams");
        EventLogOptions options;
        options.directory = dir.path();
        const auto log = EventLog::open(options);
        if (!index_too) {  // What the root at open rests on was kept: it is a check that reads every event.
            REQUIRE(log);
            const auto checked = (*log)->check(LogPart::tree, 0, Seq{600}, [](const Checked&) { return true; });
            REQUIRE_FALSE(checked);
            CHECK(checked.error().code == ErrorCode::data_loss);
            CHECK(checked.error().message ==
                  "the Merkle tree's node of level 8 up to event 256 is not that of the events");
            continue;
        }
        REQUIRE_FALSE(log);
        CHECK(log.error().code == ErrorCode::data_loss);
        CHECK(log.error().details.at("acknowledged") == "600");
    }
}

TEST_CASE("a damaged or missing node of the tree is made anew from the events", "[events][tree]") {
    TempDir dir;
    StoredTree expected;
    {
        auto log = open_tree(dir.path());
        append_some(*log, 1200, expected);
    }
    for (const bool missing : {false, true}) {
        tamper(
            dir.path(),
            [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& family) {
                std::string value;
                REQUIRE(db.Get({}, &family, node_key(10, 0), &value).ok());
                value[5] ^= 1;
                REQUIRE(
                    (missing ? db.Delete({}, &family, node_key(10, 0)) : db.Put({}, &family, node_key(10, 0), value))
                        .ok());
            },
            "streams");
        auto log = open_tree(dir.path());
        check_tree(*log, expected);
        append_some(*log, 100, expected);
        check_tree(*log, expected);
    }
}

TEST_CASE("a log signs what is durable, keeps it, and proves what it signed", "[events][tree]") {
    TempDir dir;
    StoredTree expected;
    const auto key = key_number(1).verifier();
    auto log = open_tree(dir.path());
    CHECK(log->signed_head().error().code == ErrorCode::unavailable);
    log->sign_with(key_number(1));
    const auto size_of = [&](const Result<std::string>& note) {
        REQUIRE(note);
        const auto head = verify_head(*note, "annal/test", key);
        REQUIRE(head);
        CHECK(head->root == expected.roots[head->size]);
        CHECK(head->extensions.front() == "epoch 1");
        return head->size;
    };
    CHECK(size_of(log->signed_head()) == 0);
    append_some(*log, 10, expected, Durability::synced);
    const auto first = log->signed_head();
    CHECK(size_of(first) == 10);
    CHECK(*log->signed_head() == *first);
    append_some(*log, 5, expected, Durability::buffered);
    CHECK(size_of(log->signed_head()) == 10);  // The rest may yet be lost.
    append_some(*log, 5, expected, Durability::synced);
    CHECK(size_of(log->signed_head()) == 20);
    append_some(*log, 1, expected, Durability::synced);
    log.reset();  // Signs.

    log = open_tree(dir.path());
    CHECK(size_of(**log->signed_head(Seq{100})) == 21);
    CHECK(size_of(**log->signed_head(Seq{19})) == 10);
    log->sign_with(key_number(2));  // Another key does not pass on what the first one signed.
    CHECK(verify_head(*log->signed_head(), "annal/test", key_number(2).verifier()));
    CHECK(prove_inclusion(*log, Seq{21}, Seq{21}));
    for (const auto& [seq, size] : {std::pair{0, 5}, {6, 5}, {3, 22}, {22, 22}}) {
        const auto refused =
            prove_inclusion(*log, Seq{static_cast<std::uint64_t>(seq)}, Seq{static_cast<std::uint64_t>(size)});
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::invalid_argument);
    }
    CHECK(prove_consistency(*log, Seq{3}, Seq{21}));
    CHECK_FALSE(prove_consistency(*log, Seq{0}, Seq{21}));
    CHECK_FALSE(prove_consistency(*log, Seq{3}, Seq{22}));
}

TEST_CASE("a check of the tree names a signed head that is forged or is another log's", "[events][tree]") {
    TempDir dir;
    StoredTree expected;
    {
        auto log = open_tree(dir.path());
        log->sign_with(key_number(1));
        for (int i = 0; i < 3; ++i) {
            append_some(*log, 10, expected, Durability::synced);
            REQUIRE(log->signed_head());
        }
    }
    const auto check = [&] {
        auto log = open_tree(dir.path());
        log->sign_with(key_number(1));
        const auto checked = log->check(LogPart::tree, 0, log->head(), [](const Checked&) { return true; });
        return checked ? std::to_string(checked->count) : checked.error().message;
    };
    CHECK(check() == "30");
    const auto keep = [&](std::uint64_t size, const std::string& note) {
        tamper(
            dir.path(),
            [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& family) {
                REQUIRE(db.Put({}, &family, "head" + number_key(size), note).ok());
            },
            "meta");
    };
    const auto signed_by = [&](std::uint8_t key, std::uint64_t size, const Hash& root) {
        return *sign_head(TreeHead{"annal/test", size, root, {"epoch 1"}}, key_number(key));
    };
    const std::string good = signed_by(1, 20, expected.roots[20]), says = "the signed head of size 20 ";
    keep(20, signed_by(1, 20, expected.roots[10]));
    CHECK(check() == says + "is not that of the events");
    keep(20, signed_by(1, 10, expected.roots[10]));
    CHECK(check() == says + "is not that of the events");
    keep(20, signed_by(2, 20, expected.roots[20]));  // Signed with a key that was in use before: what it says holds.
    CHECK(check() == "30");
    keep(20, "nothing");
    CHECK(check() == says + "cannot be read");
    std::string forged = good;
    const auto line = forged.rfind("annal/test ") + 11;
    forged[line + 20] = forged[line + 20] == 'A' ? 'B' : 'A';
    keep(20, forged);
    CHECK(check() == says + "has a signature that is not its own");
    keep(20, good);
    CHECK(check() == "30");
}
