#include "locked_bytes.h"

#include <sodium.h>

namespace annal {

void LockedBytes::Free::operator()(std::uint8_t* bytes) const {
    sodium_free(bytes);
}

Result<LockedBytes> LockedBytes::zeros(std::size_t size) {
    if (sodium_init() < 0) return Error{ErrorCode::unavailable, "the system has no random bytes for a key", {}};
    auto* bytes = static_cast<std::uint8_t*>(sodium_malloc(size));
    if (bytes == nullptr) return Error{ErrorCode::resource_exhausted, "no memory for keys", {}};
    sodium_memzero(bytes, size);
    return LockedBytes(bytes, size);
}

Result<LockedBytes> LockedBytes::random(std::size_t size) {
    auto made = zeros(size);
    if (made) randombytes_buf(made->span().data(), size);
    return made;
}

PassingKey::~PassingKey() {
    sodium_memzero(bytes.data(), bytes.size());
}

}  // namespace annal
