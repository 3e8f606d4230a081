#include "vector_slots.h"

#include <sys/mman.h>

namespace annal {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t mapped_bytes(std::size_t bytes) {
    return bytes < huge_page ? bytes : (bytes + huge_page - 1) / huge_page * huge_page;
}

// Big ones begin on a huge page: what lies around them is given back.
void* map_zeroed(std::size_t bytes) {
    const auto size = mapped_bytes(bytes);
    const auto slack = size < huge_page ? 0 : huge_page;
    void* mapped = mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    if (slack == 0) return mapped;
    const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
    const auto aligned = (begin + huge_page - 1) / huge_page * huge_page;
    if (aligned > begin) munmap(mapped, aligned - begin);
    if (aligned < begin + slack) munmap(reinterpret_cast<void*>(aligned + size), begin + slack - aligned);
    madvise(reinterpret_cast<void*>(aligned), size, MADV_HUGEPAGE);  // A wish: refused on some systems.
    return reinterpret_cast<void*>(aligned);
}

}  // namespace

SlotBytes::~SlotBytes() {
    for (std::size_t chunk = 0; chunk < chunks_; ++chunk)
        munmap(reinterpret_cast<void*>(origin_[chunk] + chunk_begin(chunk) * stride_),
               mapped_bytes(chunk_slots(chunk) * stride_));
}

bool SlotBytes::reserve(std::size_t slots) {
    if (slots > slots_max) return false;
    while (chunks_ < origin_.size() && chunk_begin(chunks_) < slots) {
        void* mapped = map_zeroed(chunk_slots(chunks_) * stride_);
        if (mapped == nullptr) return false;
        origin_[chunks_] = reinterpret_cast<std::uintptr_t>(mapped) - chunk_begin(chunks_) * stride_;
        ++chunks_;
    }
    return true;
}

}  // namespace annal
