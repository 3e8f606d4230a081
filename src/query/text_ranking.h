// Which memories a text asks for, best first: BM25, in which neighbours of the same conversation lend a memory their
// words, with a preference for the speaker the text names. The constants are in ranking_constants.h.
//
// T: the distinct terms of the query. For memory i and term t, with p1, p2 / s1, s2 the memories one and two places
// before / after i in its session:
//   x(i,t) = tf(i,t) / (1 - b + b * length(i) / mean length)
//   n(i,t) = 0.3 [x(p1) + x(s1)] + 0.15 [x(p2) + x(s2)] + 0.3 x(p1) if p1 asks a question
//   h(i,t) = 0.1 if another memory of i's session holds t, else 0
//   z(i,t) = x(i,t) + g (n(i,t) + h(i,t))
//   base(i) = sum over T of idf(t) z (k1 + 1) / (z + k1),   idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5))
//   score(i) = base(i) * (1.5 if the query names i's speaker) * (1 - 0.3 * share of i's words in questions)
// g, the gate: 0 for what was not spoken; else clamp(r - 1.5, 0, 1) once 200 pairs were measured, until then 1; r: how
// much more alike a memory and its predecessor are than any two (TextStatistics).
//
// Work is bounded: the 100 best by plain BM25 and their neighbours are candidates, and only they are scored in full.
#pragma once

#include "projections/memory_view.h"
#include "projections/text_index.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct TextQuery {
    std::string_view text;
    // What may be found; null: all live ones. A memory outside it lends its neighbours nothing.
    const OrdinalSet* passing = nullptr;
    std::size_t limit = 10;
};

struct TextHit {
    Seq ordinal;
    double score = 0;                        // (own + neighbours + session) * speaker * question
    double own = 0;                          // BM25 of the memory's own terms.
    double neighbours = 0;                   // What its neighbours in the session added,
    double session = 0;                      // and then the rest of the session.
    double speaker = 1;                      // Factor: the query names who spoke.
    double question = 1;                     // Factor: it asks more than it tells.
    std::vector<std::string> matched_terms;  // Of the query, those it holds itself; stems.
};

// At least min(limit, memories that hold a term of the query) hits, at most `limit`. Ties: older first.
Result<std::vector<TextHit>> rank_text(const TextIndex::Reader& index, const TextQuery& query);

// A term of the query, as it is in a project.
struct QueryTerm {
    std::string text;
    std::uint64_t memories = 0;     // That hold it: all of the project's.
    std::vector<Posting> postings;  // Of those that are in the table; ascending.
};

// The same of a table that need not have all of the project, but has its statistics, what can be among the hits, and of
// each of these its neighbours four places around and two others of its session for each term, if there are any.
std::vector<TextHit> rank_text(const TextTable& table, std::vector<QueryTerm> terms, const TextQuery& query);

// The distinct terms of a text, in its order.
std::vector<std::string> query_terms(std::string_view text);
// What a term is worth that `holding` of `memories` hold.
double inverse_frequency(std::uint64_t memories, std::uint64_t holding);
// Of the terms, by how many memories hold each, those that candidates are chosen by before the others.
bool is_common(std::uint64_t memories, std::uint64_t holding);

// The gate's value for spoken memories.
double context_gate(const TextStatistics& statistics);

}  // namespace annal
