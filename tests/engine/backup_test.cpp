// A store restored to an older point: what was of the time after it is gone from every answer.
#include "support/scopes.h"
#include "test_engine.h"

#include <catch2/catch_test_macros.hpp>

namespace annal::testing {
namespace {

namespace fs = std::filesystem;

TEST_CASE("views that saw what a restore took back are made anew", "[engine][backup]") {
    TestEngine engine;
    TempDir dir;
    for (int i = 0; i < 10; ++i) engine.note(shop, "kept memory " + std::to_string(i));
    const auto backup = engine->backup(dir.path() / "backups");
    REQUIRE(backup);
    for (int i = 0; i < 10; ++i) engine.note(shop, "taken back " + std::to_string(i));
    const auto old_head = engine->signed_head();
    REQUIRE(old_head);
    engine.digests();  // All are applied.
    engine.close();

    const auto store = dir.path() / "restored";
    REQUIRE(restore_backup(dir.path() / "backups", 0, store));
    fs::copy(engine.path() / "keys", store / "keys", fs::copy_options::recursive);
    auto restored = Engine::open({.directory = store});
    REQUIRE(restored);
    for (int i = 0; i < 15; ++i) REQUIRE((*restored)->record({.scope = shop, .content = "other words"}));
    const auto head = (*restored)->head();
    CHECK(head == Seq{25});  // Beyond the old views' checkpoint: they could be taken for this log's.
    *restored = nullptr;
    fs::remove_all(store / "views");
    fs::copy(engine.path() / "views", store / "views", fs::copy_options::recursive);
    restored = Engine::open({.directory = store});
    REQUIRE(restored);
    const auto answer = (*restored)->search({.scope = shop, .text = "taken back", .min_seq = head});
    REQUIRE(answer);
    for (const auto& hit : answer->hits) CHECK(hit.memory.content.find("taken") == std::string::npos);
    const auto list = (*restored)->list({.scope = shop, .limit = 100, .read = {.min_seq = head}});
    REQUIRE(list);
    CHECK(list->memories.size() == 25);
    const auto report = (*restored)->verify();
    REQUIRE(report);
    CHECK(report->all_well());

    // Signed with the same key, and of the same size or more: the epoch tells them apart.
    const auto new_head = (*restored)->signed_head();
    REQUIRE(new_head);
    const auto epoch_of = [](const std::string& note) {
        const auto at = note.find("\nepoch ") + 7;
        return note.substr(at, note.find('\n', at) - at);
    };
    CHECK(epoch_of(*old_head) == "1");
    CHECK(epoch_of(*new_head) != "1");
    CHECK(epoch_of(*new_head) == std::to_string((*restored)->status()->epoch));
}

}  // namespace
}  // namespace annal::testing
