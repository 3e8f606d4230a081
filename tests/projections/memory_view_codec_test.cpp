// The stored forms of MemoryView: what is written is read again, and bytes that nobody wrote are refused.
#include "memory_view_fixture.h"
#include "projections/memory_blocks.h"
#include "projections/memory_reader.h"
#include "projections/memory_row.h"
#include "projections/memory_state.h"
#include "support/seed.h"

#include <cmath>
#include <functional>
#include <limits>
#include <set>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr auto least = std::numeric_limits<std::int64_t>::min();
constexpr auto greatest = std::numeric_limits<std::int64_t>::max();

Memory full_memory() {
    Memory memory;
    memory.id = memory_id(7);
    memory.version = {3};
    memory.seq = {UINT64_MAX};
    memory.created_seq = {5};
    memory.scope = {"shop", "qa", "ann", "s1"};
    memory.fields = OutcomeFields{"a", "b", "c", true, std::numeric_limits<std::int64_t>::min(), "d", "e"};
    memory.content = std::string("content \0 with a zero", 21);
    memory.tags = {"", "t", std::string(300, 'x')};
    memory.metadata = R"({"a":1})";
    memory.claim = Claim::directive;
    memory.confidence = 0.1;
    memory.occurrence_count = UINT64_MAX;
    memory.success_count = 1;
    memory.actor = "actor";
    memory.source = {SourceType::url, "https://example.org"};
    memory.recorded_at = {1'700'000'000'000'000};
    memory.updated_at = {1'700'000'000'000'001};
    memory.occurred_at = {least};
    memory.valid_from = Timestamp{least};
    memory.valid_to = Timestamp{greatest};
    memory.expires_at = Timestamp{0};
    memory.verified_at = Timestamp{1};
    memory.superseded_by = memory_id(8);
    memory.forgotten = true;
    memory.embedding_model = "model";
    memory.embedding_dimension = 384;
    return memory;
}

// Every shortening, every byte changed, and noise: an answer or data_loss, and no more.
void check_damage(const std::string& bytes, const std::function<std::optional<Error>(std::string_view)>& read) {
    REQUIRE_FALSE(read(bytes));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const std::string cut(bytes.data(), size);  // Its own block: a read past the end is seen.
        const auto error = read(cut);
        REQUIRE(error);
        CHECK(error->code == ErrorCode::data_loss);
    }
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i < bytes.size(); ++i)
        for (const int change : {1, 0x80, 0xff, static_cast<int>(1 + random() % 255)}) {
            auto changed = bytes;
            changed[i] = static_cast<char>(changed[i] ^ change);
            if (const auto error = read(changed)) CHECK(error->code == ErrorCode::data_loss);
        }
    for (int i = 0; i < trials(2000); ++i) {
        std::string noise(random() % 200, '\0');
        for (auto& byte : noise) byte = static_cast<char>(random());
        if (!noise.empty() && i % 2 == 0) noise[0] = bytes[0];
        if (const auto error = read(noise)) CHECK(error->code == ErrorCode::data_loss);
    }
}

template <class T>
std::optional<Error> error_of(const Result<T>& result) {
    return result ? std::nullopt : std::optional(result.error());
}

}  // namespace

TEST_CASE("a memory's row, version and body come back as they were", "[projections][memory_view]") {
    const auto memory = full_memory();
    const auto row = decode_row("shop", Seq{5}, encode_row(memory, Version{2}));
    REQUIRE(row);
    CHECK(text_of(row->memory) == text_of(memory));
    CHECK(row->body_version == Version{2});

    Memory other = row->memory;
    other.content = "gone";
    other.tags.clear();
    other.metadata = "null";
    other.fields = OutcomeFields{};
    other.confidence = 1;
    other.forgotten = false;
    other.superseded_by.reset();
    other.valid_from.reset();
    const auto version = decode_version(encode_version(memory, Version{2}, false), other);
    REQUIRE(version);
    CHECK_FALSE(version->with_body);
    CHECK(version->body_version == Version{2});
    REQUIRE(decode_body(encode_body(memory), other));
    CHECK(text_of(other) == text_of(memory));

    Memory plain;
    plain.created_seq = {1};
    const auto least_row = decode_row("", Seq{1}, encode_row(plain, Version{1}));
    REQUIRE(least_row);
    CHECK(text_of(least_row->memory) == text_of(plain));
}

TEST_CASE("damaged rows are refused", "[projections][memory_view]") {
    const auto memory = full_memory();
    check_damage(encode_row(memory, Version{2}),
                 [](std::string_view bytes) { return error_of(decode_row("shop", Seq{5}, bytes)); });
    check_damage(encode_version(memory, Version{2}, true), [&](std::string_view bytes) {
        auto target = memory;
        return error_of(decode_version(bytes, target));
    });
    check_damage(encode_body(memory), [&](std::string_view bytes) {
        auto target = memory;
        return error_of(decode_body(bytes, target));
    });
    check_damage(MemoryCounts{}.encode(), [](std::string_view bytes) { return error_of(MemoryCounts::decode(bytes)); });
}

TEST_CASE("block sets and columns hold what was put in, in one form", "[projections][memory_view]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const std::vector<std::function<std::int64_t()>> sources{
        [] { return 42; },
        [&] { return static_cast<std::int64_t>(random() % 5) - 2; },
        [&] { return sortable(static_cast<double>(random() % 256) / 255); },
        [&] { return sortable(static_cast<double>(random() % 257) / 256); },
        [&] { return static_cast<std::int64_t>(random() % 70'000) + 1'700'000'000'000'000; },
        [&] { return static_cast<std::int64_t>(random()); },
        [&] { return random() % 2 == 0 ? least : greatest; },
    };
    for (int trial = 0; trial < trials(200); ++trial) {
        const auto& source = sources[static_cast<std::size_t>(trial) % sources.size()];
        const auto count = trial % 5 == 0 ? memory_keys::block_size : 1 + random() % 1200;
        std::map<std::uint16_t, std::int64_t> values;
        BlockSet set;
        BlockColumn column;
        for (std::size_t i = 0; i < count; ++i) {
            const auto offset = static_cast<std::uint16_t>(trial % 5 == 0 ? i : random() % memory_keys::block_size);
            const auto value = source();
            values[offset] = value;
            column.put(offset, value);
            set.insert(offset);
            if (random() % 4 == 0) {
                const auto gone = static_cast<std::uint16_t>(random() % memory_keys::block_size);
                values.erase(gone);
                column.erase(gone);
                set.erase(gone);
            }
        }
        if (values.empty()) continue;
        BlockColumn straight;
        BlockSet members;
        for (const auto& [offset, value] : values) {
            straight.put(offset, value);
            members.insert(offset);
        }
        const auto bytes = column.encode();
        REQUIRE(bytes == straight.encode());
        REQUIRE(set == members);
        std::string set_bytes;
        set.encode_to(set_bytes);
        CHECK(*BlockSet::decode(set_bytes) == set);
        CHECK(set.size() == values.size());
        CHECK(*BlockColumn::decode(bytes) == column);

        const auto view = ColumnView::open(bytes);
        REQUIRE(view);
        std::map<std::uint16_t, std::int64_t> read;
        view->each([&](std::uint16_t offset, std::int64_t value) { read[offset] = value; });
        CHECK(read == values);
        const auto any = [&] { return std::next(values.begin(), static_cast<long>(random() % values.size()))->second; };
        for (int i = 0; i < 6; ++i) {
            const auto from = i == 0 ? least : i == 1 ? any() : source();
            const auto to = i == 0 ? any() : i == 1 ? greatest : source();
            BlockSet expected;
            for (const auto& [offset, value] : values)
                if (value >= from && value <= to) expected.insert(offset);
            CHECK(view->between(from, to) == expected);
        }
        const auto begin = random() % (memory_keys::block_size + 1);
        const auto end = random() % (memory_keys::block_size + 100);
        auto clipped = set;
        clipped.keep_between(begin, end);
        BlockSet expected;
        set.each([&](std::uint16_t offset) {
            if (offset >= begin && offset < end) expected.insert(offset);
        });
        CHECK(clipped == expected);
    }
}

TEST_CASE("damaged columns are refused", "[projections][memory_view]") {
    for (const std::int64_t step : {0, 1, 1000})
        for (const int count : {1, 3, 300}) {
            BlockColumn column;
            for (int i = 0; i < count; ++i) column.put(static_cast<std::uint16_t>(i * 3), (i % 7) * step * step);
            check_damage(column.encode(), [](std::string_view bytes) {
                const auto view = ColumnView::open(bytes);
                if (view) view->each([](std::uint16_t, std::int64_t) {});
                if (view) (void)view->between(0, 5);
                return error_of(view);
            });
        }
}

TEST_CASE("doubles sort as their numbers do", "[projections][memory_view]") {
    const std::vector<double> ascending{-1, -5e-324, 0, 5e-324, 0.1, 0.5, std::nextafter(0.5, 1), 1, 2};
    for (std::size_t i = 1; i < ascending.size(); ++i) CHECK(sortable(ascending[i - 1]) < sortable(ascending[i]));
    CHECK(sortable(-0.0) == sortable(0.0));
}

TEST_CASE("an event that cannot follow its stream's state is refused, and changes nothing",
          "[projections][memory_view]") {
    EventFeed feed;
    const auto event = [](std::uint64_t id, EventBody body, std::string project = "shop") {
        MemoryEvent made;
        made.memory_id = memory_id(id);
        made.scope.project = std::move(project);
        made.body = std::move(body);
        return made;
    };
    MemoryRecorded body;
    body.content = "content";
    feed.append(event(1, body));
    FollowedView followed;
    REQUIRE(followed.apply(feed));
    const auto before = *followed.space.map();

    MemoryRevised other_kind;
    other_kind.fields = EntityFields{"a", "b"};
    const std::vector<MemoryEvent> bad{event(1, body), event(1, other_kind), event(2, MemoryForgotten{}),
                                       event(1, MemoryForgotten{}, "ops")};
    for (const auto& one : bad) {
        auto longer = feed;
        longer.append(event(3, body));  // Good, and in the same batch.
        longer.append(one);
        const auto status = followed.apply(longer);
        REQUIRE_FALSE(status);
        CHECK(status.error().code == ErrorCode::internal);
        CHECK(*followed.space.map() == before);
    }
    feed.append(event(3, body));
    REQUIRE(followed.apply(feed));
    CHECK(followed.reader()->applied() == feed.head());
}

TEST_CASE("each type of event is one that changes memories or one that does not", "[projections][memory_view]") {
    std::set<EventType> passed_over;
    for (std::uint16_t number = 1; number <= event_type_count; ++number)
        if (!changes_memory(static_cast<EventType>(number))) passed_over.insert(static_cast<EventType>(number));
    CHECK(passed_over == std::set{EventType::erasure_requested, EventType::erasure_completed,
                                  EventType::memory_recalled, EventType::policy_changed});
}
