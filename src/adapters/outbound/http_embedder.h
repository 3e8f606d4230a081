// What embedders that ask a server over HTTP have in common: batches, patience, and no trust in what comes back.
// Checked: the count, the dimension, that every number is finite and that there is a direction; then it is made of unit
//          length.
// Blank:   text without a letter is not sent; its vector is zero.
// Errors:  those of HttpService. unavailable: what came back makes no sense (HTML, a wrong count, NaN). unimplemented:
//          the model's vectors have another dimension; details: expected, actual. None holds text or a credential.
#pragma once

#include "http_service.h"

#include <annal/embedder.h>

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace annal {

struct HttpEmbedderOptions {
    std::string url{};    // "http://localhost:11434", "https://api.example.com/v1"
    std::string model{};  // As the server calls it.
    std::string space{};  // As Embedder::model() calls it; empty: like `model`.
    std::size_t dimension = 0;
    std::size_t batch_texts_max = 64;
    std::size_t batch_bytes_max = std::size_t{256} << 10;  // Of text; one longer text makes a batch of its own.
    std::chrono::milliseconds probe_every{30'000};         // What a probe found is believed for so long.
    // A bearer token, asked for before each request. `again`: the server did not accept the last one, so get another;
    // no more than once a request. Empty: no token is sent.
    std::function<Result<std::string>(bool again)> token{};
    HttpServiceOptions service{};  // Its name and endpoint are set from the above.
};

class HttpEmbedder : public Embedder {
 public:
    std::string_view model() const override { return options_.space; }
    std::size_t dimension() const override { return options_.dimension; }
    bool semantic() const override { return true; }
    Result<std::vector<float>> embed(std::string_view text) override;
    Result<std::vector<std::vector<float>>> embed_many(std::span<const std::string_view> texts) override;
    Result<std::vector<std::vector<float>>> embed_many_until(std::span<const std::string_view> texts,
                                                             const std::stop_token& stop) override;
    Status probe() override;

    BreakerState breaker_state() const { return service_->breaker_state(); }

 protected:
    using Json = nlohmann::ordered_json;
    using Vectors = std::vector<std::vector<float>>;

    HttpEmbedder(HttpEmbedderOptions options, std::unique_ptr<HttpService> service);
    // invalid_argument: no model, or a dimension that is not 1..4096; parse_http_url's.
    static Result<std::unique_ptr<HttpService>> service_of(HttpEmbedderOptions& options);
    const HttpEmbedderOptions& options() const { return options_; }

    virtual HttpRequest request_of(std::span<const std::string_view> texts) const = 0;
    // In the order of the texts, unchecked. nullopt: not of the protocol.
    virtual std::optional<Vectors> vectors_of(const Json& answer) const = 0;
    virtual HttpRequest probe_request() const = 0;
    // Of an error that a probe met: it is well nevertheless.
    virtual bool well_despite(const Error&) const { return false; }

 private:
    HttpCall call_of(HttpRequest request) const;
    Result<Vectors> embed_batch(std::span<const std::string_view> texts, const std::stop_token& stop) const;
    Status check(Vectors& vectors, std::size_t count) const;

    HttpEmbedderOptions options_;
    std::unique_ptr<HttpService> service_;
    std::mutex mutex_;
    std::optional<Status> probed_;
    Timestamp probed_at_{};
};

}  // namespace annal
