// Embedding servers for tests, of both protocols: the same text has the same vector, and they lie when they are told
// to.
#pragma once

#include "http_fake.h"

#include "events/base64.h"

#include <nlohmann/json.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace annal::testing {

enum class Speaks { ollama, openai_base64, openai_numbers };

class EmbeddingFake {
 public:
    static constexpr std::size_t dimension = 8;
    enum class Lie {
        none,
        html,        // A page, with status 200.
        not_json,    // Cut by whoever was in between, and called whole.
        no_vectors,  // An object of another shape.
        one_less,    // A vector too few.
        one_more,
        not_finite,  // A NaN; where the protocol cannot say it, 1e999.
        zeros,
        other_dimension,
        words,  // Text in place of numbers.
        index_twice,
        index_outside,
    };

    // `salt`: of another one, other vectors come of the same texts.
    explicit EmbeddingFake(Speaks speaks, std::string model = "tiny", std::string salt = {})
        : speaks_(speaks),
          model_(std::move(model)),
          salt_(std::move(salt)),
          server_([this](const FakeRequest& request) { return answer(request); }) {}

    Speaks speaks() const { return speaks_; }
    std::string url() const { return server_.url() + (speaks_ == Speaks::ollama ? "" : "/v1"); }
    std::size_t request_count() const { return server_.request_count(); }

    std::size_t texts_asked() const {
        const auto sizes = batch_sizes();
        return std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
    }
    // Of each request that asked for vectors.
    std::vector<std::size_t> batch_sizes() const {
        const std::scoped_lock lock(mutex_);
        return batch_sizes_;
    }
    void lie(Lie lie, int times) {
        const std::scoped_lock lock(mutex_);
        lie_ = lie;
        lies_left_ = times;
    }
    // The next requests, whatever they ask.
    void fail_with(std::deque<FakeAnswer> faults) {
        const std::scoped_lock lock(mutex_);
        faults_ = std::move(faults);
    }
    void accept_token(std::string token) {
        const std::scoped_lock lock(mutex_);
        token_ = std::move(token);
    }

    // As it is sent: not of unit length.
    static std::vector<float> vector_of(std::string_view text) {
        std::seed_seq seed(text.begin(), text.end());
        std::mt19937 random(seed);
        std::vector<float> vector;
        for (std::size_t i = 0; i < dimension; ++i)
            vector.push_back(static_cast<float>(random() % 2000) / 100.0F - 9.5F);
        return vector;
    }
    static std::vector<float> unit_vector_of(std::string_view text) {
        auto vector = vector_of(text);
        double squares = 0;
        for (const float value : vector) squares += static_cast<double>(value) * static_cast<double>(value);
        for (float& value : vector) value = static_cast<float>(static_cast<double>(value) / std::sqrt(squares));
        return vector;
    }

 private:
    using Json = nlohmann::json;

    FakeAnswer answer(const FakeRequest& request) {
        const std::scoped_lock lock(mutex_);
        if (!faults_.empty()) {
            auto fault = faults_.front();
            faults_.pop_front();
            return fault;
        }
        if (!token_.empty() && request.header("authorization") != "Bearer " + token_) return failure(401, "no");
        const bool ollama = speaks_ == Speaks::ollama;
        if (request.method == "GET" && request.target == "/v1/models" && !ollama)
            return {.body = R"({"object":"list","data":[{"id":"tiny"}]})"};
        if (request.method != "POST" || request.header("content-type") != "application/json") return {.status = 404};
        const auto body = Json::parse(request.body);
        if (body.at("model") != model_) return failure(404, "model not found");
        if (ollama && request.target == "/api/show") return {.body = R"({"details":{}})"};
        if (request.target != (ollama ? "/api/embed" : "/v1/embeddings")) return {.status = 404};
        if (ollama && body.at("truncate") != false) return {.status = 400};
        return embed(body);
    }

    FakeAnswer failure(int status, const std::string& message) const {
        const Json error =
            speaks_ == Speaks::ollama
                ? Json(message)
                : Json{{"message", message}, {"type", "invalid_request_error"}, {"param", nullptr}, {"code", nullptr}};
        return {.status = status, .body = Json{{"error", error}}.dump()};
    }

    FakeAnswer embed(const Json& body) {
        batch_sizes_.push_back(body.at("input").size());
        const Lie lie = lies_left_ > 0 ? lie_ : Lie::none;
        if (lies_left_ > 0) --lies_left_;
        if (lie == Lie::html) return {.body = "<html>Sign in</html>", .content_type = "text/html"};
        if (lie == Lie::not_json) return {.body = "{\"embeddings\": [[1, 2"};
        if (lie == Lie::no_vectors) return {.body = R"({"object":"list"})"};
        std::vector<Json> rows;
        for (const auto& text : body.at("input")) rows.push_back(row_of(text.get<std::string>(), lie));
        if (lie == Lie::one_less) rows.pop_back();
        if (lie == Lie::one_more) rows.push_back(row_of("one more", lie));
        Json answer{{"model", model_}};
        if (speaks_ == Speaks::ollama) {
            answer["embeddings"] = rows;
        } else {
            answer["object"] = "list";
            answer["data"] = Json::array();
            for (std::size_t i = rows.size(); i-- > 0;) {  // Their order is nobody's promise.
                const std::size_t index = lie == Lie::index_twice ? 0 : lie == Lie::index_outside ? i + 1 : i;
                answer["data"].push_back({{"object", "embedding"}, {"index", index}, {"embedding", rows[i]}});
            }
            answer["usage"] = {{"prompt_tokens", 1}, {"total_tokens", 1}};
        }
        std::string text = answer.dump();
        for (auto at = text.find("null"); at != std::string::npos; at = text.find("null")) text.replace(at, 4, "1e999");
        return {.body = std::move(text)};
    }

    Json row_of(const std::string& text, Lie lie) const {
        auto vector = vector_of(salt_ + text);
        if (lie == Lie::not_finite) vector[3] = std::numeric_limits<float>::quiet_NaN();
        if (lie == Lie::zeros) vector.assign(dimension, 0.0F);
        if (lie == Lie::other_dimension) vector.push_back(1);
        if (lie == Lie::words) return "!not base64!";
        if (speaks_ != Speaks::openai_base64) return vector;
        std::string bytes;
        for (const float value : vector) {
            const auto bits = std::bit_cast<std::uint32_t>(value);
            for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>((bits >> shift) & 0xFFU);
        }
        return to_base64(bytes);
    }

    const Speaks speaks_;
    const std::string model_, salt_;
    mutable std::mutex mutex_;
    std::vector<std::size_t> batch_sizes_;
    std::deque<FakeAnswer> faults_;
    Lie lie_ = Lie::none;
    int lies_left_ = 0;
    std::string token_;
    HttpFake server_;  // Last: it is the first to go.
};

}  // namespace annal::testing
