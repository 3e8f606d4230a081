// What the text index keeps in memory of a project: one entry per memory, by slot, and the project's statistics.
// Immutable once published; a copy shares its chunks, so a new state costs what changed.
#pragma once

#include "block_past.h"

#include <annal/ids.h>
#include <annal/result.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct TextStatistics {
    std::uint64_t memories = 0;      // N
    std::uint64_t length_total = 0;  // avglen = length_total / memories
    // The gate: sums of cosines, in units of 2^-30, of a spoken memory with its predecessor in the session, and with
    // some earlier one of the project. A pair once measured stays: they tell how the project's memories come, not which
    // are left.
    std::uint64_t context_pairs = 0;
    std::uint64_t predecessor_sum = 0;
    std::uint64_t other_sum = 0;
    bool operator==(const TextStatistics&) const = default;
};

inline constexpr std::uint32_t no_slot = 0xffffffff;

// Of a memory, what is for good once it is recorded (but that the next one follows it);
struct TextPlace {
    Seq ordinal;
    std::uint32_t session = 0;         // Number within the project; 0: none.
    std::uint32_t previous = no_slot;  // Its neighbours in the session, there or gone.
    std::uint32_t next = no_slot;
    bool spoken = false;  // Its source is a message.
};
// and what each of its versions says anew.
struct TextState {
    std::uint32_t length = 0;   // Terms. What is gone has none.
    std::uint32_t speaker = 0;  // Number of the speaker's name within the project; 0: none.
    bool live = false;
    bool asks = false;       // A sentence ends with '?'.
    std::uint8_t asked = 0;  // Share of its words in such sentences, in 255ths.

    double asked_share() const { return asked / 255.0; }
};
struct TextEntry : TextPlace, TextState {};

class TextTable {
 public:
    static constexpr std::uint32_t chunk_entries = 256;
    static constexpr std::uint32_t past_slots = 8192;  // Whose entries have one past: a multiple of a chunk's.
    using Places = std::array<TextPlace, chunk_entries>;
    using States = std::array<TextState, chunk_entries>;
    using Speakers = std::vector<std::vector<std::string>>;
    struct Counters {  // Of numbers given so far; slots excepted, they count from 1.
        std::uint32_t terms = 0;
        std::uint32_t sessions = 0;
        std::uint32_t speakers = 0;
    };

    // Of a chunk.
    struct Totals {
        Seq changed;  // The last event that made an entry another than it was recorded; Seq{0}: none.
        std::uint64_t memories = 0;
        std::uint64_t length = 0;
    };

    // Reads the rows of one project; empty when there are none. data_loss: they contradict each other.
    static Result<TextTable> load(ViewIterator& rows, std::string_view prefix);

    // The table as it was when the log ended at `as_of`, of the same rows: costs at most the states of each
    // past_slots entries of which one has changed since, and an eighth more. Its speakers are those of all time.
    Result<TextTable> at(ViewIterator& rows, std::string_view prefix, Seq as_of) const;

    std::uint32_t size() const { return size_; }  // Slots, the gone ones too.
    TextEntry operator[](std::uint32_t slot) const { return {place(slot), state(slot)}; }
    const TextPlace& place(std::uint32_t slot) const { return (*places_[slot / chunk_entries])[slot % chunk_entries]; }
    const TextState& state(std::uint32_t slot) const { return (*states_[slot / chunk_entries])[slot % chunk_entries]; }
    // Gone or not. nullopt: no memory of this project.
    std::optional<std::uint32_t> slot_of(Seq ordinal) const;
    // `distance`: -2, -1, 1, 2 places in the session; no_slot at the ends and for a place whose memory is gone.
    std::uint32_t neighbour(std::uint32_t slot, int distance) const;

    const TextStatistics& statistics() const { return statistics_; }
    const Counters& counters() const { return counters_; }
    // The words of each name, folded, by number; none for number 0, and for a name of which no memory is left.
    const Speakers& speakers() const { return *speakers_; }

    std::string encode_chunk(std::uint32_t chunk) const;
    std::string encode_statistics() const;
    // What of an entry can change, for the past: of one, and of all past_slots.
    static std::string was(const TextState& state);
    std::string image(std::uint32_t range) const;

 private:
    friend class TextTableEdit;

    std::uint32_t first_from(Seq ordinal) const;  // The first slot of that ordinal or a greater one.

    std::vector<std::shared_ptr<const Places>> places_;  // By chunk, as the next two.
    std::vector<std::shared_ptr<const States>> states_;
    std::vector<Totals> totals_;
    std::uint32_t size_ = 0;
    TextStatistics statistics_;
    Counters counters_;
    std::shared_ptr<const Speakers> speakers_ = std::make_shared<Speakers>(1);
};

// A table being changed: copies a chunk before its first change.
class TextTableEdit {
 public:
    explicit TextTableEdit(TextTable base)
        : table_(std::move(base)), owned_places_(table_.places_.size()), owned_states_(table_.states_.size()) {}

    const TextTable& table() const { return table_; }
    TextState& state(std::uint32_t slot);
    std::uint32_t append(const TextEntry& entry);  // The new slot. Links it after entry.previous.
    TextStatistics& statistics() { return table_.statistics_; }
    TextTable::Counters& counters() { return table_.counters_; }
    void set_speaker(std::uint32_t number, std::vector<std::string> words);
    void set_changed(std::uint32_t slot, Seq seq) { table_.totals_[slot / TextTable::chunk_entries].changed = seq; }
    void add_up(std::uint32_t chunk);  // Its totals, after its entries changed.
    void cut(std::uint32_t slots);     // What is beyond them.
    // Makes past_slots entries what they were.
    Status rewind(std::uint32_t range, const BlockRewind& back);

 private:
    TextPlace& place(std::uint32_t slot);
    void fresh_states(std::uint32_t begin, std::uint32_t end);  // Of these chunks, in place of what they were.

    TextTable table_;
    std::vector<std::shared_ptr<TextTable::Places>> owned_places_;  // By chunk; null: shared with the base.
    std::vector<std::shared_ptr<TextTable::States>> owned_states_;
    std::shared_ptr<TextTable::Speakers> owned_speakers_;
};

}  // namespace annal
