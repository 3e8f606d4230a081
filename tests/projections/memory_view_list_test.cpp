// Lists: pages, cursors, filters at their bounds, and how many keys they read.
#include "memory_view_fixture.h"
#include "support/seed.h"

#include <cstdlib>
#include <functional>
#include <set>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr Timestamp long_ago{1'600'000'000'000'000};

MemoryEvent recorded(std::uint64_t id, Scope scope, MemoryRecorded body = {}) {
    MemoryEvent event;
    event.memory_id = memory_id(id);
    event.scope = std::move(scope);
    if (body.content.empty()) body.content = "content";
    event.body = std::move(body);
    return event;
}

MemoryEvent changed(std::uint64_t id, Scope scope, EventBody body) {
    MemoryEvent event;
    event.memory_id = memory_id(id);
    event.scope = std::move(scope);
    event.body = std::move(body);
    return event;
}

std::set<MemoryId> listed(const FollowedView& followed, const Filter& filter, Timestamp now = long_ago,
                          bool include_forgotten = false) {
    ListRequest request;
    request.scope.project = "shop";
    request.filter = filter;
    request.limit = 3;
    request.include_forgotten = include_forgotten;
    std::set<MemoryId> ids;
    for (const auto& memory : all_pages(*followed.reader(), request, now)) ids.insert(memory.id);
    return ids;
}

std::set<MemoryId> ids_of(const std::vector<std::uint64_t>& numbers) {
    std::set<MemoryId> ids;
    for (const auto number : numbers) ids.insert(memory_id(number));
    return ids;
}

}  // namespace

TEST_CASE("pages of a list are stable while others write", "[projections][memory_view]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < trials(30); ++trial) {
        const std::uint64_t gap = trial % 3 == 0 ? 900 : 1;
        EventFeed feed(gap);
        FollowedView followed;
        const Scope scope{"shop", "", "", ""};
        std::uint64_t ids = 0;
        const auto write = [&](std::uint64_t& next) {
            MemoryRecorded body;
            body.confidence = static_cast<double>(random() % 5) / 4;
            body.tags = {random() % 2 == 0 ? "even" : "odd"};
            feed.append(recorded(++next, scope, body));
        };
        for (auto count = random() % 40; count > 0; --count) write(ids);
        REQUIRE(followed.apply(feed));

        ListRequest request;
        request.scope = scope;
        request.order = static_cast<ListOrder>(trial % 3);
        request.limit = 1 + random() % 7;
        if (trial % 2 == 0) request.filter.tags = {"even"};
        const auto before = all_pages(*followed.reader(), request, long_ago);
        std::vector<Memory> seen;
        std::set<MemoryId> gone;
        for (;;) {
            const auto page = followed.reader()->list(request, long_ago);
            REQUIRE(page);
            seen.insert(seen.end(), page->memories.begin(), page->memories.end());
            if (page->next_cursor.empty()) break;
            REQUIRE(page->next_cursor != request.cursor);
            request.cursor = page->next_cursor;
            request.limit = 1 + random() % 7;  // A page may be of another size.
            write(ids);
            const auto forgotten = 1 + random() % ids;
            gone.insert(memory_id(forgotten));
            feed.append(changed(forgotten, scope, MemoryForgotten{}));
            REQUIRE(followed.apply(feed));
        }
        std::vector<MemoryId> expected;  // What was there throughout: each once, in order.
        for (const auto& memory : before)
            if (!gone.contains(memory.id)) expected.push_back(memory.id);
        std::vector<MemoryId> found;
        std::set<MemoryId> once;
        for (const auto& memory : seen) {
            CHECK(once.insert(memory.id).second);
            if (std::ranges::find(expected, memory.id) != expected.end()) found.push_back(memory.id);
        }
        CHECK(found == expected);
    }
}

TEST_CASE("a cursor goes on with its own request alone", "[projections][memory_view]") {
    EventFeed feed;
    FollowedView followed;
    for (std::uint64_t id = 1; id <= 6; ++id) feed.append(recorded(id, {id % 2 == 0 ? "shop" : "ops", "qa", "", ""}));
    REQUIRE(followed.apply(feed));
    const auto reader = followed.reader();
    ListRequest request;
    request.scope.project = "shop";
    request.limit = 1;
    const auto page = reader->list(request, long_ago);
    REQUIRE(page);
    REQUIRE_FALSE(page->next_cursor.empty());

    const auto refused = [&](ListRequest other, const std::string& cursor) {
        other.cursor = cursor;
        const auto answer = reader->list(other, long_ago);
        return !answer && answer.error().code == ErrorCode::invalid_argument &&
               answer.error().details.at("field") == "cursor";
    };
    CHECK_FALSE(refused(request, page->next_cursor));
    const std::vector<std::function<void(ListRequest&)>> others{
        [](ListRequest& r) { r.scope.project = "ops"; },
        [](ListRequest& r) { r.scope.agent = "qa"; },
        [](ListRequest& r) { r.scope.user = "qa"; },
        [](ListRequest& r) { r.order = ListOrder::oldest_first; },
        [](ListRequest& r) { r.include_forgotten = true; },
        [](ListRequest& r) { r.filter.tags = {"t"}; },
        [](ListRequest& r) { r.filter.kinds = {Kind::note}; },
        [](ListRequest& r) { r.filter.claims = {Claim::observation}; },
        [](ListRequest& r) { r.filter.confidence_min = 0; },
        [](ListRequest& r) { r.filter.occurred_from = Timestamp{}; },
        [](ListRequest& r) { r.filter.occurred_to = Timestamp{}; },
        [](ListRequest& r) { r.filter.recorded_from = Timestamp{}; },
        [](ListRequest& r) { r.filter.recorded_to = Timestamp{}; },
        [](ListRequest& r) { r.filter.valid_at = Timestamp{}; },
        [](ListRequest& r) {
            r.filter.metadata = {{"a", {}, {}, {}}};
        },
    };
    for (const auto& change : others) {
        auto other = request;
        change(other);
        CHECK(refused(other, page->next_cursor));
    }
    for (std::size_t i = 0; i < page->next_cursor.size(); ++i) {
        auto damaged = page->next_cursor;
        damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
        CHECK(refused(request, damaged));
        CHECK(refused(request, page->next_cursor.substr(0, i + 1 == page->next_cursor.size() ? 1 : i + 1)));
    }
    for (const std::string nonsense : {"x", "====", "not a cursor", "\xff\xfe"}) CHECK(refused(request, nonsense));

    for (const std::size_t limit : {std::size_t{0}, std::size_t{1001}}) {
        auto other = request;
        other.limit = limit;
        const auto answer = reader->list(other, long_ago);
        REQUIRE_FALSE(answer);
        CHECK(answer.error().details.at("field") == "limit");
    }
}

TEST_CASE("no read leaves its scope", "[projections][memory_view]") {
    // Names that are starts of one another, so that a prefix too short shows.
    EventFeed feed;
    FollowedView followed;
    std::vector<Scope> scopes;
    for (const std::string project : {"p", "p ", "pp", "p/a"})
        for (const std::string agent : {"", "a", "aa"})
            for (const std::string user : {"", "a", "u"})
                for (const std::string session : {"", "a", "s"}) scopes.push_back({project, agent, user, session});
    for (std::uint64_t id = 0; id < scopes.size(); ++id) feed.append(recorded(id, scopes[id]));
    REQUIRE(followed.apply(feed));
    const auto reader = followed.reader();
    std::vector<Seq> all;
    for (const auto& logged : feed.events()) all.push_back(logged.seq);

    for (const auto& scope : scopes) {
        std::set<MemoryId> expected;
        for (std::uint64_t id = 0; id < scopes.size(); ++id)
            if (scope.contains(scopes[id])) expected.insert(memory_id(id));

        std::set<MemoryId> found;
        for (std::uint64_t id = 0; id < scopes.size(); ++id) {
            const auto memory = reader->get(scope, memory_id(id));
            REQUIRE(memory);
            if (*memory) found.insert((*memory)->id);
            const auto then = followed.view->reader(feed.head())->get(scope, memory_id(id));
            REQUIRE(then);
            CHECK(then->has_value() == memory->has_value());
        }
        CHECK(found == expected);

        const auto many = reader->get_many(scope, all);
        REQUIRE(many);
        std::set<MemoryId> of_many;
        for (const auto& memory : *many)
            if (memory) of_many.insert(memory->id);
        CHECK(of_many == expected);

        ListRequest request;
        request.scope = scope;
        request.limit = 5;
        std::set<MemoryId> of_list;
        for (const auto& memory : all_pages(*reader, request, long_ago)) of_list.insert(memory.id);
        CHECK(of_list == expected);
    }
    for (const std::string project : {"", "q", "P"}) {
        const auto memory = reader->get({project, "", "", ""}, memory_id(0));
        REQUIRE(memory);
        CHECK_FALSE(*memory);
    }
}

TEST_CASE("a filter's times and numbers mean what they say at their bounds", "[projections][memory_view]") {
    EventFeed feed;
    FollowedView followed;
    const Timestamp noon{1'650'000'000'000'000};
    const auto at = [&](std::int64_t us) { return Timestamp{noon.us + us}; };
    for (std::int64_t i = -1; i <= 1; ++i) {  // 1, 2, 3
        MemoryRecorded body;
        body.valid_from = at(i);
        body.confidence = 0.5 + 0.25 * static_cast<double>(i);
        auto event = recorded(static_cast<std::uint64_t>(2 + i), {"shop", "", "", ""}, body);
        event.occurred_at = at(i);
        feed.append(std::move(event));
    }
    for (std::int64_t i = -1; i <= 1; ++i) {  // 4, 5, 6
        MemoryRecorded body;
        body.valid_to = at(i);
        body.expires_at = at(i);
        auto event = recorded(static_cast<std::uint64_t>(5 + i), {"shop", "", "", ""}, body);
        event.occurred_at = at(100);
        feed.append(std::move(event));
    }
    REQUIRE(followed.apply(feed));
    Filter filter;
    filter.occurred_from = noon;
    CHECK(listed(followed, filter) == ids_of({2, 3, 4, 5, 6}));
    filter.occurred_to = at(1);
    CHECK(listed(followed, filter) == ids_of({2}));
    filter = {};
    filter.occurred_to = noon;
    CHECK(listed(followed, filter) == ids_of({1}));
    filter = {};
    filter.valid_at = noon;
    CHECK(listed(followed, filter) == ids_of({1, 2, 6}));
    filter = {};
    filter.confidence_min = 0.5;
    CHECK(listed(followed, filter) == ids_of({2, 3, 4, 5, 6}));
    filter.confidence_min = 0.5000001;
    CHECK(listed(followed, filter) == ids_of({3, 4, 5, 6}));

    const auto& third = feed.events()[2];
    filter = {};
    filter.recorded_from = third.recorded_at;
    CHECK(listed(followed, filter) == ids_of({3, 4, 5, 6}));
    filter.recorded_to = Timestamp{third.recorded_at.us + 1};
    CHECK(listed(followed, filter) == ids_of({3}));
    filter.recorded_to = third.recorded_at;
    CHECK(listed(followed, filter) == ids_of({}));
    filter.recorded_from.reset();
    CHECK(listed(followed, filter) == ids_of({1, 2}));

    CHECK(listed(followed, {}, noon) == ids_of({1, 2, 3, 6}));  // Gone from the moment it expires.
    CHECK(listed(followed, {}, at(1)) == ids_of({1, 2, 3}));
    const Timestamp ends[] = {{INT64_MIN}, {INT64_MAX}};
    for (const auto end : ends) {
        filter = {};
        filter.occurred_from = filter.occurred_to = filter.recorded_from = filter.recorded_to = filter.valid_at = end;
        CHECK(listed(followed, filter, end).empty());
    }
}

TEST_CASE("a metadata condition meets values of any shape", "[projections][memory_view]") {
    EventFeed feed;
    FollowedView followed;
    const std::vector<std::string> metadata{R"({"a":1})",
                                            R"({"a":1.0})",
                                            R"({"a":"1"})",
                                            R"({"a":null})",
                                            R"({"a":{"b":2,"c":[1,{"d":true}]}})",
                                            R"({"a.b":2})",
                                            R"({"a":{"c":[1,{"d":true}],"b":2}})",
                                            "null",
                                            R"(["a"])",
                                            R"({"b":{"a":1}})",
                                            R"({"a":18446744073709551615})"};
    for (std::uint64_t i = 0; i < metadata.size(); ++i) {
        MemoryRecorded body;
        body.metadata = metadata[i];
        feed.append(recorded(i, {"shop", "", "", ""}, body));
    }
    REQUIRE(followed.apply(feed));
    const auto found = [&](const Filter::Metadata& condition) {
        Filter filter;
        filter.metadata = {condition};
        const auto matching = followed.reader()->matching({"shop", "", "", ""}, filter, long_ago);
        REQUIRE(matching);
        REQUIRE(*matching);
        std::set<MemoryId> ids;
        for (std::uint64_t i = 0; i < metadata.size(); ++i)
            if ((*matching)->contains(Seq{i + 1})) ids.insert(memory_id(i));
        CHECK(listed(followed, filter) == ids);
        return ids;
    };
    CHECK(found({"a", {}, {}, {}}) == ids_of({0, 1, 2, 3, 4, 6, 10}));
    CHECK(found({"a", "1", {}, {}}) == ids_of({0, 1}));
    CHECK(found({"a", "\"1\"", {}, {}}) == ids_of({2}));
    CHECK(found({"a", "null", {}, {}}) == ids_of({3}));
    CHECK(found({"a", R"({"c":[1,{"d":true}],"b":2.0})", {}, {}}) == ids_of({4, 6}));
    CHECK(found({"a.b", "2", {}, {}}) == ids_of({4, 5, 6}));
    CHECK(found({"a.c", "[1,{\"d\":true}]", {}, {}}) == ids_of({4, 6}));
    CHECK(found({"a", {}, 1.0, {}}) == ids_of({0, 1, 10}));
    CHECK(found({"a", {}, 1.0, 1.0}) == ids_of({0, 1}));
    CHECK(found({"a", {}, {}, 0.5}) == ids_of({}));
    CHECK(found({"a", "18446744073709551615", {}, {}}) == ids_of({10}));
    CHECK(found({"nothing", {}, {}, {}}) == ids_of({}));
    for (const Filter::Metadata& bad : {Filter::Metadata{"", {}, {}, {}}, Filter::Metadata{"a", "{", {}, {}}}) {
        Filter filter;
        filter.metadata = {bad};
        const auto refused = followed.reader()->matching({"shop", "", "", ""}, filter, long_ago);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == ErrorCode::invalid_argument);
    }
}

// 100 000 memories with ANNAL_MEMORIES=100000, as the promise says; fewer by default, which the same code serves.
TEST_CASE("a list reads keys in proportion to its page, whatever the filter", "[projections][memory_view]") {
    const char* given = std::getenv("ANNAL_MEMORIES");
    const std::uint64_t memories = given ? std::strtoull(given, nullptr, 10) : 12'000;
    const auto seed = test_seed();
    INFO("seed " << seed << ", " << memories << " memories");
    std::mt19937_64 random(seed);
    const auto unit = [&] { return std::uniform_real_distribution<double>(0, 1)(random); };
    const Scope project{"shop", "", "", ""};
    EventFeed feed;
    for (std::uint64_t id = 1; id <= memories; ++id) {
        MemoryRecorded body;
        if (id % 100 == 7) body.fields = HeuristicFields{"when", "what"};
        body.tags = {"t" + std::to_string(random() % 1000), id % 2 == 0 ? "even" : "odd"};
        body.claim = static_cast<Claim>(id % 1000 == 0 ? 3 : random() % 2);
        body.confidence = unit();
        if (id % 3 == 0) body.valid_to = Timestamp{static_cast<std::int64_t>(random() % 1'000'000)};
        if (id % 5 == 0) body.expires_at = Timestamp{static_cast<std::int64_t>(random() % 1'000'000)};
        auto event = recorded(id,
                              {"shop", "a" + std::to_string(random() % 50), "u" + std::to_string(id / 1000),
                               "s" + std::to_string(id / 20)},
                              body);
        event.occurred_at = Timestamp{static_cast<std::int64_t>(random() % 1'000'000)};
        feed.append(std::move(event));
        if (id % 10 == 0) feed.append(changed(1 + random() % id, project, MemoryForgotten{}));
    }
    FollowedView followed;
    while (followed.applied < feed.head()) REQUIRE(followed.apply(feed, 2048));
    const auto reader = followed.reader();

    const auto with = [&](std::function<void(ListRequest&)> change) {
        ListRequest request;
        request.scope = project;
        change(request);
        return request;
    };
    const auto us = [](std::int64_t value) { return Timestamp{value}; };
    const auto middle = feed.events()[feed.events().size() / 2].recorded_at;
    const std::vector<ListRequest> single{
        with([](ListRequest&) {}),
        with([](ListRequest& r) { r.scope.agent = "a7"; }),
        with([](ListRequest& r) { r.scope.user = "u3"; }),
        with([](ListRequest& r) { r.scope.session = "s100"; }),
        with([](ListRequest& r) { r.scope.session = "none"; }),
        with([](ListRequest& r) { r.filter.kinds = {Kind::heuristic}; }),
        with([](ListRequest& r) { r.filter.kinds = {Kind::note}; }),
        with([](ListRequest& r) { r.filter.claims = {Claim::directive}; }),
        with([](ListRequest& r) { r.filter.claims = {Claim::verified}; }),
        with([](ListRequest& r) { r.filter.tags = {"t77"}; }),
        with([](ListRequest& r) { r.filter.tags = {"even"}; }),
        with([](ListRequest& r) { r.filter.confidence_min = 0.5; }),
        with([](ListRequest& r) { r.filter.confidence_min = 0.999; }),
        with([](ListRequest& r) { r.filter.confidence_min = 1; }),
        with([&](ListRequest& r) { r.filter.occurred_from = us(500'000); }),
        with([&](ListRequest& r) { r.filter.occurred_to = us(1'000); }),
        with([&](ListRequest& r) { r.filter.occurred_from = us(2'000'000); }),
        with([&](ListRequest& r) { r.filter.recorded_from = middle; }),
        with([&](ListRequest& r) { r.filter.recorded_to = middle; }),
        with([&](ListRequest& r) { r.filter.recorded_to = us(0); }),
        with([&](ListRequest& r) { r.filter.valid_at = us(500'000); }),
        with([](ListRequest& r) { r.include_forgotten = true; }),
    };
    for (std::size_t i = 0; i < single.size(); ++i)
        for (const auto order : {ListOrder::newest_first, ListOrder::oldest_first, ListOrder::confidence})
            for (const std::size_t limit : {1, 10, 50, 1000}) {
                auto request = single[i];
                request.order = order;
                request.limit = limit;
                for (int page = 0; page < 3; ++page) {
                    const auto answer = reader->list(request, us(-1));
                    REQUIRE(answer);
                    INFO("filter " << i << " order " << static_cast<int>(order) << " limit " << limit << " page "
                                   << page << " returned " << answer->memories.size());
                    CHECK(answer->keys_scanned <= answer->memories.size() * 4 + 100);
                    CHECK(answer->keys_scanned >= answer->memories.size());
                    if (answer->next_cursor.empty()) break;
                    request.cursor = answer->next_cursor;
                }
            }
}
