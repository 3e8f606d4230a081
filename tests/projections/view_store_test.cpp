#include "projections/view_store.h"

#include "support/keystore_fixture.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <fstream>
#include <map>
#include <random>
#include <thread>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t always_bulk = 1;
constexpr std::size_t never_bulk = SIZE_MAX;

std::unique_ptr<ViewStore> open_store(const fs::path& directory, std::size_t bulk_bytes_min = never_bulk) {
    auto store = ViewStore::open({.directory = directory, .bulk_bytes_min = bulk_bytes_min});
    REQUIRE(store);
    return *std::move(store);
}

std::unique_ptr<ViewSpace> open_space(ViewStore& store, std::string_view name) {
    auto space = store.space(name);
    REQUIRE(space);
    return *std::move(space);
}

void put(ViewSpace& space, std::string_view key, std::string_view value) {
    const auto batch = space.new_batch();
    batch->put(key, value);
    REQUIRE(space.write(*batch));
}

std::optional<std::string> value_of(const Result<std::optional<std::string>>& got) {
    REQUIRE(got);
    return *got;
}

using Model = std::map<std::string, std::string>;

Model all_of(ViewIterator& rows) {
    Model all;
    for (rows.seek({}); rows.valid(); rows.next()) all.emplace(rows.key(), rows.value());
    REQUIRE(rows.status());
    return all;
}

}  // namespace

TEST_CASE("a space is what a map would be, through batches, clears and reopens", "[views]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const TempDir temp;
    constexpr std::size_t some_bulk = 20'000;  // Of these batches about every third.
    auto store = open_store(temp.path() / "views", some_bulk);
    auto space = open_space(*store, "memories");
    Model model;

    const auto key = [&] { return "k" + std::to_string(random() % 300) + std::string(random() % 3, '\0'); };
    for (int round = 0; round < trials(200); ++round) {
        auto batch = space->new_batch();
        Model staged = model;
        for (auto writes = random() % 40; writes > 0; --writes) {
            const auto at = key();
            if (random() % 4 == 0) {
                batch->erase(at);
                staged.erase(at);
            } else {
                const std::string value(random() % 2 == 0 ? random() % 20 : random() % 3000, char('a' + random() % 26));
                batch->put(at, value);
                staged[at] = value;
            }
            const auto asked = key();
            const auto found = staged.find(asked);
            CHECK(value_of(batch->get(asked)) == (found == staged.end() ? std::nullopt : std::optional(found->second)));
        }
        if (random() % 8 == 0) continue;  // A batch that is dropped changes nothing.
        REQUIRE(space->write(*batch));
        model = staged;
        REQUIRE(space->write(*batch));  // It is empty now.
        if (random() % 20 == 0) space->settle();
        if (random() % 30 == 0) {
            REQUIRE(space->clear());
            model.clear();
        }
        if (random() % 30 == 0) {
            batch.reset();
            space.reset();
            store.reset();
            store = open_store(temp.path() / "views", some_bulk);
            CHECK(store->recovered().empty());
            space = open_space(*store, "memories");
        }
    }
    CHECK(all_of(*space->iterate()) == model);
}

TEST_CASE("an iterator walks both ways from where it is told", "[views]") {
    const TempDir temp;
    const auto store = open_store(temp.path() / "views");
    const auto space = open_space(*store, "memories");
    for (const auto* key : {"b", "d", "f"}) put(*space, key, std::string("of ") + key);

    const auto at = space->iterate();
    at->seek("c");
    REQUIRE(at->valid());
    CHECK(at->key() == "d");
    CHECK(at->value() == "of d");
    at->prev();
    CHECK(at->key() == "b");
    at->seek_for_prev("e");
    CHECK(at->key() == "d");
    at->seek_for_prev("a");
    CHECK_FALSE(at->valid());
    at->seek("g");
    CHECK_FALSE(at->valid());
    CHECK(at->status());
}

TEST_CASE("a snapshot stands still while its space is written, cleared and gone", "[views]") {
    const TempDir temp;
    auto store = open_store(temp.path() / "views", GENERATE(never_bulk, always_bulk));
    auto space = open_space(*store, "memories");
    put(*space, "a", "old");
    put(*space, "b", "");
    const auto before = space->snapshot();
    const auto walk = space->iterate();

    put(*space, "a", "new");
    put(*space, "c", "new");
    CHECK(value_of(before->get("a")) == "old");
    REQUIRE(space->clear());
    put(*space, "a", "newest");
    CHECK(value_of(before->get("a")) == "old");
    CHECK(all_of(*before->iterate()) == Model{{"a", "old"}, {"b", ""}});
    CHECK(all_of(*walk) == Model{{"a", "old"}, {"b", ""}});
    CHECK(value_of(space->get("a")) == "newest");
    CHECK(value_of(space->get("b")) == std::nullopt);

    space.reset();
    store.reset();
    const std::vector<std::string> keys{"b", "zebra", "a", "a"};
    const auto many = before->get_many(keys);
    REQUIRE(many);
    CHECK(*many == std::vector<std::optional<std::string>>{"", std::nullopt, "old", "old"});
}

TEST_CASE("a bulk is sorted as its keys are, whatever they have in common", "[views]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const TempDir temp;
    const auto store = open_store(temp.path() / "views", always_bulk);
    for (const std::string& common : {std::string(), std::string("p"), std::string("a project\0 of ours", 18)}) {
        const auto space = open_space(*store, "memories");
        REQUIRE(space->clear());
        Model model;
        const auto batch = space->new_batch();
        for (int i = 0; i < 500; ++i) {
            std::string key = common;
            for (auto left = random() % 20; left > 0; --left) key += "\0\x01\x7f\x80\xff"[random() % 5];
            if (random() % 20 == 0) key.insert(0, 1, '\0');  // The runtime's own.
            if (key.empty()) continue;
            batch->put(key, std::to_string(i));
            model[key] = std::to_string(i);
        }
        REQUIRE(space->write(*batch));
        CHECK(all_of(*space->iterate()) == model);
    }
}

TEST_CASE("what a crash left of a bulk's file is removed", "[views]") {
    const TempDir temp;
    const auto directory = temp.path() / "views";
    put(*open_space(*open_store(directory, always_bulk), "memories"), "a", "1");
    const auto left = directory / "keys" / "bulk-7";
    std::ofstream(left) << "half a file";
    const auto store = open_store(directory);
    CHECK_FALSE(fs::exists(left));
    CHECK(value_of(open_space(*store, "memories")->get("a")) == "1");
}

TEST_CASE("two spaces share nothing, and two handles of one space everything", "[views]") {
    const TempDir temp;
    const auto store = open_store(temp.path() / "views");
    const auto memories = open_space(*store, "memories");
    const auto text = open_space(*store, "text");
    const auto again = open_space(*store, "memories");
    put(*memories, "a", "memory");
    put(*text, "a", "text");

    CHECK(value_of(again->get("a")) == "memory");
    REQUIRE(memories->clear());
    CHECK(value_of(again->get("a")) == std::nullopt);
    CHECK(value_of(text->get("a")) == "text");

    for (const auto* name : {"", "default", "Upper", "with space", "../up"}) {
        const auto refused = store->space(name);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::invalid_argument);
    }
}

TEST_CASE("readers see a batch whole or not at all, clears included", "[views]") {
    const TempDir temp;
    const auto store = open_store(temp.path() / "views", GENERATE(never_bulk, always_bulk));
    const auto space = open_space(*store, "memories");
    std::atomic<bool> done{false};
    std::atomic<int> torn{0};
    std::vector<std::thread> readers;
    for (int i = 0; i < 2; ++i)
        readers.emplace_back([&] {
            while (!done) {
                const auto snapshot = space->snapshot();
                const auto left = snapshot->get("left");
                const auto right = snapshot->get("right");
                if (!left || !right || *left != *right) ++torn;
            }
        });
    for (int i = 0; i < trials(400); ++i) {
        const auto batch = space->new_batch();
        batch->put("left", std::to_string(i));
        batch->put("right", std::to_string(i));
        CHECK(space->write(*batch));
        if (i % 100 == 99) CHECK(space->clear());
    }
    done = true;
    for (auto& reader : readers) reader.join();
    CHECK(torn == 0);
}

TEST_CASE("a store open elsewhere is refused and left alone", "[views]") {
    const TempDir temp;
    const auto store = open_store(temp.path() / "views");
    const auto space = open_space(*store, "memories");
    put(*space, "a", "b");
    std::ofstream(temp.path() / "views" / "damaged") << "a word that would have it set aside\n";

    const auto second = ViewStore::open({.directory = temp.path() / "views"});

    REQUIRE_FALSE(second);
    CHECK(second.error().code == ErrorCode::already_exists);
    CHECK(value_of(space->get("a")) == "b");
    CHECK_FALSE(fs::exists(temp.path() / "views.damaged"));
}

TEST_CASE("a damaged store is set aside, once, and an empty one made", "[views]") {
    const TempDir temp;
    const auto views = temp.path() / "views";
    std::string why;
    const auto damage = [&](int way) {
        {
            const auto store = open_store(views / "");  // The slash at its end is nothing.
            put(*open_space(*store, "memories"), "a", "b");
        }
        switch (way) {
            case 0:
                std::ofstream(views / "keys" / "CURRENT") << "nonsense";
                break;
            case 1:
                fs::resize_file(views / "keys" / "CURRENT", 0);
                break;
            case 2:
                for (const auto& file : fs::directory_iterator(views / "keys"))
                    if (file.path().filename().string().starts_with("MANIFEST")) fs::resize_file(file, 20);
                break;
            case 3:
                for (const auto& file : fs::directory_iterator(views / "keys"))
                    if (file.path().extension() == ".sst") fs::remove(file);
                break;
            default:
                std::ofstream(views / "damaged") << "met while it was open\n";
        }
    };
    for (int way = 0; way < 5; ++way) {
        INFO("way " << way);
        damage(way);
        const auto store = ViewStore::open({.directory = views, .on_message = [&](auto, auto what) { why = what; }});
        REQUIRE(store);
        CHECK_FALSE((*store)->recovered().empty());
        CHECK((*store)->recovered().find('/') == std::string::npos);
        CHECK(why.find("set aside") != std::string::npos);
        CHECK(value_of(open_space(**store, "memories")->get("a")) == std::nullopt);
        CHECK(fs::exists(temp.path() / "views.damaged" / "keys"));
    }
    CHECK(std::distance(fs::directory_iterator(temp.path()), fs::directory_iterator()) == 2);
    CHECK(open_store(views)->recovered().empty());
}

TEST_CASE("damage met by a compaction stops the writes, and has the next open make the store anew", "[views]") {
    const TempDir temp;
    const auto views = temp.path() / "views";
    fs::path first;
    // Each close leaves one more table; the first is broken before there are enough of them to be compacted.
    for (int round = 0; round < 3; ++round) {
        const auto store = open_store(views);
        for (const auto* key : {"a", "z"}) put(*open_space(*store, "memories"), key, std::string(5000, 'x'));
    }
    for (const auto& file : fs::directory_iterator(views / "keys"))
        if (file.path().extension() == ".sst" && (first.empty() || file.path() < first)) first = file.path();
    REQUIRE_FALSE(first.empty());
    {
        std::fstream file(first, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(10);
        file << "nonsense";
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (bool marked = false; !marked && std::chrono::steady_clock::now() < until;
         marked = fs::exists(views / "damaged")) {
        const auto store = ViewStore::open({.directory = views});
        REQUIRE(store);
        REQUIRE((*store)->recovered().empty());
        const auto space = open_space(**store, "memories");
        const auto batch = space->new_batch();
        batch->put("m", "x");
        if (const auto written = space->write(*batch); !written) CHECK(written.error().code == ErrorCode::data_loss);
    }
    CHECK(fs::exists(views / "damaged"));
    const auto store = open_store(views);
    CHECK(store->recovered().find("when it was last open") != std::string::npos);
    CHECK(all_of(*open_space(*store, "memories")->iterate()).empty());
}

TEST_CASE("a store leaves no log file of RocksDB's, and is small when it holds little", "[views]") {
    const TempDir temp;
    const auto store = open_store(temp.path() / "views");
    const auto space = open_space(*store, "memories");
    put(*space, "a", std::string(100'000, 'x'));

    for (const auto& file : fs::directory_iterator(temp.path() / "views" / "keys"))
        CHECK_FALSE(file.path().filename().string().starts_with("LOG"));
    CHECK(store->bytes_on_disk() > 100'000);
    CHECK(store->bytes_on_disk() < 400'000);
    CHECK(fs::equivalent(store->directory(), temp.path() / "views"));
}

TEST_CASE("a purge leaves nothing of a dropped space, not in the manifest nor written ahead", "[views]") {
    for (const auto bulk_bytes_min : {always_bulk, never_bulk}) {
        INFO("bulk from " << bulk_bytes_min << " bytes");
        const TempDir dir;
        const auto store = open_store(dir.path(), bulk_bytes_min);
        const auto kept = open_space(*store, "kept");
        put(*kept, "kept", "kept");
        REQUIRE(store->purge());  // What is kept is in no log any more, and asks for no flush.
        {
            const auto space = open_space(*store, "dropped");
            put(*space, "xqzk key", "xqzk value");
        }
        REQUIRE(any_file_holds(dir.path(), "xqzk"));
        REQUIRE(store->drop("dropped"));
        REQUIRE(any_file_holds(dir.path(), "xqzk"));
        REQUIRE(store->purge());
        CHECK_FALSE(any_file_holds(dir.path(), "xqzk"));
        CHECK(value_of(kept->get("kept")) == "kept");
        CHECK(store->spaces() == std::vector<std::string>{"kept"});
        put(*kept, "kept", "more");
        REQUIRE(store->purge());
        CHECK(value_of(kept->get("kept")) == "more");
    }
}

TEST_CASE("a file in the place of the views is an error, and stays", "[views]") {
    const TempDir temp;
    std::ofstream(temp.path() / "views") << "mine";
    const auto store = ViewStore::open({.directory = temp.path() / "views"});
    REQUIRE_FALSE(store);
    CHECK(store.error().code == ErrorCode::unavailable);
    CHECK(store.error().message.find(temp.path().string()) == std::string::npos);
    CHECK(fs::is_regular_file(temp.path() / "views"));
}
