// Arrays by slot that grow without ever moving: chunks of 1024, 1024, 2048, 4096, ... slots, so that searches read what
// is published while the writer appends behind it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace annal {

using Slot = std::uint32_t;

inline constexpr std::size_t slots_max = std::size_t{1} << 30;
inline constexpr unsigned first_chunk_bits = 10;
inline constexpr std::uint32_t first_chunk_slots = 1U << first_chunk_bits;
inline constexpr std::size_t chunks_max = 32 - first_chunk_bits;

// Chunk 0 begins at slot 0, chunk k at first_chunk_slots << (k - 1).
constexpr std::size_t chunk_of(Slot slot) {
    return static_cast<std::size_t>(std::bit_width(slot >> first_chunk_bits));
}
constexpr Slot chunk_begin(std::size_t chunk) {
    return chunk == 0 ? 0 : first_chunk_slots << (chunk - 1);
}
constexpr std::size_t chunk_slots(std::size_t chunk) {
    return chunk == 0 ? first_chunk_slots : std::size_t{first_chunk_slots} << (chunk - 1);
}

// Zeroed memory of `stride` bytes a slot, 64-byte aligned. Big chunks ask for huge pages; what is not touched takes
// none. Threads: one writer calls reserve; readers use slots they learned of through an acquire after it.
class SlotBytes {
 public:
    explicit SlotBytes(std::size_t stride) : stride_(stride) {}
    ~SlotBytes();
    SlotBytes(const SlotBytes&) = delete;
    SlotBytes& operator=(const SlotBytes&) = delete;

    bool reserve(std::size_t slots);  // False: no memory.
    std::byte* at(Slot slot) const { return reinterpret_cast<std::byte*>(origin_[chunk_of(slot)] + slot * stride_); }
    std::size_t stride() const { return stride_; }

 private:
    std::size_t stride_;
    std::size_t chunks_ = 0;
    std::array<std::uintptr_t, chunks_max + 1> origin_{};  // Where slot 0 would be, were the chunk that long.
};

template <class T>
class SlotArray {
 public:
    SlotArray() : bytes_(sizeof(T)) {}
    bool reserve(std::size_t slots) { return bytes_.reserve(slots); }
    T& operator[](Slot slot) { return *reinterpret_cast<T*>(bytes_.at(slot)); }
    const T& operator[](Slot slot) const { return *reinterpret_cast<const T*>(bytes_.at(slot)); }
    // The first `count`, in order, without looking up where each one is.
    template <class Visit>
    void for_each(Slot count, Visit&& visit) const {
        for (std::size_t chunk = 0; chunk_begin(chunk) < count; ++chunk) {
            const auto* at = &(*this)[chunk_begin(chunk)];
            const auto* end = at + std::min<std::size_t>(chunk_slots(chunk), count - chunk_begin(chunk));
            for (; at != end; ++at) visit(*at);
        }
    }

 private:
    static_assert(std::is_trivially_destructible_v<T>);
    SlotBytes bytes_;
};

}  // namespace annal
