// annal-verify-proof: checks, from files alone, what a log says of itself.
//
// A checkpoint file is a C2SP tlog-checkpoint (a signed note: origin, size, root, signatures). A proof file is lines of
// text, in this order, each ended by a newline; numbers are decimal, hashes base64, one hash of the path a line:
//
//   annal inclusion proof v1            annal consistency proof v1
//   seq 3                               old_size 3
//   size 7                              new_size 7
//   recorded_at 1763700000000000        BASE64
//   version 1                           ...
//   body BASE64
//   BASE64
//   ...
//
// recorded_at is microseconds since 1970; body is the hash of the event's stored bytes. The path goes from the leaf up
// (RFC 9162 2.1.3.1 and 2.1.4.1).
#include "tree_proof.h"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace verify_proof {
namespace {

constexpr int refused = 1, unusable = 2;
constexpr std::size_t file_bytes_max = 1 << 20;

constexpr const char* help_text =
    R"(Checks proofs of an Annal log. Needs no store and no network, only the files and a key that you trust.

  annal-verify-proof inclusion CHECKPOINT_FILE PROOF_FILE --key VKEY [--origin ORIGIN]
  annal-verify-proof consistency OLD_CHECKPOINT NEW_CHECKPOINT PROOF_FILE --key VKEY [--origin ORIGIN]

Is event 42 in the log that this checkpoint was signed for?
  annal-verify-proof inclusion head.txt event-42.proof --key 'example.com/store+8f3a0c11+AZ1k...'

Is the log of today still the log of yesterday, with events added and none changed?
  annal-verify-proof consistency yesterday.txt today.txt growth.proof --key 'example.com/store+8f3a0c11+AZ1k...'

VKEY is the log's public key, NAME+ID+BASE64. Get it from its owner and keep it: a key that comes along with the
proof proves nothing. ORIGIN is the first line of the log's checkpoints, and is the key's NAME unless you say otherwise.

Exit code: 0 verified; 1 refused, and stderr says why; 2 the command or a file could not be used.
)";

[[noreturn]] void stop(int code, const std::string& message) {
    std::fprintf(stderr, "annal-verify-proof: %s%s\n", code == refused ? "REFUSED: " : "", message.c_str());
    std::exit(code);
}

[[noreturn]] void refuse(const std::string& message) {
    stop(refused, message);
}

// --- Text -----------------------------------------------------------------------------------------------------------

const unsigned char* unsigned_bytes(std::string_view bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

// Standard base64 with padding, of one spelling only: no blanks, no stray bits at the end.
std::optional<std::string> from_base64(std::string_view text) {
    static constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (text.size() % 4 != 0) return std::nullopt;
    std::size_t padding = 0;
    while (padding < 2 && text.ends_with('=')) text.remove_suffix(1), ++padding;
    std::string bytes;
    std::uint32_t bits = 0;
    unsigned bit_count = 0;
    for (const char c : text) {
        const auto value = alphabet.find(c);
        if (value == std::string_view::npos) return std::nullopt;
        bits = (bits << 6) | static_cast<std::uint32_t>(value);
        bit_count += 6;
        if (bit_count < 8) continue;
        bit_count -= 8;
        bytes.push_back(static_cast<char>(bits >> bit_count));
        bits &= (1U << bit_count) - 1;
    }
    if (bits != 0 || bit_count != 2 * padding) return std::nullopt;
    return bytes;
}

std::optional<Hash> hash_from_base64(std::string_view text) {
    const auto bytes = from_base64(text);
    Hash hash;
    if (!bytes || bytes->size() != hash.size()) return std::nullopt;
    std::copy(bytes->begin(), bytes->end(), hash.begin());
    return hash;
}

std::string to_hex(std::string_view bytes) {
    static constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const char c : bytes) {
        text += digits[static_cast<std::uint8_t>(c) >> 4];
        text += digits[static_cast<std::uint8_t>(c) & 15];
    }
    return text;
}

std::string_view view(const Hash& hash) {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

// Decimal, no sign, no leading zero, below 2^63.
std::optional<std::uint64_t> parse_number(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number >> 63 != 0 || std::to_string(number) != text) return std::nullopt;
    return number;
}

// A file as lines, each ended by a newline.
class Lines {
 public:
    Lines(std::string_view text, std::string name) : text_(text), name_(std::move(name)) {
        if (!text.ends_with('\n')) stop_at("does not end with a newline");
    }
    bool at_end() const { return text_.empty(); }
    std::string_view next(std::string_view expected) {
        if (at_end()) stop_at("ends where " + std::string(expected) + " should be");
        const auto end = text_.find('\n');
        const auto line = text_.substr(0, end);
        text_.remove_prefix(end + 1);
        ++number_;
        return line;
    }
    // What follows `key` and a space.
    std::string_view field(const std::string& key) {
        auto line = next("'" + key + "'");
        if (!line.starts_with(key + " ")) stop_at("should be '" + key + " ...'");
        line.remove_prefix(key.size() + 1);
        return line;
    }
    std::uint64_t number(const std::string& key) {
        const auto number = parse_number(field(key));
        if (!number) stop_at("is not '" + key + "' and a number");
        return *number;
    }
    Hash hash(std::string_view text) {
        const auto hash = hash_from_base64(text);
        if (!hash) stop_at("is not a hash of 32 bytes in base64");
        return *hash;
    }
    [[noreturn]] void stop_at(const std::string& what) const {
        refuse(name_ + (number_ > 0 ? ", line " + std::to_string(number_) + ", " : " ") + what);
    }

 private:
    std::string_view text_;
    std::string name_;
    int number_ = 0;
};

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string text(file_bytes_max + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!in.is_open() || in.bad()) stop(unusable, "cannot read " + path);
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > file_bytes_max) refuse(path + " is longer than 1 MiB");
    return text;
}

// --- Signed notes ---------------------------------------------------------------------------------------------------

struct Key {
    std::string name;
    std::string id;          // 4 bytes.
    std::string public_key;  // 32 bytes.
};

Key parse_key(std::string_view vkey) {
    const auto first = vkey.find('+');
    const auto second = first == std::string_view::npos ? first : vkey.find('+', first + 1);
    if (second == std::string_view::npos || first == 0) stop(unusable, "--key is not NAME+ID+BASE64");
    const auto bytes = from_base64(vkey.substr(second + 1));
    if (!bytes || bytes->size() != 33 || bytes->front() != 1) stop(unusable, "--key does not hold an Ed25519 key");
    Key key{std::string(vkey.substr(0, first)), {}, bytes->substr(1)};
    const Hash hash = sha256(key.name + "\n" + *bytes);
    key.id = view(hash).substr(0, 4);
    if (to_hex(key.id) != vkey.substr(first + 1, second - first - 1))
        stop(unusable, "--key was copied wrong: its id is not that of its name and bytes");
    return key;
}

bool is_signed(const Key& key, std::string_view text, std::string_view signature) {
    struct FreeKey {
        void operator()(EVP_PKEY* each) const { EVP_PKEY_free(each); }
    };
    struct FreeDigest {
        void operator()(EVP_MD_CTX* each) const { EVP_MD_CTX_free(each); }
    };
    const std::unique_ptr<EVP_PKEY, FreeKey> public_key(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, unsigned_bytes(key.public_key), key.public_key.size()));
    const std::unique_ptr<EVP_MD_CTX, FreeDigest> digest(EVP_MD_CTX_new());
    return public_key && digest && signature.size() == 64 &&
           EVP_DigestVerifyInit(digest.get(), nullptr, nullptr, nullptr, public_key.get()) == 1 &&
           EVP_DigestVerify(digest.get(), unsigned_bytes(signature), signature.size(), unsigned_bytes(text),
                            text.size()) == 1;
}

void check_signatures(std::string_view text, std::string_view signatures, const Key& key, const std::string& name) {
    bool found = false;
    for (Lines lines(signatures, name + " (signatures)"); !lines.at_end();) {
        static constexpr std::string_view mark = "\xE2\x80\x94 ";  // An em dash.
        auto line = lines.next("a signature");
        const auto space = line.find(' ', mark.size());
        if (!line.starts_with(mark) || space == std::string_view::npos || space == mark.size())
            lines.stop_at("is not an em dash, a name and a signature");
        const auto bytes = from_base64(line.substr(space + 1));
        if (!bytes || bytes->size() < 5) lines.stop_at("is not a signature in base64");
        if (line.substr(mark.size(), space - mark.size()) != key.name || bytes->substr(0, 4) != key.id) continue;
        if (!is_signed(key, text, bytes->substr(4))) refuse(name + " is not what the key signed: forged or damaged");
        found = true;
    }
    if (!found) refuse(name + " is not signed with the key given");
}

struct Checkpoint {
    std::uint64_t size = 0;
    Hash root{};
};

Checkpoint read_checkpoint(const std::string& path, const Key& key, const std::string& origin) {
    const std::string note = read_file(path);
    const bool printable =
        std::none_of(note.begin(), note.end(), [](char c) { return c >= 0 && c < ' ' && c != '\n'; });
    const auto blank = note.rfind("\n\n");
    if (!printable || blank == std::string::npos) refuse(path + " is not a checkpoint: a signed note of plain text");
    const std::string_view text = std::string_view(note).substr(0, blank + 1);
    check_signatures(text, std::string_view(note).substr(blank + 2), key, path);

    Lines lines(text, path);
    if (lines.next("the origin") != origin) refuse(path + " is of another log than " + origin);
    Checkpoint checkpoint;
    const auto size = parse_number(lines.next("the size"));
    if (!size) lines.stop_at("is not the size of a tree");
    checkpoint.size = *size;
    checkpoint.root = lines.hash(lines.next("the root"));
    while (!lines.at_end())
        if (lines.next("an extension").empty()) lines.stop_at("is empty");
    return checkpoint;
}

// --- Commands -------------------------------------------------------------------------------------------------------

struct Arguments {
    std::vector<std::string> files;
    std::optional<std::string> key;
    std::optional<std::string> origin;
};

Arguments parse_arguments(int argc, char** argv) {
    Arguments arguments;
    for (int i = 2; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word == "--key" || word == "--origin") {
            auto& value = word == "--key" ? arguments.key : arguments.origin;
            if (i + 1 == argc) stop(unusable, std::string(word) + " needs a value; see --help");
            if (value) stop(unusable, std::string(word) + " is given twice");
            value = argv[++i];
        } else if (word.starts_with("--")) {
            stop(unusable, "there is no option " + std::string(word) + "; see --help");
        } else {
            arguments.files.emplace_back(word);
        }
    }
    return arguments;
}

std::vector<Hash> read_path(Lines& lines) {
    std::vector<Hash> path;
    while (!lines.at_end()) path.push_back(lines.hash(lines.next("a hash")));
    return path;
}

void check_header(Lines& lines, std::string_view header) {
    if (lines.next("the header") != header) lines.stop_at("should be '" + std::string(header) + "'");
}

void verify_inclusion(const Arguments& arguments, const Key& key, const std::string& origin) {
    const auto checkpoint = read_checkpoint(arguments.files[0], key, origin);
    const std::string text = read_file(arguments.files[1]);
    Lines lines(text, arguments.files[1]);
    check_header(lines, "annal inclusion proof v1");
    Event event;
    event.seq = lines.number("seq");
    const auto size = lines.number("size");
    event.recorded_at_us = lines.number("recorded_at");
    event.version = lines.number("version");
    event.body = lines.hash(lines.field("body"));
    const auto path = read_path(lines);

    if (size != checkpoint.size)
        refuse("the proof is for a log of " + std::to_string(size) + " events, the checkpoint is of one of " +
               std::to_string(checkpoint.size));
    if (event.seq == 0 || event.seq > size)
        refuse("a log of " + std::to_string(size) + " events has no event " + std::to_string(event.seq));
    const Hash leaf = leaf_hash(event);
    if (!is_included(event.seq - 1, size, leaf, path, checkpoint.root))
        refuse("the proof does not lead from this event to the checkpoint's root: one of them was changed");
    std::printf("verified: event %llu, hash %s, is in the log %s of %llu events\n",
                static_cast<unsigned long long>(event.seq), to_hex(view(leaf)).c_str(), origin.c_str(),
                static_cast<unsigned long long>(size));
}

void verify_consistency(const Arguments& arguments, const Key& key, const std::string& origin) {
    const auto older = read_checkpoint(arguments.files[0], key, origin);
    const auto newer = read_checkpoint(arguments.files[1], key, origin);
    const std::string text = read_file(arguments.files[2]);
    Lines lines(text, arguments.files[2]);
    check_header(lines, "annal consistency proof v1");
    const auto old_size = lines.number("old_size"), new_size = lines.number("new_size");
    const auto path = read_path(lines);

    if (older.size > newer.size)
        refuse("the new checkpoint has fewer events than the old one: the log was rolled back, or they are swapped");
    if (old_size != older.size || new_size != newer.size)
        refuse("the proof is for logs of " + std::to_string(old_size) + " and " + std::to_string(new_size) +
               " events, the checkpoints are of " + std::to_string(older.size) + " and " + std::to_string(newer.size));
    if (old_size == 0) refuse("the old checkpoint is of an empty log, which any log extends: it proves nothing");
    if (!is_consistent(old_size, new_size, older.root, newer.root, path))
        refuse(
            "the proof does not lead from the old checkpoint to the new one: the past was changed, or the proof was");
    std::printf("verified: the log %s of %llu events is the log of %llu with %llu events added\n", origin.c_str(),
                static_cast<unsigned long long>(new_size), static_cast<unsigned long long>(old_size),
                static_cast<unsigned long long>(new_size - old_size));
}

int run(int argc, char** argv) {
    const std::string_view command = argc > 1 ? argv[1] : "";
    const bool asks_help = std::any_of(argv + 1, argv + argc, [](std::string_view word) { return word == "--help"; });
    if (asks_help) {
        std::fputs(help_text, stdout);
        return 0;
    }
    const bool inclusion = command == "inclusion";
    if (!inclusion && command != "consistency") stop(unusable, "say inclusion or consistency; see --help");
    const auto arguments = parse_arguments(argc, argv);
    const std::size_t file_count = inclusion ? 2 : 3;
    if (arguments.files.size() != file_count)
        stop(unusable, std::string(command) + " takes " + std::to_string(file_count) + " files; see --help");
    if (!arguments.key) stop(unusable, "whose signature? Give --key VKEY; see --help");
    const Key key = parse_key(*arguments.key);
    (inclusion ? verify_inclusion : verify_consistency)(arguments, key, arguments.origin.value_or(key.name));
    if (std::fflush(stdout) != 0) stop(unusable, "cannot write the answer");
    return 0;
}

}  // namespace
}  // namespace verify_proof

int main(int argc, char** argv) {
    return verify_proof::run(argc, argv);
}
