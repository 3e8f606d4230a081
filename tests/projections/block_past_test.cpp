#include "projections/block_past.h"

#include "support/memory_space.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <random>

using namespace annal;
using namespace annal::testing;

namespace {

// A block of 40 bytes, one of which each event changes; after each event, what it then was.
class ChangedBlock {
 public:
    explicit ChangedBlock(std::uint64_t seed) : random_(seed), states_{{Seq{0}, std::string(40, 'a')}} {}

    // `count` events in one batch.
    void change(std::size_t count) {
        const auto batch = space.new_batch();
        auto past = BlockPast::load(*batch, base);
        REQUIRE(past);
        for (; count > 0; --count) {
            auto [seq, now] = states_.back();
            seq.value += 1 + random_() % 3;
            const auto at = random_() % now.size();
            const std::string was{static_cast<char>(at), now[at]};
            now[at] = static_cast<char>('a' + random_() % 26);
            REQUIRE(past->add(seq, was, [&]() -> Result<std::string> { return now; }));
            states_.emplace_back(seq, now);
        }
        past->finish(*batch);
        REQUIRE(space.write(*batch));
    }
    Result<BlockRewind> rewind_to(Seq as_of) const {
        const auto rows = space.iterate();
        rows->seek(past_key(base, Seq{as_of.value + 1}));
        return rewind(*rows, base, as_of);
    }
    std::string as_of(Seq as_of) const {
        const auto back = rewind_to(as_of);
        REQUIRE(back);
        auto block = back->image.value_or(states_.back().second);
        for (const auto& was : back->was) block[static_cast<std::size_t>(was[0])] = was[1];
        return block;
    }
    std::string expected(Seq as_of) const {
        std::string found;
        for (const auto& [seq, state] : states_)
            if (seq <= as_of) found = state;
        return found;
    }
    Seq head() const { return states_.back().first; }

    MemorySpace space;
    const std::string base = "past of a block";

 private:
    std::mt19937_64 random_;
    std::vector<std::pair<Seq, std::string>> states_;
};

}  // namespace

TEST_CASE("a block is brought back to how it was at any seq, for what it takes to read it", "[projections][as_of]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    ChangedBlock cut(seed);
    for (int batch = 0; batch < 40; ++batch) {
        const auto count = 1 + random() % 60;
        cut.change(count);
        if (batch == 20)  // Keys of others, before and behind.
            for (const auto* key : {"past of", "past of b"}) {
                const auto put = cut.space.new_batch();
                put->put(key, "no segment");
                REQUIRE(cut.space.write(*put));
            }
    }
    std::size_t undone_most = 0;
    for (Seq seq{0}; seq <= cut.head(); ++seq.value) {
        REQUIRE(cut.as_of(seq) == cut.expected(seq));
        undone_most = std::max(undone_most, cut.rewind_to(seq)->was.size());
    }
    // 512 bytes of changes and a segment, of four to six bytes each.
    CHECK(undone_most < 200);
    CHECK(cut.rewind_to(cut.head())->was.empty());
}

TEST_CASE("the past of a block does not depend on how events are cut into batches", "[projections][as_of]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    ChangedBlock one_by_one(seed);
    ChangedBlock at_once(seed);
    for (int i = 0; i < 700; ++i) one_by_one.change(1);
    at_once.change(700);
    CHECK(*one_by_one.space.map() == *at_once.space.map());
}

TEST_CASE("a damaged past is an error", "[projections][as_of]") {
    ChangedBlock block(1);
    block.change(300);
    for (const auto& [key, value] : *block.space.map()) {
        for (std::size_t size = 0; size < value.size(); size += 1 + value.size() / 20) {
            ChangedBlock cut(1);
            const auto batch = cut.space.new_batch();
            batch->put(key, std::string_view(value).substr(0, size));
            REQUIRE(cut.space.write(*batch));
            const auto back = cut.rewind_to(Seq{0});  // Cut between two changes it reads as fewer.
            if (!back) CHECK(back.error().code == ErrorCode::data_loss);
            if (size < 2) CHECK_FALSE(back);
        }
    }
}
