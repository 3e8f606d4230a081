// The forward entry of a memory: its terms, by section. It says what to take out when the memory changes or goes.
#pragma once

#include "text_codec.h"
#include "text_document.h"

#include <annal/result.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal {

template <class Term>
struct TermTf {
    Term term{};
    std::uint32_t tf = 0;
};
template <class Term>
using TextSections = std::array<std::vector<TermTf<Term>>, text_section_count>;

struct ForwardEntry {
    std::uint32_t slot = 0;
    TextSections<std::uint32_t> sections;  // By number, ascending.
};

// A forgotten memory, put aside until it is restored or forgotten for good.
struct ParkedEntry {
    std::uint32_t slot = 0;
    bool asks = false;
    std::uint8_t asked = 0;
    std::vector<std::string> speaker_words;
    TextSections<std::string> sections;
};

void encode(const ForwardEntry& entry, std::string& out);
std::string encode(const ParkedEntry& entry);
// data_loss: not such a row.
Result<ForwardEntry> decode_forward(std::string_view row);
Result<ParkedEntry> decode_parked(std::string_view row);

// Equal terms of `terms` added up, ascending.
void merge_terms(std::vector<TermTf<std::uint32_t>>& terms);
// All sections together.
std::vector<TermTf<std::uint32_t>> total(const TextSections<std::uint32_t>& sections);

}  // namespace annal
