// Which slot holds which memory. Slots whose ordinals ascend, as appends make them, are kept as blocks of 64 ordinals,
// so that a filter is intersected a word at a time; those out of order (revised memories) are strays, looked at one by
// one. Threads: one writer (append, cut, publish, find); what was published may be read from any thread meanwhile.
#pragma once

#include "memory_view.h"
#include "vector_kernels.h"
#include "vector_slots.h"

#include <atomic>
#include <optional>
#include <span>
#include <unordered_map>

namespace annal {

class SlotOrdinals {
 public:
    bool append(Seq ordinal);  // At the next slot. False: no memory.
    void publish();            // What was appended may be read.
    void cut();                // Back to what was published.
    Slot size() const { return size_; }

    Seq operator[](Slot slot) const { return Seq{ordinals_[slot]}; }
    // The last slot that was appended with it.
    std::optional<Slot> find(Seq ordinal) const;

    // How many slots may pass: dead ones are counted too.
    std::size_t count(const OrdinalSet& passing) const;
    // Calls visit(slots) with at most 64 at a time, until all published ones whose ordinals pass were there.
    template <class Visit>
    void for_each(const OrdinalSet& passing, Visit&& visit) const {
        const auto& kernels = vector_kernels();
        Slot slots[64];
        blocks_.for_each(blocks_published_.load(std::memory_order_acquire), [&](const Block& block) {
            const auto mask = block.mask.load(std::memory_order_relaxed);
            const auto bits = mask & passing.word(block.word.load(std::memory_order_relaxed));
            if (bits == 0) return;
            const auto first = block.first.load(std::memory_order_relaxed);
            visit(std::span(slots, kernels.rank_bits(bits, mask, first, slots)));
        });
        strays_.for_each(strays_published_.load(std::memory_order_acquire), [&](const std::atomic<Slot>& stray) {
            slots[0] = stray.load(std::memory_order_relaxed);
            if (passing.contains((*this)[slots[0]])) visit(std::span(slots, 1));
        });
    }

 private:
    struct Block {  // Slots first, first + 1, ... hold the ordinals 64 * word + i of the set bits i, in order.
        std::atomic<std::uint64_t> word;
        std::atomic<std::uint64_t> mask;
        std::atomic<Slot> first;
    };

    SlotArray<std::uint64_t> ordinals_;
    SlotArray<Block> blocks_;
    SlotArray<std::atomic<Slot>> strays_;
    std::unordered_map<std::uint64_t, Slot> stray_of_;
    Slot size_ = 0;
    Slot published_ = 0;
    std::uint32_t block_count_ = 0;
    std::uint32_t stray_count_ = 0;
    std::uint64_t greatest_ = 0;  // Ordinal in the blocks.
    std::atomic<std::uint32_t> blocks_published_{0};
    std::atomic<std::uint32_t> strays_published_{0};
};

}  // namespace annal
