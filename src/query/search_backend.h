// The port to where memories are searched: a store's own views, or a database that a sink keeps. One state of them, and
// of it what one request may find: its scope and filter are the backend's to keep.
// Ordinals are what memories are known by: created_seq.
// Threads: used by one.
#pragma once

#include "projections/vector_index.h"
#include "text_ranking.h"

#include <annal/engine.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

class SearchBackend {
 public:
    virtual ~SearchBackend() = default;
    // What all that is asked for has applied.
    virtual Seq applied(bool of_texts, bool of_vectors) const = 0;
    // What the ranking of text_ranking.h puts first: `depth` of them, or fewer when no more hold a term of the text.
    virtual Result<std::vector<TextHit>> by_text(std::string_view text, std::size_t depth) = 0;
    // The nearest, likewise. not_found: no vectors of this model. invalid_argument: the dimension is another.
    virtual Result<VectorAnswer> by_vector(const Embedding& vector, std::size_t depth) = 0;
    // In the order of `ordinals`, which came from the calls before; nullopt for one that may not be answered.
    virtual Result<std::vector<std::optional<Memory>>> memories(std::span<const Seq> ordinals) = 0;
    // In what the last of these calls was not at its best, in words.
    virtual std::vector<std::string> degraded() const = 0;
};

}  // namespace annal
