#include "cli/print.h"

#include <catch2/catch_test_macros.hpp>

using namespace annal;
using namespace annal::cli;

TEST_CASE("a memory cannot drive the terminal", "[tools]") {
    CHECK(clean("a\x1b[31mred\r\nb\tc\x7f") == "a [31mred  b c ");
    CHECK(clean("a\xC2\x9B"
                "31m") == "a 31m");
    CHECK(clean("Größe – 試験") == "Größe – 試験");
    Memory memory;
    memory.content = "\x1b]0;title\x07text";
    memory.actor = "\x1b[2J";
    for (const auto& text : {describe(memory), describe(std::vector{memory})}) {
        CHECK(text.find('\x1b') == std::string::npos);
        CHECK(text.find('\x07') == std::string::npos);
    }
}

TEST_CASE("text is shortened by characters, never inside one", "[tools]") {
    CHECK(shorten("short", 5) == "short");
    CHECK(shorten("longer", 5) == "long…");
    CHECK(shorten("ÄÖÜäöü", 4) == "ÄÖÜ…");
    CHECK(shorten("ÄÖÜä", 4) == "ÄÖÜä");
    CHECK(shorten("ab", 1) == "…");
}

TEST_CASE("columns are as wide as their widest cell, in characters", "[tools]") {
    CHECK(table({{"a", "1"}, {"Größe", "12"}}, {1}) == "a       1\nGröße  12\n");
    CHECK(table({{"a", ""}, {"bb", "c"}}) == "a\nbb  c\n");
    CHECK(table({}).empty());
}

TEST_CASE("sizes and times are short", "[tools]") {
    CHECK(bytes_text(0) == "0 B");
    CHECK(bytes_text(1536) == "1.5 KiB");
    CHECK(bytes_text(std::uint64_t{5} << 40) == "5120.0 GiB");
    CHECK(short_time(Timestamp{1'790'000'000'123'456}) == "2026-09-21 14:13");
}
