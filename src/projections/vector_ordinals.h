// Which slot holds which memory. Slots whose ordinals ascend, as appends make them, are kept as blocks of 64 ordinals,
// so that a filter is intersected a word at a time; those out of order (revised memories) are strays, looked at one by
// one. Threads: one writer (append, cut, publish, find); what was published may be read from any thread meanwhile.
#pragma once

#include "memory_view.h"
#include "vector_slots.h"

#include <atomic>
#include <bit>
#include <optional>
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
    // Calls visit(slot) for each published slot whose ordinal passes.
    template <class Visit>
    void for_each(const OrdinalSet& passing, Visit&& visit) const {
        const auto blocks = blocks_published_.load(std::memory_order_acquire);
        for (std::uint32_t i = 0; i < blocks; ++i) {
            const auto mask = blocks_[i].mask.load(std::memory_order_relaxed);
            const auto first = blocks_[i].first.load(std::memory_order_relaxed);
            auto left = mask & passing.word(blocks_[i].word.load(std::memory_order_relaxed));
            for (; left != 0; left &= left - 1) {
                const auto below = (left & -left) - 1;
                visit(first + static_cast<Slot>(std::popcount(mask & below)));
            }
        }
        const auto strays = strays_published_.load(std::memory_order_acquire);
        for (std::uint32_t i = 0; i < strays; ++i) {
            const auto slot = strays_[i].load(std::memory_order_relaxed);
            if (passing.contains((*this)[slot])) visit(slot);
        }
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
