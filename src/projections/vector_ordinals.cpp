#include "vector_ordinals.h"

#include <algorithm>
#include <bit>
#include <iterator>

namespace annal {

bool SlotOrdinals::append(Seq ordinal) {
    if (!ordinals_.reserve(std::size_t{size_} + 1)) return false;
    constexpr auto relaxed = std::memory_order_relaxed;
    if (size_ > 0 && ordinal.value <= greatest_) {
        if (!strays_.reserve(std::size_t{stray_count_} + 1)) return false;
        strays_[stray_count_++].store(size_, relaxed);
        stray_of_[ordinal.value] = size_;
    } else {
        const auto word = ordinal.value / 64;
        const auto bit = std::uint64_t{1} << (ordinal.value % 64);
        auto* last = block_count_ == 0 ? nullptr : &blocks_[block_count_ - 1];
        const bool joins =
            last != nullptr && last->word.load(relaxed) == word &&
            last->first.load(relaxed) + static_cast<Slot>(std::popcount(last->mask.load(relaxed))) == size_;
        if (joins) {
            last->mask.store(last->mask.load(relaxed) | bit, relaxed);
        } else {
            if (!blocks_.reserve(std::size_t{block_count_} + 1)) return false;
            auto& block = blocks_[block_count_++];
            block.word.store(word, relaxed);
            block.mask.store(bit, relaxed);
            block.first.store(size_, relaxed);
        }
        greatest_ = ordinal.value;
    }
    ordinals_[size_++] = ordinal.value;
    return true;
}

void SlotOrdinals::publish() {
    published_ = size_;
    blocks_published_.store(block_count_, std::memory_order_release);
    strays_published_.store(stray_count_, std::memory_order_release);
}

void SlotOrdinals::cut() {
    if (size_ == published_) return;
    constexpr auto relaxed = std::memory_order_relaxed;
    block_count_ = blocks_published_.load(relaxed);
    stray_count_ = strays_published_.load(relaxed);
    size_ = published_;
    greatest_ = 0;
    if (block_count_ > 0) {  // The last one may have grown.
        auto& last = blocks_[block_count_ - 1];
        auto mask = last.mask.load(relaxed);
        while (last.first.load(relaxed) + static_cast<Slot>(std::popcount(mask)) > published_)
            mask &= ~std::bit_floor(mask);
        last.mask.store(mask, relaxed);
        greatest_ = last.word.load(relaxed) * 64 + static_cast<std::uint64_t>(std::bit_width(mask)) - 1;
    }
    stray_of_.clear();
    for (std::uint32_t i = 0; i < stray_count_; ++i) {
        const auto slot = strays_[i].load(relaxed);
        stray_of_[ordinals_[slot]] = slot;
    }
}

std::optional<Slot> SlotOrdinals::find(Seq ordinal) const {
    if (const auto stray = stray_of_.find(ordinal.value); stray != stray_of_.end()) return stray->second;
    constexpr auto relaxed = std::memory_order_relaxed;
    const auto word = ordinal.value / 64;
    const auto bit = std::uint64_t{1} << (ordinal.value % 64);
    std::uint32_t low = 0;
    for (std::uint32_t high = block_count_; low < high;) {
        const auto middle = low + (high - low) / 2;
        if (blocks_[middle].word.load(relaxed) < word)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < block_count_ && blocks_[low].word.load(relaxed) == word; ++low) {
        const auto mask = blocks_[low].mask.load(relaxed);
        if ((mask & bit) != 0)
            return blocks_[low].first.load(relaxed) + static_cast<Slot>(std::popcount(mask & (bit - 1)));
    }
    return std::nullopt;
}

std::size_t SlotOrdinals::count(const OrdinalSet& passing) const {
    const auto& kernels = vector_kernels();
    std::size_t count = strays_published_.load(std::memory_order_acquire);
    std::uint64_t words[64];
    std::size_t held = 0;
    blocks_.for_each(blocks_published_.load(std::memory_order_acquire), [&](const Block& block) {
        const auto mask = block.mask.load(std::memory_order_relaxed);
        words[held++] = mask & passing.word(block.word.load(std::memory_order_relaxed));
        if (held < std::size(words)) return;
        count += kernels.count_bits(words, held);
        held = 0;
    });
    return count + kernels.count_bits(words, held);
}

}  // namespace annal
