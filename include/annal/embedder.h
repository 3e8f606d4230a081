// The port to whatever turns text into vectors. An engine asks it for what is written in the background, and keeps what
// it says: docs/embedding.md.
#pragma once

#include <annal/result.h>

#include <cstddef>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <utility>
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
    // What embed() gives of each text, in their order; or the first error, and nothing. Quicker where a model is asked
    // over a network.
    virtual Result<std::vector<std::vector<float>>> embed_many(std::span<const std::string_view> texts) {
        std::vector<std::vector<float>> vectors;
        vectors.reserve(texts.size());
        for (const auto text : texts) {
            auto vector = embed(text);
            if (!vector) return vector.error();
            vectors.push_back(std::move(*vector));
        }
        return vectors;
    }
    // The same, given up soon after `stop` is requested, with `unavailable`: an engine that is closed while a call is
    // under way waits for its end.
    virtual Result<std::vector<std::vector<float>>> embed_many_until(std::span<const std::string_view> texts,
                                                                     const std::stop_token& stop) {
        static_cast<void>(stop);
        return embed_many(texts);
    }
    // Whether it can be asked now, found out without embedding anything.
    virtual Status probe() { return Done{}; }
};

// Deterministic vectors of words and character 3-grams, hashed into `dimension` buckets: lexical, not semantic. Finds
// shared and misspelt words, never synonyms. Needs no model and no network. Dimension: 64..4096.
std::unique_ptr<Embedder> make_hashing_embedder(std::size_t dimension = 256);

}  // namespace annal
