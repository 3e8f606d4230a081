// What has a user is sealed in the log, and what a store without its root key, or without a user's key, answers.
#include "events/rocks_store.h"
#include "sealed_store.h"
#include "support/scopes.h"

#include <algorithm>
#include <cstdlib>

using namespace annal;
using namespace annal::testing;

TEST_CASE("what a user's memory says, and why, is in no file of the log; all reads have it", "[engine][sealing]") {
    SealedStore store;
    const auto remember = [&](const Scope& scope, const std::string& planted) {
        RecordRequest request{.scope = scope, .content = planted + " content about tea"};
        request.tags = {planted + " tag"};
        request.metadata = "{\"key\":\"" + planted + " metadata\"}";
        request.fields = HeuristicFields{planted + " condition", planted + " strategy"};
        request.context.actor = planted + " actor";
        request.context.source = {SourceType::file, planted + " source"};
        request.context.reason = planted + " reason";
        return *store->record(request);
    };
    const auto of_ann = remember(ann, "secretive");
    remember(shop_qa, "plainly");
    const std::vector<RecordRequest> batch{{.scope = ann, .content = "secretive batch"},
                                           {.scope = shop_qa, .content = "plainly batch"}};
    REQUIRE(store->record_batch(batch));
    ReviseRequest revise;
    revise.target = target({.project = "shop"}, of_ann.memory_id, "secretive revision");  // The memory has the user.
    revise.content = "secretive revised tea";
    REQUIRE(store->revise(revise));
    REQUIRE(store->forget(target(ann, store.note(ann, "secretive forgotten").memory_id, "secretive forgetting")));

    const auto memory = store->get(ann, of_ann.memory_id, store.all());
    REQUIRE(memory);
    CHECK(memory->content == "secretive revised tea");
    CHECK(memory->payload == Payload::plain);
    CHECK(memory->source.ref == "secretive source");
    CHECK(store->history(ann, of_ann.memory_id)->at(1).reason == "secretive revision");
    CHECK(store.search(10)->hits.size() == 2);
    CHECK(store.search(10)->degraded.empty());
    CHECK(store->status()->sealing == "unlocked");
    const auto digests = store.digests();
    REQUIRE(store->rebuild(""));
    CHECK(store.digests() == digests);

    const auto proof = store->prove_inclusion(Seq{1}, store->head());
    CHECK(proof);
    // The journal is not compressed.
    for (const char* part : {"content", "tag", "metadata", "condition", "actor", "source", "reason", "batch"})
        CHECK(any_file_holds(store.path() / "log", std::string("plainly ") + part));
    CHECK_FALSE(any_file_holds(store.path() / "log", "secretive"));
    store.close();
    CHECK_FALSE(any_file_holds(store.path() / "log", "secretive"));
}

TEST_CASE("without a root key sealing is off, and the engine says so", "[engine][sealing]") {
    TempDir dir;
    std::vector<std::string> said;
    auto engine = Engine::open({.directory = dir.path() / "store",
                                .root_key_variable = "ANNAL_TEST_NO_SUCH_VARIABLE",
                                .on_message = [&](std::string_view level, std::string_view message) {
                                    said.push_back(std::string(level) + ": " + std::string(message));
                                }});
    REQUIRE(engine);
    CHECK((*engine)->status()->sealing == "off");
    CHECK(std::ranges::count(said, "info: sealing is off: there is no root key") == 1);
    REQUIRE((*engine)->record({.scope = ann, .content = "planted"}));
    CHECK(any_file_holds(dir.path() / "store" / "log", "planted"));
    CHECK((*engine)->change_root_key(dir.path() / "none").error().code == ErrorCode::not_found);
    engine->reset();

    // A key that is named and cannot be had is no key left out.
    const auto named = Engine::open({.directory = dir.path() / "store", .root_key_file = dir.path() / "none"});
    REQUIRE_FALSE(named);
    CHECK(named.error().code == ErrorCode::not_found);
}

TEST_CASE("a locked store masks what it knows of users, writes nothing of them, and goes on when it is unlocked",
          "[engine][sealing]") {
    SealedStore store;
    RecordRequest request{.scope = ann, .content = "ann likes tea", .fields = PreferenceFields{"drinks"}};
    request.tags = {"hot"};
    request.metadata = "{\"cups\":2}";
    request.context.source = {SourceType::file, "diary"};
    const auto of_ann = *store->record(request);
    const auto open = store.note(shop_qa, "the shop sells tea");
    const auto digests = store.digests();
    for (const bool wrong : {false, true}) {
        INFO(wrong);
        store.open(wrong ? key_x : "");
        const auto keys = files_in(store.path() / "keys");
        CHECK(store->status()->sealing == "locked");
        CHECK(store.said("warning: the keystore is locked") == 1);
        CHECK_FALSE(store->status()->sealing_reason.empty());
        CHECK(store->change_root_key(store.other_key(key_r)).error().code == ErrorCode::permission_denied);

        const auto memory = store->get(ann, of_ann.memory_id, store.all());
        REQUIRE(memory);
        CHECK(memory->payload == Payload::sealed);
        CHECK(memory->scope == ann);
        CHECK(memory->content.empty());
        CHECK(memory->tags.empty());
        CHECK(memory->metadata == "null");
        CHECK(memory->fields == KindFields(PreferenceFields{}));
        CHECK(memory->source == Source{});
        CHECK(memory->actor.empty());
        CHECK(store.contents() == std::vector<std::string>{"", "the shop sells tea"});
        const auto history = store->history(ann, of_ann.memory_id);
        REQUIRE(history);
        CHECK(history->front().changes == R"({"sealed":true})");
        CHECK(history->front().source == Source{});
        CHECK(store->history(shop_qa, open.memory_id)->front().changes.find("sells") != std::string::npos);
        const auto found = store.search(1);
        REQUIRE(found);
        REQUIRE(found->hits.size() == 1);
        CHECK(found->hits[0].memory.id == open.memory_id);
        CHECK(store.search(10)->hits.size() == 1);
        CHECK(store.search(10)->degraded.size() == 1);

        const auto head = store->head();
        const auto refused = [&](const auto& result) {
            REQUIRE_FALSE(result);
            CHECK(result.error().code == ErrorCode::permission_denied);
        };
        refused(store->record({.scope = bob, .content = "bob likes tea"}));
        refused(store->forget(target({.project = "shop"}, of_ann.memory_id)));
        CHECK(store->forget(target(bob, of_ann.memory_id)).error().code == ErrorCode::not_found);
        const std::vector<RecordRequest> batch{{.scope = shop_qa, .content = "one"}, {.scope = ann, .content = "two"}};
        refused(store->record_batch(batch));
        CHECK(store->head() == head);
        CHECK(files_in(store.path() / "keys") == keys);
    }
    store.open(key_r);
    CHECK(store.digests() == digests);
    CHECK(store->get(ann, of_ann.memory_id, store.all())->content == "ann likes tea");
}

TEST_CASE("projections wait at a sealed event, say so at once, and go on with the key", "[engine][sealing]") {
    SealedStore store;
    store.note(shop_qa, "one");
    const auto digests_of_all = [&] {
        const auto seq = store.note(ann, "two").seq;
        store.note(shop_qa, "three");
        CHECK(seq == Seq{2});
        return store.digests();
    }();
    store.close();
    std::filesystem::remove_all(store.path() / "views");
    store.open("");
    const auto waited = store->wait_for(store->head(), std::chrono::seconds(60));
    REQUIRE_FALSE(waited);
    CHECK(waited.error().code == ErrorCode::unavailable);
    CHECK(waited.error().message.find("event 2 is sealed") != std::string::npos);
    CHECK(store->wait_for(Seq{1}, std::chrono::seconds(60)));
    const auto names = store->status();
    REQUIRE(names);
    for (const auto& projection : names->projections)
        CHECK(store->rebuild(projection.name).error().code == ErrorCode::unavailable);
    const auto status = store->status();
    REQUIRE(status);
    for (const auto& projection : status->projections) {
        CHECK(projection.applied_seq == Seq{1});
        CHECK(projection.state == "sealed");
        CHECK(projection.quarantined == 0);
    }
    store.open(key_r);
    CHECK(store.digests() == digests_of_all);
}

TEST_CASE("a user whose key is destroyed was never there, but for the envelopes", "[engine][sealing]") {
    SealedStore store;
    const auto of_bob = store.note(bob, "bob likes tea");
    const auto of_ann = store.note(ann, "ann likes tea");
    const auto revised = [&](SealedStore& of, MemoryId id) {
        ReviseRequest revise;
        revise.target = target({.project = "shop"}, id);
        revise.content = "likes green tea";
        REQUIRE(of->revise(revise));
    };
    revised(store, of_ann.memory_id);
    revised(store, of_bob.memory_id);
    store.note(shop_qa, "the shop sells tea");
    const auto root = store->root(store->head());
    const auto head = store->head();
    store.erase({"shop", "ann"});
    store.open(key_r);
    REQUIRE(store->rebuild(""));
    CHECK(store.contents() == std::vector<std::string>{"likes green tea", "the shop sells tea"});
    CHECK(store.search(10)->hits.size() == 2);
    CHECK(store.search(10)->degraded.empty());
    CHECK(store->get(ann, of_ann.memory_id, store.all()).error().code == ErrorCode::not_found);
    CHECK(store->forget(target(ann, of_ann.memory_id)).error().code == ErrorCode::not_found);
    const auto history = store->history(ann, of_ann.memory_id);
    REQUIRE(history);
    REQUIRE(history->size() == 2);
    CHECK(history->front().changes == R"({"erased":true})");
    CHECK(history->front().type == "MemoryRecorded");
    std::size_t erased = 0;
    REQUIRE(store->read_log(Seq{0}, "shop", [&](const Engine::LogEntry& entry) {
        erased += entry.changes == R"({"erased":true})" ? 1 : 0;
        return true;
    }));
    CHECK(erased == 2);
    CHECK(*store->root(head) == *root);
    CHECK(store->prove_inclusion(of_ann.seq, head));
    const auto digests = store.digests();
    REQUIRE(store->rebuild(""));
    CHECK(store.digests() == digests);

    const auto again = store.note(ann, "ann is back");  // Under another key.
    CHECK(store->get(ann, again.memory_id, store.all())->content == "ann is back");
}

TEST_CASE("a lost keystore is data_loss, and none is made in its place", "[engine][sealing]") {
    SealedStore store;
    store.note(ann, "ann likes tea");
    store.close();
    std::filesystem::rename(store.path() / "keys", store.path() / "kept");
    for (const auto& key : {key_r, std::string()}) {
        const auto opened = store.try_open(key);
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == ErrorCode::data_loss);
        CHECK_FALSE(std::filesystem::exists(store.path() / "keys"));
    }
    std::filesystem::rename(store.path() / "kept", store.path() / "keys");
    store.open(key_r);
    CHECK(store.contents() == std::vector<std::string>{"ann likes tea"});
}

TEST_CASE("a user's idempotency keys hold, and stand in the log under a keyed hash", "[engine][sealing]") {
    SealedStore store;
    const auto first = store.note(ann, "ann likes tea", "key 1");
    store.note(shop_qa, "the shop sells tea", "key 2");
    CHECK(store.note(ann, "ann likes tea", "key 1").replayed);
    CHECK(store.note(shop_qa, "the shop sells tea", "key 2").replayed);
    RecordRequest other{.scope = ann, .content = "ann likes rain"};
    other.context.idempotency_key = "key 1";
    CHECK(store->record(other).error().code == ErrorCode::conflict);
    auto forget = target({.project = "shop"}, first.memory_id);
    forget.context.idempotency_key = "key 3";
    REQUIRE(store->forget(forget));
    CHECK(store->forget(forget)->replayed);
    CHECK(store->head() == Seq{3});
    store.close();
    RocksStoreOptions options;
    options.directory = store.path() / "log";
    options.read_only = true;
    const auto log = RocksStore::open(options);
    REQUIRE(log);
    CHECK_FALSE(*(*log)->find_idempotency("shop", "key 1"));
    CHECK(*(*log)->find_idempotency("shop", "key 2"));
    CHECK_FALSE(*(*log)->find_idempotency("shop", "key 3"));
}

TEST_CASE("another root key opens the store, and the former one does not", "[engine][sealing]") {
    SealedStore store;
    const auto of_ann = store.note(ann, "ann likes tea");
    REQUIRE(store->change_root_key(store.other_key(key_x)));
    store.open(key_r);
    CHECK(store->status()->sealing == "locked");
    store.close();
    REQUIRE(setenv("ANNAL_TEST_ROOT_KEY", key_x.c_str(), 1) == 0);
    REQUIRE(store.try_open("", "ANNAL_TEST_ROOT_KEY"));
    CHECK(store->get(ann, of_ann.memory_id, store.all())->content == "ann likes tea");
    REQUIRE(unsetenv("ANNAL_TEST_ROOT_KEY") == 0);
}
