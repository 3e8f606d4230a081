// Made-up data of a known shape: equal for equal seeds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace annal::bench {

// `count` unit vectors of `dimension` floats, one after the other, scattered about `clusters` random centres.
inline std::vector<float> clustered_vectors(std::size_t count, std::size_t dimension, std::size_t clusters,
                                            std::uint64_t seed, std::uint64_t centre_seed = 7) {
    std::normal_distribution<float> normal;
    std::mt19937_64 centre_random(centre_seed);
    std::vector<float> centres(clusters * dimension);
    for (float& value : centres) value = normal(centre_random);
    std::mt19937_64 random(seed);
    std::vector<float> vectors(count * dimension);
    for (std::size_t i = 0; i < count; ++i) {
        const float* centre = &centres[(random() % clusters) * dimension];
        float* row = &vectors[i * dimension];
        double squares = 0;
        for (std::size_t d = 0; d < dimension; ++d) {
            row[d] = centre[d] + 0.6F * normal(random);
            squares += static_cast<double>(row[d]) * static_cast<double>(row[d]);
        }
        const auto scale = static_cast<float>(1.0 / std::sqrt(squares));
        for (std::size_t d = 0; d < dimension; ++d) row[d] *= scale;
    }
    return vectors;
}

// Sentences of words whose frequencies fall as 1/rank over a vocabulary of 20,000, `bytes` long.
class TextMaker {
 public:
    explicit TextMaker(std::uint64_t seed) : random_(seed) {
        std::mt19937_64 letters(11);
        constexpr std::string_view vowels = "aeiou", consonants = "bcdfghklmnprstvw";
        double sum = 0;
        for (int rank = 1; rank <= 20'000; ++rank) {
            std::string word;
            for (std::size_t i = 0, syllables = 1 + letters() % 3; i <= syllables; ++i) {
                word += consonants[letters() % consonants.size()];
                word += vowels[letters() % vowels.size()];
            }
            words_.push_back(word);
            sum += 1.0 / rank;
            up_to_.push_back(sum);
        }
    }
    const std::string& word() {
        std::uniform_real_distribution<double> uniform(0, up_to_.back());
        const auto at = std::lower_bound(up_to_.begin(), up_to_.end(), uniform(random_));
        return words_[static_cast<std::size_t>(at - up_to_.begin())];
    }
    std::string text(std::size_t bytes) {
        std::string text;
        while (text.size() + 8 < bytes) (text += word()) += ' ';
        text.resize(bytes, '.');
        return text;
    }

 private:
    std::mt19937_64 random_;
    std::vector<std::string> words_;
    std::vector<double> up_to_;
};

}  // namespace annal::bench
