#include "projections/vector_codes.h"
#include "sample_vectors.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <random>
#include <string_view>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr std::size_t dimensions[] = {1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 100, 384, 519, 768, 1536, 4095, 4096};

std::vector<const VectorKernels*> all_kernels() {
    std::vector<const VectorKernels*> all;
    for (const auto isa : {VectorIsa::portable, VectorIsa::avx2, VectorIsa::avx512})
        if (const auto* kernels = vector_kernels(isa)) all.push_back(kernels);
    return all;
}

// Four rows of codes in aligned memory, and one as the query side.
struct Rows {
    explicit Rows(std::size_t dimension) : codes(dimension) { REQUIRE(codes.reserve(4)); }
    VectorCodes codes;
};

void check_dots(const std::vector<float>& query, const std::vector<std::vector<float>>& vectors) {
    Rows rows(query.size());
    const std::int8_t* four[4];
    for (Slot i = 0; i < 4; ++i) {
        rows.codes.set(i, vectors[i]);
        four[i] = rows.codes.row(i);
    }
    std::vector<std::uint8_t> codes(rows.codes.stride());
    quantise_query(query, codes.data());
    for (const auto* kernels : all_kernels()) {
        std::int32_t dots[4];
        kernels->dot4(codes.data(), four, codes.size(), dots);
        for (int i = 0; i < 4; ++i) {
            std::int64_t by_hand = 0;
            for (std::size_t j = 0; j < codes.size(); ++j) by_hand += std::int64_t{codes[j]} * four[i][j];
            REQUIRE(dots[i] == by_hand);
        }
    }
}

}  // namespace

TEST_CASE("dots of codes are exact on every instruction set", "[vectors][kernels]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    for (const auto dimension : dimensions) {
        SampleVectors samples(dimension, 3, seed);
        check_dots(samples.next(), samples.take(4));
    }
}

TEST_CASE("dots of the greatest codes neither saturate nor overflow", "[vectors][kernels]") {
    for (const auto dimension : dimensions) {
        const std::vector<float> high(dimension, 1.0F);
        const std::vector<float> low(dimension, -1.0F);
        std::vector<float> mixed(dimension, 1.0F);
        for (std::size_t i = 0; i < dimension; i += 2) mixed[i] = -1.0F;
        check_dots(high, {high, low, mixed, std::vector<float>(dimension, 0.0F)});
        check_dots(low, {high, low, mixed, high});
    }
}

TEST_CASE("float dots have the same bits on every instruction set", "[vectors][kernels]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    for (const auto dimension : dimensions) {
        SampleVectors samples(dimension, 3, seed);
        for (int trial = 0; trial < trials(50); ++trial) {
            const auto a = samples.next();
            const auto b = samples.next();
            const float expected = vector_kernels(VectorIsa::portable)->float_dot(a.data(), b.data(), dimension);
            REQUIRE(std::abs(expected - exact_dot(a, b)) < 1e-5);
            for (const auto* kernels : all_kernels())
                REQUIRE(std::bit_cast<std::uint32_t>(kernels->float_dot(a.data(), b.data(), dimension)) ==
                        std::bit_cast<std::uint32_t>(expected));
        }
    }
}

TEST_CASE("the quantiser keeps within 126 steps either way", "[vectors][kernels]") {
    std::int8_t codes[64];
    const auto codes_of = [&](std::vector<float> vector) {
        const auto meta = quantise(vector, codes);
        std::int32_t sum = 0;
        for (std::size_t i = 0; i < vector.size(); ++i) {
            CHECK(codes[i] >= -126);
            sum += codes[i];
        }
        for (std::size_t i = vector.size(); i < 64; ++i) CHECK(codes[i] == 0);
        CHECK(meta.sum == sum);
        return meta.scale;
    };
    CHECK(codes_of({0.5F, -0.5F, 0.25F}) == 0.5F / 126);
    CHECK(codes[0] == 126);
    CHECK(codes[1] == -126);
    CHECK(codes[2] == 63);
    CHECK(codes_of({252, 1, 3, -1}) == 2);
    CHECK(codes[1] == 0);  // 0.5 rounds to the even 0, 1.5 to 2.
    CHECK(codes[2] == 2);
    CHECK(codes[3] == 0);
    CHECK(codes_of({0, 0, 0}) == 0);
    CHECK(codes_of({1e-38F, -1e-40F}) == 0);
    CHECK(codes_of({3.4e38F, 1}) == 0);
    CHECK(codes_of({std::numeric_limits<float>::infinity(), 1}) == 0);
    CHECK(codes_of({std::numeric_limits<float>::quiet_NaN(), 1}) == 0);
    CHECK(codes_of({1, std::numeric_limits<float>::quiet_NaN()}) == 0);
    CHECK(codes[0] == 0);
    CHECK(codes_of({1e-20F, 1e30F}) > 0);
}

TEST_CASE("a query's codes fit seven bits, from floats and from a row", "[vectors][kernels]") {
    std::uint8_t query[64];
    CHECK(quantise_query(std::vector{0.5F, -0.5F, 0.25F}, query) == 0.5F / 63);
    CHECK(query[0] == 127);
    CHECK(query[1] == 1);
    CHECK(query[2] == 64 + 32);  // 31.5 rounds to the even 32.
    CHECK(std::all_of(query + 3, query + 64, [](auto code) { return code == query_zero; }));
    CHECK(quantise_query(std::vector{std::numeric_limits<float>::quiet_NaN(), 1.0F}, query) == 0);
    CHECK(std::all_of(query, query + 64, [](auto code) { return code == query_zero; }));

    std::int8_t row[64];
    for (int code = -126; code <= 126; ++code) {
        std::fill(std::begin(row), std::end(row), static_cast<std::int8_t>(code));
        CHECK(to_query({0.5F, 0}, row, 64, query) == 1.0F);
        CHECK(query[63] == query_zero + std::nearbyint(code / 2.0));
    }
}

TEST_CASE("bits are counted and ranked alike on every instruction set", "[vectors][kernels]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < trials(200); ++trial) {
        std::vector<std::uint64_t> words(random() % 9);
        std::size_t set = 0;
        for (auto& word : words) {
            word = random() & random();
            for (int bit = 0; bit < 64; ++bit) set += word >> bit & 1;
        }
        const auto among = trial == 0 ? ~std::uint64_t{0} : random();
        const auto bits = trial < 2 ? among : among & random();
        std::vector<std::uint32_t> expected;
        std::uint32_t rank = 1000;
        for (int bit = 0; bit < 64; ++bit) {
            if (bits >> bit & 1) expected.push_back(rank);
            rank += static_cast<std::uint32_t>(among >> bit & 1);
        }
        for (const auto* kernels : all_kernels()) {
            CHECK(kernels->count_bits(words.data(), words.size()) == set);
            std::uint32_t ranks[64];
            const auto count = kernels->rank_bits(bits, among, 1000, ranks);
            CHECK(std::vector(ranks, ranks + count) == expected);
        }
    }
}
