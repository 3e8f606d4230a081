#include "uuid.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <vector>

namespace annal {
namespace {

// The operating system's randomness, drawn a page at a time.
void fill_random(std::span<std::uint8_t> out) {
    thread_local std::vector<std::uint8_t> pool;
    if (pool.size() < out.size()) {
        pool.resize(4096);
        // Without randomness ids could repeat, and two memories become one: there is no way on.
        if (RAND_bytes(pool.data(), static_cast<int>(pool.size())) != 1) std::abort();
    }
    std::copy_n(pool.end() - static_cast<std::ptrdiff_t>(out.size()), out.size(), out.begin());
    pool.resize(pool.size() - out.size());
}

void set_version(std::array<std::uint8_t, 16>& uuid, std::uint8_t version) {
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0F) | (version << 4));
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3F) | 0x80);  // Variant.
}

}  // namespace

std::array<std::uint8_t, 16> make_uuid_v7(Timestamp now) {
    std::array<std::uint8_t, 16> uuid{};
    fill_random(std::span(uuid).subspan(6));
    const auto ms = static_cast<std::uint64_t>(now.us / 1000);
    for (std::size_t i = 0; i < 6; ++i) uuid[i] = static_cast<std::uint8_t>(ms >> (40 - 8 * i));
    set_version(uuid, 7);
    return uuid;
}

std::array<std::uint8_t, 16> make_uuid_v8(std::string_view name) {
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> hash{};
    SHA256(reinterpret_cast<const std::uint8_t*>(name.data()), name.size(), hash.data());
    std::array<std::uint8_t, 16> uuid{};
    std::copy_n(hash.begin(), uuid.size(), uuid.begin());
    set_version(uuid, 8);
    return uuid;
}

bool is_uuid_v8(const std::array<std::uint8_t, 16>& uuid) {
    return uuid[6] >> 4 == 8;
}

}  // namespace annal
