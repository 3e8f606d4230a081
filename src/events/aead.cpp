#include "aead.h"

#include <sodium.h>

#include <cassert>

namespace annal {

static_assert(key_bytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
static_assert(aead_nonce_bytes == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
static_assert(aead_tag_bytes == crypto_aead_xchacha20poly1305_ietf_ABYTES);

AeadNonce random_nonce() {
    AeadNonce nonce;
    randombytes_buf(nonce.data(), nonce.size());
    return nonce;
}

void aead_seal(KeyView key, const AeadNonce& nonce, std::string_view bound, std::span<const std::uint8_t> plain,
               std::span<std::uint8_t> sealed) {
    assert(sealed.size() == plain.size() + aead_tag_bytes);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.data(), nullptr, plain.data(), plain.size(),
                                               reinterpret_cast<const std::uint8_t*>(bound.data()), bound.size(),
                                               nullptr, nonce.data(), key.data());
}

bool aead_open(KeyView key, const AeadNonce& nonce, std::string_view bound, std::span<const std::uint8_t> sealed,
               std::span<std::uint8_t> plain) {
    if (sealed.size() < aead_tag_bytes || plain.size() != sealed.size() - aead_tag_bytes) return false;
    return crypto_aead_xchacha20poly1305_ietf_decrypt(plain.data(), nullptr, nullptr, sealed.data(), sealed.size(),
                                                      reinterpret_cast<const std::uint8_t*>(bound.data()), bound.size(),
                                                      nonce.data(), key.data()) == 0;
}

}  // namespace annal
