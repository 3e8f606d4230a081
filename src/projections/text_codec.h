// Rows of the text index to bytes and back. Numbers are LEB128 varints.
// Every key begins with the project and a zero byte, then a letter:
//   n                    statistics and counters
//   e <chunk>            entries of 256 slots
//   i <chunk>            memory ids of the same slots, 16 bytes each
//   a <speaker>          live memories of a speaker, words of the name
//   s <hash of session>  its number, its last slot
//   f <memory id>        forward entry of a live memory: slot, and the terms of each of its sections, by number
//   x <memory id>        what a restore of a forgotten memory needs: the same, with the terms themselves
//   d <term>             its number
//   p <term> <slot>      postings up to that slot, by number of the term; slot ffffffff: the last ones, with the term's
//   df
// Read as of an earlier seq only (block_past.h for those that end with a seq):
//   h <size, 2 bytes> <term> <seq>  postings before they changed
//   w <range> <seq>                 entries of 8192 slots before they changed
//   m <slot>                        the sums of the context's likeness, from that memory on
//   q <speaker>                     words of a name of which no memory is left
// Numbers in keys are 4 bytes, big endian. Numbers of terms, sessions and speakers are given in the order of the log
// and never used again.
#pragma once

#include <annal/result.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct Posting {
    std::uint32_t slot = 0;
    std::uint32_t tf = 0;
    bool operator==(const Posting&) const = default;
};

namespace text_codec {

inline Error unreadable(std::string_view what) {
    return {ErrorCode::data_loss, "the text index's " + std::string(what) + " cannot be read", {}};
}

inline void put_varint(std::string& out, std::uint64_t value) {
    if (value < 0x80) return out.push_back(static_cast<char>(value));
    std::array<char, 10> bytes;
    std::size_t size = 0;
    for (; value >= 0x80; value >>= 7) bytes[size++] = static_cast<char>(value | 0x80);
    bytes[size++] = static_cast<char>(value);
    out.append(bytes.data(), size);
}

inline void put_bytes(std::string& out, std::string_view bytes) {
    put_varint(out, bytes.size());
    out.append(bytes);
}

// Reads a row to its end; after an error every read gives nothing and ok() is false.
class RowReader {
 public:
    explicit RowReader(std::string_view row) : rest_(row) {}

    std::uint64_t varint() {
        if (!rest_.empty() && static_cast<unsigned char>(rest_.front()) < 0x80) {  // Most are.
            const auto value = static_cast<unsigned char>(rest_.front());
            rest_.remove_prefix(1);
            return value;
        }
        return long_varint();
    }
    std::uint32_t number() {
        const auto value = varint();
        return value <= 0xffffffff ? static_cast<std::uint32_t>(value) : static_cast<std::uint32_t>(fail());
    }
    std::string_view bytes() { return take(varint()); }
    std::string_view take(std::uint64_t size) {
        if (size > rest_.size()) {
            fail();
            return {};
        }
        const auto taken = rest_.substr(0, static_cast<std::size_t>(size));
        rest_.remove_prefix(taken.size());
        return taken;
    }
    std::string_view rest() const { return rest_; }
    bool ok() const { return ok_; }
    bool complete() const { return ok_ && rest_.empty(); }

 private:
    std::uint64_t long_varint() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
            const auto byte = static_cast<unsigned char>(rest_.front());
            rest_.remove_prefix(1);
            value |= std::uint64_t{byte & 0x7fU} << shift;
            if (byte < 0x80) return value;
        }
        return fail();
    }
    std::uint64_t fail() {
        ok_ = false;
        rest_ = {};
        return 0;
    }

    std::string_view rest_;
    bool ok_ = true;
};

std::string key_prefix(std::string_view project);
std::string key(std::string_view prefix, char letter, std::string_view rest = {});
std::string key(std::string_view prefix, char letter, std::uint32_t number);
std::string posting_key(std::string_view prefix, std::uint32_t term, std::uint32_t slot);
// By the term itself: it may be gone by now, and its number with it.
std::string term_past(std::string_view prefix, std::string_view term);
std::uint32_t key_number(std::string_view key);  // Its last four bytes.

// A run of postings: each slot less the one before, shifted by one with a bit for tf > 1, then tf if so. `last`: the
// slot before, no_slot when there is none.
void append_posting(std::string& run, std::uint32_t last, Posting posting);
bool read_postings(std::string_view run, std::vector<Posting>& out);  // False: not such a run.

// The last postings of a term.
struct Tail {
    std::uint64_t df = 0;  // Of all its blocks.
    std::string_view term;
    std::uint32_t count = 0;
    std::uint32_t last = 0;
    std::string_view run;
};
void encode_tail(const Tail& tail, std::string& out);
bool decode_tail(std::string_view row, Tail& tail);

}  // namespace text_codec
}  // namespace annal
