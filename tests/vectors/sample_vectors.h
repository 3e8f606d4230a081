// Seeded unit vectors around cluster centres: near neighbours exist, as among embeddings.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace annal::testing {

class SampleVectors {
 public:
    SampleVectors(std::size_t dimension, std::size_t clusters, std::uint64_t seed)
        : dimension_(dimension), random_(seed) {
        for (std::size_t i = 0; i < clusters; ++i) centres_.push_back(unit(noise(1)));
    }

    std::vector<float> next() {
        auto vector = noise(0.7F / std::sqrt(static_cast<float>(dimension_)));
        const auto& centre = centres_[random_() % centres_.size()];
        for (std::size_t i = 0; i < dimension_; ++i) vector[i] += centre[i];
        return unit(std::move(vector));
    }
    std::vector<std::vector<float>> take(std::size_t count) {
        std::vector<std::vector<float>> vectors;
        for (std::size_t i = 0; i < count; ++i) vectors.push_back(next());
        return vectors;
    }

    static std::vector<float> unit(std::vector<float> vector) {
        double squares = 0;
        for (const float x : vector) squares += double{x} * double{x};
        for (float& x : vector) x = static_cast<float>(x / std::sqrt(squares));
        return vector;
    }

 private:
    std::vector<float> noise(float size) {
        std::normal_distribution<float> normal(0, size);
        std::vector<float> vector(dimension_);
        for (float& x : vector) x = normal(random_);
        return vector;
    }

    std::size_t dimension_;
    std::mt19937_64 random_;
    std::vector<std::vector<float>> centres_;
};

inline double exact_dot(std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
    return sum;
}

}  // namespace annal::testing
