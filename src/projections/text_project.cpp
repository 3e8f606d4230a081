#include "text_project.h"

#include "events/bytes.h"
#include "memory_event_generated.h"

#include <openssl/sha.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace annal {
namespace {

// Every pair is measured until there are so many, then one in so many: the means no longer move.
constexpr std::uint64_t context_pairs_all = 512;
constexpr std::uint64_t context_pairs_one_in = 16;
constexpr double cosine_unit = 1 << 30;

Error contradiction() {
    return {ErrorCode::data_loss, "the text index's rows contradict each other", {}};
}

std::string id_bytes(const EventView& event) {
    const auto id = event.memory_id();
    return std::string(as_text(id.bytes));
}

std::string joined(const std::vector<std::string>& words) {
    std::string name;
    for (const auto& word : words) name.append(word).push_back(' ');
    return name;
}

std::uint64_t mix(std::uint64_t x) {  // splitmix64: chance that a replay repeats.
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

// The terms themselves, counted one by one.
class Collector final : public TextSink {
 public:
    explicit Collector(TextSections<std::string>& sections) : sections_(sections) {}
    void begin(TextSection section) override {
        at_ = &sections_[static_cast<std::size_t>(section)];
        at_->clear();
    }
    void add(const Analyzer::Term& term) override { at_->push_back({std::string(term.text), 1}); }

 private:
    TextSections<std::string>& sections_;
    std::vector<TermTf<std::string>>* at_ = nullptr;
};

}  // namespace

class TextProject::Resolver final : public TextSink {
 public:
    Resolver(TextProject& project, const ViewBatch& batch) : project_(project), batch_(batch) {}
    void begin(TextSection section) override {
        at_ = &project_.resolved_[static_cast<std::size_t>(section)];
        at_->clear();
    }
    void add(const Analyzer::Term& term) override {
        auto found = project_.postings_.resolve(term, batch_, project_.edit().counters().terms);
        if (found) {
            __builtin_prefetch(*found);  // To be counted soon.
            at_->push_back(*found);
        } else if (status_) {
            status_ = found.error();
        }
    }
    const Status& status() const { return status_; }

 private:
    TextProject& project_;
    const ViewBatch& batch_;
    std::vector<TextPostings::Term*>* at_ = nullptr;
    Status status_ = Done{};
};

TextProject::TextProject(const ViewSpace& space, std::string prefix, std::shared_ptr<const TextTable> table)
    : prefix_(std::move(prefix)), table_(std::move(table)), postings_(space, prefix_, table_->size() == 0) {}

Result<std::unique_ptr<TextProject>> TextProject::open(const ViewSpace& space, std::string_view project,
                                                       std::shared_ptr<const TextTable> table) {
    std::unique_ptr<TextProject> opened(new TextProject(space, text_codec::key_prefix(project), std::move(table)));
    if (auto done = opened->load_speakers(space); !done) return done.error();
    return opened;
}

Status TextProject::load_speakers(const ViewSpace& space) {
    if (table_->speakers().size() <= 1) return Done{};
    const auto rows = space.iterate();
    const auto from = text_codec::key(prefix_, 'a');
    for (rows->seek(from); rows->valid() && rows->key().starts_with(from); rows->next()) {
        text_codec::RowReader row(rows->value());
        const auto number = text_codec::key_number(rows->key());
        if (number >= table_->speakers().size()) return contradiction();
        speakers_[joined(table_->speakers()[number])] = {number, row.varint()};
    }
    return rows->status();
}

Status TextProject::apply(const EventView& event, Analyzer& analyzer, ViewBatch& batch) {
    switch (event.type()) {
        case EventType::memory_recorded:
            return record(event, analyzer, batch);
        case EventType::memory_revised:
            return revise(event, analyzer, batch);
        case EventType::memory_forgotten:
            return forget(event, event.table().body_as_MemoryForgotten()->for_good(), batch);
        case EventType::memory_restored:
            return restore(event, batch);
        default:
            return Done{};
    }
}

Status TextProject::record(const EventView& event, Analyzer& analyzer, ViewBatch& batch) {
    Resolver resolver(*this, batch);
    read_recorded(event, analyzer, document_, resolver);
    if (!resolver.status()) return resolver.status();
    counted_.clear();
    for (std::size_t i = 0; i < text_section_count; ++i) count(resolved_[i], forward_.sections[i], counted_);

    auto found = session(event, batch);
    if (!found) return found.error();
    TextEntry added;
    added.ordinal = event.seq();
    added.live = true;
    added.spoken = document_.spoken;
    added.asks = document_.questions.asks;
    added.asked = in_255ths(document_.questions.asked_share);
    added.speaker = join_speaker(document_.speaker_words);
    auto* in_session = *found;
    if (in_session != nullptr) {
        added.session = in_session->number;
        added.previous = in_session->last;
    }
    const auto slot = edit().append(added);
    changes(slot);
    if (in_session != nullptr) {
        in_session->last = slot;
    }

    const auto memory_id = id_bytes(event);
    if (auto done = add_id(slot, memory_id, batch); !done) return done;
    forward_.slot = slot;
    encode(forward_, row_);
    batch.put(text_codec::key(prefix_, 'f', memory_id), row_);

    std::uint32_t length = 0;
    for (auto* term : counted_) {
        length += term->counted;
        postings_.append(*term, {slot, std::exchange(term->counted, 0)});
    }
    state(slot).length = length;
    ++edit().statistics().memories;
    edit().statistics().length_total += length;
    return measure_context(slot, forward_.sections, batch);
}

Status TextProject::revise(const EventView& event, Analyzer& analyzer, ViewBatch& batch) {
    const auto key = text_codec::key(prefix_, 'f', id_bytes(event));
    auto row = batch.get(key);
    if (!row) return row.error();
    if (!*row) return revise_parked(event, analyzer, batch);
    auto forward = decode_forward(**row);
    if (!forward) return forward.error();

    const auto slot = forward->slot;
    if (slot >= edit().table().size()) return contradiction();
    const auto was = edit().table()[slot];
    const auto before = total(forward->sections);
    Resolver resolver(*this, batch);
    read_revised(event, edit().table()[slot].spoken, analyzer, document_, resolver);
    if (!resolver.status()) return resolver.status();
    counted_.clear();
    for (std::size_t i = 0; i < text_section_count; ++i)
        if (document_.given[i]) count(resolved_[i], forward->sections[i], counted_);
    for (auto* term : counted_) term->counted = 0;
    if (document_.gives(TextSection::content)) {
        state(slot).asks = document_.questions.asks;
        state(slot).asked = in_255ths(document_.questions.asked_share);
    }
    encode(*forward, row_);
    batch.put(key, row_);
    if (auto done = replace(slot, before, total(forward->sections), event.seq(), batch); !done) return done;
    return keep_past(slot, was, event.seq(), batch);
}

Status TextProject::revise_parked(const EventView& event, Analyzer& analyzer, ViewBatch& batch) {
    const auto key = text_codec::key(prefix_, 'x', id_bytes(event));
    auto row = batch.get(key);
    if (!row) return row.error();
    if (!*row) return Done{};
    auto parked = decode_parked(**row);
    if (!parked) return parked.error();

    if (parked->slot >= edit().table().size()) return contradiction();
    Collector collector(parked->sections);
    read_revised(event, edit().table()[parked->slot].spoken, analyzer, document_, collector);
    if (document_.gives(TextSection::content)) {
        parked->asks = document_.questions.asks;
        parked->asked = in_255ths(document_.questions.asked_share);
    }
    batch.put(key, encode(*parked));
    return Done{};
}

Status TextProject::forget(const EventView& event, bool for_good, ViewBatch& batch) {
    const auto memory_id = id_bytes(event);
    const auto parked_key = text_codec::key(prefix_, 'x', memory_id);
    if (for_good) batch.erase(parked_key);
    const auto key = text_codec::key(prefix_, 'f', memory_id);
    auto row = batch.get(key);
    if (!row) return row.error();
    if (!*row) return Done{};
    const auto forward = decode_forward(**row);
    if (!forward) return forward.error();
    if (forward->slot >= edit().table().size()) return contradiction();
    batch.erase(key);

    const auto was = edit().table()[forward->slot];
    auto& gone = state(forward->slot);
    if (!for_good) {
        ParkedEntry parked;
        parked.slot = forward->slot;
        parked.asks = gone.asks;
        parked.asked = gone.asked;
        if (gone.speaker != 0) parked.speaker_words = edit().table().speakers()[gone.speaker];
        for (std::size_t i = 0; i < text_section_count; ++i) {
            for (const auto& [term_number, tf] : forward->sections[i]) {
                auto term = postings_.by_number(term_number, batch);
                if (!term) return term.error();
                parked.sections[i].push_back({std::string((*term)->text), tf});
            }
        }
        batch.put(parked_key, encode(parked));
    }
    if (auto done = replace(forward->slot, total(forward->sections), {}, event.seq(), batch); !done) return done;
    --edit().statistics().memories;
    leave_speaker(gone.speaker, batch);
    gone.speaker = 0;
    gone.live = gone.asks = false;
    gone.asked = 0;
    return keep_past(forward->slot, was, event.seq(), batch);
}

Status TextProject::restore(const EventView& event, ViewBatch& batch) {
    const auto memory_id = id_bytes(event);
    const auto parked_key = text_codec::key(prefix_, 'x', memory_id);
    auto row = batch.get(parked_key);
    if (!row) return row.error();
    if (!*row) return Done{};
    const auto parked = decode_parked(**row);
    if (!parked) return parked.error();
    if (parked->slot >= edit().table().size()) return contradiction();
    batch.erase(parked_key);

    ForwardEntry forward;
    forward.slot = parked->slot;
    for (std::size_t i = 0; i < text_section_count; ++i) {
        for (const auto& [text, tf] : parked->sections[i]) {
            auto term = postings_.resolve(text, batch, edit().counters().terms);
            if (!term) return term.error();
            forward.sections[i].push_back({(*term)->number, tf});
        }
        merge_terms(forward.sections[i]);
    }
    encode(forward, row_);
    batch.put(text_codec::key(prefix_, 'f', memory_id), row_);

    const auto was = edit().table()[forward.slot];
    auto& back = state(forward.slot);
    back.live = true;
    back.asks = parked->asks;
    back.asked = parked->asked;
    back.speaker = join_speaker(parked->speaker_words);
    ++edit().statistics().memories;
    if (auto done = replace(forward.slot, {}, total(forward.sections), event.seq(), batch); !done) return done;
    return keep_past(forward.slot, was, event.seq(), batch);
}

void TextProject::count(const std::vector<TextPostings::Term*>& terms, std::vector<Term>& out,
                        std::vector<TextPostings::Term*>& all) {
    out.clear();
    for (auto* term : terms) {
        ++term->in_section;
        if (term->counted++ == 0) all.push_back(term);
    }
    for (auto* term : terms)
        if (term->in_section != 0) out.push_back({term->number, std::exchange(term->in_section, 0)});
    std::ranges::sort(out, {}, &Term::term);
}

Status TextProject::replace(std::uint32_t slot, const std::vector<Term>& before, const std::vector<Term>& after,
                            Seq seq, ViewBatch& batch) {
    const auto set = [&](std::uint32_t term_number, std::uint32_t tf) -> Status {
        auto term = postings_.by_number(term_number, batch);
        if (!term) return term.error();
        return postings_.set(**term, {slot, tf}, seq, batch);
    };
    std::uint32_t length = 0;
    for (const auto& [term, tf] : after) {
        length += tf;
        const auto old = std::ranges::lower_bound(before, term, {}, &Term::term);
        if (old != before.end() && old->term == term && old->tf == tf) continue;
        if (auto done = set(term, tf); !done) return done;
    }
    for (const auto& [term, tf] : before) {
        if (std::ranges::binary_search(after, term, {}, &Term::term)) continue;
        if (auto done = set(term, 0); !done) return done;
    }
    auto& changed = state(slot);
    edit().statistics().length_total += length;
    edit().statistics().length_total -= changed.length;
    changed.length = length;
    return Done{};
}

// Every search as of a seq reads them; and they are few beside the pasts of terms.
constexpr unsigned past_images = 8;

Status TextProject::keep_past(std::uint32_t slot, const TextState& was, Seq seq, const ViewBatch& batch) {
    const auto range = slot / TextTable::past_slots;
    auto at = pasts_.find(range);
    if (at == pasts_.end()) {
        auto loaded = BlockPast::load(batch, text_codec::key(prefix_, 'w', range), past_images);
        if (!loaded) return loaded.error();
        at = pasts_.emplace(range, std::move(*loaded)).first;
    }
    edit().set_changed(slot, seq);
    return at->second.add(seq, {slot % TextTable::past_slots, TextTable::was(was)},
                          [&]() -> Result<std::string> { return edit().table().image(range); });
}

// The session that the event goes to the end of; null: none.
Result<TextProject::Session*> TextProject::session(const EventView& event, const ViewBatch& batch) {
    if (event.session().empty()) return nullptr;
    // A session is its agent's and user's: two agents may both have a "session 1".
    std::string name(event.agent());
    name.append(1, '\0').append(event.user()).append(1, '\0').append(event.session());
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(name.data()), name.size(), hash);
    std::string id(reinterpret_cast<const char*>(hash), 16);

    const auto [at, made] = sessions_.try_emplace(std::move(id));
    auto& session = at->second;
    if (!session.changed) sessions_changed_.push_back(&at->first);
    session.changed = true;
    if (!made) return &session;
    auto row = batch.get(text_codec::key(prefix_, 's', at->first));
    if (!row) return row.error();
    if (*row) {
        text_codec::RowReader reader(**row);
        session.number = reader.number();
        session.last = reader.number();
        if (!reader.complete()) return contradiction();
    } else {
        session.number = ++edit().counters().sessions;
    }
    return &session;
}

std::uint32_t TextProject::join_speaker(const std::vector<std::string>& words) {
    if (words.empty()) return 0;
    const auto name = joined(words);
    auto& state = speakers_[name];
    if (state.number == 0) {
        state.number = ++edit().counters().speakers;
        edit().set_speaker(state.number, words);
    }
    ++state.memories;
    speakers_changed_.insert(name);
    return state.number;
}

void TextProject::leave_speaker(std::uint32_t number, ViewBatch& batch) {
    if (number == 0) return;
    const auto at = speakers_.find(joined(edit().table().speakers()[number]));
    if (--at->second.memories > 0) {
        speakers_changed_.insert(at->first);
        return;
    }
    batch.erase(text_codec::key(prefix_, 'a', number));
    row_.clear();
    for (const auto& word : edit().table().speakers()[number]) text_codec::put_bytes(row_, word);
    batch.put(text_codec::key(prefix_, 'q', number), row_);
    edit().set_speaker(number, {});
    speakers_changed_.erase(at->first);
    speakers_.erase(at);
}

Status TextProject::add_id(std::uint32_t slot, std::string_view memory_id, ViewBatch& batch) {
    const auto chunk = slot / TextTable::chunk_entries;
    if (chunk != ids_chunk_) {
        if (ids_changed_) batch.put(text_codec::key(prefix_, 'i', ids_chunk_), ids_);
        ids_.clear();
        if (slot % TextTable::chunk_entries != 0) {
            auto row = batch.get(text_codec::key(prefix_, 'i', chunk));
            if (!row) return row.error();
            if (!*row) return contradiction();
            ids_ = std::move(**row);
        }
        ids_chunk_ = chunk;
    }
    ids_.append(memory_id);
    ids_changed_ = true;
    return Done{};
}

Result<std::string> TextProject::id_of(std::uint32_t slot, const ViewBatch& batch) const {
    const auto chunk = slot / TextTable::chunk_entries;
    const auto at = std::size_t{slot % TextTable::chunk_entries} * 16;
    if (chunk == ids_chunk_) return ids_.substr(at, 16);
    auto row = batch.get(text_codec::key(prefix_, 'i', chunk));
    if (!row) return row.error();
    if (!*row || (*row)->size() < at + 16) return contradiction();
    return (*row)->substr(at, 16);
}

Status TextProject::measure_context(std::uint32_t slot, const Sections& sections, ViewBatch& batch) {
    const auto& table = edit().table();
    const auto& measured = table[slot];
    if (!measured.spoken) return Done{};
    const auto previous = table.neighbour(slot, -1);
    if (previous == no_slot || !table[previous].spoken) return Done{};
    if (table.statistics().context_pairs >= context_pairs_all &&
        mix(measured.ordinal.value) % context_pairs_one_in != 0)
        return Done{};
    const auto other = some_earlier(slot);
    if (other == no_slot) return Done{};

    const auto weights = weigh(sections, batch);
    if (!weights) return weights.error();
    const auto with_previous = likeness(*weights, previous, batch);
    if (!with_previous) return with_previous.error();
    const auto with_other = likeness(*weights, other, batch);
    if (!with_other) return with_other.error();
    auto& statistics = edit().statistics();
    ++statistics.context_pairs;
    statistics.predecessor_sum += *with_previous;
    statistics.other_sum += *with_other;
    row_.clear();
    for (const auto sum : {statistics.context_pairs, statistics.predecessor_sum, statistics.other_sum})
        text_codec::put_varint(row_, sum);
    batch.put(text_codec::key(prefix_, 'm', slot), row_);
    return Done{};
}

std::uint32_t TextProject::some_earlier(std::uint32_t slot) const {
    const auto& table = edit_->table();
    auto chance = table[slot].ordinal.value;
    for (int tries = 0; tries < 8; ++tries) {
        chance = mix(chance + 1);
        const auto other = static_cast<std::uint32_t>(chance % slot);
        if (table[other].live && table[other].spoken) return other;
    }
    return no_slot;  // Hardly any is: nothing to compare with.
}

// The cosine of the weights with those of the other memory, in units of 2^-30.
Result<std::uint64_t> TextProject::likeness(const Weights& weights, std::uint32_t other, const ViewBatch& batch) {
    const auto id = id_of(other, batch);
    if (!id) return id.error();
    auto row = batch.get(text_codec::key(prefix_, 'f', *id));
    if (!row) return row.error();
    if (!*row) return contradiction();
    const auto forward = decode_forward(**row);
    if (!forward) return forward.error();
    const auto others = weigh(forward->sections, batch);
    if (!others) return others.error();

    double product = 0;
    double square = 0;
    double other_square = 0;
    for (const auto& [term, weight] : *others) other_square += weight * weight;
    auto at = others->begin();
    for (const auto& [term, weight] : weights) {
        square += weight * weight;
        while (at != others->end() && at->first < term) ++at;
        if (at != others->end() && at->first == term) product += weight * at->second;
    }
    if (product == 0) return std::uint64_t{0};
    return static_cast<std::uint64_t>(std::llround(product / std::sqrt(square * other_square) * cosine_unit));
}

// Of what was said and shown; who and when would make all alike.
Result<TextProject::Weights> TextProject::weigh(const Sections& sections, const ViewBatch& batch) {
    auto terms = sections[static_cast<std::size_t>(TextSection::content)];
    const auto& shown = sections[static_cast<std::size_t>(TextSection::metadata)];
    terms.insert(terms.end(), shown.begin(), shown.end());
    merge_terms(terms);
    const auto memories = static_cast<double>(edit().statistics().memories);
    Weights weights;
    for (const auto& [term_number, tf] : terms) {
        const auto term = postings_.by_number(term_number, batch);
        if (!term) return term.error();
        const auto df = static_cast<double>((*term)->df);
        weights.emplace_back(term_number, tf * std::log(1 + (memories - df + 0.5) / (df + 0.5)));
    }
    return weights;
}

TextTableEdit& TextProject::edit() {
    if (!edit_) edit_ = std::make_unique<TextTableEdit>(*table_);
    return *edit_;
}

TextState& TextProject::state(std::uint32_t slot) {
    changes(slot);
    return edit().state(slot);
}

void TextProject::changes(std::uint32_t slot) {
    const auto chunk = slot / TextTable::chunk_entries;
    if (chunk == chunk_changed_last_) return;
    chunks_changed_.insert(chunk);
    chunk_changed_last_ = chunk;
}

void TextProject::finish(ViewBatch& batch) {
    postings_.finish(batch);
    for (const auto* id : sessions_changed_) {
        auto& session = sessions_.at(*id);
        session.changed = false;
        row_.clear();
        text_codec::put_varint(row_, session.number);
        text_codec::put_varint(row_, session.last);
        batch.put(text_codec::key(prefix_, 's', *id), row_);
    }
    sessions_changed_.clear();
    for (const auto& name : speakers_changed_) {
        const auto& state = speakers_.at(name);
        row_.clear();
        text_codec::put_varint(row_, state.memories);
        for (const auto& word : edit().table().speakers()[state.number]) text_codec::put_bytes(row_, word);
        batch.put(text_codec::key(prefix_, 'a', state.number), row_);
    }
    speakers_changed_.clear();
    if (ids_changed_) batch.put(text_codec::key(prefix_, 'i', ids_chunk_), ids_);
    ids_changed_ = false;
    for (const auto chunk : chunks_changed_) {
        edit().add_up(chunk);
        batch.put(text_codec::key(prefix_, 'e', chunk), edit().table().encode_chunk(chunk));
    }
    for (auto& [range, past] : pasts_) past.finish(batch);
    pasts_.clear();
    chunks_changed_.clear();
    chunk_changed_last_ = no_slot;
    if (!edit_) return;
    batch.put(text_codec::key(prefix_, 'n'), edit_->table().encode_statistics());
    table_ = std::make_shared<const TextTable>(edit_->table());
    edit_.reset();
}

}  // namespace annal
