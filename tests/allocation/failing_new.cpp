#include "failing_new.h"

#include <dlfcn.h>
#include <execinfo.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

namespace annal::testing {
namespace {

thread_local std::uint64_t left = 0;
thread_local bool failed = false;

bool contains(const char* text, const char* part) {
    return text != nullptr && std::strstr(text, part) != nullptr;
}

bool is_anothers() {
    std::array<void*, 64> frames{};
    const int count = backtrace(frames.data(), static_cast<int>(frames.size()));
    for (int i = 0; i < count; ++i) {
        Dl_info found{};
        if (dladdr(frames[static_cast<std::size_t>(i)], &found) == 0) continue;
        if (contains(found.dli_fname, "librocksdb") || contains(found.dli_sname, "8nlohmann") ||
            contains(found.dli_sname, "recursive_directory_iterator"))
            return true;
    }
    return false;
}

void* allocate(std::size_t size, std::size_t alignment = 0) {
    if (left > 0 && --left == 0) {
        if (is_anothers()) {
            left = 1;  // The next one that is ours.
        } else {
            failed = true;
            throw std::bad_alloc();
        }
    }
    void* memory = nullptr;
    if (alignment == 0)
        memory = std::malloc(size == 0 ? 1 : size);
    else if (posix_memalign(&memory, alignment, size) != 0)
        memory = nullptr;
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

void fail_allocation(std::uint64_t number) {
    std::array<void*, 1> first{};
    backtrace(first.data(), 1);  // Its first call allocates.
    failed = false;
    left = number;
}

bool allocation_failed() {
    return failed;
}

}  // namespace annal::testing

void* operator new(std::size_t size) {
    return annal::testing::allocate(size);
}
void* operator new[](std::size_t size) {
    return annal::testing::allocate(size);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    return annal::testing::allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return annal::testing::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete[](void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
    std::free(memory);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
    std::free(memory);
}
