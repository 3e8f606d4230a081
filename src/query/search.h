// Plans a search: which arms to ask, what may pass, how their answers are fused.
// text    the ranking of text_ranking.h.
// vector  cosine to the query's vector, or to the embedder's of its text.
// hybrid  reciprocal rank fusion of both when there is a vector that stands for meaning (the caller's own, or a
// semantic
//         embedder's); otherwise the text ranking unchanged, so hybrid never ranks worse than text.
#pragma once

#include "projections/memory_view.h"
#include "projections/text_index.h"
#include "projections/vector_index.h"

#include <annal/engine.h>

#include <functional>

namespace annal {

struct SearchSources {  // Borrowed for the call.
    const MemoryView& memories;
    const TextIndex& texts;
    const VectorIndex& vectors;             // That were given.
    const VectorIndex* computed = nullptr;  // Those that the query's model made; null: it makes none.
    Embedder* embedder = nullptr;
    bool without_users = false;                    // Leaves out memories whose scope has a user, and says so.
    std::function<bool(const Memory&)> is_gone{};  // Leaves out those it says are; null: none.
};

// `request` is checked; `vector` is its vector at unit length, or null. `as_of`: what its moment stands for, applied by
// all sources; `now` decides expiry.
// invalid_argument: mode vector with neither a vector nor an embedder, or a vector of another dimension than its
// model's.
Result<SearchAnswer> search(const SearchSources& sources, const SearchRequest& request, const Embedding* vector,
                            std::optional<Seq> as_of, Timestamp now);

}  // namespace annal
