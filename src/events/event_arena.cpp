#include "codec.h"

#include <algorithm>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define ANNAL_POISONS_ARENA
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ANNAL_POISONS_ARENA
#endif
#endif
#ifdef ANNAL_POISONS_ARENA
#include <sanitizer/asan_interface.h>
#endif

namespace annal {
namespace {

constexpr std::size_t arena_alignment = 16;
constexpr std::size_t arena_block_bytes = std::size_t{256} << 10;

static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= arena_alignment);
static_assert(event_header_bytes % arena_alignment == 0);  // So that the table is as aligned as the header.

}  // namespace

// In builds with the address sanitizer whatever is not in use is poisoned: reading past an event, or after clear(), is
// caught there.
std::span<std::uint8_t> EventArena::copy(std::string_view bytes) {
    const std::size_t needed = (bytes.size() + arena_alignment - 1) / arena_alignment * arena_alignment;
    while (block_ < blocks_.size() && blocks_[block_].size - used_ < needed) {
        ++block_;
        used_ = 0;
    }
    if (block_ == blocks_.size()) {
        const std::size_t size = std::max(needed, arena_block_bytes);
        blocks_.push_back({std::make_unique_for_overwrite<std::byte[]>(size), size});
#ifdef ANNAL_POISONS_ARENA
        ASAN_POISON_MEMORY_REGION(blocks_.back().memory.get(), size);
#endif
    }
    auto* const to = reinterpret_cast<std::uint8_t*>(blocks_[block_].memory.get() + used_);
    used_ += needed;
    used_total_ += needed;
#ifdef ANNAL_POISONS_ARENA
    ASAN_UNPOISON_MEMORY_REGION(to, bytes.size());
#endif
    if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    return {to, bytes.size()};
}

void EventArena::clear() {
#ifdef ANNAL_POISONS_ARENA
    for (const auto& block : blocks_) ASAN_POISON_MEMORY_REGION(block.memory.get(), block.size);
#endif
    block_ = used_ = used_total_ = 0;
}

}  // namespace annal
