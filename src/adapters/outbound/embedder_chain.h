// Several providers of the same vectors, asked in order until one answers. The one that did is asked first from then
// on, until it fails.
// Threads: every method may be called from any thread.
#pragma once

#include <annal/embedder.h>

#include <atomic>
#include <memory>
#include <vector>

namespace annal {

class EmbedderChain final : public Embedder {
 public:
    // invalid_argument: none, or two whose vectors cannot be compared: of another model, or another dimension.
    static Result<std::unique_ptr<EmbedderChain>> create(std::vector<std::shared_ptr<Embedder>> embedders);

    std::string_view model() const override { return embedders_.front()->model(); }
    std::size_t dimension() const override { return embedders_.front()->dimension(); }
    bool semantic() const override { return embedders_.front()->semantic(); }

    // invalid_argument is of the text, so nobody else is asked. When all fail: unavailable; details: each one's code by
    // its place.
    Result<std::vector<float>> embed(std::string_view text) override;
    Result<std::vector<std::vector<float>>> embed_many(std::span<const std::string_view> texts) override;
    Result<std::vector<std::vector<float>>> embed_many_until(std::span<const std::string_view> texts,
                                                             const std::stop_token& stop) override;
    // Of the first that is well.
    Status probe() override;

    // What each says of itself, by its place.
    std::vector<Status> availability();
    std::size_t current() const { return current_; }

 private:
    explicit EmbedderChain(std::vector<std::shared_ptr<Embedder>> embedders) : embedders_(std::move(embedders)) {}
    template <class T, class Ask>
    Result<T> first_of(Ask ask);

    std::vector<std::shared_ptr<Embedder>> embedders_;
    std::atomic<std::size_t> current_{0};
};

}  // namespace annal
