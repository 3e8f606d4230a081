// What the text index takes of a memory, by sections, so that a revision replaces only what it changes.
#pragma once

#include "analyzer.h"

#include "events/event.h"

#include <annal/memory.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace annal {

enum class TextSection : std::uint8_t {  // Stored numbers.
    content = 0,
    fields = 1,    // The kind's text fields.
    tags = 2,      // Count double.
    metadata = 3,  // "caption", and "title", which counts double.
    date = 4,      // When it was said, as people write it. Spoken memories only, as the next.
    speaker = 5,
};
inline constexpr std::size_t text_section_count = 6;
inline constexpr std::array text_section_table{TextSection::content,  TextSection::fields, TextSection::tags,
                                               TextSection::metadata, TextSection::date,   TextSection::speaker};

// What an event says beside the terms. Used again for the next event: it keeps its memory.
struct TextDocument {
    std::array<bool, text_section_count> given{};  // The event says something of it, be it that it is empty.
    bool spoken = false;
    Analyzer::Questions questions;           // Of the content.
    std::vector<std::string> speaker_words;  // Folded.

    bool gives(TextSection which) const { return given[static_cast<std::size_t>(which)]; }
};

// Takes the terms, section after section, in order and with repeats: what counts double comes twice.
class TextSink : public Analyzer::TermSink {
 public:
    virtual void begin(TextSection section) = 0;

 protected:
    ~TextSink() = default;
};

// Of a MemoryRecorded: every section. Of a MemoryRevised: those it changes; `spoken`: the memory it revises is.
void read_recorded(const EventView& event, Analyzer& analyzer, TextDocument& document, TextSink& terms);
void read_revised(const EventView& event, bool spoken, Analyzer& analyzer, TextDocument& document, TextSink& terms);

// What the index has of a memory after all its events: for those who keep the memory elsewhere, and search it there.
struct MemoryText {
    std::map<std::string, std::uint32_t> terms{};  // How often each.
    std::uint32_t length = 0;                      // All of them together.
    bool asks = false;
    std::uint8_t asked = 0;
};
MemoryText text_of(const Memory& memory, Analyzer& analyzer);

std::uint8_t in_255ths(float share);

}  // namespace annal
