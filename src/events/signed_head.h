// Signed tree heads: a C2SP tlog-checkpoint, which is a C2SP signed-note whose text is a tree head. (Here the word
// checkpoint is a projector's, hence the name.)
//
//   example.com/store                                origin: which log this is; by custom the name of its key, too
//   4711                                             size, in leaves
//   CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=     root, base64
//   any text                                         extensions, as a rule none
//                                                    blank
//   — example.com/store Az3grl...YQ8=                base64(key id || Ed25519 of all before the blank line), one or
//   more
//
// A public key is told as NAME+ID+base64(0x01 || 32 bytes), where ID is the first four bytes of
// SHA-256(NAME || 0x0A || 0x01 || 32 bytes), in hex.
//
// What is not spelled exactly so is refused: invalid_argument, details: reason, one of malformed, origin (another
// log's), key (not signed with it), signature (signed with it, over something else).
#pragma once

#include "event_log_hash.h"

#include <annal/result.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;

namespace annal {

struct TreeHead {
    std::string origin;  // Not empty, one line; so is each extension.
    std::uint64_t size = 0;
    Hash root{};
    std::vector<std::string> extensions;
    bool operator==(const TreeHead&) const = default;
};

using KeyId = std::array<std::uint8_t, 4>;

class VerifierKey {
 public:
    static Result<VerifierKey> parse(std::string_view text);
    std::string text() const;

    const std::string& name() const { return name_; }
    const KeyId& id() const { return id_; }
    bool verifies(std::string_view text, std::string_view signature) const;

    bool operator==(const VerifierKey&) const = default;

 private:
    friend class SigningKey;
    using PublicKey = std::array<std::uint8_t, 32>;
    VerifierKey(std::string name, const PublicKey& key);

    std::string name_;
    PublicKey key_{};
    KeyId id_{};
};

class SigningKey {
 public:
    using Seed = std::array<std::uint8_t, 32>;  // The private key of RFC 8032. Whoever holds it wipes it.

    static Result<Seed> new_seed();
    // A name is not empty, and has no spaces and no '+'.
    static Result<SigningKey> from_seed(std::string_view name, const Seed& seed);

    const VerifierKey& verifier() const { return verifier_; }
    Result<std::string> sign(std::string_view text) const;  // 64 bytes.

 private:
    struct Free {
        void operator()(evp_pkey_st* key) const;
    };
    using Key = std::unique_ptr<evp_pkey_st, Free>;
    SigningKey(Key key, VerifierKey verifier) : key_(std::move(key)), verifier_(std::move(verifier)) {}

    Key key_;
    VerifierKey verifier_;
};

struct HeadSignature {
    std::string name;
    KeyId key_id{};
    std::string bytes;  // Not empty; 64 for Ed25519.
    bool operator==(const HeadSignature&) const = default;
};

// Nothing in it is to be believed before it is verified.
struct SignedHead {
    TreeHead head;
    std::vector<HeadSignature> signatures;

    // At most 1 MiB and 100 signatures.
    static Result<SignedHead> parse(std::string_view text);
    bool operator==(const SignedHead&) const = default;
};

// The whole note, one signature. invalid_argument: a head that would not be parsed back.
Result<std::string> sign_head(const TreeHead& head, const SigningKey& key);

// The head, if it is `origin`'s and signed with `key`; signatures of other keys are passed over.
Result<TreeHead> verify_head(std::string_view text, std::string_view origin, const VerifierKey& key);

}  // namespace annal
