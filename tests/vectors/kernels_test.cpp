#include "projections/vector_codes.h"
#include "sample_vectors.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <bit>
#include <limits>
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

std::int64_t dot_by_hand(const std::vector<std::uint8_t>& a, const std::uint8_t* b) {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += (std::int64_t{a[i]} - 128) * (std::int64_t{b[i]} - 128);
    return sum;
}

void check_dots(const std::vector<float>& query, const std::vector<std::vector<float>>& vectors) {
    Rows rows(query.size());
    const std::uint8_t* four[4];
    for (Slot i = 0; i < 4; ++i) {
        rows.codes.set(i, vectors[i]);
        four[i] = rows.codes.row(i);
    }
    std::vector<std::uint8_t> raw(rows.codes.stride());
    const auto meta = quantise(query, raw.data());
    std::vector<std::int8_t> side(raw.size());
    for (std::size_t i = 0; i < raw.size(); ++i) side[i] = static_cast<std::int8_t>(raw[i] ^ 0x80);
    for (const auto* kernels : all_kernels()) {
        std::int32_t dots[4];
        kernels->dot4({side.data(), meta}, four, raw.size(), dots);
        for (int i = 0; i < 4; ++i) {
            REQUIRE(dots[i] == dot_by_hand(raw, four[i]));
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

TEST_CASE("the quantiser keeps within 127 steps either way", "[vectors][kernels]") {
    std::uint8_t codes[64];
    const auto codes_of = [&](std::vector<float> vector) {
        const auto meta = quantise(vector, codes);
        std::int32_t sum = 0;
        for (std::size_t i = 0; i < vector.size(); ++i) {
            CHECK(codes[i] >= 1);
            sum += codes[i] - 128;
        }
        for (std::size_t i = vector.size(); i < 64; ++i) CHECK(codes[i] == 128);
        CHECK(meta.sum == sum);
        return meta.scale;
    };
    CHECK(codes_of({0.5F, -0.5F, 0.25F}) == 0.5F / 127);
    CHECK(codes[0] == 255);
    CHECK(codes[1] == 1);
    CHECK(codes[2] == 128 + 64);  // 63.5 rounds to the even 64.
    CHECK(codes_of({0, 0, 0}) == 0);
    CHECK(codes_of({1e-38F, -1e-40F}) == 0);
    CHECK(codes_of({3.4e38F, 1}) == 0);
    CHECK(codes_of({std::numeric_limits<float>::infinity(), 1}) == 0);
    CHECK(codes_of({std::numeric_limits<float>::quiet_NaN(), 1}) == 0);
    CHECK(codes_of({1, std::numeric_limits<float>::quiet_NaN()}) == 0);
    CHECK(codes[0] == 128);
    CHECK(codes_of({1e-20F, 1e30F}) > 0);
}
