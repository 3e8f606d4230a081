// A store of every format that was ever released opens, is whole, and says what it said.
#include "golden_store.h"

#include "events/hex.h"
#include "support/stopped_clock.h"
#include "support/temp_dir.h"

#include <annal/engine.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace annal::testing {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> golden_stores() {
    std::vector<fs::path> stores;
    for (const auto& entry : fs::directory_iterator(fs::path(ANNAL_GOLDEN_DIR) / "stores"))
        if (entry.is_directory()) stores.push_back(entry.path());
    return stores;
}

// Its owner's alone again, which git does not keep.
fs::path copy_of(const fs::path& golden, const TempDir& dir) {
    const auto copy = dir.path() / "golden";
    fs::copy(golden, copy, fs::copy_options::recursive);
    for (const auto& entry : fs::recursive_directory_iterator(copy))
        fs::permissions(entry.path(),
                        entry.is_directory() ? fs::perms::owner_all : fs::perms::owner_read | fs::perms::owner_write);
    return copy;
}

void check_memory(Engine& engine, const GoldenMemory& golden) {
    INFO(golden.content);
    const auto memory = engine.get(golden.scope, golden.id, {.min_seq = engine.head()}, true);
    REQUIRE(memory);
    CHECK(memory->content == golden.content);
    CHECK(memory->kind() == golden.kind);
    CHECK(memory->scope == golden.scope);
    CHECK(memory->version == golden.version);
    CHECK(memory->forgotten == golden.forgotten);
    CHECK(memory->superseded_by == golden.superseded_by);
    CHECK(memory->tags == golden.tags);
    CHECK(memory->claim == golden.claim);
    CHECK(memory->confidence == golden.confidence);
    CHECK(memory->embedding_model.empty() != golden.has_vector);
    const auto history = engine.history(golden.scope, golden.id);
    REQUIRE(history);
    CHECK(history->size() == golden.version.value);

    const auto found =
        engine.search({.scope = {.project = golden.scope.project, .agent = {}, .user = {}, .session = {}},
                       .text = golden.content,
                       .mode = SearchMode::text});
    REQUIRE(found);
    const bool hit = std::ranges::any_of(found->hits, [&](const Hit& each) { return each.memory.id == golden.id; });
    CHECK(hit == !(golden.forgotten || golden.superseded_by));
}

TEST_CASE("a store of each format there was opens, is whole, says what it said, and goes on", "[engine][golden]") {
    const auto stores = golden_stores();
    REQUIRE_FALSE(stores.empty());
    for (const auto& golden : stores) {
        INFO(golden.filename());
        TempDir dir;
        const auto copy = copy_of(golden, dir);
        StoppedClock clock;
        EngineOptions options;
        options.directory = copy / "store";
        options.root_key_file = copy / "root-key";
        options.create_if_missing = false;
        options.clock = &clock;
        auto engine = Engine::open(options);
        if (!engine) FAIL(engine.error().message);

        std::uint64_t head = 0;
        std::string root;
        std::ifstream(copy / "root") >> head >> root;
        REQUIRE((*engine)->head() == Seq{head});
        const auto now = (*engine)->root(Seq{head});
        REQUIRE(now);
        CHECK(to_hex(*now) == root);
        for (const auto& memory : golden_memories()) check_memory(**engine, memory);
        const auto again = (*engine)->record_batch(golden_batch());
        REQUIRE(again);
        CHECK(again->front().replayed);

        RecordRequest next;
        next.scope = {.project = "shop", .agent = {}, .user = "ann", .session = {}};
        next.content = "goes on";
        REQUIRE((*engine)->record(next));
        const auto report = (*engine)->verify();
        REQUIRE(report);
        for (const auto& check : report->checks) {
            INFO(check.name << ": " << check.found);
            CHECK(check.state == Check::State::ok);
        }

        engine->reset();
        options.root_key_file.clear();
        const auto locked = Engine::open(options);
        REQUIRE(locked);
        CHECK((*locked)->status()->sealing == "locked");
    }
}

}  // namespace
}  // namespace annal::testing
