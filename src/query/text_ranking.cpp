#include "text_ranking.h"

#include "ranking_constants.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>
#include <utility>

namespace annal {
namespace {

struct Term : QueryTerm {
    double idf = 0;
};

struct SlotScore {
    std::uint32_t slot = 0;
    double score = 0;
};

bool better(const SlotScore& a, const SlotScore& b) {
    return a.score > b.score || (a.score == b.score && a.slot < b.slot);  // Slots ascend with age.
}

double saturate(double weight) {
    return weight * (ranking::k1 + 1) / (weight + ranking::k1);
}

std::uint32_t tf_of(const Term& term, std::uint32_t slot) {
    const auto at = std::ranges::lower_bound(term.postings, slot, {}, &Posting::slot);
    return at != term.postings.end() && at->slot == slot ? at->tf : 0;
}

Analyzer& analyzer_of_thread() {
    thread_local Analyzer analyzer;
    return analyzer;
}

// One query against one state of a project.
class Ranking {
 public:
    Ranking(const TextTable& table, const TextQuery& query, Analyzer& analyzer)
        : table_(table), query_(query), analyzer_(analyzer) {}

    std::vector<TextHit> run(std::vector<QueryTerm> terms) {
        take(std::move(terms));
        if (terms_.empty() || query_.limit == 0) return {};
        gate_ = context_gate(table_.statistics());
        name_speakers();

        std::vector<TextHit> hits;
        for (const auto slot : candidates()) {
            auto hit = score(slot);
            if (hit.score > 0) hits.push_back(std::move(hit));
        }
        const auto before = [](const TextHit& a, const TextHit& b) {
            return a.score > b.score || (a.score == b.score && a.ordinal < b.ordinal);
        };
        const auto count = std::min(query_.limit, hits.size());
        std::partial_sort(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(count), hits.end(), before);
        hits.resize(count);
        for (auto& hit : hits) name_terms(hit);
        return hits;
    }

 private:
    bool passes(std::uint32_t slot) const {
        return slot != no_slot && (query_.passing == nullptr || query_.passing->contains(table_.place(slot).ordinal));
    }

    // The part of BM25 that depends on the memory: its weight of a term.
    double weight(std::uint32_t tf, const TextState& state) const {
        return tf == 0 ? 0 : tf / (1 - ranking::b + ranking::b * state.length / length_mean_);
    }

    void take(std::vector<QueryTerm> terms) {
        const auto& statistics = table_.statistics();
        length_mean_ = static_cast<double>(statistics.length_total) / static_cast<double>(statistics.memories);
        for (auto& term : terms) {
            if (term.memories == 0) continue;
            const auto idf = inverse_frequency(statistics.memories, term.memories);
            terms_.push_back({std::move(term), idf});
        }
        if (terms_.size() > ranking::query_terms_max) {  // The rarest say most.
            std::ranges::stable_sort(terms_, std::ranges::greater{}, &Term::idf);
            terms_.resize(ranking::query_terms_max);
        }
    }

    // Speakers that a word of the query names, in full or by its beginning.
    void name_speakers() {
        const auto& speakers = table_.speakers();
        named_.assign(speakers.size(), false);
        std::vector<std::string> words;
        analyzer_.words(query_.text, words);
        for (auto& word : words) {
            if (word.ends_with("'s")) word.resize(word.size() - 2);
        }
        std::erase_if(words, [](const auto& word) { return is_stop_word(word); });
        for (std::size_t number = 1; number < speakers.size(); ++number) {
            named_[number] = std::ranges::any_of(speakers[number], [&](const auto& name) {
                return std::ranges::any_of(words, [&](const auto& word) {
                    return word == name || (word.size() >= ranking::speaker_prefix_min && name.starts_with(word));
                });
            });
        }
    }

    // Slots, ascending: the best by plain BM25 and their neighbours in the session.
    std::vector<std::uint32_t> candidates() const {
        const auto wanted = std::max(query_.limit, ranking::candidates);
        std::vector<const Term*> all;
        std::vector<const Term*> rare;
        for (const auto& term : terms_) {
            all.push_back(&term);
            if (!is_common(table_.statistics().memories, term.memories)) rare.push_back(&term);
        }
        auto best = rare.empty() ? std::vector<SlotScore>{} : best_by_own_terms(rare, wanted);
        if (best.size() < wanted && rare.size() < all.size()) best = best_by_own_terms(all, wanted);

        std::set<std::uint32_t> slots;
        for (const auto& [slot, score] : best) {
            slots.insert(slot);
            if (gate_ == 0) continue;
            for (const int distance : {-2, -1, 1, 2}) {
                const auto neighbour = table_.neighbour(slot, distance);
                if (passes(neighbour)) slots.insert(neighbour);
            }
        }
        return {slots.begin(), slots.end()};
    }

    // Adds the terms up window by window, so that the sums stay in the cache.
    std::vector<SlotScore> best_by_own_terms(const std::vector<const Term*>& terms, std::size_t count) const {
        constexpr std::uint32_t window = 8192;
        std::vector<double> sums(window, 0.0);
        std::vector<std::size_t> at(terms.size(), 0);
        std::vector<SlotScore> best;  // A heap, the worst in front.
        for (std::uint32_t begin = 0; begin < table_.size(); begin += window) {
            const auto end = begin + std::min(window, table_.size() - begin);
            bool any = false;
            for (std::size_t t = 0; t < terms.size(); ++t) {
                const auto& postings = terms[t]->postings;
                for (; at[t] < postings.size() && postings[at[t]].slot < end; ++at[t]) {
                    const auto [slot, tf] = postings[at[t]];
                    sums[slot - begin] += terms[t]->idf * saturate(weight(tf, table_.state(slot)));
                    any = true;
                }
            }
            if (!any) continue;
            for (auto slot = begin; slot < end; ++slot) {
                const SlotScore candidate{slot, std::exchange(sums[slot - begin], 0.0)};
                if (candidate.score == 0) continue;
                if (best.size() == count && !better(candidate, best.front())) continue;
                if (!passes(slot)) continue;
                if (best.size() == count) {
                    std::ranges::pop_heap(best, better);
                    best.pop_back();
                }
                best.push_back(candidate);
                std::ranges::push_heap(best, better);
            }
        }
        return best;
    }

    TextHit score(std::uint32_t slot) {
        const auto& entry = table_[slot];
        const auto gate = entry.spoken ? gate_ : 0;
        TextHit hit;
        hit.ordinal = entry.ordinal;
        double with_neighbours = 0;
        double base = 0;
        for (std::size_t t = 0; t < terms_.size(); ++t) {
            const auto& term = terms_[t];
            const auto tf = tf_of(term, slot);
            const auto own = weight(tf, entry);
            const auto lent = gate == 0 ? 0 : gate * lent_by_neighbours(term, slot);
            const bool in_session =
                gate != 0 && entry.session != 0 && held_in_session(t, entry.session) > (tf > 0 ? 1U : 0U);
            hit.own += term.idf * saturate(own);
            with_neighbours += term.idf * saturate(own + lent);
            base += term.idf * saturate(own + lent + (in_session ? gate * ranking::lend_session : 0));
        }
        hit.neighbours = with_neighbours - hit.own;
        hit.session = base - with_neighbours;
        hit.speaker = named_[entry.speaker] ? ranking::speaker_factor : 1;
        hit.question = 1 - ranking::question_discount * entry.asked_share();
        hit.score = base * hit.speaker * hit.question;
        return hit;
    }

    double lent_by_neighbours(const Term& term, std::uint32_t slot) const {
        double lent = 0;
        for (const int distance : {-2, -1, 1, 2}) {
            const auto neighbour = table_.neighbour(slot, distance);
            if (!passes(neighbour)) continue;
            const auto& entry = table_[neighbour];
            auto share = std::abs(distance) == 1 ? ranking::lend_near : ranking::lend_far;
            if (distance == -1 && entry.asks) share += ranking::lend_question;
            lent += share * weight(tf_of(term, neighbour), entry);
        }
        return lent;
    }

    // How many memories of the session that pass hold the term.
    std::uint32_t held_in_session(std::size_t term, std::uint32_t session) {
        if (held_.empty()) {
            held_.resize(terms_.size());
            for (std::size_t t = 0; t < terms_.size(); ++t) {
                for (const auto& [slot, tf] : terms_[t].postings) {
                    const auto number = table_.place(slot).session;
                    if (number != 0 && passes(slot)) ++held_[t][number];
                }
            }
        }
        const auto found = held_[term].find(session);
        return found == held_[term].end() ? 0 : found->second;
    }

    void name_terms(TextHit& hit) const {
        const auto slot = table_.slot_of(hit.ordinal);
        for (const auto& term : terms_)
            if (slot && tf_of(term, *slot) > 0) hit.matched_terms.push_back(term.text);
    }

    const TextTable& table_;
    const TextQuery& query_;
    Analyzer& analyzer_;
    std::vector<Term> terms_;
    double length_mean_ = 1;
    double gate_ = 1;
    std::vector<bool> named_;                                             // By number of the speaker.
    std::vector<std::unordered_map<std::uint32_t, std::uint32_t>> held_;  // By term: memories that hold it, by session.
};

}  // namespace

double context_gate(const TextStatistics& statistics) {
    if (statistics.context_pairs < ranking::gate_pairs_min) return 1;
    const auto predecessor = static_cast<double>(statistics.predecessor_sum);
    const auto other = static_cast<double>(statistics.other_sum);
    if (predecessor >= ranking::gate_open * other) return predecessor > 0 ? 1 : 0;
    return std::clamp((predecessor / other - ranking::gate_closed) / (ranking::gate_open - ranking::gate_closed), 0.0,
                      1.0);
}

std::vector<std::string> query_terms(std::string_view text) {
    std::vector<std::string> terms;
    analyzer_of_thread().terms(text, terms);
    std::set<std::string> seen;
    std::erase_if(terms, [&](const auto& term) { return !seen.insert(term).second; });
    return terms;
}

double inverse_frequency(std::uint64_t memories, std::uint64_t holding) {
    const auto all = static_cast<double>(memories);
    const auto some = static_cast<double>(holding);
    return std::log(1 + (all - some + 0.5) / (some + 0.5));
}

bool is_common(std::uint64_t memories, std::uint64_t holding) {
    return static_cast<double>(holding) > ranking::common_term_share * static_cast<double>(memories);
}

std::vector<TextHit> rank_text(const TextTable& table, std::vector<QueryTerm> terms, const TextQuery& query) {
    return Ranking(table, query, analyzer_of_thread()).run(std::move(terms));
}

Result<std::vector<TextHit>> rank_text(const TextIndex::Reader& index, const TextQuery& query) {
    auto texts = query_terms(query.text);
    auto postings = index.postings(texts);
    if (!postings) return postings.error();
    std::vector<QueryTerm> terms;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto memories = (*postings)[i].size();
        terms.push_back({std::move(texts[i]), memories, std::move((*postings)[i])});
    }
    return rank_text(index.table(), std::move(terms), query);
}

}  // namespace annal
