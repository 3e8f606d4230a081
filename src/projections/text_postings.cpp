#include "text_postings.h"

#include "text_table.h"

#include <algorithm>

namespace annal {
namespace {

using text_codec::append_posting;
using text_codec::posting_key;

std::string encode_run(std::span<const Posting> postings) {
    std::string run;
    auto last = no_slot;
    for (const auto& posting : postings) {
        append_posting(run, last, posting);
        last = posting.slot;
    }
    return run;
}

// Sets, adds or removes (tf = 0) one posting of an ascending list. Its tf before.
std::uint32_t set_posting(std::vector<Posting>& postings, Posting posting) {
    const auto at = std::ranges::lower_bound(postings, posting.slot, {}, &Posting::slot);
    if (at == postings.end() || at->slot != posting.slot) {
        if (posting.tf != 0) postings.insert(at, posting);
        return 0;
    }
    const auto was = at->tf;
    if (posting.tf != 0)
        at->tf = posting.tf;
    else
        postings.erase(at);
    return was;
}

}  // namespace

TextTerm* TermTable::find(std::string_view text) const {
    const auto hash = std::hash<std::string_view>{}(text);
    for (auto at = hash & (places_.size() - 1); places_[at].used; at = (at + 1) & (places_.size() - 1)) {
        const auto& place = places_[at];
        if (place.hash == hash && place.term && place.term->text == text) return place.term.get();
    }
    return nullptr;
}

TextTerm& TermTable::add(std::string_view text) {
    if (used_ * 2 >= places_.size()) grow();
    const auto hash = std::hash<std::string_view>{}(text);
    auto at = hash & (places_.size() - 1);
    while (places_[at].used) at = (at + 1) & (places_.size() - 1);
    ++used_;
    places_[at] = {hash, std::make_unique<TextTerm>(), true};
    places_[at].term->text = text;
    return *places_[at].term;
}

void TermTable::remove(const TextTerm& term) {
    auto at = std::hash<std::string_view>{}(term.text) & (places_.size() - 1);
    while (places_[at].term.get() != &term) at = (at + 1) & (places_.size() - 1);
    places_[at].term.reset();
}

void TermTable::grow() {
    std::vector<Place> old(places_.size() * 2);  // A power of two.
    old.swap(places_);
    used_ = 0;
    for (auto& place : old) {
        if (!place.term) continue;
        auto at = place.hash & (places_.size() - 1);
        while (places_[at].used) at = (at + 1) & (places_.size() - 1);
        places_[at] = std::move(place);
        ++used_;
    }
}

Result<TextPostings::Term*> TextPostings::resolve(std::string_view text, const ViewBatch& batch,
                                                  std::uint32_t& numbers) {
    if (auto* found = terms_.find(text)) return found;
    if (!complete_) {
        auto row = batch.get(text_codec::key(prefix_, 'd', text));
        if (!row) return row.error();
        if (*row) {
            text_codec::RowReader reader(**row);
            const auto number = reader.number();
            if (!reader.complete()) return text_codec::unreadable("postings");
            return by_number(number, batch);
        }
    }
    auto& term = terms_.add(text);
    term.number = ++numbers;
    term.last = no_slot;
    by_number_[term.number] = &term;
    return &term;
}

Result<TextPostings::Term*> TextPostings::by_number(std::uint32_t number, const ViewBatch& batch) {
    if (const auto found = by_number_.find(number); found != by_number_.end()) return found->second;
    auto row = batch.get(posting_key(prefix_, number, no_slot));
    if (!row) return row.error();
    text_codec::Tail tail;
    if (!*row || !text_codec::decode_tail(**row, tail)) return text_codec::unreadable("postings");
    auto& term = terms_.add(tail.term);
    term.number = number;
    term.df = tail.df;
    term.count = tail.count;
    term.last = tail.count == 0 ? no_slot : tail.last;
    term.run = tail.run;
    term.stored = true;
    by_number_[number] = &term;
    return &term;
}

void TextPostings::touch(Term& term) {
    if (term.changed) return;
    term.changed = true;
    changed_.push_back(&term);
}

void TextPostings::append(Term& term, Posting posting) {
    touch(term);
    append_posting(term.run, term.last, posting);
    term.last = posting.slot;
    ++term.count;
    ++term.df;
    seal_full(term);
}

void TextPostings::seal_full(Term& term) {
    if (term.count < block_postings) return;
    blocks_[{term.number, term.last}] = std::move(term.run);
    term.run.clear();
    term.count = 0;
    term.last = no_slot;
}

Status TextPostings::set(Term& term, Posting posting, Seq seq, ViewBatch& batch) {
    const auto id = find_block(term, posting.slot);
    if (!id) return id.error();
    std::vector<Posting> postings;
    std::uint32_t was = 0;
    if (*id) {
        const auto run = block(**id, batch);
        if (!run) return run.error();
        if (!text_codec::read_postings(*run, postings)) return text_codec::unreadable("postings");
        was = set_posting(postings, posting);
        replace_block(**id, postings);
    } else {
        if (!text_codec::read_postings(term.run, postings)) return text_codec::unreadable("postings");
        was = set_posting(postings, posting);
        term.run = encode_run(postings);
        term.count = static_cast<std::uint32_t>(postings.size());
        term.last = postings.empty() ? no_slot : postings.back().slot;
    }
    touch(term);
    term.df += (posting.tf != 0 ? 1U : 0U);
    term.df -= (was != 0 ? 1U : 0U);
    seal_full(term);
    if (auto kept = keep_past(term, {posting.slot, was}, seq, batch); !kept) return kept;
    if (term.df == 0) remove(term, batch);
    return Done{};
}

Status TextPostings::keep_past(const Term& term, Posting was, Seq seq, const ViewBatch& batch) {
    auto base = text_codec::term_past(prefix_, term.text);
    auto at = pasts_.find(base);
    if (at == pasts_.end()) {
        auto loaded = BlockPast::load(batch, base);
        if (!loaded) return loaded.error();
        at = pasts_.emplace(std::move(base), std::move(*loaded)).first;
    }
    std::string tf;
    if (was.tf != 0) text_codec::put_varint(tf, was.tf);
    return at->second.add(seq, {was.slot, tf}, [&]() -> Result<std::string> {
        const auto postings = all(term);
        if (!postings) return postings.error();
        return encode_run(*postings);
    });
}

Result<std::vector<Posting>> TextPostings::all(const Term& term) {
    std::vector<Posting> found;
    bool read = text_codec::read_postings(term.run, found);
    if (!stored_) stored_ = space_.iterate();
    const auto of_term = text_codec::key(prefix_, 'p', term.number);
    for (stored_->seek(of_term); stored_->valid() && stored_->key().starts_with(of_term); stored_->next()) {
        const BlockId id{term.number, text_codec::key_number(stored_->key())};
        if (id.second == no_slot) break;
        if (blocks_.contains(id)) continue;
        read = read && text_codec::read_postings(stored_->value(), found);
    }
    if (auto done = stored_->status(); !done) return done.error();
    for (auto at = blocks_.lower_bound({term.number, 0}); at != blocks_.end() && at->first.first == term.number; ++at)
        if (at->second) read = read && text_codec::read_postings(*at->second, found);
    if (!read) return text_codec::unreadable("postings");
    std::ranges::sort(found, {}, &Posting::slot);
    return found;
}

Result<std::optional<TextPostings::BlockId>> TextPostings::find_block(const Term& term, std::uint32_t slot) {
    std::optional<BlockId> found;
    if (term.df == term.count) return found;
    for (auto at = blocks_.lower_bound({term.number, slot}); at != blocks_.end() && at->first.first == term.number;
         ++at) {
        if (!at->second) continue;
        found = at->first;
        break;
    }
    if (!stored_) stored_ = space_.iterate();
    stored_->seek(posting_key(prefix_, term.number, slot));
    const auto of_term = text_codec::key(prefix_, 'p', term.number);
    for (; stored_->valid() && stored_->key().starts_with(of_term); stored_->next()) {
        const BlockId id{term.number, text_codec::key_number(stored_->key())};
        if (id.second == no_slot) break;
        if (blocks_.contains(id)) continue;
        if (!found || id < *found) found = id;
        break;
    }
    if (auto done = stored_->status(); !done) return done.error();
    return found;
}

Result<std::string> TextPostings::block(const BlockId& id, const ViewBatch& batch) const {
    if (const auto changed = blocks_.find(id); changed != blocks_.end()) return *changed->second;
    auto row = batch.get(posting_key(prefix_, id.first, id.second));
    if (!row) return row.error();
    if (!*row) return text_codec::unreadable("postings");
    return std::move(**row);
}

void TextPostings::replace_block(const BlockId& id, const std::vector<Posting>& postings) {
    if (postings.empty()) {
        blocks_[id] = std::nullopt;
        return;
    }
    std::span<const Posting> all(postings);
    if (all.size() >= 2 * block_postings) {  // Restored ones made it too long.
        const auto half = all.first(all.size() / 2);
        blocks_[{id.first, half.back().slot}] = encode_run(half);
        all = all.subspan(half.size());
    }
    blocks_[id] = encode_run(all);
}

void TextPostings::remove(Term& term, ViewBatch& batch) {
    if (term.stored) {
        batch.erase(text_codec::key(prefix_, 'd', term.text));
        batch.erase(posting_key(prefix_, term.number, no_slot));
    }
    std::erase(changed_, &term);
    by_number_.erase(term.number);
    terms_.remove(term);
    owner_ = Analyzer::new_owner();
}

void TextPostings::finish(ViewBatch& batch) {
    std::string row;
    for (auto* term : changed_) {
        if (!term->stored) {
            row.clear();
            text_codec::put_varint(row, term->number);
            batch.put(text_codec::key(prefix_, 'd', term->text), row);
            term->stored = true;
        }
        text_codec::encode_tail({term->df, term->text, term->count, term->count == 0 ? 0 : term->last, term->run}, row);
        batch.put(posting_key(prefix_, term->number, no_slot), row);
        term->changed = false;
    }
    changed_.clear();
    for (const auto& [id, run] : blocks_) {
        const auto key = posting_key(prefix_, id.first, id.second);
        if (run)
            batch.put(key, *run);
        else
            batch.erase(key);
    }
    for (auto& [base, past] : pasts_) past.finish(batch);
    pasts_.clear();
    stored_.reset();
}

}  // namespace annal
