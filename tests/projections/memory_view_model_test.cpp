// Random events of every body, cut into random batches, against the naive account of them.
#include "memory_view_fixture.h"
#include "projections/view_store.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <functional>

using namespace annal;
using namespace annal::testing;

namespace {

const std::vector<std::string> odd_tags{
    "flaky", "flak", std::string("fla\0ky", 6), std::string("\0", 1), "ünïcode", "\xE8\xA8\x98\xE6\x86\xB6",
    "a b.c", "FLAKY"};
const std::vector<std::string> some_metadata{"null",
                                             R"({"n":1})",
                                             R"({"n":2.5,"deep":{"er":"x"}})",
                                             R"([1,2])",
                                             R"("text")",
                                             R"({"n":"1","flag":true,"deep":{"er":{"est":[1,{"a":null}]}}})",
                                             R"({"n":null,"deep":3})"};

class RandomWorld {
 public:
    explicit RandomWorld(std::uint64_t seed) : random_(seed) {}

    std::size_t below(std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(random_); }
    bool one_in(std::size_t n) { return below(n) == 0; }
    template <class T>
    T pick(const std::vector<T>& from) {
        return from[below(from.size())];
    }
    Scope scope() {
        return {pick<std::string>({"shop", "shop2", "ops"}), pick<std::string>({"", "qa", "dev"}),
                pick<std::string>({"", "ann", "bob"}), pick<std::string>({"", "s1", "s2", "s3"})};
    }
    double confidence() {
        return one_in(3)   ? 1.0
               : one_in(3) ? pick<double>({0.0, 0.5, 0.25})
                           : std::uniform_real_distribution<double>(0, 1)(random_);
    }
    Timestamp time() { return {1'700'000'000'000'000 + static_cast<std::int64_t>(below(600)) * 500'000}; }
    std::optional<Timestamp> maybe_time(std::size_t n) { return one_in(n) ? std::optional(time()) : std::nullopt; }
    std::vector<std::string> tags() {
        std::vector<std::string> tags;
        for (auto left = below(4); left > 0; --left) tags.push_back(pick(odd_tags));
        return tags;
    }
    KindFields fields(Kind kind) {
        const auto word = [&] { return "w" + std::to_string(below(5)); };
        switch (kind) {
            case Kind::note:
                return {};
            case Kind::heuristic:
                return HeuristicFields{word(), word()};
            case Kind::outcome:
                return OutcomeFields{
                    word(), word(), word(), one_in(2), one_in(2) ? std::optional<std::int64_t>(-7) : std::nullopt,
                    word(), word()};
            case Kind::preference:
                return PreferenceFields{word()};
            case Kind::domain_knowledge:
                return DomainKnowledgeFields{word()};
            case Kind::anti_pattern:
                return AntiPatternFields{word(), word()};
            case Kind::entity:
                return EntityFields{word(), word()};
            case Kind::relation:
                return RelationFields{word(), word(), word(), confidence(), one_in(2)};
        }
        return {};
    }
    std::optional<Embedding> embedding() {
        if (!one_in(3)) return std::nullopt;
        return Embedding{pick<std::string>({"m1", "m2"}), std::vector<float>(1 + below(4), 0.5f)};
    }

    MemoryEvent recorded(MemoryId id) {
        MemoryEvent event;
        event.memory_id = id;
        event.scope = scope();
        event.occurred_at = maybe_time(2);
        event.actor = pick<std::string>({"", "qa", "policy"});
        if (one_in(2)) event.source = {SourceType::file, "src/" + std::to_string(below(9))};
        MemoryRecorded body;
        body.content = "content " + std::to_string(below(1000));
        body.fields = fields(static_cast<Kind>(below(kind_count)));
        body.tags = tags();
        body.metadata = pick(some_metadata);
        body.claim = static_cast<Claim>(below(claim_names.size()));
        body.confidence = confidence();
        body.occurrence_count = below(5);
        body.success_count = below(body.occurrence_count + 1);
        body.valid_from = maybe_time(3);
        body.valid_to = maybe_time(3);
        body.expires_at = maybe_time(5);
        body.embedding = embedding();
        event.body = std::move(body);
        return event;
    }
    MemoryEvent change(const Memory& memory) {
        MemoryEvent event;
        event.memory_id = memory.id;
        event.scope = memory.scope;
        event.actor = "changer";
        switch (below(12)) {
            case 0:
            case 1:
            case 2: {
                MemoryRevised body;
                if (one_in(2)) body.content = "revised " + std::to_string(below(1000));
                if (one_in(4)) body.fields = fields(memory.kind());
                if (memory.kind() == Kind::note) body.fields.reset();
                if (one_in(3)) body.tags = tags();
                if (one_in(3)) body.metadata = pick(some_metadata);
                body.occurred_at = maybe_time(4);
                if (one_in(4)) body.valid_from = maybe_time(2);
                if (one_in(4)) body.valid_to = maybe_time(2);
                if (one_in(6)) body.expires_at = maybe_time(2);
                if (one_in(3)) body.embedding = embedding();
                event.body = std::move(body);
                break;
            }
            case 3:
                event.body = MemoryReinforced{one_in(2)};
                break;
            case 4:
                event.body = ClaimPromoted{memory.claim, static_cast<Claim>(below(claim_names.size()))};
                break;
            case 5:
                event.body = ConfidenceChanged{memory.confidence, confidence()};
                break;
            case 6:
                event.body = MemoryVerified{"verified", "cross-check", 0.5};
                break;
            case 7:
                event.body = MemorySuperseded{memory_id(below(50))};
                break;
            case 8:
            case 9:
                event.body = MemoryForgotten{};
                break;
            case 10:
                event.body = MemoryRestored{Seq{1}};
                break;
            case 11:
                event.body = MemoryRecalled{"run", "query", 1, 0.5};
                break;
        }
        return event;
    }
    MemoryEvent of_no_memory(MemoryId id) {
        MemoryEvent event;
        event.memory_id = id;
        event.scope = scope();
        switch (below(3)) {
            case 0:
                event.body = PolicyChanged{"weights", "1", "0"};
                break;
            case 1:
                event.body = ErasureRequested{"ann"};
                break;
            case 2:
                event.body = ErasureCompleted{Seq{1}, 3};
                break;
        }
        return event;
    }
    Filter filter() {
        Filter filter;
        if (one_in(3))
            for (auto left = 1 + below(3); left > 0; --left)
                filter.kinds.push_back(static_cast<Kind>(below(kind_count)));
        if (one_in(3)) filter.tags.push_back(pick(odd_tags));
        if (one_in(6)) filter.tags.push_back(pick(odd_tags));
        if (one_in(4))
            for (auto left = 1 + below(2); left > 0; --left)
                filter.claims.push_back(static_cast<Claim>(below(claim_names.size())));
        if (one_in(3)) filter.confidence_min = confidence();
        filter.occurred_from = maybe_time(5);
        filter.occurred_to = maybe_time(5);
        filter.recorded_from = maybe_time(6);
        filter.recorded_to = maybe_time(6);
        filter.valid_at = maybe_time(5);
        if (one_in(5)) filter.metadata.push_back(metadata());
        return filter;
    }
    Filter::Metadata metadata() {
        Filter::Metadata condition;
        condition.path = pick<std::string>({"n", "deep", "deep.er", "deep.er.est", "flag", "none"});
        if (one_in(2))
            condition.equals = pick<std::string>(
                {"1", "1.0", "\"1\"", "true", "null", R"({"est":[1,{"a":null}]})", "[1,{\"a\":null}]"});
        if (one_in(4)) condition.at_least = 1;
        if (one_in(4)) condition.at_most = 2;
        return condition;
    }
    ListRequest request() {
        ListRequest request;
        request.scope = scope();
        if (one_in(2)) request.scope = Scope{request.scope.project, "", "", ""};
        request.filter = one_in(4) ? Filter{} : filter();
        request.order = static_cast<ListOrder>(below(3));
        request.limit = 1 + below(12);
        request.include_forgotten = one_in(3);
        return request;
    }

 private:
    std::mt19937_64 random_;
};

void check_reads(RandomWorld& world, const EventFeed& feed, const NaiveView& naive, const MemoryView::Reader& reader) {
    for (const auto id : naive.ids()) {
        const auto scope = world.scope();
        const auto memory = reader.get(scope, id);
        REQUIRE(memory);
        REQUIRE(text_of(*memory) == text_of(naive.get(scope, id)));
    }
    for (int i = 0; i < 40; ++i) {
        auto request = world.request();
        const auto now = world.time();
        const auto expected = naive.list(request, now);
        REQUIRE(texts_of(all_pages(reader, request, now)) == texts_of(expected));

        request.include_forgotten = false;
        request.order = ListOrder::oldest_first;
        const auto matching = reader.matching(request.scope, request.filter, now);
        REQUIRE(matching);
        std::vector<Seq> all;
        for (const auto& logged : feed.events())
            if (!*matching || (*matching)->contains(logged.seq)) all.push_back(logged.seq);
        // What is not an ordinal of the project, or is forgotten, is no memory for get_many: "all" must leave it out.
        const auto found = reader.get_many(request.scope, all);
        REQUIRE(found);
        std::vector<Memory> memories;
        for (const auto& memory : *found)
            if (memory) memories.push_back(*memory);
        REQUIRE(texts_of(memories) == texts_of(naive.live(request.scope, request.filter, now)));
        if (*matching) REQUIRE((*matching)->size() == all.size());
    }
}

void check_everything(RandomWorld& world, const EventFeed& feed, const NaiveView& naive,
                      const MemoryView::Reader& reader) {
    REQUIRE(reader.applied() == feed.head());
    check_reads(world, feed, naive, reader);
    for (const std::string project : {"", "shop", "shop2", "ops", "none"}) {
        const auto counts = reader.counts(project);
        REQUIRE(counts);
        REQUIRE(std::map<std::string, std::uint64_t>(counts->begin(), counts->end()) == naive.counts(project));
    }
}

// Appends `count` events of all sorts.
void append_random(RandomWorld& world, EventFeed& feed, NaiveView& naive, std::uint64_t& ids, std::size_t count) {
    std::vector<MemoryId> known = naive.ids();
    for (std::size_t i = 0; i < count; ++i) {
        const auto pick = world.below(20);
        std::optional<Memory> memory;
        if (pick < 12 && !known.empty()) {
            const auto id = world.pick(known);
            for (const std::string project : {"shop", "shop2", "ops"})
                if (auto found = naive.get({project, "", "", ""}, id)) memory = found;
        }
        const auto& logged = pick == 19 ? feed.append(world.of_no_memory(memory_id(1'000'000 + ids++)))
                             : memory   ? feed.append(world.change(*memory))
                                        : feed.append(world.recorded(memory_id(++ids)));
        naive.apply(logged);
        if (!memory && pick != 19) known.push_back(logged.event.memory_id);
    }
}

}  // namespace

TEST_CASE("MemoryView says what the events said, however they are cut into batches", "[projections][memory_view]") {
    const auto seed = test_seed();
    for (int trial = 0; trial < trials(8); ++trial) {
        INFO("seed " << seed << " trial " << trial);
        RandomWorld world(seed + static_cast<std::uint64_t>(trial));
        EventFeed feed(trial % 2 == 0 ? 1 : 700);
        NaiveView naive;
        std::uint64_t ids = 0;
        FollowedView followed;
        for (int round = 0; round < 4; ++round) {
            append_random(world, feed, naive, ids, 60);
            while (followed.applied < feed.head()) {
                const auto count = 1 + world.below(world.one_in(3) ? 1 : 40);
                if (world.one_in(4)) REQUIRE(followed.apply(feed, count, true));  // Discarded: as if never applied.
                REQUIRE(followed.apply(feed, count));
                if (world.one_in(8)) followed.reopen();
            }
            check_everything(world, feed, naive, *followed.reader());
        }

        FollowedView rebuilt;  // In one batch.
        REQUIRE(rebuilt.apply(feed));
        CHECK(rebuilt.digest() == followed.digest());
        CHECK(*rebuilt.space.map() == *followed.space.map());
    }
}

TEST_CASE("MemoryView on RocksDB holds what it holds in memory, also after a reopen", "[projections][memory_view]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    RandomWorld world(seed);
    EventFeed feed(50);
    NaiveView naive;
    std::uint64_t ids = 0;
    append_random(world, feed, naive, ids, 300);
    FollowedView followed;
    REQUIRE(followed.apply(feed));

    const TempDir directory;
    const auto open = [&] {
        auto store = ViewStore::open({directory.path(), {}});
        REQUIRE(store);
        return std::move(*store);
    };
    {
        const auto store = open();
        const auto space = store->space("memory_view");
        REQUIRE(space);
        const auto view = MemoryView::create();
        REQUIRE(view->open(**space, Seq{}));
        EventArena arena;
        std::vector<EventView> events;
        const auto write = [&] {
            const auto batch = (*space)->new_batch();
            REQUIRE(view->apply(events, *batch));
            batch->put(std::string_view("\0checkpoint", 11), "not ours");  // As the runtime does, in the same batch.
            REQUIRE((*space)->write(*batch));
            view->committed();
            events.clear();
        };
        for (const auto& logged : feed.events()) {
            events.push_back(feed.view(logged, arena));
            if (world.one_in(10)) write();
        }
        write();
    }
    const auto store = open();
    const auto space = store->space("memory_view");
    REQUIRE(space);
    const auto view = MemoryView::create();
    REQUIRE(view->open(**space, feed.head()));
    const auto digest = view->digest();
    REQUIRE(digest);
    CHECK(*digest == followed.digest());
    check_everything(world, feed, naive, *view->reader());
}

TEST_CASE("MemoryView as of any seq says what a view says that ends there", "[projections][memory_view][as_of]") {
    const auto seed = test_seed();
    for (int trial = 0; trial < trials(4); ++trial) {
        INFO("seed " << seed << " trial " << trial);
        RandomWorld world(seed + static_cast<std::uint64_t>(trial));
        EventFeed feed(trial % 2 == 0 ? 1 : 300);
        NaiveView naive;
        std::uint64_t ids = 0;
        append_random(world, feed, naive, ids, 900);
        FollowedView followed;
        while (followed.applied < feed.head()) REQUIRE(followed.apply(feed, 1 + world.below(60)));
        for (int point = 0; point < 12; ++point) {
            const Seq as_of = point == 0 ? Seq{0} : point == 1 ? feed.head() : Seq{world.below(feed.head().value)};
            INFO("as of " << as_of.value);
            const auto reader = followed.reader(as_of);
            REQUIRE(reader->applied() == as_of);
            check_reads(world, feed, naive.up_to(as_of), *reader);
        }
    }
}

TEST_CASE("every state a memory ever had is found as of its seq", "[projections][memory_view][as_of]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    RandomWorld world(seed);
    EventFeed feed;
    NaiveView naive;
    std::uint64_t ids = 0;
    append_random(world, feed, naive, ids, 400);
    FollowedView followed;
    while (followed.applied < feed.head()) REQUIRE(followed.apply(feed, 1 + world.below(30)));

    for (const auto& logged : feed.events()) {
        const auto reader = followed.reader(logged.seq);
        for (const auto id : naive.ids()) {
            for (const std::string project : {"shop", "shop2", "ops"}) {
                const auto state = reader->get({project, "", "", ""}, id);
                REQUIRE(state);
                REQUIRE(text_of(*state) == text_of(naive.at_seq({project, "", "", ""}, id, logged.seq)));
            }
        }
    }
}

TEST_CASE("a list as of a seq costs at most twice as much after ten versions as after one",
          "[projections][memory_view][as_of]") {
    constexpr std::uint64_t memories = 3000;
    const auto keys_read = [](unsigned versions) {
        EventFeed feed;
        const auto tag = [](std::uint64_t number) { return "tag" + std::to_string(number % 3); };
        const auto write = [&](std::uint64_t id, EventBody body) {
            MemoryEvent event;
            event.memory_id = memory_id(id);
            event.scope.project = "p";
            event.body = std::move(body);
            feed.append(std::move(event));
        };
        for (std::uint64_t id = 1; id <= memories; ++id) {
            MemoryRecorded body;
            body.content = "one";
            body.tags = {tag(id)};
            write(id, std::move(body));
        }
        const auto as_of = feed.head();
        for (unsigned version = 2; version <= versions; ++version)
            for (std::uint64_t id = 1; id <= memories; ++id) {
                MemoryRevised body;
                body.content = "version " + std::to_string(version);
                body.tags = {tag(id + version)};
                write(id, std::move(body));
            }
        FollowedView followed;
        while (followed.applied < feed.head()) REQUIRE(followed.apply(feed, 5000));
        const auto reader = followed.reader(as_of);
        const auto before = followed.space.keys_read();
        ListRequest request;
        request.scope.project = "p";
        request.filter.tags = {"tag1"};
        const auto page = reader->list(request, Timestamp{});
        REQUIRE(page);
        CHECK(page->memories.size() == 50);
        CHECK(page->memories.front().content == "one");
        return followed.space.keys_read() - before;
    };
    const auto once = keys_read(1);
    const auto often = keys_read(10);
    INFO(once << " keys at one version, " << often << " at ten");
    CHECK(often <= 2 * once);
}
