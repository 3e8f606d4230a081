#include "http_embedder.h"

#include "adapters/json.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace annal {
namespace {

constexpr std::size_t dimension_max = 4096;
constexpr double norm_min = 1e-6;  // Of a vector that has a direction.

bool blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

Error nonsense(const std::string& what) {
    return {ErrorCode::unavailable, what, {}};
}

}  // namespace

HttpEmbedder::HttpEmbedder(HttpEmbedderOptions options, std::unique_ptr<HttpService> service)
    : options_(std::move(options)), service_(std::move(service)) {}

Result<std::unique_ptr<HttpService>> HttpEmbedder::service_of(HttpEmbedderOptions& options) {
    if (options.model.empty()) return Error{ErrorCode::invalid_argument, "an embedder needs the name of a model", {}};
    if (options.dimension == 0 || options.dimension > dimension_max)
        return Error{ErrorCode::invalid_argument,
                     "an embedder's dimension is 1 to " + std::to_string(dimension_max),
                     {{"limit", std::to_string(dimension_max)}}};
    if (options.space.empty()) options.space = options.model;
    options.batch_texts_max = std::max<std::size_t>(options.batch_texts_max, 1);
    auto endpoint = parse_http_url(options.url);
    if (!endpoint) return endpoint.error();
    options.service.name = "the embedding server";
    options.service.client.endpoint = std::move(*endpoint);
    return HttpService::create(options.service);
}

HttpCall HttpEmbedder::call_of(HttpRequest request) const {
    HttpCall call{.request = std::move(request)};
    call.request.headers.push_back({"Accept", "application/json"});
    if (!call.request.body.empty()) call.request.headers.push_back({"Content-Type", "application/json"});
    if (options_.token)
        call.authorize = [this](HttpRequest& authorized, bool again) -> Result<bool> {
            auto token = options_.token(again);
            if (!token) return token.error();
            authorized.headers.resize(authorized.headers.size() - (again ? 1 : 0));
            authorized.headers.push_back({"Authorization", "Bearer " + *token});
            return true;
        };
    return call;
}

Status HttpEmbedder::check(Vectors& vectors, std::size_t count) const {
    if (vectors.size() != count)
        return nonsense(std::to_string(vectors.size()) + " vectors came back for " + std::to_string(count) + " texts");
    for (auto& vector : vectors) {
        if (vector.size() != options_.dimension)
            return Error{ErrorCode::unimplemented,
                         "the model makes vectors of " + std::to_string(vector.size()) + " numbers, not of " +
                             std::to_string(options_.dimension),
                         {{"expected", std::to_string(options_.dimension)}, {"actual", std::to_string(vector.size())}}};
        double squares = 0;
        for (const float value : vector) squares += static_cast<double>(value) * static_cast<double>(value);
        const double norm = std::sqrt(squares);
        if (!std::isfinite(norm)) return nonsense("a vector holds what is not a number");
        if (norm < norm_min) return nonsense("a vector has no direction");
        for (float& value : vector) value = static_cast<float>(static_cast<double>(value) / norm);
    }
    return Done{};
}

Result<HttpEmbedder::Vectors> HttpEmbedder::embed_batch(std::span<const std::string_view> texts,
                                                        const std::stop_token& stop) const {
    Vectors vectors;
    HttpCall call = call_of(request_of(texts));
    call.stop = stop;
    call.read = [&](const HttpResponse& response) -> Status {
        const auto json = parse_json(response.body, "the answer");
        if (!json) return nonsense("the answer is not JSON");
        auto read = vectors_of(*json);
        if (!read) return nonsense("the answer holds no vectors where they belong");
        vectors = std::move(*read);
        return check(vectors, texts.size());
    };
    if (auto answered = service_->call(call); !answered) return answered.error();
    return vectors;
}

Result<std::vector<float>> HttpEmbedder::embed(std::string_view text) {
    auto vectors = embed_many({&text, 1});
    if (!vectors) return vectors.error();
    return std::move(vectors->front());
}

Result<HttpEmbedder::Vectors> HttpEmbedder::embed_many(std::span<const std::string_view> texts) {
    return embed_many_until(texts, {});
}

Result<HttpEmbedder::Vectors> HttpEmbedder::embed_many_until(std::span<const std::string_view> texts,
                                                             const std::stop_token& stop) {
    Vectors all(texts.size(), std::vector<float>(options_.dimension, 0.0F));
    std::vector<std::string_view> batch;
    std::vector<std::size_t> places;
    std::size_t bytes = 0;
    const auto flush = [&]() -> Status {
        if (batch.empty()) return Done{};
        auto vectors = embed_batch(batch, stop);
        if (!vectors) return vectors.error();
        for (std::size_t i = 0; i < places.size(); ++i) all[places[i]] = std::move((*vectors)[i]);
        batch.clear();
        places.clear();
        bytes = 0;
        return Done{};
    };
    for (std::size_t i = 0; i < texts.size(); ++i) {
        if (blank(texts[i])) continue;
        if (batch.size() == options_.batch_texts_max || bytes + texts[i].size() > options_.batch_bytes_max)
            if (auto flushed = flush(); !flushed) return flushed.error();
        batch.push_back(texts[i]);
        places.push_back(i);
        bytes += texts[i].size();
    }
    if (auto flushed = flush(); !flushed) return flushed.error();
    return all;
}

Status HttpEmbedder::probe() {
    const auto now = service_->clock().now();
    {
        const std::scoped_lock lock(mutex_);
        const std::chrono::microseconds age(now.us - probed_at_.us);
        if (probed_ && age.count() >= 0 && age < options_.probe_every) return *probed_;
    }
    HttpCall call = call_of(probe_request());
    call.attempts_max = 1;
    const auto answered = service_->call(call);
    const Status found = answered || well_despite(answered.error()) ? Status(Done{}) : Status(answered.error());
    const std::scoped_lock lock(mutex_);
    probed_ = found;
    probed_at_ = now;
    return found;
}

}  // namespace annal
