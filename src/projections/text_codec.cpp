#include "text_codec.h"

namespace annal::text_codec {
namespace {

void append_number(std::string& key, std::uint32_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) key.push_back(static_cast<char>(number >> shift));
}

}  // namespace

std::string key_prefix(std::string_view project) {
    std::string prefix(project);
    prefix.push_back('\0');
    return prefix;
}

std::string key(std::string_view prefix, char letter, std::string_view rest) {
    std::string key;
    key.reserve(prefix.size() + 1 + rest.size());
    key.append(prefix).push_back(letter);
    key.append(rest);
    return key;
}

std::string key(std::string_view prefix, char letter, std::uint32_t number) {
    auto result = key(prefix, letter);
    append_number(result, number);
    return result;
}

std::string posting_key(std::string_view prefix, std::uint32_t term, std::uint32_t slot) {
    std::string key;
    key.reserve(prefix.size() + 9);
    key.append(prefix).push_back('p');
    append_number(key, term);
    append_number(key, slot);
    return key;
}

std::string term_past(std::string_view prefix, std::string_view term) {
    std::string key;
    key.reserve(prefix.size() + term.size() + 11);
    key.append(prefix).push_back('h');
    key.push_back(static_cast<char>(term.size() >> 8));
    key.push_back(static_cast<char>(term.size()));
    return key.append(term);
}

std::uint32_t key_number(std::string_view key) {
    std::uint32_t number = 0;
    for (const char c : key.substr(key.size() - 4)) number = number << 8 | static_cast<unsigned char>(c);
    return number;
}

void append_posting(std::string& run, std::uint32_t last, Posting posting) {
    const std::uint64_t delta = posting.slot - std::uint32_t{last + 1};  // no_slot + 1 is 0.
    put_varint(run, delta << 1 | (posting.tf > 1 ? 1 : 0));
    if (posting.tf > 1) put_varint(run, posting.tf);
}

bool read_postings(std::string_view run, std::vector<Posting>& out) {
    RowReader reader(run);
    std::uint64_t next = 0;
    while (!reader.rest().empty()) {
        const auto packed = reader.varint();
        const std::uint64_t slot = next + (packed >> 1);
        if (slot >= 0xffffffff) return false;
        out.push_back({static_cast<std::uint32_t>(slot), (packed & 1) != 0 ? reader.number() : 1});
        next = slot + 1;
    }
    return reader.ok();
}

void encode_tail(const Tail& tail, std::string& out) {
    out.clear();
    put_varint(out, tail.df);
    put_bytes(out, tail.term);
    put_varint(out, tail.count);
    put_varint(out, tail.last);
    out.append(tail.run);
}

bool decode_tail(std::string_view row, Tail& tail) {
    RowReader reader(row);
    tail.df = reader.varint();
    tail.term = reader.bytes();
    tail.count = reader.number();
    tail.last = reader.number();
    tail.run = reader.rest();
    return reader.ok();
}

}  // namespace annal::text_codec
