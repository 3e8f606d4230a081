#include "text_table.h"

#include "text_codec.h"

#include <algorithm>
#include <span>

namespace annal {
namespace {

using text_codec::put_varint;
using text_codec::RowReader;

constexpr unsigned flag_live = 1;
constexpr unsigned flag_spoken = 2;
constexpr unsigned flag_asks = 4;
constexpr unsigned flag_speaker = 8;
constexpr unsigned flag_asked = 16;

// Of a chunk: the seq of its last change. Of an entry: its ordinal less the one before in the chunk, flags, session,
// how many slots back `previous` is (0: none); of a live one also length, speaker and share of questions.
void encode_entry(const TextEntry& entry, std::uint32_t slot, Seq before, std::string& out) {
    put_varint(out, entry.ordinal.value - before.value);
    put_varint(out, (entry.live ? flag_live : 0) | (entry.spoken ? flag_spoken : 0) | (entry.asks ? flag_asks : 0));
    put_varint(out, entry.session);
    put_varint(out, entry.previous == no_slot ? 0 : slot - entry.previous);
    if (!entry.live) return;
    put_varint(out, entry.length);
    put_varint(out, entry.speaker);
    put_varint(out, entry.asked);
}

bool decode_entry(RowReader& row, std::uint32_t slot, Seq before, TextEntry& entry) {
    entry.ordinal = Seq{before.value + row.varint()};
    const auto flags = row.varint();
    entry.live = (flags & flag_live) != 0;
    entry.spoken = (flags & flag_spoken) != 0;
    entry.asks = (flags & flag_asks) != 0;
    entry.session = row.number();
    const auto back = row.number();
    if (back > slot) return false;
    entry.previous = back == 0 ? no_slot : slot - back;
    if (entry.live) {
        entry.length = row.number();
        entry.speaker = row.number();
        entry.asked = static_cast<std::uint8_t>(row.varint());
    }
    return row.ok();
}

// What changes of an entry: its length, shifted by one with a bit for more than that it is live: flags and, as they
// say, speaker and share of questions. What is gone has none of them.
void encode_state(const TextState& state, std::string& out) {
    const bool more = !state.live || state.asks || state.speaker != 0 || state.asked != 0;
    put_varint(out, std::uint64_t{state.live ? state.length : 0} << 1 | (more ? 1 : 0));
    if (!more) return;
    const bool speaks = state.live && state.speaker != 0;
    const bool asked = state.live && state.asked != 0;
    put_varint(out, (state.live ? flag_live : 0) | (state.asks ? flag_asks : 0) | (speaks ? flag_speaker : 0) |
                        (asked ? flag_asked : 0));
    if (speaks) put_varint(out, state.speaker);
    if (asked) put_varint(out, state.asked);
}

bool decode_state(RowReader& row, TextState& state) {
    const auto head = row.varint();
    const auto flags = (head & 1) != 0 ? row.varint() : flag_live;
    state.length = static_cast<std::uint32_t>(head >> 1);
    state.live = (flags & flag_live) != 0;
    state.asks = (flags & flag_asks) != 0;
    state.speaker = (flags & flag_speaker) != 0 ? row.number() : 0;
    state.asked = static_cast<std::uint8_t>((flags & flag_asked) != 0 ? row.varint() : 0);
    return row.ok() && head >> 33 == 0;
}

// Takes them from the front of `bytes`. Thousands come at once, and most take a byte. False: not such bytes.
bool decode_states(std::string_view& bytes, std::span<TextState> states) {
    auto rest = bytes;
    for (auto& state : states) {
        if (!rest.empty() && (static_cast<unsigned char>(rest.front()) & 0x81) == 0) {
            state = {.length = static_cast<std::uint32_t>(rest.front() >> 1), .live = true};
            rest.remove_prefix(1);
            continue;
        }
        RowReader row(rest);
        if (!decode_state(row, state)) return false;
        rest = row.rest();
    }
    bytes = rest;
    return true;
}

Status decode_chunk(std::string_view bytes, std::uint32_t chunk, TextTableEdit& edit) {
    if (chunk * TextTable::chunk_entries != edit.table().size()) return text_codec::unreadable("entries");
    RowReader row(bytes);
    const Seq changed{row.varint()};
    Seq before{};
    while (!row.rest().empty()) {
        TextEntry entry;
        if (!decode_entry(row, edit.table().size(), before, entry)) return text_codec::unreadable("entries");
        if (entry.speaker > edit.counters().speakers || entry.session > edit.counters().sessions)
            return text_codec::unreadable("entries");
        before = entry.ordinal;
        edit.append(entry);
    }
    if (edit.table().size() <= chunk * TextTable::chunk_entries) return text_codec::unreadable("entries");
    edit.set_changed(chunk * TextTable::chunk_entries, changed);
    edit.add_up(chunk);
    return Done{};
}

Status decode_statistics(std::string_view bytes, TextTableEdit& edit, std::uint32_t& slots) {
    RowReader row(bytes);
    auto& statistics = edit.statistics();
    statistics.memories = row.varint();
    statistics.length_total = row.varint();
    statistics.context_pairs = row.varint();
    statistics.predecessor_sum = row.varint();
    statistics.other_sum = row.varint();
    slots = row.number();
    edit.counters() = {row.number(), row.number(), row.number()};
    if (!row.complete()) return text_codec::unreadable("statistics");
    return Done{};
}

}  // namespace

std::uint32_t TextTable::first_from(Seq ordinal) const {
    const auto after =
        std::ranges::upper_bound(places_, ordinal, {}, [](const auto& its) { return (*its)[0].ordinal; });
    if (after == places_.begin()) return 0;
    const auto chunk = static_cast<std::uint32_t>(after - places_.begin() - 1);
    const auto begin = places_[chunk]->begin();
    const auto end = begin + std::min(chunk_entries, size_ - chunk * chunk_entries);
    const auto at = std::ranges::lower_bound(begin, end, ordinal, {}, &TextPlace::ordinal);
    return chunk * chunk_entries + static_cast<std::uint32_t>(at - begin);
}

std::optional<std::uint32_t> TextTable::slot_of(Seq ordinal) const {
    const auto slot = first_from(ordinal);
    return slot < size_ && place(slot).ordinal == ordinal ? std::optional(slot) : std::nullopt;
}

std::uint32_t TextTable::neighbour(std::uint32_t slot, int distance) const {
    const auto link = distance < 0 ? &TextPlace::previous : &TextPlace::next;
    for (int step = distance < 0 ? -distance : distance; step > 0 && slot < size_; --step) slot = place(slot).*link;
    return slot >= size_ || !state(slot).live ? no_slot : slot;  // A link may lead past a table's moment.
}

std::string TextTable::encode_chunk(std::uint32_t chunk) const {
    std::string row;
    put_varint(row, totals_[chunk].changed.value);
    Seq before{};
    const auto end = std::min(size_, (chunk + 1) * chunk_entries);
    for (auto slot = chunk * chunk_entries; slot < end; ++slot) {
        encode_entry((*this)[slot], slot, before, row);
        before = (*this)[slot].ordinal;
    }
    return row;
}

std::string TextTable::was(const TextState& state) {
    std::string bytes;
    encode_state(state, bytes);
    return bytes;
}

std::string TextTable::image(std::uint32_t range) const {
    std::string bytes;
    const auto end = std::min(size_, (range + 1) * past_slots);
    for (auto slot = range * past_slots; slot < end; ++slot) encode_state(state(slot), bytes);
    return bytes;
}

Result<TextTable> TextTable::at(ViewIterator& rows, std::string_view prefix, Seq as_of) const {
    TextTableEdit edit(*this);
    edit.cut(first_from(Seq{as_of.value + 1}));
    auto& statistics = edit.statistics();
    statistics = {};
    const auto chunks = static_cast<std::uint32_t>(edit.table().states_.size());
    constexpr auto range_chunks = past_slots / chunk_entries;
    for (std::uint32_t begin = 0; begin < chunks; begin += range_chunks) {
        const auto totals = std::span(totals_).subspan(begin, std::min(range_chunks, chunks - begin));
        if (std::ranges::none_of(totals, [&](const Totals& chunk) { return chunk.changed > as_of; })) continue;
        const auto range = begin / range_chunks;
        const auto base = text_codec::key(prefix, 'w', range);
        rows.seek(past_key(base, Seq{as_of.value + 1}));
        const auto back = annal::rewind(rows, base, as_of);
        if (!back) return back.error();
        if (auto done = edit.rewind(range, *back); !done) return done.error();
    }
    for (const auto& chunk : edit.table().totals_) {
        statistics.memories += chunk.memories;
        statistics.length_total += chunk.length;
    }
    const auto sums = text_codec::key(prefix, 'm');
    rows.seek_for_prev(text_codec::key(prefix, 'm', edit.table().size() - 1));  // Of none: past them, and so of none.
    if (edit.table().size() > 0 && rows.valid() && rows.key().starts_with(sums)) {
        RowReader row(rows.value());
        statistics.context_pairs = row.varint();
        statistics.predecessor_sum = row.varint();
        statistics.other_sum = row.varint();
        if (!row.complete()) return text_codec::unreadable("statistics");
    }
    const auto gone = text_codec::key(prefix, 'q');
    for (rows.seek(gone); rows.valid() && rows.key().starts_with(gone); rows.next()) {
        RowReader row(rows.value());
        std::vector<std::string> words;
        while (!row.rest().empty()) words.emplace_back(row.bytes());
        const auto number = text_codec::key_number(rows.key());
        if (!row.ok() || number > counters_.speakers) return text_codec::unreadable("speakers");
        edit.set_speaker(number, std::move(words));
    }
    if (auto done = rows.status(); !done) return done.error();
    return edit.table();
}

std::string TextTable::encode_statistics() const {
    std::string row;
    for (const auto value : {statistics_.memories, statistics_.length_total, statistics_.context_pairs,
                             statistics_.predecessor_sum, statistics_.other_sum})
        put_varint(row, value);
    for (const auto value : {size_, counters_.terms, counters_.sessions, counters_.speakers}) put_varint(row, value);
    return row;
}

Result<TextTable> TextTable::load(ViewIterator& rows, std::string_view prefix) {
    TextTableEdit edit{TextTable{}};
    // Calls read(number of the key, value) for each row of a letter.
    const auto each = [&](char letter, auto&& read) -> Status {
        const auto from = text_codec::key(prefix, letter);
        for (rows.seek(from); rows.valid() && rows.key().starts_with(from); rows.next()) {
            if (rows.key().size() != from.size() + 4) return text_codec::unreadable("keys");
            if (auto done = read(text_codec::key_number(rows.key()), rows.value()); !done) return done;
        }
        return rows.status();
    };

    const auto statistics_key = text_codec::key(prefix, 'n');
    rows.seek(statistics_key);
    if (auto done = rows.status(); !done) return done.error();
    if (!rows.valid() || rows.key() != statistics_key) return edit.table();
    std::uint32_t slots = 0;
    if (auto done = decode_statistics(rows.value(), edit, slots); !done) return done.error();

    edit.set_speaker(edit.counters().speakers, {});  // Room for all numbers.
    auto done = each('e', [&](std::uint32_t chunk, std::string_view row) { return decode_chunk(row, chunk, edit); });
    if (!done) return done.error();
    if (edit.table().size() != slots) return text_codec::unreadable("entries");

    done = each('a', [&](std::uint32_t number, std::string_view bytes) -> Status {
        RowReader row(bytes);
        row.varint();
        std::vector<std::string> words;
        while (!row.rest().empty()) words.emplace_back(row.bytes());
        if (!row.ok() || number > edit.counters().speakers) return text_codec::unreadable("speakers");
        edit.set_speaker(number, std::move(words));
        return Done{};
    });
    if (!done) return done.error();
    return edit.table();
}

TextPlace& TextTableEdit::place(std::uint32_t slot) {
    const auto chunk = slot / TextTable::chunk_entries;
    if (!owned_places_[chunk]) {
        owned_places_[chunk] = std::make_shared<TextTable::Places>(*table_.places_[chunk]);
        table_.places_[chunk] = owned_places_[chunk];
    }
    return (*owned_places_[chunk])[slot % TextTable::chunk_entries];
}

TextState& TextTableEdit::state(std::uint32_t slot) {
    const auto chunk = slot / TextTable::chunk_entries;
    if (!owned_states_[chunk]) {
        owned_states_[chunk] = std::make_shared<TextTable::States>(*table_.states_[chunk]);
        table_.states_[chunk] = owned_states_[chunk];
    }
    return (*owned_states_[chunk])[slot % TextTable::chunk_entries];
}

void TextTableEdit::fresh_states(std::uint32_t begin, std::uint32_t end) {
    // Copies of one: made each on its own, their 8192 entries would take as long as reading an image.
    const auto all = std::make_shared<std::vector<TextTable::States>>(end - begin, TextTable::States{});
    for (auto chunk = begin; chunk < end; ++chunk) {
        owned_states_[chunk] = {all, &(*all)[chunk - begin]};
        table_.states_[chunk] = owned_states_[chunk];
    }
}

std::uint32_t TextTableEdit::append(const TextEntry& added) {
    const auto slot = table_.size_++;
    if (slot % TextTable::chunk_entries == 0) {
        owned_places_.push_back(std::make_shared<TextTable::Places>());
        owned_states_.push_back(std::make_shared<TextTable::States>());
        table_.places_.push_back(owned_places_.back());
        table_.states_.push_back(owned_states_.back());
        table_.totals_.emplace_back();
    }
    place(slot) = added;
    state(slot) = added;
    if (added.previous != no_slot) place(added.previous).next = slot;
    return slot;
}

void TextTableEdit::add_up(std::uint32_t chunk) {
    auto& totals = table_.totals_[chunk];
    const auto count = std::min(TextTable::chunk_entries, table_.size_ - chunk * TextTable::chunk_entries);
    std::uint64_t memories = 0;
    std::uint64_t length = 0;
    for (const auto& state : std::span(*table_.states_[chunk]).first(count)) {
        memories += state.live ? 1 : 0;
        length += state.length;
    }
    totals.memories = memories;
    totals.length = length;
}

void TextTableEdit::cut(std::uint32_t slots) {
    const auto chunks = (slots + TextTable::chunk_entries - 1) / TextTable::chunk_entries;
    table_.size_ = slots;
    table_.places_.resize(chunks);
    table_.states_.resize(chunks);
    table_.totals_.resize(chunks);
    owned_places_.resize(chunks);
    owned_states_.resize(chunks);
    if (chunks > 0) add_up(chunks - 1);
}

Status TextTableEdit::rewind(std::uint32_t range, const BlockRewind& back) {
    const auto begin = range * TextTable::past_slots;
    const auto end = std::min(table_.size_, begin + TextTable::past_slots);
    if (back.image) {
        std::string_view image(*back.image);
        fresh_states(begin / TextTable::chunk_entries, (end + TextTable::chunk_entries - 1) / TextTable::chunk_entries);
        for (auto first = begin; first < end; first += TextTable::chunk_entries) {
            const std::span states(*owned_states_[first / TextTable::chunk_entries]);
            if (!decode_states(image, states.first(std::min(TextTable::chunk_entries, end - first))))
                return text_codec::unreadable("entries");
        }
    }
    for (auto i = back.size(); i > 0; --i) {
        const auto [place, was] = back[i - 1];
        if (place >= end - begin) continue;  // Recorded later.
        auto bytes = was;
        if (!decode_states(bytes, {&state(begin + place), 1}) || !bytes.empty())
            return text_codec::unreadable("entries");
    }
    for (auto slot = begin; slot < end; slot += TextTable::chunk_entries) add_up(slot / TextTable::chunk_entries);
    return Done{};
}

void TextTableEdit::set_speaker(std::uint32_t number, std::vector<std::string> words) {
    if (!owned_speakers_) {
        owned_speakers_ = std::make_shared<TextTable::Speakers>(*table_.speakers_);
        table_.speakers_ = owned_speakers_;
    }
    if (owned_speakers_->size() <= number) owned_speakers_->resize(number + 1);
    (*owned_speakers_)[number] = std::move(words);
}

}  // namespace annal
