#include <annal/embedder.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>

using namespace annal;

namespace {

std::vector<float> embed(std::string_view text, std::size_t dimension = 256) {
    auto vector = make_hashing_embedder(dimension)->embed(text);
    REQUIRE(vector);
    return *vector;
}

double cosine(std::string_view a, std::string_view b) {
    const auto x = embed(a), y = embed(b);
    return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

std::uint64_t digest(const std::vector<float>& vector) {  // FNV-1a over the bits.
    std::uint64_t hash = 0xcbf29ce484222325ULL;
    for (const float value : vector) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ ((bits >> shift) & 0xFFU)) * 0x100000001b3ULL;
    }
    return hash;
}

}  // namespace

TEST_CASE("a vector is of unit length, or all zero when there is nothing to embed", "[adapters][embedder]") {
    for (const char* text : {"checkout", "The checkout test is flaky again, third time!", "試験が不安定です", "é"}) {
        double squares = 0;
        for (const float value : embed(text)) squares += static_cast<double>(value) * static_cast<double>(value);
        CHECK(squares == Catch::Approx(1.0).margin(1e-6));
    }
    for (const char* text : {"", " \t\n", "... !?", "\xff\xfe"})
        for (const float value : embed(text)) CHECK(value == 0.0F);
}

TEST_CASE("vectors are the same to the bit on every machine and in every release of this model",
          "[adapters][embedder]") {
    CHECK(digest(embed("")) == 0x51d88627df287325ULL);
    CHECK(digest(embed("checkout")) == 0xcd1d13b6cf7d94a2ULL);
    CHECK(digest(embed("The checkout test is flaky: wait 2 s, then retry.")) == 0xc4620386cc766a3bULL);
    CHECK(digest(embed("Größe, naïve, Σίσυφος, 試験")) == 0x2ce3281fe7da08b5ULL);
    CHECK(digest(embed("checkout", 64)) == 0x356ea18c1d81d6aULL);
}

TEST_CASE("case and marks between words do not count, their order neither", "[adapters][embedder]") {
    CHECK(embed("Flaky CHECKOUT test") == embed("test -- checkout, flaky"));
    CHECK(embed("STRASSE") != embed("GASSE"));
    CHECK(embed("ΣΊΣΥΦΟΣ") == embed("σίσυφος"));
}

TEST_CASE("shared and misspelt words are near, others are not", "[adapters][embedder]") {
    const double same_words = cosine("flaky checkout test", "the checkout test was flaky");
    const double misspelt = cosine("kubernetes deployment", "kubernets deploymnt");
    const double unrelated = cosine("kubernetes deployment", "birthday cake recipe");
    CHECK(same_words > 0.7);
    CHECK(misspelt > 0.3);
    CHECK(std::abs(unrelated) < 0.2);
}

TEST_CASE("the model's name tells its dimension, and it says that it is not semantic", "[adapters][embedder]") {
    CHECK(make_hashing_embedder()->model() == "annal-hashing-256-v1");
    CHECK(make_hashing_embedder(512)->model() == "annal-hashing-512-v1");
    CHECK(make_hashing_embedder(512)->dimension() == 512);
    CHECK(embed("x", 512).size() == 512);
    CHECK_FALSE(make_hashing_embedder()->semantic());
    CHECK(make_hashing_embedder(1)->dimension() == 64);
    CHECK(make_hashing_embedder(1'000'000)->dimension() == 4096);
}
