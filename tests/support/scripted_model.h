// A model for tests, in this process: the same text has the same vector, it counts what it is asked, and it fails as it
// is told to.
#pragma once

#include <annal/embedder.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace annal::testing {

class ScriptedModel final : public Embedder {
 public:
    explicit ScriptedModel(std::string model = "scripted", std::size_t dimension = 8)
        : model_(std::move(model)), dimension_(dimension) {}

    std::string_view model() const override { return model_; }
    std::size_t dimension() const override { return dimension_; }
    bool semantic() const override { return true; }
    Result<std::vector<float>> embed(std::string_view text) override {
        auto made = embed_many(std::span(&text, 1));
        if (!made) return made.error();
        return std::move(made->front());
    }
    Result<std::vector<std::vector<float>>> embed_many(std::span<const std::string_view> texts) override {
        const std::lock_guard lock(mutex_);
        for (const auto text : texts) {
            if (down_) return Error{ErrorCode::unavailable, "the model is down", {}};
            if (refuses_ && refuses_(text)) return Error{ErrorCode::invalid_argument, "the model refuses a text", {}};
            if (chokes_ && chokes_(text)) return Error{ErrorCode::unavailable, "the model fails", {}};
        }
        if (when_asked_) when_asked_(texts);
        std::vector<std::vector<float>> all;
        for (const auto text : texts) {
            ++asked_[std::string(text)];
            all.push_back(vector_of(text));
        }
        return all;
    }

    void down(bool is) {
        const std::lock_guard lock(mutex_);
        down_ = is;
    }
    void refuses(std::function<bool(std::string_view)> text) {
        const std::lock_guard lock(mutex_);
        refuses_ = std::move(text);
    }
    void chokes_on(std::function<bool(std::string_view)> text) {
        const std::lock_guard lock(mutex_);
        chokes_ = std::move(text);
    }
    // Before it answers.
    void when_asked(std::function<void(std::span<const std::string_view>)> call) {
        const std::lock_guard lock(mutex_);
        when_asked_ = std::move(call);
    }
    // How often it made a vector of each text.
    std::map<std::string, std::size_t> asked() const {
        const std::lock_guard lock(mutex_);
        return asked_;
    }
    std::size_t asked_in_all() const {
        std::size_t count = 0;
        for (const auto& [text, times] : asked()) count += times;
        return count;
    }

    std::vector<float> vector_of(std::string_view text) const {
        std::seed_seq seed(text.begin(), text.end());
        std::mt19937 random(seed);
        std::vector<float> vector(dimension_);
        double squares = 0;
        for (auto& value : vector) {
            value = static_cast<float>(random() % 2000) / 100.0F - 9.5F;
            squares += static_cast<double>(value) * static_cast<double>(value);
        }
        for (auto& value : vector) value = static_cast<float>(static_cast<double>(value) / std::sqrt(squares));
        return vector;
    }

 private:
    const std::string model_;
    const std::size_t dimension_;
    mutable std::mutex mutex_;
    bool down_ = false;
    std::function<bool(std::string_view)> refuses_, chokes_;
    std::function<void(std::span<const std::string_view>)> when_asked_;
    std::map<std::string, std::size_t> asked_;
};

}  // namespace annal::testing
