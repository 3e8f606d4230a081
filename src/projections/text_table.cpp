#include "text_table.h"

#include "text_codec.h"

#include <algorithm>

namespace annal {
namespace {

using text_codec::put_varint;
using text_codec::RowReader;

constexpr unsigned flag_live = 1;
constexpr unsigned flag_spoken = 2;
constexpr unsigned flag_asks = 4;

Error damaged(std::string_view what) {
    return {ErrorCode::data_loss, "the text index's " + std::string(what) + " cannot be read", {}};
}

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

// What of an entry can change: flags; of a live one also length, speaker and share of questions.
void encode_state(const TextEntry& entry, std::string& out) {
    put_varint(out, (entry.live ? flag_live : 0) | (entry.asks ? flag_asks : 0));
    if (!entry.live) return;
    put_varint(out, entry.length);
    put_varint(out, entry.speaker);
    put_varint(out, entry.asked);
}

void decode_state(RowReader& row, TextEntry& entry) {
    const auto flags = row.varint();
    entry.live = (flags & flag_live) != 0;
    entry.asks = (flags & flag_asks) != 0;
    entry.length = entry.live ? row.number() : 0;
    entry.speaker = entry.live ? row.number() : 0;
    entry.asked = static_cast<std::uint8_t>(entry.live ? row.varint() : 0);
}

Status decode_chunk(std::string_view bytes, std::uint32_t chunk, TextTableEdit& edit) {
    if (chunk * TextTable::chunk_entries != edit.table().size()) return damaged("entries");
    RowReader row(bytes);
    const Seq changed{row.varint()};
    Seq before{};
    while (!row.rest().empty()) {
        TextEntry entry;
        if (!decode_entry(row, edit.table().size(), before, entry)) return damaged("entries");
        if (entry.speaker > edit.counters().speakers || entry.session > edit.counters().sessions)
            return damaged("entries");
        before = entry.ordinal;
        edit.append(entry);
    }
    if (edit.table().size() <= chunk * TextTable::chunk_entries) return damaged("entries");
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
    if (!row.complete()) return damaged("statistics");
    return Done{};
}

}  // namespace

std::optional<std::uint32_t> TextTable::slot_of(Seq ordinal) const {
    const auto after =
        std::ranges::upper_bound(chunks_, ordinal, {}, [](const auto& chunk) { return (*chunk)[0].ordinal; });
    if (after == chunks_.begin()) return std::nullopt;
    const auto chunk = static_cast<std::uint32_t>(after - chunks_.begin() - 1);
    const auto begin = chunks_[chunk]->begin();
    const auto end = begin + std::min(chunk_entries, size_ - chunk * chunk_entries);
    const auto at = std::ranges::lower_bound(begin, end, ordinal, {}, &TextEntry::ordinal);
    if (at == end || at->ordinal != ordinal) return std::nullopt;
    return chunk * chunk_entries + static_cast<std::uint32_t>(at - begin);
}

std::uint32_t TextTable::neighbour(std::uint32_t slot, int distance) const {
    const auto link = distance < 0 ? &TextEntry::previous : &TextEntry::next;
    for (int step = distance < 0 ? -distance : distance; step > 0 && slot < size_; --step) slot = (*this)[slot].*link;
    return slot >= size_ || !(*this)[slot].live ? no_slot : slot;  // A link may lead past a table's moment.
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

std::string TextTable::was(std::uint32_t slot, const TextEntry& entry) {
    std::string bytes;
    put_varint(bytes, slot % chunk_entries);
    encode_state(entry, bytes);
    return bytes;
}

std::string TextTable::image(std::uint32_t chunk) const {
    std::string bytes;
    const auto end = std::min(size_, (chunk + 1) * chunk_entries);
    for (auto slot = chunk * chunk_entries; slot < end; ++slot) encode_state((*this)[slot], bytes);
    return bytes;
}

std::uint32_t TextTable::slots_up_to(Seq ordinal) const {
    const auto after =
        std::ranges::upper_bound(chunks_, ordinal, {}, [](const auto& chunk) { return (*chunk)[0].ordinal; });
    if (after == chunks_.begin()) return 0;
    const auto chunk = static_cast<std::uint32_t>(after - chunks_.begin() - 1);
    const auto begin = chunks_[chunk]->begin();
    const auto end = begin + std::min(chunk_entries, size_ - chunk * chunk_entries);
    const auto at = std::ranges::upper_bound(begin, end, ordinal, {}, &TextEntry::ordinal);
    return chunk * chunk_entries + static_cast<std::uint32_t>(at - begin);
}

Result<TextTable> TextTable::at(ViewIterator& rows, std::string_view prefix, Seq as_of) const {
    TextTableEdit edit(*this);
    edit.cut(slots_up_to(as_of));
    auto& statistics = edit.statistics();
    statistics = {};
    for (std::uint32_t chunk = 0; chunk < edit.table().chunks_.size(); ++chunk) {
        if (totals_[chunk].changed > as_of) {
            const auto base = text_codec::key(prefix, 'w', chunk);
            rows.seek(past_key(base, Seq{as_of.value + 1}));
            const auto back = annal::rewind(rows, base, as_of);
            if (!back) return back.error();
            if (auto done = edit.rewind(chunk, *back); !done) return done.error();
        }
        statistics.memories += edit.table().totals_[chunk].memories;
        statistics.length_total += edit.table().totals_[chunk].length;
    }
    const auto sums = text_codec::key(prefix, 'm');
    rows.seek_for_prev(text_codec::key(prefix, 'm', edit.table().size() - 1));  // Of none: past them, and so of none.
    if (edit.table().size() > 0 && rows.valid() && rows.key().starts_with(sums)) {
        RowReader row(rows.value());
        statistics.context_pairs = row.varint();
        statistics.predecessor_sum = row.varint();
        statistics.other_sum = row.varint();
        if (!row.complete()) return damaged("statistics");
    }
    const auto gone = text_codec::key(prefix, 'q');
    for (rows.seek(gone); rows.valid() && rows.key().starts_with(gone); rows.next()) {
        RowReader row(rows.value());
        std::vector<std::string> words;
        while (!row.rest().empty()) words.emplace_back(row.bytes());
        const auto number = text_codec::key_number(rows.key());
        if (!row.ok() || number > counters_.speakers) return damaged("speakers");
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
            if (rows.key().size() != from.size() + 4) return damaged("keys");
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
    if (edit.table().size() != slots) return damaged("entries");

    done = each('a', [&](std::uint32_t number, std::string_view bytes) -> Status {
        RowReader row(bytes);
        row.varint();
        std::vector<std::string> words;
        while (!row.rest().empty()) words.emplace_back(row.bytes());
        if (!row.ok() || number > edit.counters().speakers) return damaged("speakers");
        edit.set_speaker(number, std::move(words));
        return Done{};
    });
    if (!done) return done.error();
    return edit.table();
}

TextEntry& TextTableEdit::entry(std::uint32_t slot) {
    const auto chunk = slot / TextTable::chunk_entries;
    if (!owned_[chunk]) {
        owned_[chunk] = std::make_shared<TextTable::Chunk>(*table_.chunks_[chunk]);
        table_.chunks_[chunk] = owned_[chunk];
    }
    return (*owned_[chunk])[slot % TextTable::chunk_entries];
}

std::uint32_t TextTableEdit::append(const TextEntry& added) {
    const auto slot = table_.size_++;
    if (slot % TextTable::chunk_entries == 0) {
        owned_.push_back(std::make_shared<TextTable::Chunk>());
        table_.chunks_.push_back(owned_.back());
        table_.totals_.emplace_back();
    }
    entry(slot) = added;
    if (added.previous != no_slot) entry(added.previous).next = slot;
    return slot;
}

void TextTableEdit::add_up(std::uint32_t chunk) {
    auto& totals = table_.totals_[chunk];
    totals.memories = totals.length = 0;
    const auto end = std::min(table_.size_, (chunk + 1) * TextTable::chunk_entries);
    for (auto slot = chunk * TextTable::chunk_entries; slot < end; ++slot) {
        totals.memories += table_[slot].live ? 1 : 0;
        totals.length += table_[slot].length;
    }
}

void TextTableEdit::cut(std::uint32_t slots) {
    const auto chunks = (slots + TextTable::chunk_entries - 1) / TextTable::chunk_entries;
    table_.size_ = slots;
    table_.chunks_.resize(chunks);
    table_.totals_.resize(chunks);
    owned_.resize(chunks);
    if (chunks > 0) add_up(chunks - 1);
}

Status TextTableEdit::rewind(std::uint32_t chunk, const BlockRewind& back) {
    const auto begin = chunk * TextTable::chunk_entries;
    const auto end = std::min(table_.size_, begin + TextTable::chunk_entries);
    if (back.image) {
        RowReader row(*back.image);
        for (auto slot = begin; slot < end; ++slot) decode_state(row, entry(slot));
        if (!row.ok()) return damaged("entries");
    }
    for (const auto& was : back.was) {
        RowReader row(was);
        const auto slot = begin + row.number();
        if (slot >= end) continue;  // Recorded later.
        decode_state(row, entry(slot));
        if (!row.complete()) return damaged("entries");
    }
    add_up(chunk);
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
