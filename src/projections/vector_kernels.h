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

// What a code is worth: value = (code - 128) * scale.
struct CodeMeta {
    float scale = 0;
    std::int32_t sum = 0;  // Of code - 128 over the row.
};

// A row of codes as the query side of a comparison: signed, padded with zeros to code_stride.
struct CodeQuery {
    const std::int8_t* codes = nullptr;
    CodeMeta meta;
};

struct VectorKernels {
    VectorIsa isa = VectorIsa::portable;
    // dots[i] = sum of query[j] * (rows[i][j] - 128), exact. Rows are 64-byte aligned, `stride` a multiple of 64.
    void (*dot4)(const CodeQuery& query, const std::uint8_t* const rows[4], std::size_t stride, std::int32_t dots[4]);
    std::int32_t (*dot1)(const CodeQuery& query, const std::uint8_t* row, std::size_t stride);
    float (*float_dot)(const float* a, const float* b, std::size_t dimension);
};

const VectorKernels& vector_kernels();               // The best of this CPU.
const VectorKernels* vector_kernels(VectorIsa isa);  // Null when this CPU has it not.

// Codes of `vector` in one fixed order of operations: the greatest component becomes 127. A vector of zeros, or with a
// component that is no finite number, has scale 0 and is like nothing. `codes` has code_stride bytes.
CodeMeta quantise(std::span<const float> vector, std::uint8_t* codes);

// Nearness of two rows of codes, from their dot: a product of floats in one order.
inline float code_similarity(CodeMeta a, CodeMeta b, std::int32_t dot) {
    return (a.scale * b.scale) * static_cast<float>(dot);
}

}  // namespace annal
