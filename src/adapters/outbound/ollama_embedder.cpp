#include "ollama_embedder.h"

#include "adapters/json.h"

#include <nlohmann/json.hpp>

namespace annal {
namespace {

class OllamaEmbedder final : public HttpEmbedder {
 public:
    static Result<std::unique_ptr<HttpEmbedder>> create(HttpEmbedderOptions options) {
        auto service = service_of(options);
        if (!service) return service.error();
        return std::unique_ptr<HttpEmbedder>(new OllamaEmbedder(std::move(options), std::move(*service)));
    }

 private:
    using HttpEmbedder::HttpEmbedder;

    HttpRequest request_of(std::span<const std::string_view> texts) const override {
        Json input = Json::array();
        for (const auto text : texts) input.push_back(text);
        return {.method = "POST",
                .target = "/api/embed",
                .body = to_text({{"model", options().model}, {"input", std::move(input)}, {"truncate", false}})};
    }

    std::optional<Vectors> vectors_of(const Json& answer) const override {
        if (!answer.is_object() || !answer.contains("embeddings")) return std::nullopt;
        Vectors vectors;
        for (const auto& row : answer["embeddings"]) {
            if (!row.is_array()) return std::nullopt;
            auto& vector = vectors.emplace_back();
            for (const auto& value : row) {
                if (!value.is_number()) return std::nullopt;
                vector.push_back(value.get<float>());
            }
        }
        return vectors;
    }

    HttpRequest probe_request() const override {
        return {.method = "POST", .target = "/api/show", .body = to_text({{"model", options().model}})};
    }
};

}  // namespace

Result<std::unique_ptr<HttpEmbedder>> make_ollama_embedder(HttpEmbedderOptions options) {
    return OllamaEmbedder::create(std::move(options));
}

}  // namespace annal
