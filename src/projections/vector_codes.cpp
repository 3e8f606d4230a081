#include "vector_codes.h"

#include <algorithm>

namespace annal {
namespace {

constexpr std::size_t ahead = 8;  // Rows on their way to the cache while one is measured.

}  // namespace

void CodeProbe::set(std::span<const float> vector) {
    codes_.resize(code_stride(vector.size()));
    scale_ = quantise_query(vector, codes_.data());
}

void CodeProbe::set(const VectorCodes& codes, Slot slot) {
    codes_.resize(codes.stride());
    scale_ = to_query(codes.meta(slot), codes.row(slot), codes.stride(), codes_.data());
}

void CodeProbe::distances(const VectorKernels& kernels, const VectorCodes& codes, std::span<const Slot> slots,
                          float* out) const {
    for (std::size_t i = 0; i < std::min(slots.size(), ahead); ++i) codes.prefetch(slots[i]);
    for (std::size_t i = 0; i < slots.size(); i += 4) {
        for (auto j = i + ahead; j < std::min(slots.size(), i + ahead + 4); ++j) codes.prefetch(slots[j]);
        const std::size_t count = std::min<std::size_t>(4, slots.size() - i);
        const std::int8_t* rows[4];
        std::int32_t dots[4];
        for (std::size_t j = 0; j < 4; ++j) rows[j] = codes.row(slots[i + std::min(j, count - 1)]);
        kernels.dot4(codes_.data(), rows, codes.stride(), dots);
        for (std::size_t j = 0; j < count; ++j)
            out[i + j] = -code_similarity(scale_, codes.meta(slots[i + j]), dots[j]);
    }
}

}  // namespace annal
