// The int8 codes of one partition, by slot: what scans and the graph walk over. Made from the float rows, never stored.
// Threads: one writer; slots that were published may be read from any thread.
#pragma once

#include "vector_kernels.h"
#include "vector_slots.h"

#include <span>
#include <vector>

namespace annal {

class VectorCodes {
 public:
    explicit VectorCodes(std::size_t dimension) : stride_(code_stride(dimension)), codes_(stride_) {}

    bool reserve(std::size_t slots) { return codes_.reserve(slots) && meta_.reserve(slots); }  // False: no memory.
    void set(Slot slot, std::span<const float> vector) { meta_[slot] = quantise(vector, row_of(slot)); }

    std::size_t stride() const { return stride_; }
    const std::int8_t* row(Slot slot) const { return reinterpret_cast<const std::int8_t*>(codes_.at(slot)); }
    CodeMeta meta(Slot slot) const { return meta_[slot]; }
    void prefetch(Slot slot) const {
        const auto* row = codes_.at(slot);
        for (std::size_t i = 0; i < stride_; i += 64) __builtin_prefetch(row + i);
        __builtin_prefetch(&meta_[slot]);
    }

 private:
    std::int8_t* row_of(Slot slot) { return reinterpret_cast<std::int8_t*>(codes_.at(slot)); }

    std::size_t stride_;
    SlotBytes codes_;
    SlotArray<CodeMeta> meta_;
};

// One vector to compare rows with. Holds its own copy of the codes.
class CodeProbe {
 public:
    // Of a float vector, or of a row of `codes`.
    void set(std::span<const float> vector);
    void set(const VectorCodes& codes, Slot slot);

    // out[i] = minus the similarity to slots[i]: near is small.
    void distances(const VectorKernels& kernels, const VectorCodes& codes, std::span<const Slot> slots,
                   float* out) const;

 private:
    std::vector<std::uint8_t> codes_;
    float scale_ = 0;
};

}  // namespace annal
