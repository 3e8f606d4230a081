#include "event_log_hash.h"

#include "codec.h"

#include <openssl/evp.h>

#include <cassert>
#include <memory>

namespace annal {
namespace {

constexpr std::size_t stamp_begin = 8, stamp_end = 24;

// Fetched once: an implicit fetch at every use makes a hash of 512 bytes half as slow again.
const EVP_MD* sha256_algorithm() {
    static const EVP_MD* const algorithm = [] {
        const EVP_MD* fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
        return fetched != nullptr ? fetched : EVP_sha256();
    }();
    return algorithm;
}

class Sha256 {
 public:
    Sha256() { check(EVP_DigestInit_ex2(context(), sha256_algorithm(), nullptr)); }
    Sha256& update(const void* bytes, std::size_t size) {
        check(EVP_DigestUpdate(context(), bytes, size));
        return *this;
    }
    Hash finish() {
        Hash hash;
        check(EVP_DigestFinal_ex(context(), hash.data(), nullptr));
        return hash;
    }

 private:
    struct Free {
        void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
    };
    static EVP_MD_CTX* context() {
        static thread_local const std::unique_ptr<EVP_MD_CTX, Free> mine(EVP_MD_CTX_new());
        return mine.get();
    }
    static void check([[maybe_unused]] int done) { assert(done == 1 && "SHA-256 cannot fail on valid memory"); }
};

void put_big_endian(std::uint8_t* to, std::uint64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) *to++ = static_cast<std::uint8_t>(value >> shift);
}

}  // namespace

Hash sha256(std::string_view bytes) {
    return Sha256().update(bytes.data(), bytes.size()).finish();
}

Hash body_hash(std::string_view stored) {
    static constexpr std::array<std::uint8_t, stamp_end - stamp_begin> zero{};
    return Sha256()
        .update(stored.data(), stamp_begin)
        .update(zero.data(), zero.size())
        .update(stored.data() + stamp_end, stored.size() - stamp_end)
        .finish();
}

Hash event_hash(Seq seq, Timestamp recorded_at, Version version, const Hash& body) {
    std::array<std::uint8_t, 25 + 32> leaf{};
    put_big_endian(&leaf[1], seq.value);
    put_big_endian(&leaf[9], static_cast<std::uint64_t>(recorded_at.us));
    put_big_endian(&leaf[17], version.value);
    std::copy(body.begin(), body.end(), leaf.begin() + 25);
    return Sha256().update(leaf.data(), leaf.size()).finish();
}

Hash event_hash(Seq seq, std::string_view stored) {
    const auto header = read_header(stored);
    if (!header) return {};
    return event_hash(seq, header->recorded_at, header->version, body_hash(stored));
}

}  // namespace annal
