// The port to whatever turns text into vectors.
#pragma once

#include <annal/result.h>

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

namespace annal {

// Threads: every method may be called from any thread.
class Embedder {
 public:
    virtual ~Embedder() = default;
    virtual std::string_view model() const = 0;  // Names the space; raise its version when the vectors change.
    virtual std::size_t dimension() const = 0;
    // Whether nearness means likeness of meaning. When false, hybrid search keeps the text ranking as it is.
    virtual bool semantic() const = 0;
    // A unit vector of dimension() floats; all zero when the text has nothing to embed.
    virtual Result<std::vector<float>> embed(std::string_view text) = 0;
};

// Deterministic vectors of words and character 3-grams, hashed into `dimension` buckets: lexical, not semantic. Finds
// shared and misspelt words, never synonyms. Needs no model and no network. Dimension: 64..4096.
std::unique_ptr<Embedder> make_hashing_embedder(std::size_t dimension = 256);

}  // namespace annal
