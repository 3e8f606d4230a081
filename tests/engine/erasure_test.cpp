// An erasure: what was a user's is in no answer and no file, whatever happens on the way, and does not come back.
#include "adapters/jsonl.h"
#include "projections/view_store.h"
#include "sealed_store.h"
#include "support/scopes.h"

#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <random>
#include <sstream>
#include <thread>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr std::string_view mark = "xqzk";  // Begins every secret, and nothing else.

std::string secret(std::size_t number) {
    std::mt19937_64 random(number + 1);
    std::string text(mark);
    for (int i = 0; i < 20; ++i) text += "abcdefghijklmnopqrstuvwxyz0123456789"[random() % 36];
    return text;
}

// Of length one to the bit, so that it is stored as it is.
std::vector<float> secret_vector(std::size_t number) {
    std::mt19937_64 random(number + 1);
    std::vector<float> values(64);
    for (auto& value : values) value = random() % 2 == 0 ? 0.125F : -0.125F;
    return values;
}

std::string bytes_of_vector(std::size_t number) {
    const auto values = secret_vector(number);
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// What the views say, whatever compresses their files.
bool any_row_holds(const std::filesystem::path& views, std::string_view bytes) {
    const auto store = ViewStore::open({.directory = views});
    REQUIRE(store);
    for (const auto& name : (*store)->spaces()) {
        const auto rows = (*(*store)->space(name))->iterate();
        for (rows->seek({}); rows->valid(); rows->next())
            if (rows->key().find(bytes) != std::string_view::npos ||
                rows->value().find(bytes) != std::string_view::npos)
                return true;
        REQUIRE(rows->status());
    }
    return false;
}

RecordRequest plant(const Scope& scope, std::size_t first) {
    RecordRequest request{.scope = scope, .content = "likes " + secret(first)};
    request.tags = {secret(first + 1)};
    request.metadata = "{\"key\":\"" + secret(first + 2) + "\"}";
    request.fields = HeuristicFields{secret(first + 3), secret(first + 4)};
    request.context.actor = secret(first + 5);
    request.context.source = {SourceType::file, secret(first + 6)};
    request.context.reason = secret(first + 7);
    request.context.idempotency_key = secret(first + 8);
    request.embedding = Embedding{"planted", secret_vector(first)};
    return request;
}

Result<ErasureReceipt> erase_ann(SealedStore& store) {
    return store->erase({.project = "shop", .user = "ann", .actor = "operator", .reason = "asked for"});
}

void require_well(SealedStore& store) {
    REQUIRE(store->wait_for(store->head(), std::chrono::seconds(60)));
    const auto report = store->verify();
    REQUIRE(report);
    for (const auto& check : report->checks) {
        INFO(check.name << ": " << check.found);
        CHECK(check.state == Check::State::ok);
    }
}

ErrorCode code_of(const auto& result) {
    REQUIRE_FALSE(result);
    return result.error().code;
}

}  // namespace

TEST_CASE("after an erasure no file holds one of a thousand secrets, and no answer", "[engine][erasure]") {
    SealedStore store;
    std::vector<Receipt> of_ann;
    const auto of_bob = store.note(bob, "bob likes tea");
    for (std::size_t first = 0; first < 1000; first += 10) {
        of_ann.push_back(*store->record(plant(ann, first)));
        store.note(shop_qa, "the shop sells tea number " + std::to_string(first));
        ReviseRequest revise;
        revise.target = target({.project = "shop"}, of_ann.back().memory_id);
        revise.content = "now likes " + secret(first + 9);
        revise.embedding = Embedding{"planted", secret_vector(first + 1)};
        REQUIRE(store->revise(revise));
    }
    REQUIRE(store->forget(target(ann, of_ann[3].memory_id, secret(5000))));
    REQUIRE(store->wait_for(store->head(), std::chrono::seconds(60)));
    const auto before = store->head();
    const auto root = store->root(before);
    const auto backups = store.path().parent_path() / "backups";
    REQUIRE(store->backup(backups));
    std::ostringstream exported;
    REQUIRE(export_jsonl(*store.get(), {.project = "shop", .agent = {}, .user = "ann", .session = {}}, store.all(),
                         [&](std::string_view line) -> Status {
                             exported << line;
                             return Done{};
                         }));
    store.close();  // Snapshots of the vectors are made.
    REQUIRE(any_file_holds(store.path() / "views", mark));
    REQUIRE(any_file_holds(store.path() / "views", bytes_of_vector(11)));
    REQUIRE(any_row_holds(store.path() / "views", mark));
    store.open(key_r);

    const auto receipt = erase_ann(store);
    if (!receipt) FAIL(receipt.error().message);
    CHECK(receipt->memories == 100);
    CHECK(receipt->events == 201);
    CHECK(receipt->unsealed_events == 0);
    CHECK(receipt->refused_values == 200);
    CHECK(receipt->keystore_epoch == 2);
    CHECK(receipt->requested_at == Seq{before.value + 1});
    CHECK(receipt->completed_at == store->head());
    CHECK(*store->root(before) == *root);
    CHECK(store->status()->unfinished_erasures == 0);

    // While it is open, too.
    CHECK_FALSE(any_file_holds(store.path(), mark));
    CHECK_FALSE(any_file_holds(store.path(), bytes_of_vector(11)));
    CHECK_FALSE(any_file_holds(backups, mark));

    const auto holds_mark = [](std::string_view text) { return text.find(mark) != std::string_view::npos; };
    CHECK(store.contents().size() == 101);
    CHECK(std::ranges::none_of(store.contents(), holds_mark));
    for (const auto mode : {SearchMode::text, SearchMode::vector, SearchMode::hybrid})
        for (const auto& as_of : {std::optional<AsOf>(), std::optional<AsOf>(before)}) {
            SearchRequest request{.scope = {.project = "shop"}, .text = "likes " + secret(0), .mode = mode};
            request.vector = Embedding{"planted", secret_vector(0)};
            request.limit = 1000;
            request.min_seq = store->head();
            request.as_of = as_of;
            const auto answer = store->search(request);
            REQUIRE(answer);
            for (const auto& hit : answer->hits) CHECK(hit.memory.scope.user != "ann");
        }
    CHECK(code_of(store->get(ann, of_ann[0].memory_id, store.all(), true)) == ErrorCode::not_found);
    CHECK(code_of(store->get(ann, of_ann[0].memory_id, {.as_of = before}, true)) == ErrorCode::not_found);
    const auto history = store->history(ann, of_ann[0].memory_id);
    REQUIRE(history);
    for (const auto& entry : *history) CHECK(entry.changes == R"({"erased":true})");
    CHECK(store->get(bob, of_bob.memory_id, store.all())->content == "bob likes tea");
    std::vector<std::string> types;
    REQUIRE(store->read_log(before, "shop", [&](const Engine::LogEntry& entry) {
        types.push_back(entry.type + " " + entry.scope.user + " " + entry.reason);
        return true;
    }));
    CHECK(types == std::vector<std::string>{"ErasureRequested ann asked for", "ErasureCompleted ann asked for"});

    // Nothing comes back by a rebuild, an import or a restart.
    require_well(store);
    const auto digests = store.digests();
    REQUIRE(store->rebuild(""));
    CHECK(store.digests() == digests);
    std::istringstream again(exported.str());
    const auto imported = import_jsonl(*store.get(), again, {.project = "shop"});
    REQUIRE(imported);
    CHECK(imported->accepted == 0);
    CHECK(imported->unchanged == 0);
    REQUIRE(imported->rejected.size() == 99);  // One was forgotten.
    CHECK(imported->rejected[0].error.code == ErrorCode::permission_denied);
    CHECK(imported->rejected[0].error.details.at("reason") == "erased");
    store.open(key_r);
    CHECK(store.digests() == digests);
    store.close();
    CHECK_FALSE(any_file_holds(store.path(), mark));
    CHECK_FALSE(any_row_holds(store.path() / "views", mark));

    // Nor does a backup of before: the key is gone.
    const auto restored = store.path().parent_path() / "restored";
    REQUIRE(restore_backup(backups, 0, restored));
    std::filesystem::copy(store.path() / "keys", restored / "keys");
    CHECK_FALSE(any_file_holds(restored, mark));
    auto old = Engine::open({.directory = restored, .root_key_file = store.path().parent_path() / "root"});
    REQUIRE(old);
    const auto page = (*old)->list({.scope = {.project = "shop"}, .limit = 1000, .read = {.min_seq = (*old)->head()}});
    REQUIRE(page);
    CHECK(page->memories.size() == 101);
}

TEST_CASE("an erased user begins anew: what he says afterwards is his, and stays", "[engine][erasure]") {
    SealedStore store;
    const auto old = store.note(ann, "ann likes tea");
    REQUIRE(erase_ann(store));
    const auto again = store.note(ann, "ann likes coffee");
    CHECK(store.contents() == std::vector<std::string>{"ann likes coffee"});
    store.open(key_r);
    CHECK(store->get(ann, again.memory_id, store.all())->content == "ann likes coffee");
    // An erased memory takes no event, and its id no other memory.
    ReviseRequest revise;
    revise.target = target(ann, old.memory_id);
    revise.content = "ann is back";
    CHECK(code_of(store->revise(revise)) == ErrorCode::not_found);
    RecordRequest same{.scope = ann, .content = "ann is back"};
    same.memory_id = old.memory_id;
    CHECK(code_of(store->record(same)) == ErrorCode::already_exists);
    const auto second = erase_ann(store);
    REQUIRE(second);
    CHECK(second->memories == 1);
    CHECK(second->events == 1);
    CHECK(store.contents().empty());
    const auto third = erase_ann(store);
    REQUIRE(third);
    CHECK(third->memories == 0);
    require_well(store);
}

TEST_CASE("an erased content is refused of its user and of nobody, however it is typed", "[engine][erasure]") {
    SealedStore store;
    store.note(ann, "ann likes tea");
    const auto revised = store.note(ann, "ann likes coffee");
    ReviseRequest revise;
    revise.target = target(ann, revised.memory_id);
    revise.content = "ann likes cocoa";
    REQUIRE(store->revise(revise));
    const auto of_shop = store.note(shop_qa, "the shop sells tea");
    REQUIRE(erase_ann(store));
    const auto refused = [&](const Scope& scope, const std::string& content) {
        const auto receipt = store->record({.scope = scope, .content = content});
        if (receipt) return false;
        CHECK(receipt.error().code == ErrorCode::permission_denied);
        CHECK(receipt.error().details.at("reason") == "erased");
        return true;
    };
    const auto head = store->head();
    for (const auto& scope : {ann, shop_qa, Scope{.project = "shop", .agent = "other", .user = "ann", .session = "s9"}})
        for (const auto* content : {"ann likes tea", "  ANN  likes\ttea ", "ann likes coffee", "ann likes cocoa"}) {
            INFO(scope.user << " " << content);
            CHECK(refused(scope, content));
        }
    const std::vector<RecordRequest> batch{{.scope = ann, .content = "new"},
                                           {.scope = ann, .content = "ann likes tea"}};
    const auto batched = store->record_batch(batch);
    REQUIRE_FALSE(batched);
    CHECK(batched.error().details.at("index") == "1");
    revise.target = target(shop_qa, of_shop.memory_id);
    revise.content = "Ann likes tea";
    CHECK(code_of(store->revise(revise)) == ErrorCode::permission_denied);
    CHECK(store->head() == head);
    // Another user says the same of himself; another project is another world.
    CHECK_FALSE(refused(bob, "ann likes tea"));
    CHECK_FALSE(refused({.project = "bank", .agent = {}, .user = "ann", .session = {}}, "ann likes tea"));
    CHECK_FALSE(refused(ann, "ann likes"));

    store.open(key_r);
    CHECK(refused(ann, "ann likes tea"));
    // Who cannot tell takes nothing.
    store.open("");
    CHECK(code_of(store->record({.scope = shop_qa, .content = "anything"})) == ErrorCode::permission_denied);
}

TEST_CASE("what is forgotten for good stays so, with and without a root key", "[engine][erasure]") {
    for (const bool sealed : {false, true}) {
        INFO(sealed);
        TestEngine plain;
        SealedStore locked;
        Engine& store = sealed ? *locked.get() : *plain;
        const auto id = store.record({.scope = shop_qa, .content = "water is dry"})->memory_id;
        ReviseRequest revise;
        revise.target = target(shop_qa, id);
        revise.content = "water is wet";
        REQUIRE(store.revise(revise));
        revise.content = "water is dry, they say";
        REQUIRE(store.revise(revise));
        REQUIRE(store.forget(target(shop_qa, id, "never true"), true));
        for (const auto* content : {"water is dry", "water is wet", "Water is DRY, they say"}) {
            const auto receipt = store.record({.scope = shop_qa, .content = content});
            REQUIRE_FALSE(receipt);
            CHECK(receipt.error().code == ErrorCode::permission_denied);
            CHECK(receipt.error().details.at("reason") == "forgotten_for_good");
        }
        CHECK(code_of(store.restore(target(shop_qa, id))) == ErrorCode::permission_denied);
        CHECK(code_of(store.revert(target(shop_qa, id), Version{1})) == ErrorCode::permission_denied);
        CHECK(store.record({.scope = bob, .content = "water is dry"}));

        const auto soft = store.record({.scope = shop_qa, .content = "rain falls up"})->memory_id;
        REQUIRE(store.forget(target(shop_qa, soft, "wrong")));
        CHECK(store.record({.scope = shop_qa, .content = "rain falls up"}));
        CHECK(store.restore(target(shop_qa, soft)));
    }
}

TEST_CASE("forgotten for good before sealing was on, a content is refused after it", "[engine][erasure]") {
    SealedStore store(SealedStore::Unsealed{});
    const auto id = store.note(shop_qa, "water is dry").memory_id;
    REQUIRE(store->forget(target(shop_qa, id, "never true"), true));
    store.open(key_r);
    CHECK(code_of(store->record({.scope = shop_qa, .content = "water is dry"})) == ErrorCode::permission_denied);
}

TEST_CASE("what was stored before sealing was on is gone from every answer, and reported", "[engine][erasure]") {
    SealedStore store(SealedStore::Unsealed{});
    const auto early = store.note(ann, "ann likes early tea");
    store.note(bob, "bob likes tea");
    CHECK(code_of(erase_ann(store)) == ErrorCode::permission_denied);
    store.open(key_r);
    store.note(ann, "ann likes late tea");
    const auto receipt = erase_ann(store);
    REQUIRE(receipt);
    CHECK(receipt->memories == 2);
    CHECK(receipt->events == 2);
    CHECK(receipt->unsealed_events == 1);
    CHECK(store.contents() == std::vector<std::string>{"bob likes tea"});
    CHECK_FALSE(any_file_holds(store.path() / "views", "early"));
    CHECK(store->history(ann, early.memory_id)->front().changes == R"({"erased":true})");
    require_well(store);
    store.open(key_r);
    REQUIRE(store->rebuild(""));
    CHECK(store.contents() == std::vector<std::string>{"bob likes tea"});
    CHECK(store.search(10)->hits.size() == 1);
}

TEST_CASE("an erasure that was interrupted anywhere is finished by the next open", "[engine][erasure]") {
    const bool keys_were_gone = GENERATE(false, true);
    SealedStore store;
    store.note(ann, "ann likes " + secret(1));
    store.note(bob, "bob likes tea");
    REQUIRE(store->wait_for(store->head(), std::chrono::seconds(60)));
    store.close();
    REQUIRE(any_file_holds(store.path() / "views", mark));
    {  // As far as it came.
        auto log = *EventLog::open({.directory = store.path() / "log"});
        MemoryEvent event;
        event.memory_id.bytes[0] = event.event_id.bytes[0] = 1;
        event.scope = {.project = "shop", .agent = {}, .user = "ann", .session = {}};
        event.body = ErasureRequested{"ann", 1, 1, 0};
        auto encoded = encode(event);
        std::vector<AppendItem> items{{ExpectedVersion::any(), &*encoded}};
        REQUIRE(log->append({.project = "shop", .items = items}));
        REQUIRE(log->erasures().size() == 1);
        if (keys_were_gone) {
            const auto erasure = log->erasures().front();
            log.reset();
            store.erase({"shop", "ann"});
            log = *EventLog::open({.directory = store.path() / "log"});
            REQUIRE(log->keep_that_keys_are_gone(erasure, 2));
        }
    }
    // Without the key it waits, and is in no answer.
    store.open("");
    CHECK(store->status()->unfinished_erasures == 1);
    CHECK(store.contents() == std::vector<std::string>{""});
    store.open(key_r);
    CHECK(store->status()->unfinished_erasures == 0);
    CHECK(store.contents() == std::vector<std::string>{"bob likes tea"});
    CHECK_FALSE(any_file_holds(store.path(), mark));
    std::string last;
    REQUIRE(store->read_log(Seq{0}, "shop", [&](const Engine::LogEntry& entry) {
        last = entry.type + " " + entry.changes;
        return true;
    }));
    CHECK(last == R"(ErasureCompleted {"requested_at_seq":3,"memories":1,"keystore_epoch":2})");
    require_well(store);
    const auto head = store->head();
    store.open(key_r);
    CHECK(store->head() == head);
}

TEST_CASE("a keystore from before an erasure is erased from again before it is used", "[engine][erasure]") {
    SealedStore store;
    store.note(ann, "ann likes tea");
    store.note(bob, "bob likes tea");
    store.close();
    const auto kept = store.path().parent_path() / "kept";
    std::filesystem::copy(store.path() / "keys", kept, std::filesystem::copy_options::recursive);
    store.open(key_r);
    REQUIRE(erase_ann(store));
    store.close();
    std::filesystem::remove_all(store.path() / "keys");
    std::filesystem::copy(kept, store.path() / "keys", std::filesystem::copy_options::recursive);
    store.open(key_r);
    CHECK(store.contents() == std::vector<std::string>{"bob likes tea"});
    const auto keys = stored_keys(store.path() / "keys");
    CHECK(keys.keys.size() == 1);
    REQUIRE(store->rebuild(""));
    CHECK(store.contents() == std::vector<std::string>{"bob likes tea"});
}

TEST_CASE("others read and write while a user is erased, and none sees him after it", "[engine][erasure]") {
    SealedStore store;
    for (int i = 0; i < 200; ++i) {
        store.note(ann, "ann likes tea number " + std::to_string(i));
        store.note(bob, "bob likes tea number " + std::to_string(i));
    }
    REQUIRE(store->wait_for(store->head(), std::chrono::seconds(60)));
    std::atomic<bool> erased = false, done = false;
    std::atomic<int> failures = 0, reads = 0, writes = 0;
    std::thread reader([&] {
        while (!done) {
            const bool gone = erased;
            const auto found = store->search({.scope = {.project = "shop"}, .text = "likes tea", .limit = 1000});
            const auto listed = store->list({.scope = {.project = "shop"}, .limit = 1000});
            if (!found || !listed) ++failures;
            if (!found || !listed) continue;
            for (const auto& hit : found->hits) failures += gone && hit.memory.scope.user == "ann" ? 1 : 0;
            for (const auto& memory : listed->memories) failures += gone && memory.scope.user == "ann" ? 1 : 0;
            ++reads;
        }
    });
    std::thread writer([&] {
        while (!done) {
            const auto receipt = store->record({.scope = bob, .content = "bob writes " + std::to_string(writes)});
            failures += receipt ? 0 : 1;
            ++writes;
        }
    });
    const auto receipt = erase_ann(store);
    erased = true;
    const auto reads_then = reads.load();
    while (reads < reads_then + 3 && failures == 0) std::this_thread::yield();
    done = true;
    reader.join();
    writer.join();
    if (!receipt) FAIL(receipt.error().message);
    CHECK(failures == 0);
    CHECK(writes > 0);
    // The receipt names its own events, whatever was written meanwhile.
    for (const auto& [seq, type] :
         {std::pair(receipt->requested_at, "ErasureRequested"), std::pair(receipt->completed_at, "ErasureCompleted")}) {
        std::string found;
        REQUIRE(store->read_log(Seq{seq.value - 1}, "shop", [&](const Engine::LogEntry& entry) {
            found = entry.type;
            return false;
        }));
        CHECK(found == type);
    }
    require_well(store);
}

TEST_CASE("an erasure names a project and a user, and needs the root key", "[engine][erasure]") {
    SealedStore store;
    store.note(ann, "ann likes tea");
    const auto head = store->head();
    CHECK(code_of(store->erase({.project = "shop"})) == ErrorCode::invalid_argument);
    CHECK(code_of(store->erase({.user = "ann"})) == ErrorCode::invalid_argument);
    store.open("");
    CHECK(code_of(erase_ann(store)) == ErrorCode::permission_denied);
    CHECK(store->head() == head);
}
