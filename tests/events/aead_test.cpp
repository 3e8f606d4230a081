#include "events/aead.h"
#include "events/bytes.h"

#include <catch2/catch_test_macros.hpp>

#include <vector>

using namespace annal;

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes from_hex(std::string_view text) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    Bytes bytes;
    for (std::size_t i = 0; i < text.size(); i += 2)
        bytes.push_back(static_cast<std::uint8_t>(16 * digit(text[i]) + digit(text[i + 1])));
    return bytes;
}

}  // namespace

TEST_CASE("XChaCha20-Poly1305 gives what draft-irtf-cfrg-xchacha-03 says in A.3.1", "[events][sealing]") {
    const auto key = from_hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    const auto bound = from_hex("50515253c0c1c2c3c4c5c6c7");
    const std::string_view text =
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would "
        "be "
        "it.";
    const Bytes plain(text.begin(), text.end());
    const auto expected = from_hex(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c2"
        "16"
        "cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b"
        "13"
        "b52e"
        "c0875924c1c7987947deafd8780acf49");
    AeadNonce nonce;
    for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::uint8_t>(0x40 + i);
    const KeyView key_view(key.data(), key_bytes);

    Bytes sealed(plain.size() + aead_tag_bytes);
    aead_seal(key_view, nonce, as_text(bound), plain, sealed);
    CHECK(sealed == expected);

    Bytes opened(plain.size());
    REQUIRE(aead_open(key_view, nonce, as_text(bound), sealed, opened));
    CHECK(opened == plain);

    for (std::size_t i = 0; i < sealed.size(); ++i) {
        auto other = sealed;
        other[i] ^= 1;
        CHECK_FALSE(aead_open(key_view, nonce, as_text(bound), other, opened));
    }
    CHECK_FALSE(aead_open(key_view, nonce, "", sealed, opened));
    auto other_nonce = nonce;
    other_nonce[23] ^= 1;
    CHECK_FALSE(aead_open(key_view, other_nonce, as_text(bound), sealed, opened));
    Bytes none;
    CHECK_FALSE(aead_open(key_view, nonce, as_text(bound), std::span(sealed).first(15), none));
}
