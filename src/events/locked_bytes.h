// Memory for keys: between guard pages, out of core dumps and, where the system's limit allows, of swap; wiped when it
// is freed.
#pragma once

#include <annal/result.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace annal {

inline constexpr std::size_t key_bytes = 32;
using KeyView = std::span<const std::uint8_t, key_bytes>;

class LockedBytes {
 public:
    static Result<LockedBytes> zeros(std::size_t size);
    static Result<LockedBytes> random(std::size_t size);

    std::span<std::uint8_t> span() const { return {bytes_.get(), size_}; }
    KeyView key(std::size_t index = 0) const {  // Of several, one after the other.
        return span().subspan(index * key_bytes).first<key_bytes>();
    }

 private:
    struct Free {
        void operator()(std::uint8_t* bytes) const;
    };
    LockedBytes(std::uint8_t* bytes, std::size_t size) : bytes_(bytes), size_(size) {}

    std::unique_ptr<std::uint8_t[], Free> bytes_;
    std::size_t size_;
};

// A key in passing, on the stack: wiped at the end of its scope.
struct PassingKey {
    PassingKey() = default;
    ~PassingKey();
    PassingKey(const PassingKey&) = delete;
    PassingKey& operator=(const PassingKey&) = delete;

    std::array<std::uint8_t, key_bytes> bytes{};
};

}  // namespace annal
