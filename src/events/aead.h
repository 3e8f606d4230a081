// XChaCha20-Poly1305: what seals a payload, and what wraps a key.
//
// Its nonce is long enough to be drawn at random for as long as there is a key; one that is counted or made of a seq
// would repeat, under the same key and over other text, after a restore.
#pragma once

#include "locked_bytes.h"

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace annal {

inline constexpr std::size_t aead_nonce_bytes = 24, aead_tag_bytes = 16;
using AeadNonce = std::array<std::uint8_t, aead_nonce_bytes>;

AeadNonce random_nonce();

// `sealed` is to be a tag longer than `plain`. `bound` is not in it, but has to be the same again at aead_open.
void aead_seal(KeyView key, const AeadNonce& nonce, std::string_view bound, std::span<const std::uint8_t> plain,
               std::span<std::uint8_t> sealed);
// False: not what was sealed with this key, nonce and `bound`; then nothing of it is in `plain`.
bool aead_open(KeyView key, const AeadNonce& nonce, std::string_view bound, std::span<const std::uint8_t> sealed,
               std::span<std::uint8_t> plain);

}  // namespace annal
