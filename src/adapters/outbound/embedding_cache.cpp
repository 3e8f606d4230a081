#include "embedding_cache.h"

#include "events/bytes.h"
#include "events/event_log_hash.h"

#include <utility>

namespace annal {
namespace {

std::string key_of(std::string_view model, std::string_view text) {
    const Hash hash = sha256(text);
    std::string key(as_text(hash));
    return key += model;
}

class CachingEmbedder final : public Embedder {
 public:
    CachingEmbedder(std::shared_ptr<Embedder> embedder, std::shared_ptr<EmbeddingCache> cache)
        : embedder_(std::move(embedder)), cache_(std::move(cache)) {}

    std::string_view model() const override { return embedder_->model(); }
    std::size_t dimension() const override { return embedder_->dimension(); }
    bool semantic() const override { return embedder_->semantic(); }
    Status probe() override { return embedder_->probe(); }

    Result<std::vector<float>> embed(std::string_view text) override {
        if (auto known = cache_->get(model(), text)) return std::move(*known);
        auto made = embedder_->embed(text);
        if (made) cache_->put(model(), text, *made);
        return made;
    }

    Result<std::vector<std::vector<float>>> embed_many(std::span<const std::string_view> texts) override {
        return embed_many_until(texts, {});
    }

    Result<std::vector<std::vector<float>>> embed_many_until(std::span<const std::string_view> texts,
                                                             const std::stop_token& stop) override {
        std::vector<std::vector<float>> all(texts.size());
        std::vector<std::string_view> unknown;
        std::unordered_map<std::string_view, std::vector<std::size_t>> places;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            auto [place, first] = places.try_emplace(texts[i]);
            if (first)
                if (auto known = cache_->get(model(), texts[i])) {
                    all[i] = std::move(*known);
                    places.erase(place);
                    continue;
                }
            if (first) unknown.push_back(texts[i]);
            place->second.push_back(i);
        }
        if (unknown.empty()) return all;
        auto made = embedder_->embed_many_until(unknown, stop);
        if (!made) return made.error();
        for (std::size_t n = 0; n < unknown.size(); ++n) {
            cache_->put(model(), unknown[n], (*made)[n]);
            for (const auto i : places.at(unknown[n])) all[i] = (*made)[n];
        }
        return all;
    }

 private:
    std::shared_ptr<Embedder> embedder_;
    std::shared_ptr<EmbeddingCache> cache_;
};

}  // namespace

std::size_t EmbeddingCache::bytes_of(const Entry& entry) {
    return sizeof(Entry) + entry.key.size() + entry.vector.size() * sizeof(float);
}

std::optional<std::vector<float>> EmbeddingCache::get(std::string_view model, std::string_view text) {
    const std::string key = key_of(model, text);
    const std::scoped_lock lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) {
        ++counts_.misses;
        return std::nullopt;
    }
    ++counts_.hits;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->vector;
}

void EmbeddingCache::put(std::string_view model, std::string_view text, const std::vector<float>& vector) {
    Entry entry{key_of(model, text), vector};
    const std::scoped_lock lock(mutex_);
    if (by_key_.contains(entry.key)) return;
    counts_.bytes += bytes_of(entry);
    entries_.push_front(std::move(entry));
    by_key_.emplace(entries_.front().key, entries_.begin());
    while (counts_.bytes > bytes_max_ && !entries_.empty()) {
        counts_.bytes -= bytes_of(entries_.back());
        by_key_.erase(entries_.back().key);
        entries_.pop_back();
    }
}

EmbeddingCache::Counts EmbeddingCache::counts() const {
    const std::scoped_lock lock(mutex_);
    Counts counts = counts_;
    counts.entries = entries_.size();
    return counts;
}

std::unique_ptr<Embedder> make_caching_embedder(std::shared_ptr<Embedder> embedder,
                                                std::shared_ptr<EmbeddingCache> cache) {
    return std::make_unique<CachingEmbedder>(std::move(embedder), std::move(cache));
}

}  // namespace annal
