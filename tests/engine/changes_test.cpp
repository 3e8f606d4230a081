// What a part of the log changed, against a fold of the events themselves.
#include "random_history.h"
#include "sealed_store.h"
#include "test_engine.h"

#include "adapters/sink_record.h"
#include "events/event_log.h"
#include "projections/memory_state.h"
#include "support/scopes.h"
#include "support/seed.h"

#include <annal/changes.h>

#include <map>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

namespace {

// Who follows: memories with their vectors, as text, so that a difference can be read.
struct Copy {
    struct Row {
        std::string text;
        Memory memory;
        std::optional<Embedding> embedding;
    };
    std::map<std::string, Row> rows;  // By id.
    Seq at{};

    void put(const Memory& memory, const std::optional<Embedding>& embedding) {
        rows[to_string(memory.id)] = {canonical_text({memory, embedding}), memory, embedding};
    }
    void apply(const Changes& changes) {
        for (const auto& erased : changes.erased)
            std::erase_if(rows, [&](const auto& row) {
                const auto& memory = row.second.memory;
                return memory.scope.project == erased.project && memory.scope.user == erased.user &&
                       memory.created_seq < erased.requested_at;
            });
        for (const auto& [memory, embedding] : changes.memories) put(memory, embedding);
        at = changes.to;
    }
};

void check_equal(const Copy& copy, const Copy& expected) {
    REQUIRE(copy.rows.size() == expected.rows.size());
    for (const auto& [id, row] : expected.rows) {
        const auto found = copy.rows.find(id);
        REQUIRE(found != copy.rows.end());
        REQUIRE(found->second.text == row.text);
    }
}

// The events' own story, one after the other. The store is closed.
class Fold {
 public:
    explicit Fold(const std::filesystem::path& store) {
        auto log = EventLog::open({.directory = store / "log"});
        if (!log) FAIL(log.error().message);
        REQUIRE((*log)->read(Seq{0}, {.events_max = 1'000'000, .bytes_max = std::size_t{1} << 30}, arena_, events_));
    }
    void go_to(Seq seq) {
        for (; copy.at < seq; ++copy.at.value) {
            const auto& event = events_[copy.at.value];
            if (!changes_memory(event.type())) continue;
            const auto id = to_string(event.memory_id());
            std::optional<Memory> state;
            std::optional<Embedding> embedding;
            if (const auto before = copy.rows.find(id); before != copy.rows.end()) {
                state = before->second.memory;
                embedding = before->second.embedding;
            }
            REQUIRE(apply_event(state, event));
            const auto body = event.unpack().body;
            if (const auto* recorded = std::get_if<MemoryRecorded>(&body)) embedding = recorded->embedding;
            if (const auto* revised = std::get_if<MemoryRevised>(&body); revised && revised->embedding)
                embedding = revised->embedding;
            if (state->embedding_model.empty()) embedding.reset();
            copy.put(*state, embedding);
        }
    }
    Copy copy;

 private:
    EventArena arena_;
    std::vector<EventView> events_;
};

Changes changes_of(Engine& engine, const ChangesRequest& request) {
    auto changes = engine.changes(request);
    if (!changes) FAIL(changes.error().message);
    return *std::move(changes);
}

}  // namespace

TEST_CASE("changes in any cuts give, at every cut, what the events say up to there", "[engine][changes]") {
    const auto seed = test_seed();
    for (int trial = 0; trial < trials(10); ++trial) {
        INFO("ANNAL_SEED=" << seed << " trial " << trial);
        RandomHistory history(seed + static_cast<std::uint64_t>(trial));
        TestEngine engine;
        for (int i = 0; i < 400; ++i) history.step(*engine, engine.clock());
        engine.close();
        Fold fold(engine.path());
        engine.open();
        const auto head = engine->head();

        Copy copy;
        while (copy.at < head) {
            ChangesRequest request{.after = copy.at};
            request.events_max = 1 + history.below(60);
            if (history.one_in(3)) request.bytes_max = history.below(6000);
            if (history.one_in(3)) request.up_to = Seq{copy.at.value + 1 + history.below(20)};
            request.with_events = history.one_in(2);
            const auto changes = changes_of(*engine, request);
            INFO("(" << copy.at.value << ", " << changes.to.value << "]");
            REQUIRE(changes.to > copy.at);
            REQUIRE(changes.to <= std::min(head, request.up_to.value_or(head)));
            REQUIRE(changes.to.value - copy.at.value <= request.events_max);
            REQUIRE(std::ranges::is_sorted(changes.memories, std::less<>{},
                                           [](const auto& changed) { return changed.memory.seq; }));
            REQUIRE(changes.events.size() == (request.with_events ? changes.to.value - copy.at.value : 0));
            for (std::size_t i = 0; i < changes.events.size(); ++i)
                REQUIRE(changes.events[i].seq.value == copy.at.value + i + 1);
            copy.apply(changes);
            fold.go_to(changes.to);
            check_equal(copy, fold.copy);
        }
        // And what a list as of then says, of those it shows.
        const Seq moment{1 + history.below(head.value)};
        Copy then;
        while (then.at < moment) then.apply(changes_of(*engine, {.after = then.at, .up_to = moment, .events_max = 7}));
        ListRequest list{.scope = shop, .limit = 1000, .include_forgotten = true};
        list.read = {.min_seq = {}, .wait_max = 60s, .as_of = moment};
        const auto listed = engine->list(list);
        REQUIRE(listed);
        for (const auto& memory : listed->memories) {
            REQUIRE(then.rows.contains(to_string(memory.id)));
            const auto& row = then.rows[to_string(memory.id)];
            REQUIRE(canonical_text({row.memory, {}}) == canonical_text({memory, {}}));
        }
    }
}

TEST_CASE("changes say the hash of their last event, and of where one is", "[engine][changes]") {
    TestEngine engine;
    CHECK(changes_of(*engine, {}).to == Seq{0});
    CHECK(changes_of(*engine, {}).hash == std::array<std::uint8_t, 32>{});
    const auto first = engine.note(shop, "tea");
    const auto second = engine.note(shop, "rain");
    CHECK(changes_of(*engine, {}).hash == second.hash);
    CHECK(changes_of(*engine, {.up_to = Seq{1}}).hash == first.hash);
    const auto here = changes_of(*engine, {.after = Seq{1}, .up_to = Seq{1}});
    CHECK(here.to == Seq{1});
    CHECK(here.hash == first.hash);
    CHECK(here.memories.empty());

    const auto past = engine->changes({.after = Seq{3}});
    REQUIRE_FALSE(past);
    CHECK(past.error().code == ErrorCode::invalid_argument);
    CHECK(past.error().details.at("head") == "2");
    CHECK_FALSE(engine->changes({.after = Seq{2}, .up_to = Seq{1}}));
}

TEST_CASE("a part whose states are large is cut, and never to nothing", "[engine][changes]") {
    TestEngine engine;
    std::vector<MemoryId> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(engine.note(shop, std::string(8'000, 'a')).memory_id);
    const auto after = engine->head();
    for (const auto& id : ids) REQUIRE(engine->reinforce(target(shop, id), true));
    const auto some = changes_of(*engine, {.after = after, .bytes_max = 20'000});
    CHECK(some.memories.size() == 2);
    CHECK(some.to == Seq{after.value + 2});
    const auto one = changes_of(*engine, {.after = some.to, .bytes_max = 1});
    CHECK(one.memories.size() == 1);
    CHECK(one.to == Seq{some.to.value + 1});
}

TEST_CASE("changes say who was erased, and nothing of his from before", "[engine][changes][sealing]") {
    const Scope ann{.project = "shop", .agent = {}, .user = "ann", .session = {}};
    const Scope bob{.project = "shop", .agent = {}, .user = "bob", .session = {}};
    SealedStore store;
    store.note(bob, "bob has tea");
    store.note(ann, "ann has tea");
    const auto before = changes_of(*store, {});
    CHECK(before.memories.size() == 2);
    Copy copy;
    copy.apply(before);
    store.note(ann, "ann has coffee");
    const auto erased = store->erase({.project = "shop", .user = "ann", .actor = {}, .reason = "asked to"});
    REQUIRE(erased);
    store.note(ann, "ann is back");

    const auto after = changes_of(*store, {.after = before.to, .with_events = true});
    REQUIRE(after.erased.size() == 1);
    CHECK(after.erased[0].project == "shop");
    CHECK(after.erased[0].user == "ann");
    CHECK(after.erased[0].requested_at == erased->requested_at);
    REQUIRE(after.memories.size() == 1);
    CHECK(after.memories[0].memory.content == "ann is back");
    CHECK(after.events.front().changes == R"({"erased":true})");
    copy.apply(after);
    CHECK(copy.rows.size() == 2);

    // In parts as small as they get, it is the same.
    Copy slow;
    while (slow.at < store->head()) slow.apply(changes_of(*store, {.after = slow.at, .events_max = 1}));
    check_equal(slow, copy);

    store.open("");
    const auto locked = store->changes({.after = Seq{0}});
    REQUIRE_FALSE(locked);
    CHECK(locked.error().code == ErrorCode::permission_denied);
    CHECK_FALSE(store->changes({.after = erased->completed_at}));
    CHECK(store->changes({.after = store->head()}));
}
