#include "openai_embedder.h"

#include "adapters/json.h"

#include "events/base64.h"

#include <nlohmann/json.hpp>

#include <bit>

namespace annal {
namespace {

std::optional<std::vector<float>> vector_of(const Json& embedding) {
    std::vector<float> vector;
    if (embedding.is_string()) {
        const auto bytes = from_base64(embedding.get_ref<const std::string&>());
        if (!bytes || bytes->size() % sizeof(float) != 0) return std::nullopt;
        for (std::size_t at = 0; at < bytes->size(); at += sizeof(float)) {
            std::uint32_t bits = 0;
            for (std::size_t i = 0; i < sizeof bits; ++i)
                bits |= static_cast<std::uint32_t>(static_cast<std::uint8_t>((*bytes)[at + i])) << (8 * i);
            vector.push_back(std::bit_cast<float>(bits));
        }
        return vector;
    }
    if (!embedding.is_array()) return std::nullopt;
    for (const auto& value : embedding) {
        if (!value.is_number()) return std::nullopt;
        vector.push_back(value.get<float>());
    }
    return vector;
}

class OpenAiEmbedder final : public HttpEmbedder {
 public:
    static Result<std::unique_ptr<HttpEmbedder>> create(HttpEmbedderOptions options) {
        auto service = service_of(options);
        if (!service) return service.error();
        return std::unique_ptr<HttpEmbedder>(new OpenAiEmbedder(std::move(options), std::move(*service)));
    }

 private:
    using HttpEmbedder::HttpEmbedder;

    HttpRequest request_of(std::span<const std::string_view> texts) const override {
        Json input = Json::array();
        for (const auto text : texts) input.push_back(text);
        return {
            .method = "POST",
            .target = "/embeddings",
            .body = to_text({{"model", options().model}, {"input", std::move(input)}, {"encoding_format", "base64"}})};
    }

    std::optional<Vectors> vectors_of(const Json& answer) const override {
        if (!answer.is_object() || !answer.contains("data") || !answer["data"].is_array()) return std::nullopt;
        const auto& data = answer["data"];
        Vectors vectors(data.size());
        std::vector<bool> seen(data.size());
        for (const auto& one : data) {
            if (!one.is_object() || !one.contains("index") || !one.contains("embedding")) return std::nullopt;
            if (!one["index"].is_number_unsigned()) return std::nullopt;
            const auto index = one["index"].get<std::uint64_t>();
            if (index >= data.size() || seen[index]) return std::nullopt;
            seen[index] = true;
            auto vector = vector_of(one["embedding"]);
            if (!vector) return std::nullopt;
            vectors[index] = std::move(*vector);
        }
        return vectors;
    }

    HttpRequest probe_request() const override { return {.target = "/models"}; }
    bool well_despite(const Error& error) const override {
        const auto status = error.details.find("http_status");
        return status != error.details.end() && (status->second == "404" || status->second == "405");
    }
};

}  // namespace

Result<std::unique_ptr<HttpEmbedder>> make_openai_embedder(HttpEmbedderOptions options) {
    return OpenAiEmbedder::create(std::move(options));
}

}  // namespace annal
