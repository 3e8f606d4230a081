#include "projections/block_past.h"

#include "support/memory_space.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <random>

using namespace annal;
using namespace annal::testing;

namespace {

// A block of some bytes, at most 256, one of which each event changes; after each event, what it then was.
class ChangedBlock {
 public:
    explicit ChangedBlock(std::uint64_t seed, std::size_t size = 40)
        : random_(seed), states_{{Seq{0}, std::string(size, 'a')}} {}

    // `count` events in one batch.
    void change(std::size_t count) {
        const auto batch = space.new_batch();
        auto past = BlockPast::load(*batch, base, images);
        REQUIRE(past);
        for (; count > 0; --count) {
            auto [seq, before] = states_.back();
            auto now = std::move(before);
            seq.value += 1 + random_() % 3;
            const auto at = random_() % now.size();
            const std::string was(1 + at % 4, now[at]);
            now[at] = static_cast<char>('a' + random_() % 26);
            REQUIRE(past->add(seq, {static_cast<std::uint32_t>(at), was}, [&]() -> Result<std::string> {
                ++images_asked;
                return now + padding;
            }));
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
        block.resize(states_.front().second.size());
        for (auto i = back->size(); i > 0; --i) {
            const auto [place, was] = (*back)[i - 1];
            REQUIRE(was.size() == 1 + place % 4);
            block[place] = was[0];
        }
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
    std::string padding;  // Of the images.
    unsigned images = 2;
    std::size_t images_asked = 0;

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
        undone_most = std::max(undone_most, cut.rewind_to(seq)->size());
    }
    // 512 bytes of changes and a segment, of three to seven bytes each.
    CHECK(undone_most < 200);
    CHECK(cut.rewind_to(cut.head())->size() == 0);
}

TEST_CASE("of a big block few images are made, and few rows are read", "[projections][as_of]") {
    ChangedBlock block(test_seed(), 256);
    block.padding.assign(4000, '.');
    for (int batch = 0; batch < 300; ++batch) block.change(10);  // 15 000 bytes of changes and more.
    CHECK(block.images_asked <= 10);                             // The first, and one for each 2128 of them.
    std::size_t images = 0;
    std::size_t rows_most = 0;
    for (Seq seq{0}; seq <= block.head(); seq.value += 50) {
        REQUIRE(block.as_of(seq) == block.expected(seq));
        const auto back = block.rewind_to(seq);
        images += back->image ? 1 : 0;
        rows_most = std::max(rows_most, back->rows);
    }
    CHECK(images > 0);
    CHECK(rows_most <= 12);
}

TEST_CASE("images that may take more room leave less to undo", "[projections][as_of]") {
    std::size_t undone_most[2] = {};
    for (const unsigned images : {2U, 8U}) {
        ChangedBlock block(test_seed(), 256);
        block.padding.assign(8000, '.');
        block.images = images;
        for (int batch = 0; batch < 300; ++batch) block.change(10);
        auto& most = undone_most[images == 8];
        for (Seq seq{0}; seq <= block.head(); seq.value += 10) {
            REQUIRE(block.as_of(seq) == block.expected(seq));
            const auto back = block.rewind_to(seq);
            if (back->image) most = std::max(most, back->size());
        }
    }
    CHECK(undone_most[1] > 0);
    CHECK(undone_most[1] * 3 < undone_most[0]);
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
