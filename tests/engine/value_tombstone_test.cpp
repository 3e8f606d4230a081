#include "engine/value_tombstone.h"

#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <random>

using namespace annal;
using namespace annal::testing;

TEST_CASE("a value is the same however it is typed", "[engine][tombstone]") {
    const std::string plain = "caf\u00e9 straße 12 fi";
    const std::string folded = "caf\u00e9 strasse 12 fi";
    for (const std::string text : {
             "CAF\u00c9 STRASSE 12 FI",                         // Case.
             "cafe\u0301 strasse 12 fi",                        // An accent of its own.
             "caf\u00e9 strasse \uff11\uff12 \ufb01",           // Full width, a ligature.
             " \t caf\u00e9\u00a0\u3000strasse \r\n12  fi \n",  // White space.
             "ca\u200bf\u00e9 str\u00adasse 12 fi\ufeff",       // What nobody sees.
         })
        CHECK(normalised_value(text) == folded);
    CHECK(normalised_value(plain) == folded);
    CHECK(normalised_value("cafe strasse 12 fi") != folded);
    CHECK(normalised_value("caf\u00e9strasse 12 fi") != folded);
    CHECK(normalised_value("caf\u00e9 strasse 12 fi.") != folded);
    CHECK(normalised_value("").empty());
    CHECK(normalised_value(" \u2003\n").empty());
    CHECK(normalised_value("\U0001F375 Tea") == "\U0001F375 tea");
    CHECK(normalised_value("a\xff") == "a\ufffd");
    // One character of three bytes that becomes 18.
    CHECK(normalised_value("\ufdfa").size() > 30);
}

TEST_CASE("a normalised value is normal", "[engine][tombstone]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    const auto append = [](std::string& text, std::uint64_t point) {
        if (point < 0x80) {
            text += static_cast<char>(point);
            return;
        }
        text += static_cast<char>(0xE0 | (point >> 12));
        text += static_cast<char>(0x80 | ((point >> 6) & 0x3F));
        text += static_cast<char>(0x80 | (point & 0x3F));
    };
    for (int trial = 0; trial < trials(5'000); ++trial) {
        std::string text;
        for (std::size_t size = random() % 20; size > 0; --size)
            append(text, random() % 3 == 0 ? random() % 0x80 : 0x800 + random() % 0xF800);  // Surrogates, too.
        const auto value = normalised_value(text);
        if (normalised_value(value) != value) FAIL("\"" << text << "\" becomes \"" << value << "\"");
    }
}
