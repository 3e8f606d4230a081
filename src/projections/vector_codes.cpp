#include "vector_codes.h"

#include <algorithm>

namespace annal {
namespace {

void to_signed(const std::uint8_t* codes, std::vector<std::int8_t>& out) {
    auto* to = out.data();
    for (std::size_t i = 0; i < out.size(); ++i) to[i] = static_cast<std::int8_t>(codes[i] ^ 0x80);
}

}  // namespace

void CodeProbe::set(std::span<const float> vector) {
    raw_.resize(code_stride(vector.size()));
    codes_.resize(raw_.size());
    meta_ = quantise(vector, raw_.data());
    to_signed(raw_.data(), codes_);
}

void CodeProbe::set(const VectorCodes& codes, Slot slot) {
    codes_.resize(codes.stride());
    meta_ = codes.meta(slot);
    to_signed(codes.row(slot), codes_);
}

void CodeProbe::distances(const VectorKernels& kernels, const VectorCodes& codes, std::span<const Slot> slots,
                          float* out) const {
    const CodeQuery query{codes_.data(), meta_};
    for (std::size_t i = 0; i < slots.size(); i += 4) {
        const std::size_t count = std::min<std::size_t>(4, slots.size() - i);
        const std::uint8_t* rows[4];
        std::int32_t dots[4];
        for (std::size_t j = 0; j < 4; ++j) rows[j] = codes.row(slots[i + std::min(j, count - 1)]);
        kernels.dot4(query, rows, codes.stride(), dots);
        for (std::size_t j = 0; j < count; ++j) out[i + j] = -code_similarity(meta_, codes.meta(slots[i + j]), dots[j]);
    }
}

}  // namespace annal
