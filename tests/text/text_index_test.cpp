#include "projections/text_index.h"

#include "support/seed.h"
#include "support/text_store.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>
#include <tuple>

using namespace annal;
using namespace annal::testing;

namespace {

std::vector<Posting> postings_of(const TextIndex::Reader& reader, const std::string& term) {
    auto found = reader.postings(std::vector{term});
    REQUIRE(found);
    return (*found)[0];
}

// Everything the index says of a project, against a count from the start.
void check_against_model(const TextStore& store, std::string_view project) {
    const auto reader = store.reader(project);
    const auto& table = reader->table();
    std::uint64_t memories = 0;
    std::uint64_t length = 0;
    std::map<std::string, std::map<std::uint64_t, std::uint32_t>> expected;  // By term: tf by ordinal.
    std::map<std::string, std::vector<std::uint64_t>> sessions;
    std::size_t slots = 0;
    for (const auto& [ordinal, memory] : store.model) {
        for (const auto& [term, tf] : memory.terms()) expected[term];  // Asked for even when none is left.
        if (memory.said.project != project) continue;
        const auto slot = table.slot_of(ordinal);
        REQUIRE(slot == slots++);
        const auto& entry = table[*slot];
        CHECK(entry.live == memory.live);
        CHECK(entry.length == (memory.live ? memory.length() : 0));
        if (!memory.said.session.empty()) sessions[memory.said.session].push_back(ordinal.value);
        if (!memory.live) continue;
        ++memories;
        length += memory.length();
        for (const auto& [term, tf] : memory.terms()) expected[term][ordinal.value] = tf;
        const auto questions = Analyzer::questions(memory.said.content);
        CHECK(entry.asks == questions.asks);
        CHECK(std::abs(entry.asked_share() - static_cast<double>(questions.asked_share)) < 1.0 / 255);
        CHECK(entry.spoken == memory.said.spoken);
        Analyzer analyzer;
        std::vector<std::string> name;
        if (memory.said.spoken) analyzer.words(memory.said.actor, name);
        CHECK(table.speakers()[entry.speaker] == name);
    }
    CHECK(table.size() == slots);
    CHECK(table.statistics().memories == memories);
    CHECK(table.statistics().length_total == length);
    for (const auto& [term, by_ordinal] : expected) {
        std::map<std::uint64_t, std::uint32_t> found;
        std::uint32_t before = 0;
        for (const auto& [slot, tf] : postings_of(*reader, term)) {
            CHECK((found.empty() || slot > before));
            before = slot;
            found[table[slot].ordinal.value] = tf;
        }
        CAPTURE(term);
        CHECK((found == by_ordinal));
    }
    for (const auto& [name, members] : sessions) {
        for (std::size_t i = 0; i < members.size(); ++i) {
            for (const int distance : {-2, -1, 1, 2}) {
                const auto at = static_cast<std::ptrdiff_t>(i) + distance;
                const bool there = at >= 0 && at < std::ssize(members) &&
                                   store.model.at(Seq{members[static_cast<std::size_t>(at)]}).live;
                const auto neighbour = table.neighbour(*table.slot_of(Seq{members[i]}), distance);
                REQUIRE((neighbour != no_slot) == there);
                if (there) CHECK(table[neighbour].ordinal.value == members[static_cast<std::size_t>(at)]);
            }
        }
    }
}

// The tape folded anew, in batches of the sizes that `next_size` gives.
template <class NextSize>
std::string digest_of(const EventTape& tape, NextSize&& next_size) {
    MemorySpace space;
    Seq applied;
    const auto index = TextIndex::create();
    REQUIRE(index->open(space, applied));
    while (applied < tape.head()) {
        const Seq up_to{std::min(tape.head().value, applied.value + next_size())};
        REQUIRE(follow(tape, *index, space, applied, up_to));
    }
    const auto digest = index->digest();
    REQUIRE(digest);
    return *digest;
}

// `except`: letters of keys. What only reads as of an earlier seq see is left out.
bool anywhere(const MemorySpace& space, std::string_view word, std::string_view except = "hq") {
    return std::ranges::any_of(*space.map(), [&](const auto& row) {
        const auto& [key, value] = row;
        const auto letter = key[key.find('\0') + 1];
        return except.find(letter) == except.npos && (key.find(word) != key.npos || value.find(word) != value.npos);
    });
}

}  // namespace

TEST_CASE("after random events the index is what a count from the start gives", "[text]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    for (int trial = 0; trial < trials(6); ++trial) {
        TextStore store;
        RandomTexts texts(seed + static_cast<unsigned>(trial), 40);
        for (int round = 0; round < 12; ++round) {
            for (auto steps = texts.random()() % 60; steps > 0; --steps) texts.step(store);
            store.catch_up();
            if (texts.random()() % 3 == 0) REQUIRE(store.index->idle());
            check_against_model(store, "p");
            check_against_model(store, "q");
        }
    }
}

TEST_CASE("long lists of postings keep right as memories leave and come back", "[text]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    TextStore store;
    RandomTexts texts(seed, 4);
    for (int i = 0; i < 1500; ++i) store.record({.content = texts.text(4), .session = "s"});
    store.catch_up();
    std::vector<Seq> all;
    for (const auto& [ordinal, memory] : store.model) all.push_back(ordinal);
    for (int round = 0; round < 3; ++round) {
        // Some of each block; then whole blocks at once, back in the same batch; then all there are.
        if (round == 1)
            std::ranges::sort(all);
        else
            std::ranges::shuffle(all, texts.random());
        const auto some = static_cast<std::ptrdiff_t>(round == 2 ? all.size() : all.size() * 2 / 3);
        std::for_each(all.begin(), all.begin() + some, [&](Seq ordinal) { store.forget(ordinal); });
        if (round != 1) {
            store.catch_up();
            check_against_model(store, "p");
        }
        std::shuffle(all.begin(), all.begin() + some, texts.random());
        std::for_each(all.begin(), all.begin() + some, [&](Seq ordinal) { store.restore(ordinal); });
        store.catch_up();
        check_against_model(store, "p");
    }
    // However long the list, no row is.
    for (const auto& [key, value] : *store.space.map())
        if (key.starts_with(std::string("p\0p", 3))) CHECK(value.size() < 700);
}

TEST_CASE("the digest does not depend on batches, and a rebuild repeats it", "[text]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    for (int trial = 0; trial < trials(3); ++trial) {
        TextStore store;
        RandomTexts texts(seed + static_cast<unsigned>(trial), 12);
        for (int i = 0; i < 700; ++i) texts.step(store);
        const auto at_once = digest_of(store.tape, [] { return std::uint64_t{100'000}; });
        CHECK(digest_of(store.tape, [] { return std::uint64_t{1}; }) == at_once);
        CHECK(digest_of(store.tape, [&] { return 1 + texts.random()() % 90; }) == at_once);

        store.catch_up();
        REQUIRE(store.space.clear());
        REQUIRE(store.index->reset());
        CHECK(store.reader()->table().size() == 0);
        store.applied = Seq{0};
        store.catch_up();
        CHECK(*store.index->digest() == at_once);
    }
}

TEST_CASE("a batch of thousands gives what one event at a time gives", "[text]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    TextStore store;
    RandomTexts texts(seed, 400);
    const std::vector<std::string> odd{"",
                                       "of the who",
                                       "load_page in main.cpp",
                                       "na\u00efve caf\u00e9",
                                       "\u6771\u4eac",
                                       "don't? \xff\xfe",
                                       std::string(300, 'x')};
    for (int i = 0; i < 4000; ++i) {
        texts.step(store);
        if (texts.random()() % 3 != 0) continue;
        auto said = texts.said();
        said.content += " " + odd[texts.random()() % odd.size()];
        store.record(said);
    }
    const auto one_by_one = digest_of(store.tape, [] { return std::uint64_t{1}; });
    CHECK(digest_of(store.tape, [] { return std::uint64_t{100'000}; }) == one_by_one);
    CHECK(digest_of(store.tape, [] { return std::uint64_t{2500}; }) == one_by_one);
}

TEST_CASE("a long batch that fails can be folded again", "[text]") {
    TextStore store;
    const auto first = store.record({.content = "steady words", .session = "s", .actor = "Ann"});
    store.catch_up();
    const auto rows = store.space.map();
    const auto entry = std::ranges::find_if(*rows, [](const auto& row) { return row.first[2] == 'f'; });
    const auto put = [&](std::string_view value) {
        const auto batch = store.space.new_batch();
        batch->put(entry->first, value);
        REQUIRE(store.space.write(*batch));
    };
    RandomTexts texts(3, 400);
    for (int i = 0; i < 1200; ++i) store.record({.content = texts.text(12), .session = "s"});
    store.revise_content(first, "other words");
    for (int i = 0; i < 1500; ++i) store.record({.content = texts.text(12), .session = "s"});

    put("\xff");
    CHECK_FALSE(follow(store.tape, *store.index, store.space, store.applied, store.tape.head()));
    put(entry->second);
    store.catch_up();
    CHECK(*store.index->digest() == digest_of(store.tape, [] { return std::uint64_t{1}; }));
}

TEST_CASE("a batch that is given up leaves nothing", "[text]") {
    TextStore store;
    const auto first = store.record({.content = "steady words", .session = "s", .actor = "Ann"});
    store.catch_up();
    const auto before = *store.index->digest();

    store.record({.content = "words that vanish", .session = "s", .actor = "Ben"});
    store.forget(first);
    {
        EventArena arena;
        const auto events = store.tape.read(store.applied, store.tape.head(), arena);
        const auto batch = store.space.new_batch();
        REQUIRE(store.index->apply(events, *batch));
        store.index->discard();
    }
    CHECK(*store.index->digest() == before);
    CHECK(store.reader()->applied() == store.applied);
    CHECK(store.reader()->table().size() == 1);

    store.catch_up();
    check_against_model(store, "p");
    CHECK(*store.index->digest() == digest_of(store.tape, [] { return std::uint64_t{1}; }));
}

TEST_CASE("a closed index opens as it was", "[text]") {
    TextStore store;
    RandomTexts texts(5, 30);
    for (int i = 0; i < 700; ++i) texts.step(store);
    store.catch_up();
    store.index = TextIndex::create();
    REQUIRE(store.index->open(store.space, store.applied));
    CHECK(store.reader()->applied() == store.tape.head());
    check_against_model(store, "p");
    for (int i = 0; i < 100; ++i) texts.step(store);
    store.catch_up();
    check_against_model(store, "p");
    check_against_model(store, "q");
}

TEST_CASE("what was forgotten for good, or revised away, is nowhere in the rows but in the past", "[text]") {
    TextStore store;
    const auto kept = store.record({.content = "plain words", .session = "s", .actor = "Ann"});
    const auto gone = store.record(
        {.content = "zanzibar words", .session = "s", .actor = "Quixote", .tags = {"xylograph"}, .caption = "a yurt"});
    store.catch_up();
    for (const auto* word : {"zanzibar", "quixot", "xylograph", "yurt"}) CHECK(anywhere(store.space, word));

    store.revise_content(gone, "other words");
    store.catch_up();
    CHECK_FALSE(anywhere(store.space, "zanzibar"));

    store.forget(gone);
    store.catch_up();
    for (const auto* word : {"quixot", "xylograph", "yurt"}) {
        CHECK(anywhere(store.space, word));  // What a restore needs, apart from all that is searched.
        CHECK_FALSE(anywhere(store.space, word, "hqx"));
    }

    store.forget(gone, true);
    store.catch_up();
    for (const auto* word : {"quixot", "xylograph", "yurt"}) CHECK_FALSE(anywhere(store.space, word));
    store.restore(gone);
    store.catch_up();
    CHECK_FALSE(store.reader()->table()[1].live);
    CHECK(store.reader()->table()[*store.reader()->table().slot_of(kept)].live);
}

TEST_CASE("a forgotten memory that was revised comes back revised", "[text]") {
    TextStore store;
    const auto one = store.record({.content = "first words?", .session = "s", .actor = "Ann", .tags = {"old"}});
    store.forget(one);
    store.revise_content(one, "second thoughts");
    store.revise_tags(one, {"new"});
    store.catch_up();
    CHECK(postings_of(*store.reader(), "second").empty());
    store.restore(one);
    store.catch_up();
    check_against_model(store, "p");
    CHECK(postings_of(*store.reader(), "thought").size() == 1);
}

TEST_CASE("projects know nothing of each other", "[text]") {
    TextStore store;
    store.record({.content = "shared words", .session = "s", .actor = "Ann", .project = "p"});
    store.record({.content = "shared secrets", .session = "s", .actor = "Ann", .project = "pq"});
    store.catch_up();
    CHECK(postings_of(*store.reader("p"), "secret").empty());
    CHECK(postings_of(*store.reader("p"), "share").size() == 1);
    CHECK(store.reader("p")->table().neighbour(0, 1) == no_slot);
    CHECK(store.reader("nobody")->table().size() == 0);
    CHECK(postings_of(*store.reader("nobody"), "share").empty());
}

TEST_CASE("a reader is one state, whatever is written beside it", "[text]") {
    TextStore store;
    for (int i = 0; i < 40; ++i) store.record({.content = "common words " + std::to_string(i), .session = "s"});
    store.catch_up();
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&] {
            while (!stop) {
                const auto reader = store.index->reader("p");
                const auto found = reader->postings(std::vector<std::string>{"common"});
                std::uint64_t live = 0;
                for (std::uint32_t slot = 0; slot < reader->table().size(); ++slot) live += reader->table()[slot].live;
                if (!found || (*found)[0].size() != live || live != reader->table().statistics().memories) ++wrong;
            }
        });
    }
    for (std::uint64_t i = 1; i <= 40; ++i) {
        store.record({.content = "common new words", .session = "s"});
        store.forget(Seq{i});
        store.catch_up();
        if (i % 10 == 0) REQUIRE(store.index->idle());
    }
    stop = true;
    for (auto& thread : threads) thread.join();
    CHECK(wrong == 0);
}

TEST_CASE("rows that cannot be read are an error, not an answer", "[text]") {
    TextStore store;
    for (int i = 0; i < 300; ++i) store.record({.content = "some words here", .session = "s", .actor = "Ann"});
    store.catch_up();
    const auto rows = store.space.map();
    for (const auto& [key, value] : *rows) {
        if (std::string_view("nead").find(key[2]) == std::string_view::npos) continue;
        MemorySpace damaged;
        const auto batch = damaged.new_batch();
        for (const auto& [other, good] : *rows)
            if (other != key) batch->put(other, good);
        batch->put(key, value.substr(0, value.size() / 2) + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
        REQUIRE(damaged.write(*batch));
        const auto index = TextIndex::create();
        REQUIRE(index->open(damaged, store.applied));
        const auto found =
            index->reader("p")->postings(std::vector<std::string>{"word", "here", "some", "ann", "8", "may", "2023"});
        CAPTURE(key[2]);
        REQUIRE_FALSE(found);
        CHECK(found.error().code == ErrorCode::data_loss);
    }
}

TEST_CASE("the index as of any seq is one that ends there", "[text][as_of]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    for (int trial = 0; trial < trials(4); ++trial) {
        TextStore store;
        RandomTexts texts(seed + static_cast<unsigned>(trial), 30);
        for (int round = 0; round < 30; ++round) {
            for (auto steps = texts.random()() % 60; steps > 0; --steps) texts.step(store);
            store.catch_up();
            if (texts.random()() % 3 == 0) REQUIRE(store.index->idle());
        }
        std::vector<std::string> terms{"carolin", "melani", "ann", "bot"};
        for (int word = 0; word < 30; ++word) terms.push_back("word" + std::to_string(word));

        for (int point = 0; point < 12; ++point) {
            const Seq as_of{point == 0   ? 0
                            : point == 1 ? store.tape.head().value
                                         : texts.random()() % store.tape.head().value};
            MemorySpace space;
            Seq applied;
            const auto ended = TextIndex::create();
            REQUIRE(ended->open(space, applied));
            REQUIRE(follow(store.tape, *ended, space, applied, as_of));
            for (const std::string project : {"p", "q"}) {
                INFO("trial " << trial << " project " << project << " as of " << as_of.value);
                const auto expected = ended->reader(project);
                const auto reader = store.index->reader(project, as_of);
                CHECK(reader->applied() == as_of);
                const auto &was = expected->table(), &is = reader->table();
                CHECK(is.statistics() == was.statistics());
                REQUIRE(is.size() == was.size());
                for (std::uint32_t slot = 0; slot < was.size(); ++slot) {
                    const auto &a = was[slot], &b = is[slot];
                    REQUIRE(std::tie(a.ordinal, a.length, a.session, a.live, a.spoken, a.asks, a.asked) ==
                            std::tie(b.ordinal, b.length, b.session, b.live, b.spoken, b.asks, b.asked));
                    REQUIRE(was.speakers()[a.speaker] == is.speakers()[b.speaker]);
                    for (const int distance : {-2, -1, 1, 2})
                        REQUIRE(was.neighbour(slot, distance) == is.neighbour(slot, distance));
                }
                for (const auto& term : terms) {
                    CAPTURE(term);
                    REQUIRE(postings_of(*reader, term) == postings_of(*expected, term));
                }
            }
        }
    }
}

TEST_CASE("postings and entries as of a seq are right over several images and ranges", "[text][as_of]") {
    TextStore store;
    constexpr std::uint64_t memories = TextTable::past_slots + 800;
    for (std::uint64_t i = 0; i < memories; ++i) store.record({.content = "common first", .spoken = false});
    store.catch_up();
    const auto as_of = store.tape.head();
    for (const auto* content : {"common common", "first", "common second"}) {
        for (std::uint64_t ordinal = 1; ordinal <= memories; ordinal += 3) store.revise_content(Seq{ordinal}, content);
        store.catch_up();
    }
    const auto reader = store.index->reader("p", as_of);
    for (const auto* term : {"common", "first"}) {
        const auto postings = postings_of(*reader, term);
        REQUIRE(postings.size() == memories);
        CHECK(std::ranges::all_of(postings, [](const Posting& posting) { return posting.tf == 1; }));
    }
    CHECK(postings_of(*reader, "second").empty());
    CHECK(reader->table().statistics().length_total == 2 * memories);
}

TEST_CASE("an index as of a seq costs at most twice as much after ten versions as after one", "[text][as_of]") {
    const auto cost = [](unsigned versions) {
        TextStore store;
        for (int i = 0; i < 2000; ++i)
            store.record({.content = "common word" + std::to_string(i % 40), .spoken = false});
        store.catch_up();
        const auto as_of = store.tape.head();
        for (unsigned version = 2; version <= versions; ++version) {
            for (std::uint64_t i = 0; i < 2000; ++i)
                store.revise_content(Seq{i + 1}, std::string(version % 2 == 0 ? "" : "common ") + "word" +
                                                     std::to_string((i + version) % 40));
            store.catch_up();
        }
        const auto before = store.space.bytes_read();
        const auto reader = store.index->reader("p", as_of);
        const auto bytes = store.space.bytes_read();
        CHECK(reader->table().statistics().length_total == 4000);
        CHECK(bytes - before <= 3 * 2000 * 2);  // Two bytes an entry: twice them, and keys.
        CHECK(postings_of(*reader, "common").size() == 2000);
        CHECK(postings_of(*reader, "word7").size() == 50);
        return store.space.bytes_read() - bytes;
    };
    const auto once = cost(1);
    const auto often = cost(10);
    INFO(once << " bytes of rows at one version, " << often << " at ten");
    CHECK(often <= 2 * once);
}
