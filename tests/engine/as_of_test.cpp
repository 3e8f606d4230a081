// Reads as of an earlier moment, against a second store into which only the events up to it were written.
#include "random_history.h"
#include "test_engine.h"

#include "adapters/json.h"
#include "events/event_log.h"
#include "support/scopes.h"
#include "support/seed.h"

#include <nlohmann/json.hpp>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

namespace {

struct Logged {
    MemoryEvent event;
    Timestamp recorded_at;
};

std::vector<Logged> events_of(const std::filesystem::path& store) {
    auto log = EventLog::open({.directory = store / "log"});
    if (!log) FAIL(log.error().message);
    EventArena arena;
    std::vector<EventView> views;
    REQUIRE((*log)->read(Seq{0}, {.events_max = 1'000'000, .bytes_max = std::size_t{1} << 30}, arena, views));
    std::vector<Logged> all;
    for (const auto& view : views) all.push_back({view.unpack(), view.recorded_at()});
    return all;
}

// A store into which only the first `count` of them were written, when they were.
void write_prefix(const std::vector<Logged>& events, std::size_t count, const std::filesystem::path& store) {
    StoppedClock clock(Timestamp{0});
    auto log = EventLog::open({.directory = store / "log", .clock = &clock});
    if (!log) FAIL(log.error().message);
    for (std::size_t i = 0; i < count; ++i) {
        clock.advance(events[i].recorded_at.us - clock.now().us);
        auto encoded = encode(events[i].event);
        REQUIRE(encoded);
        AppendItem item{.expected = ExpectedVersion::any(), .event = &*encoded};
        REQUIRE((*log)->append(
            {.project = events[i].event.scope.project, .items = {&item, 1}, .durability = Durability::buffered}));
    }
}

std::string listed(Engine& engine, ListRequest request) {
    std::string all;
    do {
        const auto page = engine.list(request);
        if (!page) FAIL(page.error().message);
        for (const auto& memory : page->memories) all += to_text(to_json(memory)) + '\n';
        all += std::to_string(page->seq.value) + '\n';
        request.cursor = page->next_cursor;
    } while (!request.cursor.empty());
    return all;
}

template <class T>
std::string text_of(const Result<T>& answer) {
    return answer ? to_text(to_json(*answer)) : std::string(to_string(answer.error().code));
}

}  // namespace

TEST_CASE("every read as of a moment answers as a store that ends there", "[engine][as_of]") {
    const auto seed = test_seed();
    for (int trial = 0; trial < trials(2); ++trial) {
        INFO("seed " << seed << " trial " << trial);
        RandomHistory history(seed + static_cast<std::uint64_t>(trial));
        TestEngine engine;
        for (int i = 0; i < 500; ++i) history.step(*engine, engine.clock());
        engine.close();
        const auto events = events_of(engine.path());
        engine.open();
        const auto head = engine->head();
        REQUIRE(events.size() == head.value);

        for (int point = 0; point < 5; ++point) {
            const Seq as_of = point == 0 ? head : Seq{1 + history.below(head.value)};
            INFO("as of " << as_of.value);
            const TempDir directory;
            write_prefix(events, as_of.value, directory.path());
            StoppedClock clock(events[as_of.value - 1].recorded_at);
            auto ended = Engine::open({.directory = directory.path(), .clock = &clock});
            REQUIRE(ended);
            REQUIRE((*ended)->head() == as_of);
            REQUIRE((*ended)->wait_for(as_of, 60s));
            const AsOf moment = point % 2 == 0 ? AsOf(as_of) : AsOf(events[as_of.value - 1].recorded_at);
            const ReadOptions read{.min_seq = {}, .wait_max = 60s, .as_of = moment};

            for (const auto& [scope, id] : history.known()) {
                REQUIRE(text_of(engine->get(scope, id, read)) == text_of((*ended)->get(scope, id)));
                REQUIRE(text_of(engine->get(scope, id, read, true)) == text_of((*ended)->get(scope, id, {}, true)));
                REQUIRE(text_of(engine->history(scope, id, read)) == text_of((*ended)->history(scope, id)));
            }
            for (int question = 0; question < 25; ++question) {
                SearchRequest search{.scope = history.one_in(2) ? shop : history.scope(), .text = history.text()};
                search.mode = static_cast<SearchMode>(question % 3);
                if (search.mode != SearchMode::text) search.vector = history.vector();
                if (history.one_in(2)) search.filter = history.filter();
                search.limit = 1 + history.below(30);
                const auto expected = text_of((*ended)->search(search));
                search.as_of = moment;
                INFO("mode " << question % 3 << " text " << search.text);
                REQUIRE(text_of(engine->search(search)) == expected);

                ListRequest list{.scope = search.scope, .filter = search.filter};
                list.order = static_cast<ListOrder>(question % 3);
                list.limit = 1 + history.below(20);
                list.include_forgotten = history.one_in(3);
                const auto pages = listed(**ended, list);
                list.read = read;
                REQUIRE(listed(*engine, list) == pages);
            }
        }
        // The past is the same when it is folded anew.
        const auto digests = engine.digests();
        REQUIRE(engine->rebuild(""));
        CHECK(engine.digests() == digests);
    }
}

TEST_CASE("as of before the first event everything is empty; past the head is refused", "[engine][as_of]") {
    TestEngine engine;
    const auto receipt = engine.note(shop, "the only one");
    const auto head = engine->head();
    for (const auto& before : {AsOf(Seq{0}), AsOf(Timestamp{1'000'000})}) {
        const ReadOptions read{.min_seq = {}, .wait_max = 60s, .as_of = before};
        CHECK(engine->get(shop, receipt.memory_id, read).error().code == ErrorCode::not_found);
        CHECK(engine->history(shop, receipt.memory_id, read).error().code == ErrorCode::not_found);
        const auto page = engine->list({.scope = shop, .read = read});
        REQUIRE(page);
        CHECK(page->memories.empty());
        CHECK(page->seq == Seq{0});
        for (const auto mode : {SearchMode::text, SearchMode::hybrid, SearchMode::vector}) {
            SearchRequest request{.scope = shop, .text = "only", .mode = mode, .as_of = before};
            if (mode == SearchMode::vector) request.vector = Embedding{"m", {1, 0}};
            const auto answer = engine->search(request);
            REQUIRE(answer);
            CHECK(answer->hits.empty());
            CHECK(answer->seq == Seq{0});
        }
    }
    const auto later = Timestamp{engine.clock().now().us + 3'600'000'000};
    for (const auto& after : {AsOf(Seq{head.value + 1}), AsOf(later)}) {
        const ReadOptions read{.min_seq = {}, .wait_max = 60s, .as_of = after};
        const auto refused = engine->get(shop, receipt.memory_id, read);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::invalid_argument);
        CHECK(refused.error().details.at("head") == std::to_string(head.value));
        CHECK(engine->list({.scope = shop, .read = read}).error().code == ErrorCode::invalid_argument);
        CHECK(engine->search({.scope = shop, .text = "only", .as_of = after}).error().code ==
              ErrorCode::invalid_argument);
        CHECK(engine->history(shop, receipt.memory_id, read).error().code == ErrorCode::invalid_argument);
    }
}

TEST_CASE("an expiry is judged at the time of the moment asked for", "[engine][as_of]") {
    TestEngine engine;
    const auto soon = Timestamp{engine.clock().now().us + 10'000'000};
    engine.record({.scope = shop, .content = "a short lived note", .expires_at = soon});
    const auto before = engine->head();
    engine.clock().advance(60'000'000);
    engine.note(shop, "another note");
    const auto found = [&](std::optional<AsOf> as_of) {
        SearchRequest request{.scope = shop, .text = "note", .as_of = as_of};
        return engine.search(request).hits.size();
    };
    CHECK(found(std::nullopt) == 1);
    CHECK(found(before) == 1);
    CHECK(found(engine->head()) == 1);
    CHECK(engine.list({.scope = shop, .read = {.min_seq = {}, .wait_max = 60s, .as_of = before}}).front().content ==
          "a short lived note");
}

TEST_CASE("history says what was and what is", "[engine][as_of]") {
    TestEngine engine;
    const auto id = engine.record({.scope = shop, .content = "2 s", .tags = {"a"}}).memory_id;
    ReviseRequest revision{.target = target(shop, id), .content = "3 s"};
    REQUIRE(engine->revise(revision));
    REQUIRE(engine->reinforce(target(shop, id), true));
    const auto history = engine->history(shop, id);
    REQUIRE(history);
    REQUIRE(history->size() == 3);
    CHECK((*history)[0].differences.empty());
    CHECK((*history)[1].differences == std::vector<FieldChange>{{"content", "\"2 s\"", "\"3 s\""}});
    CHECK((*history)[2].differences ==
          std::vector<FieldChange>{{"occurrence_count", "0", "1"}, {"success_count", "0", "1"}});
}

TEST_CASE("a revert brings back what was said, by events of its own", "[engine][as_of]") {
    TestEngine engine;
    const Embedding east{"m", {1, 0}};
    const auto id = engine.record({.scope = shop, .content = "first", .tags = {"a"}, .embedding = east}).memory_id;
    ReviseRequest revision{.target = target(shop, id), .content = "second", .tags = std::vector<std::string>{"b"}};
    revision.valid_to = Timestamp{1'800'000'000'000'000};
    REQUIRE(engine->revise(revision));

    auto at = target(shop, id, "");
    at.context.idempotency_key = "key";
    const auto reverted = engine->revert(at, Version{1});
    REQUIRE(reverted);
    CHECK(reverted->version == Version{3});
    const auto again = engine->revert(at, Version{1});
    REQUIRE(again);
    CHECK(again->replayed);
    CHECK(again->seq == reverted->seq);
    CHECK(engine->revert(at, Version{2}).error().code == ErrorCode::conflict);  // The same key, another request.

    const auto now = engine->get(shop, id, {.min_seq = engine->head()});
    REQUIRE(now);
    CHECK(now->content == "first");
    CHECK(now->tags == std::vector<std::string>{"a"});
    CHECK_FALSE(now->valid_to);
    CHECK(now->embedding_model == "m");
    const auto hits = engine.search({.scope = shop, .vector = east, .mode = SearchMode::vector}).hits;
    REQUIRE(hits.size() == 1);
    CHECK(hits[0].parts.similarity > 0.999);
    CHECK(engine->history(shop, id)->back().reason == "reverted to version 1");
    CHECK(engine->history(shop, id)->back().type == "MemoryRevised");

    const auto refused = [&](Version version) {
        const auto result = engine->revert(target(shop, id), version);
        REQUIRE_FALSE(result);
        return result.error().code;
    };
    CHECK(refused(Version{3}) == ErrorCode::invalid_argument);  // It says so now.
    CHECK(refused(Version{1}) == ErrorCode::invalid_argument);
    CHECK(refused(Version{4}) == ErrorCode::not_found);
    CHECK(refused(Version{0}) == ErrorCode::not_found);
    auto stale = target(shop, id);
    stale.expected_version = ExpectedVersion::exactly(Version{2});
    CHECK(engine->revert(stale, Version{2}).error().code == ErrorCode::conflict);
    CHECK(engine->revert(target({.project = "other"}, id), Version{1}).error().code == ErrorCode::not_found);

    REQUIRE(engine->forget(target(shop, id)));
    CHECK(refused(Version{4}) == ErrorCode::invalid_argument);  // Forgotten, it says nothing.
    const auto back = engine->revert(target(shop, id), Version{2});
    REQUIRE(back);
    CHECK(back->version == Version{6});
    const auto history = engine->history(shop, id);
    REQUIRE(history);
    CHECK((*history)[4].type == "MemoryRestored");
    CHECK((*history)[5].type == "MemoryRevised");
    const auto restored = engine->get(shop, id, {.min_seq = engine->head()});
    REQUIRE(restored);
    CHECK(restored->content == "second");
    CHECK(restored->embedding_model.empty());
}

TEST_CASE("a diff names what became of each memory between two moments", "[engine][as_of]") {
    TestEngine engine;
    const auto kept = engine.note(shop, "kept").memory_id;
    const auto changed = engine.note(shop, "changed").memory_id;
    const auto forgotten = engine.note(shop, "forgotten").memory_id;
    const auto restored = engine.note(shop, "restored").memory_id;
    const auto superseded = engine.note(shop, "superseded").memory_id;
    REQUIRE(engine->forget(target(shop, restored)));
    const auto from = engine->head();
    REQUIRE(engine->revise({.target = target(shop, changed), .content = "changed more"}));
    REQUIRE(engine->forget(target(shop, forgotten)));
    REQUIRE(engine->restore(target(shop, restored)));
    REQUIRE(engine->supersede(target(shop, superseded), kept));
    REQUIRE(engine->forget(target(shop, kept)));
    REQUIRE(engine->restore(target(shop, kept)));  // As it was: no difference.
    const auto added = engine.note(shop, "added").memory_id;
    engine.note({.project = "other"}, "elsewhere");
    const auto to = engine->head();
    REQUIRE(engine->revise({.target = target(shop, changed), .content = "later"}));

    std::vector<std::pair<DiffKind, MemoryId>> found;
    std::vector<FieldChange> differences;
    const auto collect = [&](const DiffEntry& entry) {
        found.emplace_back(entry.kind, entry.memory.id);
        if (entry.kind == DiffKind::changed) differences = entry.differences;
        return true;
    };
    REQUIRE(engine->diff({.scope = shop, .from = from, .to = to}, collect));
    CHECK(found == std::vector<std::pair<DiffKind, MemoryId>>{{DiffKind::changed, changed},
                                                              {DiffKind::forgotten, forgotten},
                                                              {DiffKind::restored, restored},
                                                              {DiffKind::superseded, superseded},
                                                              {DiffKind::added, added}});
    CHECK(differences == std::vector<FieldChange>{{"content", "\"changed\"", "\"changed more\""}});
    CHECK(engine->diff({.scope = shop, .from = to, .to = from}, collect).error().code == ErrorCode::invalid_argument);
    CHECK(engine->diff({.scope = shop, .from = to, .to = Seq{engine->head().value + 1}}, collect).error().code ==
          ErrorCode::invalid_argument);
}
