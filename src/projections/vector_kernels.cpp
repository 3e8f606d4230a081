#include "vector_kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#pragma GCC diagnostic push  // g++ 12 warns of its own header.
#pragma GCC diagnostic ignored "-Wuninitialized"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace annal {
namespace {

constexpr std::size_t lanes = 32;  // Of the float sum. Stored scores depend on it: never change it.

// Adds lane i to lane i + width/2 until one is left: the tree every kernel follows.
float reduce_lanes(std::array<float, lanes>& sums) {
    for (std::size_t width = lanes / 2; width > 0; width /= 2)
        for (std::size_t i = 0; i < width; ++i) sums[i] += sums[i + width];
    return sums[0];
}

// --- Portable.

void portable_dot4(const std::uint8_t* query, const std::int8_t* const rows[4], std::size_t stride,
                   std::int32_t dots[4]) {
    for (int i = 0; i < 4; ++i) {
        dots[i] = 0;
        for (std::size_t j = 0; j < stride; ++j) dots[i] += query[j] * rows[i][j];
    }
}

float portable_float_dot(const float* a, const float* b, std::size_t dimension) {
    std::array<float, lanes> sums{};
    for (std::size_t i = 0; i < dimension; i += lanes)
        for (std::size_t j = 0; j < lanes; ++j) {
            const bool inside = i + j < dimension;
            sums[j] = std::fma(inside ? a[i + j] : 0.0F, inside ? b[i + j] : 0.0F, sums[j]);
        }
    return reduce_lanes(sums);
}

// Inlined into functions of each target, where the compiler makes of std::popcount what that CPU has.
[[gnu::always_inline]] inline std::size_t count_bits(const std::uint64_t* words, std::size_t count) {
    std::size_t bits = 0;
    for (std::size_t i = 0; i < count; ++i) bits += static_cast<std::size_t>(std::popcount(words[i]));
    return bits;
}
[[gnu::always_inline]] inline std::size_t rank_bits(std::uint64_t bits, std::uint64_t among, std::uint32_t first,
                                                    std::uint32_t* ranks) {
    std::size_t count = 0;
    for (; bits != 0; bits &= bits - 1) {
        const auto below = among & ((bits & -bits) - 1);
        ranks[count++] = first + static_cast<std::uint32_t>(std::popcount(below));
    }
    return count;
}

std::size_t portable_count_bits(const std::uint64_t* words, std::size_t count) {
    return count_bits(words, count);
}
std::size_t portable_rank_bits(std::uint64_t bits, std::uint64_t among, std::uint32_t first, std::uint32_t* ranks) {
    return rank_bits(bits, among, first, ranks);
}

constexpr VectorKernels portable{VectorIsa::portable, portable_dot4, portable_float_dot, portable_count_bits,
                                 portable_rank_bits};

#if defined(__x86_64__)

// --- AVX2. maddubs saturates at 32767: two products of at most 127 * 126 stay below it.

#define ANNAL_AVX2 __attribute__((target("avx2,fma,popcnt")))

ANNAL_AVX2 inline __m256i avx2_step(__m256i sum, __m256i query, const std::int8_t* row) {
    const __m256i pairs = _mm256_maddubs_epi16(query, _mm256_load_si256(reinterpret_cast<const __m256i*>(row)));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

ANNAL_AVX2 void avx2_dot4(const std::uint8_t* query, const std::int8_t* const rows[4], std::size_t stride,
                          std::int32_t dots[4]) {
    __m256i a = _mm256_setzero_si256();
    __m256i b = a;
    __m256i c = a;
    __m256i d = a;
    for (std::size_t i = 0; i < stride; i += 32) {
        const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(query + i));
        a = avx2_step(a, q, rows[0] + i);
        b = avx2_step(b, q, rows[1] + i);
        c = avx2_step(c, q, rows[2] + i);
        d = avx2_step(d, q, rows[3] + i);
    }
    const __m256i each = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dots),
                     _mm_add_epi32(_mm256_castsi256_si128(each), _mm256_extracti128_si256(each, 1)));
}

ANNAL_AVX2 float avx2_float_dot(const float* a, const float* b, std::size_t dimension) {
    __m256 s0 = _mm256_setzero_ps();
    __m256 s1 = s0;
    __m256 s2 = s0;
    __m256 s3 = s0;
    const auto step = [&](const float* x, const float* y) ANNAL_AVX2 {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(y), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(x + 8), _mm256_loadu_ps(y + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(x + 16), _mm256_loadu_ps(y + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(x + 24), _mm256_loadu_ps(y + 24), s3);
    };
    std::size_t i = 0;
    for (; i + lanes <= dimension; i += lanes) step(a + i, b + i);
    if (i < dimension) {
        float x[lanes] = {};
        float y[lanes] = {};
        std::memcpy(x, a + i, (dimension - i) * sizeof(float));
        std::memcpy(y, b + i, (dimension - i) * sizeof(float));
        step(x, y);
    }
    const __m256 eight = _mm256_add_ps(_mm256_add_ps(s0, s2), _mm256_add_ps(s1, s3));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

ANNAL_AVX2 std::size_t avx2_count_bits(const std::uint64_t* words, std::size_t count) {
    return count_bits(words, count);
}
ANNAL_AVX2 std::size_t avx2_rank_bits(std::uint64_t bits, std::uint64_t among, std::uint32_t first,
                                      std::uint32_t* ranks) {
    return rank_bits(bits, among, first, ranks);
}

constexpr VectorKernels avx2{VectorIsa::avx2, avx2_dot4, avx2_float_dot, avx2_count_bits, avx2_rank_bits};

// --- AVX-512 with VNNI.

#define ANNAL_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))

ANNAL_AVX512 inline __m256i fold(__m512i sum) {
    return _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
}

ANNAL_AVX512 void avx512_dot4(const std::uint8_t* query, const std::int8_t* const rows[4], std::size_t stride,
                              std::int32_t dots[4]) {
    __m512i a = _mm512_setzero_si512();
    __m512i b = a;
    __m512i c = a;
    __m512i d = a;
    for (std::size_t i = 0; i < stride; i += 64) {
        const __m512i q = _mm512_loadu_si512(query + i);
        a = _mm512_dpbusd_epi32(a, q, _mm512_load_si512(rows[0] + i));
        b = _mm512_dpbusd_epi32(b, q, _mm512_load_si512(rows[1] + i));
        c = _mm512_dpbusd_epi32(c, q, _mm512_load_si512(rows[2] + i));
        d = _mm512_dpbusd_epi32(d, q, _mm512_load_si512(rows[3] + i));
    }
    const __m256i ab = _mm256_hadd_epi32(fold(a), fold(b));
    const __m256i cd = _mm256_hadd_epi32(fold(c), fold(d));
    const __m256i each = _mm256_hadd_epi32(ab, cd);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dots),
                     _mm_add_epi32(_mm256_castsi256_si128(each), _mm256_extracti128_si256(each, 1)));
}

ANNAL_AVX512 float avx512_float_dot(const float* a, const float* b, std::size_t dimension) {
    __m512 s0 = _mm512_setzero_ps();
    __m512 s1 = s0;
    std::size_t i = 0;
    for (; i + lanes <= dimension; i += lanes) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
    }
    if (i < dimension) {
        const auto rest = static_cast<std::uint32_t>((std::uint64_t{1} << (dimension - i)) - 1);
        const auto low = static_cast<__mmask16>(rest & 0xFFFF);
        const auto high = static_cast<__mmask16>(rest >> 16);
        s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(low, a + i), _mm512_maskz_loadu_ps(low, b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(high, a + i + 16), _mm512_maskz_loadu_ps(high, b + i + 16), s1);
    }
    const __m512 sixteen = _mm512_add_ps(s0, s1);
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

constexpr VectorKernels avx512{VectorIsa::avx512, avx512_dot4, avx512_float_dot, avx2_count_bits, avx2_rank_bits};

#endif

// The greatest component; 0 when there is none to speak of, or one is no finite number.
float greatest_of(std::span<const float> vector) {
    float greatest = 0;
    bool finite = true;
    for (const float x : vector) {
        const float size = std::fabs(x);
        finite = finite & (size <= 3.0e38F);
        greatest = size > greatest ? size : greatest;
    }
    return finite && greatest >= 1.0e-30F ? greatest : 0;
}

// To the nearest, ties to even, as adding and taking off 1.5 * 2^23 rounds: std::nearbyint without its call.
std::int32_t rounded(float x, std::int32_t most) {
    constexpr float rounder = 12582912.0F;
    return std::clamp(static_cast<std::int32_t>((x + rounder) - rounder), -most, most);
}

const VectorKernels& choose() {
    for (const auto isa : {VectorIsa::avx512, VectorIsa::avx2})
        if (const auto* kernels = vector_kernels(isa)) return *kernels;
    return portable;
}

}  // namespace

const VectorKernels* vector_kernels(VectorIsa isa) {
    if (isa == VectorIsa::portable) return &portable;
#if defined(__x86_64__)
    const bool has_avx2 =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt");
    if (isa == VectorIsa::avx2 && has_avx2) return &avx2;
    if (isa == VectorIsa::avx512 && has_avx2 && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        return &avx512;
#endif
    return nullptr;
}

const VectorKernels& vector_kernels() {
    static const VectorKernels& best = choose();
    return best;
}

CodeMeta quantise(std::span<const float> vector, std::int8_t* codes) {
    std::memset(codes, 0, code_stride(vector.size()));
    const float greatest = greatest_of(vector);
    if (greatest == 0) return {};
    const float inverse = 126.0F / greatest;
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < vector.size(); ++i) {
        const auto code = rounded(vector[i] * inverse, 126);
        sum += code;
        codes[i] = static_cast<std::int8_t>(code);
    }
    return {greatest / 126.0F, sum};
}

float quantise_query(std::span<const float> vector, std::uint8_t* codes) {
    std::memset(codes, query_zero, code_stride(vector.size()));
    const float greatest = greatest_of(vector);
    if (greatest == 0) return 0;
    const float inverse = 63.0F / greatest;
    for (std::size_t i = 0; i < vector.size(); ++i)
        codes[i] = static_cast<std::uint8_t>(query_zero + rounded(vector[i] * inverse, 63));
    return greatest / 63.0F;
}

float to_query(CodeMeta meta, const std::int8_t* codes, std::size_t stride, std::uint8_t* query) {
    for (std::size_t i = 0; i < stride; ++i) {
        const std::int32_t half = codes[i] >> 1;  // Rounded down, as is every shift of C++20.
        query[i] = static_cast<std::uint8_t>(query_zero + half + (codes[i] & half & 1));
    }
    return 2 * meta.scale;
}

}  // namespace annal
