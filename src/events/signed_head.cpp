#include "signed_head.h"

#include "base64.h"
#include "bytes.h"
#include "hex.h"
#include "merkle_tree.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace annal {
namespace {

constexpr std::size_t note_bytes_max = 1 << 20, signatures_max = 100;
constexpr std::string_view signature_mark = "\u2014 ";
constexpr char ed25519_type = 1;
constexpr std::size_t ed25519_signature_bytes = 64;

Error refuse(std::string_view reason, std::string message) {
    return Error{ErrorCode::invalid_argument, std::move(message), {{"reason", std::string(reason)}}};
}

Error malformed(const std::string& what) {
    return refuse("malformed", "not a signed tree head: " + what);
}

// Takes the next code point off the front; nullopt, when that is not UTF-8.
std::optional<char32_t> take_code_point(std::string_view& text) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    const auto first = byte(0);
    const std::size_t size = first < 0x80             ? 1
                             : (first & 0xE0) == 0xC0 ? 2
                             : (first & 0xF0) == 0xE0 ? 3
                             : (first & 0xF8) == 0xF0 ? 4
                                                      : 0;
    if (size == 0 || size > text.size()) return std::nullopt;
    char32_t point = size == 1 ? first : first & (0x7FU >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return std::nullopt;
        point = (point << 6) | (byte(i) & 0x3FU);
    }
    static constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < smallest[size] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return std::nullopt;
    text.remove_prefix(size);
    return point;
}

bool is_space(char32_t point) {
    return (point >= 0x09 && point <= 0x0D) || point == 0x20 || point == 0x85 || point == 0xA0 || point == 0x1680 ||
           (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 || point == 0x202F ||
           point == 0x205F || point == 0x3000;
}

template <class Allowed>
bool is_utf8_of(std::string_view text, const Allowed& allowed) {
    while (!text.empty()) {
        const auto point = take_code_point(text);
        if (!point || !allowed(*point)) return false;
    }
    return true;
}

bool is_line(std::string_view text) {
    return !text.empty() && is_utf8_of(text, [](char32_t point) { return point >= 0x20; });
}

bool is_key_name(std::string_view name) {
    return is_line(name) && is_utf8_of(name, [](char32_t point) { return point != '+' && !is_space(point); });
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    std::uint64_t size = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
    if (error != std::errc() || size > merkle_leaves_max || std::to_string(size) != text) return std::nullopt;
    return size;
}

// Takes a line and its newline off the front.
std::string_view take_line(std::string_view& text) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    text.remove_prefix(end + 1);
    return line;
}

std::string to_text(const TreeHead& head) {
    std::string text = head.origin + "\n" + std::to_string(head.size) + "\n" + to_base64(as_text(head.root)) + "\n";
    for (const auto& extension : head.extensions) text += extension + "\n";
    return text;
}

Result<TreeHead> parse_head(std::string_view text) {
    if (std::count(text.begin(), text.end(), '\n') < 3) return malformed("fewer than three lines");
    TreeHead head;
    head.origin = take_line(text);
    const auto size = parse_size(take_line(text));
    const auto root = from_base64(take_line(text));
    if (!is_line(head.origin)) return malformed("its origin is not a line of text");
    if (!size) return malformed("its size is not a number");
    if (!root || root->size() != head.root.size()) return malformed("its root is not 32 bytes in base64");
    head.size = *size;
    std::copy(root->begin(), root->end(), head.root.begin());
    while (!text.empty()) {
        head.extensions.emplace_back(take_line(text));
        if (!is_line(head.extensions.back())) return malformed("an extension is not a line of text");
    }
    return head;
}

Result<HeadSignature> parse_signature(std::string_view line) {
    const Error broken = malformed("a signature is not '\u2014 NAME BASE64'");
    if (!line.starts_with(signature_mark)) return broken;
    line.remove_prefix(signature_mark.size());
    const auto space = line.find(' ');
    if (space == std::string_view::npos || !is_key_name(line.substr(0, space))) return broken;
    const auto bytes = from_base64(line.substr(space + 1));
    HeadSignature signature;
    if (!bytes || bytes->size() <= signature.key_id.size()) return broken;
    signature.name = line.substr(0, space);
    std::copy_n(bytes->begin(), signature.key_id.size(), signature.key_id.begin());
    signature.bytes = bytes->substr(signature.key_id.size());
    return signature;
}

// The text that is signed ends before the last blank line.
struct NoteParts {
    std::string_view text;
    std::string_view signatures;
};

Result<NoteParts> divide(std::string_view note) {
    if (note.size() > note_bytes_max) return malformed("longer than 1 MiB");
    const auto blank = note.rfind("\n\n");
    if (blank == std::string_view::npos || !note.ends_with('\n') || blank + 2 == note.size())
        return malformed("no blank line before signatures, or no newline at the end");
    return NoteParts{note.substr(0, blank + 1), note.substr(blank + 2)};
}

struct FreeDigest {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Digest = std::unique_ptr<EVP_MD_CTX, FreeDigest>;

struct FreeKey {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

}  // namespace

VerifierKey::VerifierKey(std::string name, const PublicKey& key) : name_(std::move(name)), key_(key) {
    const Hash hash = sha256(name_ + '\n' + ed25519_type + std::string(as_text(key_)));
    std::copy_n(hash.begin(), id_.size(), id_.begin());
}

Result<VerifierKey> VerifierKey::parse(std::string_view text) {
    const Error broken = refuse("malformed", "not an Ed25519 verifier key, NAME+ID+BASE64");
    const auto first = text.find('+');
    const auto second = first == std::string_view::npos ? first : text.find('+', first + 1);
    if (second == std::string_view::npos || !is_key_name(text.substr(0, first))) return broken;
    const auto bytes = from_base64(text.substr(second + 1));
    PublicKey key;
    if (!bytes || bytes->size() != 1 + key.size() || bytes->front() != ed25519_type) return broken;
    std::copy(bytes->begin() + 1, bytes->end(), key.begin());
    VerifierKey parsed(std::string(text.substr(0, first)), key);
    if (parsed.text() != text) return refuse("malformed", "a verifier key whose id is not that of its name and bytes");
    return parsed;
}

std::string VerifierKey::text() const {
    return name_ + '+' + to_hex(id_) + '+' + to_base64(ed25519_type + std::string(as_text(key_)));
}

bool VerifierKey::verifies(std::string_view text, std::string_view signature) const {
    if (signature.size() != ed25519_signature_bytes) return false;
    const std::unique_ptr<EVP_PKEY, FreeKey> key(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key_.data(), key_.size()));
    const Digest digest(EVP_MD_CTX_new());
    return key && digest && EVP_DigestVerifyInit(digest.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
           EVP_DigestVerify(digest.get(), unsigned_bytes(signature).data(), signature.size(),
                            unsigned_bytes(text).data(), text.size()) == 1;
}

void SigningKey::Free::operator()(evp_pkey_st* key) const {
    EVP_PKEY_free(key);
}

Result<SigningKey::Seed> SigningKey::new_seed() {
    Seed seed;
    if (RAND_priv_bytes(seed.data(), static_cast<int>(seed.size())) != 1)
        return Error{ErrorCode::unavailable, "the system has no random bytes for a key", {}};
    return seed;
}

Result<SigningKey> SigningKey::from_seed(std::string_view name, const Seed& seed) {
    if (!is_key_name(name)) return refuse("malformed", "the name of a key is text without spaces and '+'");
    Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
    VerifierKey::PublicKey public_key;
    std::size_t size = public_key.size();
    if (!key || EVP_PKEY_get_raw_public_key(key.get(), public_key.data(), &size) != 1)
        return Error{ErrorCode::internal, "making a signing key", {}};
    return SigningKey(std::move(key), VerifierKey(std::string(name), public_key));
}

Result<std::string> SigningKey::sign(std::string_view text) const {
    std::string signature(ed25519_signature_bytes, '\0');
    std::size_t size = signature.size();
    const Digest digest(EVP_MD_CTX_new());
    if (!digest || EVP_DigestSignInit(digest.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
        EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                       unsigned_bytes(text).data(), text.size()) != 1)
        return Error{ErrorCode::internal, "signing a tree head", {}};
    return signature;
}

Result<SignedHead> SignedHead::parse(std::string_view text) {
    auto parts = divide(text);
    if (!parts) return parts.error();
    auto head = parse_head(parts->text);
    if (!head) return head.error();
    SignedHead parsed{std::move(*head), {}};
    while (!parts->signatures.empty()) {
        if (parsed.signatures.size() == signatures_max) return malformed("more than 100 signatures");
        auto signature = parse_signature(take_line(parts->signatures));
        if (!signature) return signature.error();
        parsed.signatures.push_back(std::move(*signature));
    }
    return parsed;
}

Result<std::string> sign_head(const TreeHead& head, const SigningKey& key) {
    const std::string text = to_text(head);
    const auto read_back = parse_head(text);
    if (!read_back) return read_back.error();
    if (*read_back != head) return malformed("a line within a line");
    const auto signature = key.sign(text);
    if (!signature) return signature.error();
    const auto& verifier = key.verifier();
    std::string note = text + "\n" + std::string(signature_mark) + verifier.name() + " " +
                       to_base64(std::string(as_text(verifier.id())) + *signature) + "\n";
    if (note.size() > note_bytes_max) return malformed("longer than 1 MiB");
    return note;
}

Result<TreeHead> verify_head(std::string_view text, std::string_view origin, const VerifierKey& key) {
    const auto parsed = SignedHead::parse(text);
    if (!parsed) return parsed.error();
    if (parsed->head.origin != origin) return refuse("origin", "a tree head of another log");
    const auto signed_text = divide(text)->text;
    bool found = false;
    for (const auto& signature : parsed->signatures) {
        if (signature.name != key.name() || signature.key_id != key.id()) continue;
        if (!key.verifies(signed_text, signature.bytes))
            return refuse("signature", "the tree head is not what the key signed");
        found = true;
    }
    if (!found) return refuse("key", "a tree head without a signature of the key");
    return parsed->head;
}

}  // namespace annal
