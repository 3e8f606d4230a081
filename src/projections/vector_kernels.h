// The arithmetic of the vector index, chosen once for the CPU it runs on. Results are the same to the bit on every one:
// codes are summed as integers, and floats in one fixed shape (32 lanes, fused, one reduction tree).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace annal {

enum class VectorIsa { portable, avx2, avx512 };

inline constexpr std::size_t code_alignment = 64;
constexpr std::size_t code_stride(std::size_t dimension) {
    return (dimension + code_alignment - 1) / code_alignment * code_alignment;
}

// What a row's codes are worth: value = code * scale.
struct CodeMeta {
    float scale = 0;
    std::int32_t sum = 0;  // Of the codes.
};

// The query side of a comparison has 7 bits, and stands above zero: value = (code - query_zero) * scale. A product with
// a row's code and its neighbour's then fit 16 bits, and an AVX2 step is three instructions.
inline constexpr std::uint8_t query_zero = 64;

struct VectorKernels {
    VectorIsa isa = VectorIsa::portable;
    // dots[i] = sum of query[j] * rows[i][j], exact. Rows are 64-byte aligned, `stride` a multiple of 64, query codes
    // at most 127.
    void (*dot4)(const std::uint8_t* query, const std::int8_t* const rows[4], std::size_t stride, std::int32_t dots[4]);
    float (*float_dot)(const float* a, const float* b, std::size_t dimension);
    std::size_t (*count_bits)(const std::uint64_t* words, std::size_t count);
    // ranks[i] = first + how many of `among` are below the i-th lowest of `bits`, which are a part of it. Returns how
    // many there are, at most 64.
    std::size_t (*rank_bits)(std::uint64_t bits, std::uint64_t among, std::uint32_t first, std::uint32_t* ranks);
};

const VectorKernels& vector_kernels();               // The best of this CPU.
const VectorKernels* vector_kernels(VectorIsa isa);  // Null when this CPU has it not.

// Codes of `vector` in one fixed order of operations: the greatest component becomes 126. A vector of zeros, or with a
// component that is no finite number, has scale 0 and is like nothing. `codes` has code_stride bytes; those behind the
// dimension become 0.
CodeMeta quantise(std::span<const float> vector, std::int8_t* codes);
// The query side of the same: the greatest component becomes query_zero + 63. Returns its scale.
float quantise_query(std::span<const float> vector, std::uint8_t* codes);
// The query side of a row: half of each code, to the nearest, ties to even.
float to_query(CodeMeta meta, const std::int8_t* codes, std::size_t stride, std::uint8_t* query);

// Nearness of a query and a row, from their dot: a product of floats in one order.
inline float code_similarity(float query_scale, CodeMeta row, std::int32_t dot) {
    return (query_scale * row.scale) * static_cast<float>(dot - query_zero * row.sum);
}

}  // namespace annal
