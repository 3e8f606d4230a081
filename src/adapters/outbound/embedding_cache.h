// Vectors that were made before, by model and SHA-256 of the text. Bounded: what was used longest ago goes first.
// Threads: every method may be called from any thread.
#pragma once

#include <annal/embedder.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace annal {

class EmbeddingCache {
 public:
    explicit EmbeddingCache(std::size_t bytes_max = std::size_t{64} << 20) : bytes_max_(bytes_max) {}

    std::optional<std::vector<float>> get(std::string_view model, std::string_view text);
    void put(std::string_view model, std::string_view text, const std::vector<float>& vector);

    struct Counts {
        std::uint64_t hits = 0;
        std::uint64_t misses = 0;
        std::size_t entries = 0;
        std::size_t bytes = 0;
    };
    Counts counts() const;

 private:
    struct Entry {
        std::string key;
        std::vector<float> vector;
    };
    static std::size_t bytes_of(const Entry& entry);

    const std::size_t bytes_max_;
    mutable std::mutex mutex_;
    std::list<Entry> entries_;  // The last used first.
    std::unordered_map<std::string_view, std::list<Entry>::iterator> by_key_;
    Counts counts_;
};

// Asks `embedder` for what the cache does not hold, once for equal texts.
std::unique_ptr<Embedder> make_caching_embedder(std::shared_ptr<Embedder> embedder,
                                                std::shared_ptr<EmbeddingCache> cache);

}  // namespace annal
