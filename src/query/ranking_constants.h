// Every constant of the ranking of text, in one place. Source: an ablation on the public LoCoMo conversations, where 60
// random changes of all of them at once (each times 0.6 to 1.5) moved recall@10 within 0.798 to 0.818: none is tuned
// finely.
#pragma once

#include <cstddef>
#include <cstdint>

namespace annal::ranking {

// BM25. Robertson and Zaragoza's usual 1.2 and 0.75 are for longer texts; these are Lucene's reproducibility defaults
// for passages (Anserini).
inline constexpr double k1 = 0.9;
inline constexpr double b = 0.4;

// What a neighbour in the session lends, of its own weight of a term.
inline constexpr double lend_near = 0.3;      // One place away.
inline constexpr double lend_far = 0.15;      // Two places.
inline constexpr double lend_question = 0.3;  // More, from a question to what follows it.
inline constexpr double lend_session = 0.1;   // Flat, when anything else in the session holds the term.

inline constexpr double speaker_factor = 1.5;         // 1.3 to 2 are alike.
inline constexpr std::size_t speaker_prefix_min = 3;  // Letters of a name that name it: "Mel".
inline constexpr double question_discount = 0.3;

// The gate. Conversations give r above 3; the same turns shuffled, or unrelated notes, 0.95 to 1.1.
inline constexpr double gate_closed = 1.5;  // r up to which neighbours lend nothing;
inline constexpr double gate_open = 2.5;    // from which they lend in full.
inline constexpr std::uint64_t gate_pairs_min = 200;

inline constexpr std::size_t candidates = 100;    // 20 costs 0.009 of recall, 100 nothing.
inline constexpr double common_term_share = 0.2;  // Held by more: not used to choose candidates when rarer ones do.
inline constexpr std::size_t query_terms_max = 32;

// Reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009): score = sum of weight / (k + rank).
inline constexpr double fusion_k = 60;
inline constexpr double fusion_text_weight = 0.5;
inline constexpr double fusion_vector_weight = 0.5;
inline constexpr std::size_t fusion_depth = 50;  // Of each arm: recall@50 of the text ranking is 0.90.

}  // namespace annal::ranking
