#include "projections/analyzer.h"

#include "support/seed.h"

#include <unicode/ubrk.h>
#include <unicode/ustring.h>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>

using namespace annal;

namespace {

using Words = std::vector<std::string>;

Words terms(std::string_view text) {
    Analyzer analyzer;
    Words out;
    analyzer.terms(text, out);
    return out;
}

Words words(std::string_view text) {
    Analyzer analyzer;
    Words out;
    analyzer.words(text, out);
    return out;
}

// What ICU's word rules give for the whole of an ASCII text, lower case; ':' and '@' cut, whatever ICU's version says.
Words icu_words(std::string_view text) {
    std::u16string wide(text.begin(), text.end());
    std::ranges::replace_if(
        wide, [](char16_t c) { return c == u':' || c == u'@'; }, u' ');
    UErrorCode status = U_ZERO_ERROR;
    auto* breaks = ubrk_open(UBRK_WORD, "en", wide.data(), static_cast<std::int32_t>(wide.size()), &status);
    REQUIRE(U_SUCCESS(status));
    Words out;
    auto begin = ubrk_first(breaks);
    for (auto end = ubrk_next(breaks); end != UBRK_DONE; begin = end, end = ubrk_next(breaks)) {
        std::string word(text.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
        std::ranges::transform(word, word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        if (std::ranges::any_of(word, [](unsigned char c) { return std::isalnum(c); }))
            out.push_back(word.substr(0, term_bytes_max));
    }
    ubrk_close(breaks);
    return out;
}

}  // namespace

TEST_CASE("ASCII text gives the words that ICU gives", "[text]") {
    const auto seed = testing::test_seed();
    std::mt19937_64 random(seed);
    INFO("seed " << seed);
    // Mostly what joins or parts words, so that each rule meets each.
    constexpr std::string_view frequent = "aZ09_.,;:@' -?\n\"x7";
    for (int trial = 0; trial < 20'000; ++trial) {
        std::string text;
        const auto size = random() % 40;
        for (std::size_t i = 0; i < size; ++i)
            text.push_back(random() % 8 == 0 ? static_cast<char>(1 + random() % 127)
                                             : frequent[random() % frequent.size()]);
        CAPTURE(text);
        REQUIRE(words(text) == icu_words(text));
    }
}

TEST_CASE("words are folded, stemmed, and stop words dropped", "[text]") {
    CHECK(terms("The Runners were RUNNING to the libraries") == Words{"runner", "run", "librari"});
    CHECK(terms("Mel's birthday isn't what it's about") == Words{"mel", "birthday"});
    CHECK(terms("pi is 3.14, or 1,000?") == Words{"pi", "3.14", "1,000"});
    CHECK(words("Stra\u00dfe \ufb01n \uff21\uff22") == Words{"strasse", "fin", "ab"});
    CHECK(terms("don\u2019t worry, we\u2019ve time") == Words{"worri", "time"});
}

TEST_CASE("a text of stop words alone keeps them", "[text]") {
    CHECK(terms("The Who") == Words{"the", "who"});
    CHECK(terms("the who sang") == Words{"sang"});
    CHECK(terms("...").empty());
    CHECK(terms("").empty());
}

TEST_CASE("a name made of parts gives itself and its parts", "[text]") {
    CHECK(terms("load_pages") == Words{"load_pag", "load", "page"});
    CHECK(terms("src/main.cpp") == Words{"src", "main.cpp", "main", "cpp"});
    CHECK(terms("__init__") == Words{"__init__", "init"});
    CHECK(terms("it ended.then") == Words{"ended.then", "end"});
}

TEST_CASE("Chinese, Japanese and Korean give overlapping bigrams", "[text]") {
    CHECK(terms("\u6771\u4eac\u90fd") == Words{"\u6771\u4eac", "\u4eac\u90fd"});
    CHECK(terms("\u732b") == Words{"\u732b"});
    CHECK(terms("\u30b3\u30fc\u30d2") == Words{"\u30b3\u30fc", "\u30fc\u30d2"});
    CHECK(terms("\ud55c\uad6d\uc5b4 \ub9d0") == Words{"\ud55c\uad6d", "\uad6d\uc5b4", "\ub9d0"});
    CHECK(terms("iPhone\u624b\u673a15") == Words{"iphon", "\u624b\u673a", "15"});
    CHECK(terms("\u5bb6\u3001\u5ead\u3002") == Words{"\u5bb6", "\u5ead"});
    CHECK(terms("\U00020000\U00020001\U00020002") == Words{"\U00020000\U00020001", "\U00020001\U00020002"});
}

TEST_CASE("emoji, marks and broken bytes are passed over", "[text]") {
    CHECK(terms("party \U0001f389\U0001f468\u200d\U0001f469\u200d\U0001f467 time") == Words{"parti", "time"});
    CHECK(terms("caf\u00e9\u2014bar") == Words{"caf\u00e9", "bar"});
    CHECK(terms("caf\u00e9") == terms("cafe\u0301"));
    CHECK(terms("lost\xff\xfe words \xe6\x9d") == Words{"lost", "word"});
    CHECK(terms("\u043f\u0440\u0438\u0432\u0435\u0442") == Words{"\u043f\u0440\u0438\u0432\u0435\u0442"});
}

TEST_CASE("anything of 8 KiB gives short terms, the same each time", "[text]") {
    const auto seed = testing::test_seed();
    std::mt19937_64 random(seed);
    INFO("seed " << seed);
    Analyzer kept;  // Its cache must not change what comes out.
    for (int trial = 0; trial < 60; ++trial) {
        std::string text(8192, '\0');
        for (auto& c : text) {
            const auto byte = random();
            c = static_cast<char>(trial % 3 == 0 ? byte : trial % 3 == 1 ? 'a' + byte % 26 : 0xc0 | byte % 64);
            if (trial % 3 == 2 && random() % 3 != 0) c = static_cast<char>(0x80 | byte % 64);
        }
        Words out;
        kept.terms(text, out);
        CHECK(out == terms(text));
        for (const auto& term : out) {
            CHECK(!term.empty());
            CHECK(term.size() <= term_bytes_max + 1);  // A stem may end in an 'e' that the word had not.
        }
        (void)Analyzer::questions(text);
    }
}

TEST_CASE("questions are sentences that end with a question mark", "[text]") {
    const auto asked = [](std::string_view text) { return Analyzer::questions(text).asked_share; };
    CHECK(asked("Where is it?") == 1.0F);
    CHECK(asked("I saw it. Where is it?") == 0.5F);
    CHECK(asked("He said \"why?\" Then he left.") == 0.5F);
    CHECK(asked("See http://x.org/?q=1 for 3.5 things.") == 0.0F);
    CHECK(asked("Really?! Yes") == 0.5F);
    CHECK(asked("\u4f60\u597d\u5417\uff1f\u597d\u3002") == 0.5F);
    CHECK(asked("") == 0.0F);
    CHECK(Analyzer::questions("?").asks);
    CHECK_FALSE(Analyzer::questions("no").asks);
}
