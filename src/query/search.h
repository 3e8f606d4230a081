// Plans a search: which arms to ask, what may pass, how their answers are fused.
// text    the ranking of text_ranking.h.
// vector  cosine to the query's vector, or to the embedder's of its text.
// hybrid  reciprocal rank fusion of both when there is a vector that stands for meaning (the caller's own, or a
// semantic
//         embedder's); otherwise the text ranking unchanged, so hybrid never ranks worse than text.
#pragma once

#include "search_backend.h"

namespace annal {

// `request` is checked; `vector` is its vector at unit length, or null; `embedder` may be null.
// invalid_argument: mode vector with neither a vector nor an embedder, or a vector of another dimension than its
// model's.
Result<SearchAnswer> search(SearchBackend& backend, const SearchRequest& request, const Embedding* vector,
                            Embedder* embedder);

}  // namespace annal
