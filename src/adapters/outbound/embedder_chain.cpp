#include "embedder_chain.h"

#include <algorithm>
#include <string>
#include <utility>

namespace annal {

Result<std::unique_ptr<EmbedderChain>> EmbedderChain::create(std::vector<std::shared_ptr<Embedder>> embedders) {
    if (embedders.empty()) return Error{ErrorCode::invalid_argument, "a chain of embedders needs one at least", {}};
    const auto& first = *embedders.front();
    for (const auto& embedder : embedders)
        if (embedder->model() != first.model() || embedder->dimension() != first.dimension())
            return Error{ErrorCode::invalid_argument,
                         "the embedders of a chain must make the same vectors: one model, one dimension",
                         {{"expected", std::string(first.model()) + "/" + std::to_string(first.dimension())},
                          {"actual", std::string(embedder->model()) + "/" + std::to_string(embedder->dimension())}}};
    return std::unique_ptr<EmbedderChain>(new EmbedderChain(std::move(embedders)));
}

template <class T, class Ask>
Result<T> EmbedderChain::first_of(Ask ask) {
    const std::size_t preferred = current_;
    std::vector<std::size_t> order{preferred};
    for (std::size_t i = 0; i < embedders_.size(); ++i)
        if (i != preferred) order.push_back(i);
    Error all{ErrorCode::unavailable, "no embedder of the chain answers", {}};
    for (const auto i : order) {
        auto answer = ask(*embedders_[i]);
        if (answer) current_ = i;
        if (answer || answer.error().code == ErrorCode::invalid_argument) return answer;
        all.details[std::to_string(i)] = to_string(answer.error().code);
    }
    return all;
}

Result<std::vector<float>> EmbedderChain::embed(std::string_view text) {
    return first_of<std::vector<float>>([&](Embedder& embedder) { return embedder.embed(text); });
}

Result<std::vector<std::vector<float>>> EmbedderChain::embed_many(std::span<const std::string_view> texts) {
    return embed_many_until(texts, {});
}

Result<std::vector<std::vector<float>>> EmbedderChain::embed_many_until(std::span<const std::string_view> texts,
                                                                        const std::stop_token& stop) {
    return first_of<std::vector<std::vector<float>>>(
        [&](Embedder& embedder) { return embedder.embed_many_until(texts, stop); });
}

Status EmbedderChain::probe() {
    const auto found = availability();
    const auto well = std::ranges::find_if(found, [](const Status& one) { return static_cast<bool>(one); });
    return well == found.end() ? found.front() : Status(Done{});
}

std::vector<Status> EmbedderChain::availability() {
    std::vector<Status> found;
    for (const auto& embedder : embedders_) found.push_back(embedder->probe());
    return found;
}

}  // namespace annal
