#include <annal/embedder.h>

#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

namespace annal {
namespace {

constexpr std::size_t dimension_min = 64;
constexpr std::size_t dimension_max = 4096;
constexpr std::size_t gram_letters = 3;
constexpr std::size_t full_weight_letters = 6;  // Shorter words are mostly function words: they weigh less.

struct Feature {
    std::uint64_t hash;
    float weight;
    auto operator<=>(const Feature&) const = default;
};

// FNV-1a, and a last mix so that all bits depend on all letters.
std::uint64_t hash_of(char space, std::u32string_view letters) {
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    const auto take = [&](std::uint32_t value) {
        for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ ((value >> shift) & 0xFFU)) * 0x100000001b3ULL;
    };
    take(static_cast<std::uint8_t>(space));
    for (const char32_t letter : letters) take(letter);
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
    return hash ^ (hash >> 31);
}

// Case-folded runs of letters, digits and their marks.
template <class Visit>
void for_each_word(std::string_view text, const Visit& visit) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
    std::u32string word;
    for (std::size_t at = 0; at < text.size();) {
        UChar32 letter = 0;
        U8_NEXT(bytes, at, text.size(), letter);
        const bool part =
            letter >= 0 && (u_isalnum(letter) || (!word.empty() && (U_GET_GC_MASK(letter) & U_GC_M_MASK)));
        if (part) {
            word += static_cast<char32_t>(u_foldCase(letter, U_FOLD_CASE_DEFAULT));
        } else if (!word.empty()) {
            visit(word);
            word.clear();
        }
    }
    if (!word.empty()) visit(word);
}

void add_word(const std::u32string& word, std::vector<Feature>& features) {
    const float weight = static_cast<float>(std::min(word.size(), full_weight_letters)) / full_weight_letters;
    features.push_back({hash_of('w', word), weight});
    // The 3-grams of a word weigh together what the word does.
    const std::u32string marked = U'^' + word + U'$';
    const std::size_t grams = marked.size() - gram_letters + 1;
    const float share = weight / std::sqrt(static_cast<float>(grams));
    for (std::size_t i = 0; i < grams; ++i)
        features.push_back({hash_of('g', std::u32string_view(marked).substr(i, gram_letters)), share});
}

class HashingEmbedder final : public Embedder {
 public:
    explicit HashingEmbedder(std::size_t dimension)
        : dimension_(dimension), model_("annal-hashing-" + std::to_string(dimension) + "-v1") {}

    std::string_view model() const override { return model_; }
    std::size_t dimension() const override { return dimension_; }
    bool semantic() const override { return false; }

    Result<std::vector<float>> embed(std::string_view text) override {
        std::vector<Feature> features;
        for_each_word(text, [&](const std::u32string& word) { add_word(word, features); });
        // In one order, so that the sums come out the same to the bit.
        std::ranges::sort(features);
        std::vector<float> vector(dimension_, 0.0F);
        for (std::size_t i = 0; i < features.size();) {
            const std::uint64_t hash = features[i].hash;
            float squares = 0;  // A feature met n times counts the square root of n times.
            for (; i < features.size() && features[i].hash == hash; ++i)
                squares += features[i].weight * features[i].weight;
            const float value = std::sqrt(squares);
            vector[hash % dimension_] += (hash >> 63) != 0 ? -value : value;
        }
        double squares = 0;
        for (const float value : vector) squares += static_cast<double>(value) * static_cast<double>(value);
        if (squares > 0)
            for (float& value : vector) value = static_cast<float>(static_cast<double>(value) / std::sqrt(squares));
        return vector;
    }

 private:
    std::size_t dimension_;
    std::string model_;
};

}  // namespace

std::unique_ptr<Embedder> make_hashing_embedder(std::size_t dimension) {
    return std::make_unique<HashingEmbedder>(std::clamp(dimension, dimension_min, dimension_max));
}

}  // namespace annal
