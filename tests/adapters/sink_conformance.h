// The suite that every sink passes. A test case of a sink calls check_sink_contract() with a maker of far sides; what
// is told of one sink there is true of all.
#pragma once

#include "adapters/sink.h"
#include "adapters/sink_batch.h"
#include "adapters/sink_record.h"
#include "engine/random_history.h"
#include "engine/test_engine.h"
#include "support/seed.h"

#include <annal/changes.h>

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace annal::testing {

// Where sinks of one configuration meet: a directory, a schema, a database of a server. Empty when it is made, and
// removed with what it holds when it is destroyed.
class FarSide {
 public:
    virtual ~FarSide() = default;
    // A sink of it, as another process, or the same one after it started anew, would open it.
    virtual std::unique_ptr<Sink> open() = 0;
    // Applies the batch and is killed somewhere in the middle, or loses its answer; `chance` decides where. Returns
    // when nobody works on it any more. False: nothing like it can be done to this one, and nothing was.
    virtual bool apply_and_die(const SinkBatch& batch, const std::string& store_id, std::uint64_t chance) {
        static_cast<void>(batch), static_cast<void>(store_id), static_cast<void>(chance);
        return false;
    }
};
using MakeFarSide = std::function<std::unique_ptr<FarSide>()>;

inline const std::string sink_store_id = "0191e3c0-0000-7000-8000-000000000001";

// A place in a log that is not there: the hash follows from the seq.
inline SinkPosition position_at(std::uint64_t seq, std::uint64_t epoch = 1) {
    SinkPosition position{sink_store_id, epoch, Seq{seq}, {}};
    if (seq != 0) position.hash.fill(static_cast<std::uint8_t>(seq));
    return position;
}
inline SinkBatch batch_between(std::uint64_t from, std::uint64_t to) {
    SinkBatch batch;
    batch.from = position_at(from);
    batch.to = position_at(to);
    return batch;
}

inline MemoryId sink_memory_id(std::uint8_t number) {
    MemoryId id{};
    id.bytes = {0x01, 0x91, 0xe3, 0xc0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, number};
    return id;
}
inline SinkRecord sink_record(std::uint8_t number, std::string content, Seq seq, Scope scope = {"shop", "", "", ""}) {
    SinkRecord record;
    auto& memory = record.memory;
    memory.id = sink_memory_id(number);
    memory.version = Version{1};
    memory.seq = memory.created_seq = seq;
    memory.scope = std::move(scope);
    memory.content = std::move(content);
    memory.recorded_at = memory.updated_at =
        memory.occurred_at = {1'790'000'000'000'000 + static_cast<std::int64_t>(seq.value)};
    return record;
}
inline SinkRemoval removal_of(const SinkRecord& record) {
    return {record.memory.scope.project, record.memory.kind(), record.memory.id};
}
inline DeadLetter dead_letter_of(const SinkRecord& record, std::string reason) {
    return {record.memory.scope.project, record.memory.kind(),     record.memory.id,         record.memory.seq,
            std::move(reason),           record.memory.scope.user, record.memory.created_seq};
}

// What a far side is to hold, and what it does: a line for each, in the order of a walk.
class SinkModel {
 public:
    explicit SinkModel(bool keeps_vectors) : keeps_vectors_(keeps_vectors) {}

    void apply(const SinkBatch& batch) {
        for (const auto& erasure : batch.erasures) {
            std::erase_if(records_, [&](const auto& row) {
                const auto& memory = row.second.memory;
                return memory.scope.project == erasure.project && memory.scope.user == erasure.user &&
                       memory.created_seq < erasure.requested_at;
            });
            std::erase_if(letters_, [&](const auto& row) {
                const auto& letter = row.second;
                return letter.project == erasure.project && letter.user == erasure.user &&
                       letter.created_seq < erasure.requested_at;
            });
        }
        for (const auto& removal : batch.removals) {
            records_.erase({removal.project, removal.memory_id});
            letters_.erase({removal.project, removal.memory_id});
        }
        for (const auto& record : batch.upserts) {
            auto& kept = records_[{record.memory.scope.project, record.memory.id}] = record;
            if (!keeps_vectors_) kept.embedding.reset();
            letters_.erase({record.memory.scope.project, record.memory.id});
        }
        for (const auto& letter : batch.dead_letters) {
            records_.erase({letter.project, letter.memory_id});
            letters_[{letter.project, letter.memory_id}] = letter;
        }
        at_ = batch.to;
    }
    const SinkPosition& at() const { return at_; }

    std::string text() const {
        std::string text = said(at_);
        for (const auto& [key, record] : records_) text += said(record);
        for (const auto& [key, letter] : letters_) text += said(letter);
        return text;
    }
    static std::string walked(SinkWalk& walk, std::size_t page) {
        std::string text = said(walk.position());
        for (;;) {
            const auto records = walk.next(page);
            if (!records) FAIL(records.error().message);
            if (records->empty()) break;
            REQUIRE(records->size() <= page);
            for (const auto& record : *records) text += said(record);
        }
        const auto letters = walk.dead_letters();
        if (!letters) FAIL(letters.error().message);
        for (const auto& letter : *letters) text += said(letter);
        return text;
    }

 private:
    using Key = std::pair<std::string, MemoryId>;

    static std::string said(const SinkPosition& at) {
        return at.store_id + " " + std::to_string(at.epoch) + " " + std::to_string(at.seq.value) + " " +
               std::to_string(at.hash[0]) + " " + std::to_string(at.hash[31]) + "\n";
    }
    static std::string said(const SinkRecord& record) { return canonical_text(record) + "\n"; }
    static std::string said(const DeadLetter& letter) {
        return "dead " + letter.project + " " + std::string(to_string(letter.kind)) + " " +
               to_string(letter.memory_id) + " " + std::to_string(letter.seq.value) + " " + letter.reason + " " +
               letter.user + " " + std::to_string(letter.created_seq.value) + "\n";
    }

    bool keeps_vectors_;
    SinkPosition at_ = position_at(0);
    std::map<Key, SinkRecord> records_;
    std::map<Key, DeadLetter> letters_;
};

// A far side, a sink of it that took it over, and the model of what is there.
class SinkUnderTest {
 public:
    explicit SinkUnderTest(const MakeFarSide& make)
        : far(make()), sink(far->open()), model(sink->capabilities().keeps_vectors) {
        const auto taken = sink->take_over(sink_store_id);
        if (!taken) FAIL(taken.error().message);
        REQUIRE_FALSE(*taken);
    }
    void apply(const SinkBatch& batch) {
        const auto applied = sink->apply(batch);
        if (!applied) FAIL(applied.error().message);
        model.apply(batch);
    }
    // The same process, started anew.
    std::optional<SinkPosition> reopen() {
        sink = far->open();
        auto taken = sink->take_over(sink_store_id);
        if (!taken) FAIL(taken.error().message);
        return *taken;
    }
    void check(std::size_t page = 100) const {
        auto walk = far->open()->walk();
        if (!walk) FAIL(walk.error().message);
        REQUIRE(SinkModel::walked(**walk, page) == model.text());
    }
    void check_refused(const SinkBatch& batch, const std::string& detail) {
        const auto applied = sink->apply(batch);
        REQUIRE_FALSE(applied);
        CHECK(applied.error().code == ErrorCode::conflict);
        CHECK(applied.error().details.contains(detail));
    }

    std::unique_ptr<FarSide> far;
    std::unique_ptr<Sink> sink;
    SinkModel model;
};

// Records with what is hard to keep: every kind with all its fields, text that has to be quoted, numbers at their ends.
inline std::vector<SinkRecord> hard_sink_records() {
    const std::string text =
        "a \"b\" \\ 'c' $1 %s {d}\n\t\x01 \xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x98\x80 NULL \\N";
    std::vector<KindFields> all{{},
                                HeuristicFields{text, "s"},
                                OutcomeFields{"t", text, "", true, std::numeric_limits<std::int64_t>::max(), "e", "f"},
                                OutcomeFields{"t", "d", "", false, std::nullopt, "", text},
                                PreferenceFields{text},
                                DomainKnowledgeFields{text},
                                AntiPatternFields{text, ""},
                                EntityFields{"n", text},
                                RelationFields{"a", "b", text, 0.1, true}};
    std::vector<SinkRecord> records;
    for (const auto& fields : all) {
        const auto number = static_cast<std::uint8_t>(records.size() + 1);
        auto record = sink_record(number, text, Seq{number}, {"shop " + text.substr(0, 20), text, "u", "s"});
        record.memory.fields = fields;
        record.memory.tags = {text, "", "tag", "a,b", "{x}"};
        record.memory.metadata = R"({"b":[1,-2,0.1,true,null,"x\"\\"],"a":{"":{}},"big":9007199254740993,)"
                                 R"("n":[1e19,1e300,5e-324,-0.0,18446744073709551615,-9223372036854775808]})";
        record.memory.claim = static_cast<Claim>(number % claim_names.size());
        record.memory.confidence = 1.0 / 3;
        record.memory.occurrence_count = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        record.memory.success_count = 3;
        record.memory.actor = text;
        record.memory.source = {SourceType::url, text};
        record.memory.occurred_at = {0};
        record.memory.valid_from = Timestamp{1};
        record.memory.valid_to = Timestamp{253'402'300'799'999'999};
        record.memory.expires_at = Timestamp{253'402'300'799'000'001};
        record.memory.verified_at = Timestamp{1'790'000'000'000'001};
        record.memory.superseded_by = sink_memory_id(99);
        record.embedding = Embedding{"m/" + text.substr(0, 20), {}};
        for (const float value : {0.1F, -0.0F, 1e-45F, -1.1754942e-38F, 0.70710677F, 1.0F / 3})
            record.embedding->values.push_back(value);
        record.memory.embedding_model = record.embedding->model;
        record.memory.embedding_dimension = static_cast<std::uint32_t>(record.embedding->values.size());
        records.push_back(std::move(record));
    }
    auto plain = sink_record(40, "plain", Seq{40}, {"a", "", "", ""});
    plain.memory.metadata = "\"text\"";
    records.push_back(plain);
    plain = sink_record(41, "", Seq{41}, {"zz", "", "", ""});
    plain.memory.metadata = "null";
    records.push_back(plain);
    return records;
}

inline void check_sink_positions(const MakeFarSide& make) {
    SinkUnderTest it(make);
    const auto nothing = it.far->open()->walk();
    REQUIRE_FALSE(nothing);
    CHECK(nothing.error().code == ErrorCode::not_found);

    auto first = batch_between(0, 3);
    first.upserts = {sink_record(1, "tea", Seq{1}), sink_record(2, "rain", Seq{3})};
    it.apply(first);
    it.check();
    CHECK(it.reopen() == position_at(3));

    // From elsewhere: another seq, the same seq of another history, from the start; and the same batch again.
    auto late = batch_between(2, 4);
    late.upserts = {sink_record(3, "late", Seq{4})};
    it.check_refused(late, "position");
    late.from = position_at(3);
    late.from.hash[31] ^= 1;
    it.check_refused(late, "position");
    late.from = position_at(3, 2);
    it.check_refused(late, "position");
    late.from = position_at(0);
    it.check_refused(late, "position");
    it.check_refused(first, "position");
    it.check();

    it.apply(batch_between(3, 9));  // Nothing that concerns a sink.
    it.check();
    auto next = batch_between(9, 10);
    next.to.epoch = 2;
    it.apply(next);
    it.check();
    CHECK(it.reopen() == position_at(10, 2));
}

inline void check_sink_fence(const MakeFarSide& make) {
    SinkUnderTest it(make);
    auto batch = batch_between(0, 1);
    batch.upserts = {sink_record(1, "tea", Seq{1})};
    it.apply(batch);

    const auto other = it.far->open();
    const auto taken = other->take_over(sink_store_id);
    REQUIRE(taken);
    CHECK(*taken == position_at(1));
    auto next = batch_between(1, 2);
    next.upserts = {sink_record(2, "rain", Seq{2})};
    it.check_refused(next, "fenced");
    const auto cleared = it.sink->clear();
    REQUIRE_FALSE(cleared);
    CHECK(cleared.error().code == ErrorCode::conflict);
    CHECK(cleared.error().details.contains("fenced"));
    it.check();

    REQUIRE(other->apply(next));
    it.model.apply(next);
    it.check_refused(batch_between(2, 3), "fenced");
    it.check();
    CHECK(it.reopen() == position_at(2));  // And back.
    it.apply(batch_between(2, 3));
    CHECK_FALSE(other->apply(batch_between(3, 4)));
    it.check();
}

inline void check_sink_removals(const MakeFarSide& make) {
    SinkUnderTest it(make);
    auto tea = sink_record(1, "tea", Seq{1});
    auto batch = batch_between(0, 2);
    batch.upserts = {tea, sink_record(2, "rain", Seq{2})};
    it.apply(batch);
    batch = batch_between(2, 3);
    batch.removals = {removal_of(tea), removal_of(sink_record(9, "was never there", Seq{3}))};
    it.apply(batch);
    it.check();
    batch = batch_between(3, 5);  // Restored, and changed.
    tea.memory.content = "green tea";
    tea.memory.version = Version{4};
    tea.memory.seq = Seq{5};
    tea.embedding = Embedding{"m", {1, 0}};
    tea.memory.embedding_model = "m";
    tea.memory.embedding_dimension = 2;
    batch.upserts = {tea};
    it.apply(batch);
    it.check();
    batch = batch_between(5, 6);  // The vector goes, it has another dimension later, and one of another model.
    tea.embedding.reset();
    tea.memory.embedding_model.clear();
    tea.memory.embedding_dimension = 0;
    batch.upserts = {tea};
    it.apply(batch);
    it.check();
    batch = batch_between(6, 7);
    tea.embedding = Embedding{"n", {0, 1, 0}};
    tea.memory.embedding_model = "n";
    tea.memory.embedding_dimension = 3;
    batch.upserts = {tea};
    it.apply(batch);
    it.check();
    // The same id in another project is another memory.
    batch = batch_between(7, 8);
    batch.upserts = {sink_record(1, "elsewhere", Seq{8}, {"home", "", "", ""})};
    it.apply(batch);
    batch = batch_between(8, 9);
    batch.removals = {removal_of(tea)};
    it.apply(batch);
    it.check();
}

inline void check_sink_erasures(const MakeFarSide& make) {
    SinkUnderTest it(make);
    const Scope ann{"shop", "qa", "ann", "s1"}, bob{"shop", "", "bob", ""}, home{"home", "", "ann", ""};
    auto batch = batch_between(0, 5);
    batch.upserts = {sink_record(1, "ann's tea", Seq{1}, ann),
                     sink_record(2, "ann's rain", Seq{2}, {"shop", "", "ann", ""}),
                     sink_record(3, "bob's", Seq{3}, bob), sink_record(4, "at home", Seq{4}, home),
                     sink_record(5, "nobody's", Seq{5})};
    it.apply(batch);
    batch = batch_between(5, 9);
    batch.erasures = {{"shop", "ann", Seq{7}}};
    batch.upserts = {sink_record(6, "ann is back", Seq{9}, ann)};
    it.apply(batch);
    it.check();
    it.reopen();
    it.check();
    batch = batch_between(9, 11);  // What is newer than it stays, also of what was there before.
    batch.erasures = {{"shop", "ann", Seq{7}}, {"nowhere", "nobody", Seq{10}}};
    it.apply(batch);
    it.check();
    batch = batch_between(11, 12);
    batch.erasures = {{"shop", "ann", Seq{12}}};
    it.apply(batch);
    it.check();
}

inline void check_sink_dead_letters(const MakeFarSide& make) {
    SinkUnderTest it(make);
    auto tea = sink_record(1, "tea", Seq{1});
    auto rain = sink_record(2, "rain", Seq{2});
    auto batch = batch_between(0, 2);
    batch.upserts = {tea};
    batch.dead_letters = {dead_letter_of(rain, "it is larger than it may be")};
    it.apply(batch);
    it.check();
    batch = batch_between(2, 4);
    tea.memory.seq = Seq{4};
    batch.dead_letters = {dead_letter_of(tea, "it is \"too\" large now")};
    it.apply(batch);
    it.check();
    it.reopen();
    it.check();
    batch = batch_between(4, 5);
    batch.upserts = {rain};
    it.apply(batch);
    it.check();
    batch = batch_between(5, 6);
    batch.removals = {removal_of(tea)};
    it.apply(batch);
    it.check();
    // An erasure takes them, too: not those of others, nor of what is newer.
    const Scope ann{"shop", "", "ann", ""};
    batch = batch_between(6, 9);
    batch.dead_letters = {dead_letter_of(sink_record(3, "", Seq{7}, ann), "it is too large"),
                          dead_letter_of(sink_record(4, "", Seq{8}, ann), "it is too large"),
                          dead_letter_of(sink_record(5, "", Seq{7}, {"home", "", "ann", ""}), "it is too large"),
                          dead_letter_of(sink_record(6, "", Seq{7}), "it is too large")};
    it.apply(batch);
    it.check();
    batch = batch_between(9, 10);
    batch.erasures = {{"shop", "ann", Seq{8}}};
    it.apply(batch);
    it.check();
}

inline void check_sink_values(const MakeFarSide& make) {
    SinkUnderTest it(make);
    auto batch = batch_between(0, 50);
    std::size_t taken = 0;
    for (auto& record : hard_sink_records()) {
        if (it.sink->refuses(record)) continue;
        ++taken;
        batch.upserts.push_back(std::move(record));
    }
    CHECK(taken > 0);
    it.apply(batch);
    it.check(1);
    // Nothing of the first write stays where the second has nothing.
    auto again = batch_between(50, 51);
    for (const auto& record : batch.upserts) {
        auto plain =
            sink_record(record.memory.id.bytes[15], "plain now", Seq{51}, {record.memory.scope.project, "", "", ""});
        plain.memory.fields = empty_fields(record.memory.kind());
        again.upserts.push_back(std::move(plain));
    }
    it.apply(again);
    it.check(3);
}

inline void check_sink_ownership(const MakeFarSide& make) {
    SinkUnderTest it(make);
    auto batch = batch_between(0, 1);
    batch.upserts = {sink_record(1, "tea", Seq{1})};
    it.apply(batch);
    const auto stranger = it.far->open();
    const auto taken = stranger->take_over("0191e3c0-0000-7000-8000-00000000000f");
    REQUIRE_FALSE(taken);
    CHECK(taken.error().code == ErrorCode::conflict);
    CHECK(taken.error().details.at("store_id") == sink_store_id);
    it.apply(batch_between(1, 2));  // The fence is where it was.
    it.check();

    REQUIRE(it.sink->clear());
    const auto nothing = it.far->open()->walk();
    REQUIRE_FALSE(nothing);
    CHECK(nothing.error().code == ErrorCode::not_found);
    it.check_refused(batch_between(2, 3), "position");
    it.model = SinkModel(it.sink->capabilities().keeps_vectors);
    it.apply(batch);  // From the start.
    it.check();
    REQUIRE(it.sink->clear());
    const auto now = stranger->take_over("0191e3c0-0000-7000-8000-00000000000f");
    REQUIRE(now);
    CHECK_FALSE(*now);
}

inline void check_sink_walks_are_frozen(const MakeFarSide& make) {
    SinkUnderTest it(make);
    auto batch = batch_between(0, 20);
    for (std::uint8_t i = 1; i <= 20; ++i) batch.upserts.push_back(sink_record(i, "of then", Seq{i}));
    it.apply(batch);
    const auto reader = it.far->open();
    auto walk = reader->walk();
    REQUIRE(walk);
    const auto then = it.model.text();
    batch = batch_between(20, 40);
    for (std::uint8_t i = 10; i <= 40; ++i) batch.upserts.push_back(sink_record(i, "of now", Seq{i}));
    batch.removals = {removal_of(sink_record(2, "", Seq{2}))};
    batch.dead_letters = {dead_letter_of(sink_record(3, "", Seq{40}), "it is too large")};
    batch.erasures = {{"elsewhere", "ann", Seq{40}}};
    it.apply(batch);
    CHECK(SinkModel::walked(**walk, 7) == then);
    it.check();
}

// Memories of an engine, in batches cut anywhere, over sinks that are opened anew now and then, and killed where that
// can be done.
inline void check_sink_follows(const MakeFarSide& make) {
    const auto seed = test_seed();
    for (int trial = 0; trial < trials(3); ++trial) {
        INFO("ANNAL_SEED=" << seed << " trial " << trial);
        RandomHistory history(seed + static_cast<std::uint64_t>(trial));
        TestEngine engine;
        for (int i = 0; i < 300; ++i) history.step(*engine, engine.clock());
        SinkUnderTest it(make);
        while (it.model.at().seq < engine->head()) {
            auto changes = engine->changes({.after = it.model.at().seq, .events_max = 1 + history.below(60)});
            if (!changes) FAIL(changes.error().message);
            const auto batch = to_batch(std::move(*changes), it.model.at(), 1, *it.sink);
            INFO("(" << batch.from.seq.value << ", " << batch.to.seq.value << "]");
            std::optional<SinkPosition> before;
            if (batch.from.seq > Seq{}) before = batch.from;
            if (history.one_in(3) && it.far->apply_and_die(batch, sink_store_id, history.below(1'000'000))) {
                const auto there = it.reopen();
                if (there != before) {  // All of it, or nothing.
                    REQUIRE(there == batch.to);
                    it.model.apply(batch);
                    it.check();
                    continue;
                }
                if (before) it.check();
            } else if (history.one_in(3)) {
                REQUIRE(it.reopen() == before);
            }
            it.apply(batch);
            if (history.one_in(3)) it.check(1 + history.below(40));
        }
        it.check();
    }
}

// Call it from a TEST_CASE: each part is a section of it.
inline void check_sink_contract(const MakeFarSide& make) {
    SECTION("a batch leads from where the sink is, and from nowhere else") {
        check_sink_positions(make);
    }
    SECTION("whoever takes a sink over fences all others") {
        check_sink_fence(make);
    }
    SECTION("what is removed goes, and may come back") {
        check_sink_removals(make);
    }
    SECTION("what a user had before his erasure goes, and nothing else") {
        check_sink_erasures(make);
    }
    SECTION("a dead letter stands in for its memory") {
        check_sink_dead_letters(make);
    }
    SECTION("every value comes back as it was given") {
        check_sink_values(make);
    }
    SECTION("a sink is one store's until it is cleared") {
        check_sink_ownership(make);
    }
    SECTION("a walk sees one position") {
        check_sink_walks_are_frozen(make);
    }
    SECTION("a sink holds what the log says, in whatever cuts, killed or not") {
        check_sink_follows(make);
    }
}

}  // namespace annal::testing
