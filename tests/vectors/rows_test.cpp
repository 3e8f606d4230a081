#include "projections/vector_rows.h"
#include "sample_vectors.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

using namespace annal;
using namespace annal::testing;

TEST_CASE("rows come back to the bit, across chunks and reopening, for any dimension", "[vectors][rows]") {
    for (const std::size_t dimension : {1, 3, 4, 5, 384, 4096}) {
        TempDir directory;
        const auto path = directory.path() / "rows";
        const std::size_t count = dimension > 1000 ? 20 : 2500;
        const auto vectors = SampleVectors(dimension, 4, 9).take(count);
        auto rows = VectorRows::create(path, "model", dimension);
        REQUIRE(rows);
        std::vector<std::byte> encoded;
        for (Slot slot = 0; slot < count; ++slot) {
            (*rows)->encode(Seq{1000 + slot}, vectors[slot], encoded);
            if (slot % 700 == 699 || slot + 1 == count) {
                const auto first = slot + 1 - static_cast<Slot>(encoded.size() / VectorRows::row_bytes(dimension));
                REQUIRE((*rows)->write(first, encoded));
                encoded.clear();
            }
        }
        for (int opening = 0; opening < 2; ++opening) {
            for (Slot slot = 0; slot < count; ++slot) {
                REQUIRE((*rows)->intact(slot));
                REQUIRE((*rows)->ordinal(slot) == Seq{1000 + slot});
                REQUIRE(std::ranges::equal((*rows)->floats(slot), vectors[slot]));
            }
            rows = VectorRows::open(path, "model", dimension, count);
            REQUIRE(rows);
        }
    }
}

TEST_CASE("rows behind the count are cut, and rows that are missing are not made up", "[vectors][rows]") {
    TempDir directory;
    const auto path = directory.path() / "rows";
    auto rows = VectorRows::create(path, "model", 8);
    REQUIRE(rows);
    std::vector<std::byte> encoded;
    for (const auto& vector : SampleVectors(8, 2, 1).take(10)) (*rows)->encode(Seq{1}, vector, encoded);
    REQUIRE((*rows)->write(0, encoded));
    CHECK(VectorRows::open(path, "model", 8, 11).error().code == ErrorCode::data_loss);
    CHECK(VectorRows::open(path, "other", 8, 10).error().code == ErrorCode::data_loss);
    CHECK(VectorRows::open(path, "model", 7, 10).error().code == ErrorCode::data_loss);
    CHECK(VectorRows::open(directory.path() / "none", "model", 8, 10).error().code == ErrorCode::data_loss);
    REQUIRE(VectorRows::open(path, "model", 8, 6));
    CHECK(std::filesystem::file_size(path) == VectorRows::header_bytes + 6 * VectorRows::row_bytes(8));
}
