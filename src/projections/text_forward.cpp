#include "text_forward.h"

#include <algorithm>

namespace annal {
namespace {

using text_codec::put_bytes;
using text_codec::put_varint;
using text_codec::RowReader;

}  // namespace

void encode(const ForwardEntry& entry, std::string& out) {
    out.clear();
    put_varint(out, entry.slot);
    for (const auto& section : entry.sections) {
        put_varint(out, section.size());
        std::uint32_t before = 0;
        for (const auto& [term, tf] : section) {
            put_varint(out, std::uint64_t{term - before} << 1 | (tf > 1 ? 1 : 0));
            if (tf > 1) put_varint(out, tf);
            before = term;
        }
    }
}

Result<ForwardEntry> decode_forward(std::string_view bytes) {
    RowReader row(bytes);
    ForwardEntry entry;
    entry.slot = row.number();
    for (auto& section : entry.sections) {
        std::uint64_t term = 0;
        for (auto left = row.varint(); left > 0 && row.ok(); --left) {
            const auto packed = row.varint();
            term += packed >> 1;
            section.push_back({static_cast<std::uint32_t>(term), (packed & 1) != 0 ? row.number() : 1});
        }
    }
    if (!row.complete()) return text_codec::unreadable("forward entries");
    return entry;
}

std::string encode(const ParkedEntry& entry) {
    std::string out;
    put_varint(out, entry.slot);
    put_varint(out, entry.asks ? 1 : 0);
    put_varint(out, entry.asked);
    put_varint(out, entry.speaker_words.size());
    for (const auto& word : entry.speaker_words) put_bytes(out, word);
    for (const auto& section : entry.sections) {
        put_varint(out, section.size());
        for (const auto& [term, tf] : section) {
            put_bytes(out, term);
            put_varint(out, tf);
        }
    }
    return out;
}

Result<ParkedEntry> decode_parked(std::string_view bytes) {
    RowReader row(bytes);
    ParkedEntry entry;
    entry.slot = row.number();
    entry.asks = row.varint() != 0;
    entry.asked = static_cast<std::uint8_t>(row.varint());
    for (auto left = row.varint(); left > 0 && row.ok(); --left) entry.speaker_words.emplace_back(row.bytes());
    for (auto& section : entry.sections) {
        for (auto left = row.varint(); left > 0 && row.ok(); --left) {
            std::string term(row.bytes());
            section.push_back({std::move(term), row.number()});
        }
    }
    if (!row.complete()) return text_codec::unreadable("forward entries");
    return entry;
}

void merge_terms(std::vector<TermTf<std::uint32_t>>& terms) {
    std::ranges::sort(terms, {}, &TermTf<std::uint32_t>::term);
    std::size_t kept = 0;
    for (std::size_t at = 0; at < terms.size(); ++at) {
        if (kept > 0 && terms[kept - 1].term == terms[at].term)
            terms[kept - 1].tf += terms[at].tf;
        else
            terms[kept++] = terms[at];
    }
    terms.resize(kept);
}

std::vector<TermTf<std::uint32_t>> total(const TextSections<std::uint32_t>& sections) {
    std::vector<TermTf<std::uint32_t>> all;
    for (const auto& section : sections) all.insert(all.end(), section.begin(), section.end());
    merge_terms(all);
    return all;
}

}  // namespace annal
