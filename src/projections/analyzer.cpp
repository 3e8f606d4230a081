#include "analyzer.h"

#include <libstemmer.h>
#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

namespace annal {
namespace {

constexpr auto stop_words = std::to_array<std::string_view>({
    "a",    "about", "am",    "an",   "and",   "are",   "as",   "at",   "be",   "been", "being",  "but",
    "by",   "did",   "do",    "does", "doing", "for",   "from", "had",  "has",  "have", "having", "he",
    "her",  "him",   "his",   "how",  "i",     "if",    "in",   "into", "is",   "it",   "its",    "me",
    "my",   "of",    "on",    "or",   "our",   "she",   "so",   "than", "that", "the",  "their",  "them",
    "then", "there", "these", "they", "this",  "those", "to",   "us",   "was",  "we",   "were",   "what",
    "when", "where", "which", "who",  "whom",  "whose", "why",  "with", "you",  "your",
});
static_assert(std::ranges::is_sorted(stop_words));

// "it's", "don't" and "we've" are the words before their endings, where that is a stop word.
std::string_view without_contraction(std::string_view word) {
    for (const std::string_view ending : {"'s", "'m", "'d", "n't", "'re", "'ve", "'ll"})
        if (word.size() > ending.size() && word.ends_with(ending)) return word.substr(0, word.size() - ending.size());
    return word;
}

// UAX #29's classes of ASCII characters. '.' and '\'' join two letters as well as two digits, ',' and ';' two digits.
enum Class : std::uint8_t { other, letter, digit, underscore, joins_both, joins_digits };

constexpr std::array<Class, 128> classes = [] {
    std::array<Class, 128> table{};
    for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = letter;
    for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = letter;
    for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = digit;
    table['_'] = underscore;
    table['.'] = table['\''] = joins_both;
    table[','] = table[';'] = joins_digits;
    return table;
}();

Class class_of(char c) {
    return classes[static_cast<unsigned char>(c) & 0x7f];
}
bool in_word(Class c) {
    return c == letter || c == digit || c == underscore;
}
bool is_ascii(std::string_view text) {
    unsigned char any = 0;
    for (const char c : text) any |= static_cast<unsigned char>(c);
    return any < 0x80;
}
bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

std::string_view cut(std::string_view word) {
    if (word.size() <= term_bytes_max) return word;
    auto end = term_bytes_max;
    while (end > 0 && (static_cast<unsigned char>(word[end]) & 0xc0) == 0x80) --end;
    return word.substr(0, end);
}

// load_page, main.cpp; not 3.14.
bool has_parts(std::string_view word) {
    return word.find_first_of("_.") != std::string_view::npos &&
           word.find_first_not_of("0123456789.,;'_") != std::string_view::npos;
}

bool is_cjk(UChar32 c) {
    if (c < 0x1100 || !u_isalpha(c)) return false;
    if (c == 0x30fc) return true;  // The long vowel sign, which is of no script.
    UErrorCode status = U_ZERO_ERROR;
    const auto script = uscript_getScript(c, &status);
    return script == USCRIPT_HAN || script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA ||
           script == USCRIPT_HANGUL || script == USCRIPT_BOPOMOFO;
}

}  // namespace

bool is_stop_word(std::string_view word) {
    return std::ranges::binary_search(stop_words, without_contraction(word));
}

struct Analyzer::State {
    // The words met so far with their stems, in a table that is emptied when it would grow too big: what is frequent is
    // soon back. A place is a cache line.
    struct alignas(64) Known {
        Memo memo;
        std::uint8_t word_bytes = 0;  // 0: free.
        std::uint8_t stem_bytes = 0;
        bool stop = false;
        bool parts = false;  // It is made of parts.
        std::array<char, 22> word;
        std::array<char, 22> stem;
    };
    static_assert(sizeof(Known) == 64);
    static constexpr std::size_t known_places_min = 1 << 8;
    static constexpr std::size_t known_places_max = 1 << 16;

    struct Word {  // Of the text in hand; its characters are in `words_text`.
        std::uint32_t begin;
        std::uint32_t size;
        std::size_t hash;
    };

    struct Stem {
        Term term;
        bool stop;
        bool parts;
    };

    State() : stemmer(sb_stemmer_new("english", "UTF_8")) {}
    ~State() {
        if (breaks != nullptr) ubrk_close(breaks);
        if (stemmer != nullptr) sb_stemmer_delete(stemmer);
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    // Calls emit(word) for each word of the text, folded; the word is valid during the call.
    template <class Emit>
    void each_word(std::string_view text, Emit&& emit) {
        // No word spans white space, so a piece without is a text of its own; most are plain ASCII.
        if (is_ascii(text)) return ascii_words(text, emit);
        std::size_t at = 0;
        while (at < text.size()) {
            if (is_space(text[at])) {
                ++at;
                continue;
            }
            const auto begin = at;
            while (at < text.size() && !is_space(text[at])) ++at;
            const auto piece = text.substr(begin, at - begin);
            if (is_ascii(piece))
                ascii_words(piece, emit);
            else
                unicode_words(piece, emit);
        }
    }

    template <class Emit>
    void ascii_words(std::string_view text, Emit& emit) {
        if (buffer.size() < text.size()) buffer.resize(text.size());
        std::size_t at = 0;
        while (at < text.size()) {
            auto last = class_of(text[at]);
            if (!in_word(last)) {
                ++at;
                continue;
            }
            auto* end = buffer.data();
            bool has_alnum = false;
            for (;;) {
                has_alnum |= last != underscore;
                *end++ = lower(text[at++]);
                if (at == text.size()) break;
                const auto next = class_of(text[at]);
                if (in_word(next)) {
                    last = next;
                    continue;
                }
                const bool joins = (last == letter && next == joins_both) ||
                                   (last == digit && (next == joins_both || next == joins_digits));
                if (!joins || at + 1 == text.size() || class_of(text[at + 1]) != last) break;
                *end++ = text[at++];
            }
            if (has_alnum) emit(cut({buffer.data(), static_cast<std::size_t>(end - buffer.data())}));
        }
    }

    template <class Emit>
    void unicode_words(std::string_view text, Emit& emit) {
        if (!fold(text)) return;
        const auto* chars = folded.data();
        const auto size = static_cast<std::int32_t>(folded.size());
        for (std::int32_t at = 0; at < size;) {
            const auto begin = at;
            UChar32 c = 0;
            U16_NEXT(chars, at, size, c);
            const bool cjk = is_cjk(c);
            for (auto next = at; next < size; at = next) {
                U16_NEXT(chars, next, size, c);
                if (is_cjk(c) != cjk) break;
            }
            if (cjk)
                bigrams({chars + begin, static_cast<std::size_t>(at - begin)}, emit);
            else
                broken_words({chars + begin, static_cast<std::size_t>(at - begin)}, emit);
        }
    }

    template <class Emit>
    void bigrams(std::u16string_view run, Emit& emit) {
        const auto size = static_cast<std::int32_t>(run.size());
        std::int32_t first = 0;
        std::int32_t second = 0;
        U16_FWD_1(run.data(), second, size);
        if (second == size) emit(to_utf8(run));
        while (second < size) {
            auto end = second;
            U16_FWD_1(run.data(), end, size);
            emit(to_utf8(run.substr(static_cast<std::size_t>(first), static_cast<std::size_t>(end - first))));
            first = second;
            second = end;
        }
    }

    template <class Emit>
    void broken_words(std::u16string_view run, Emit& emit) {
        UErrorCode status = U_ZERO_ERROR;
        if (breaks == nullptr)
            breaks = ubrk_open(UBRK_WORD, "en", run.data(), static_cast<std::int32_t>(run.size()), &status);
        else
            ubrk_setText(breaks, run.data(), static_cast<std::int32_t>(run.size()), &status);
        if (U_FAILURE(status)) return;
        auto begin = ubrk_first(breaks);
        for (auto end = ubrk_next(breaks); end != UBRK_DONE; begin = end, end = ubrk_next(breaks)) {
            if (ubrk_getRuleStatus(breaks) < UBRK_WORD_NONE_LIMIT) continue;
            const auto word = run.substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
            if (has_alnum(word)) emit(cut(to_utf8(word)));
        }
    }

    static bool has_alnum(std::u16string_view word) {
        const auto size = static_cast<std::int32_t>(word.size());
        for (std::int32_t at = 0; at < size;) {
            UChar32 c = 0;
            U16_NEXT(word.data(), at, size, c);
            if (u_isalnum(c)) return true;
        }
        return false;
    }

    // NFKC with case folding, into `folded`; bytes that are no UTF-8 become a character that is no word's.
    bool fold(std::string_view text) {
        wide.resize(text.size());
        std::int32_t size = 0;
        UErrorCode status = U_ZERO_ERROR;
        u_strFromUTF8WithSub(wide.data(), static_cast<std::int32_t>(wide.size()), &size, text.data(),
                             static_cast<std::int32_t>(text.size()), 0xfffd, nullptr, &status);
        if (U_FAILURE(status)) return false;
        wide.resize(static_cast<std::size_t>(size));

        const auto* normalizer = unorm2_getNFKCCasefoldInstance(&status);
        if (U_FAILURE(status)) return false;
        folded.resize(wide.size() * 2 + 16);
        for (;;) {
            size = unorm2_normalize(normalizer, wide.data(), static_cast<std::int32_t>(wide.size()), folded.data(),
                                    static_cast<std::int32_t>(folded.size()), &status);
            if (status != U_BUFFER_OVERFLOW_ERROR) break;
            folded.resize(static_cast<std::size_t>(size));
            status = U_ZERO_ERROR;
        }
        if (U_FAILURE(status)) return false;
        folded.resize(static_cast<std::size_t>(size));
        for (auto& c : folded) {
            if (c == u'\u2019') c = u'\'';         // The apostrophe of typeset text.
            if (c == u':' || c == u'@') c = u' ';  // Whether these join letters depends on ICU's version; here, never.
        }
        return true;
    }

    std::string_view to_utf8(std::u16string_view word) {
        if (buffer.size() < word.size() * 3) buffer.resize(word.size() * 3);
        std::int32_t size = 0;
        UErrorCode status = U_ZERO_ERROR;
        u_strToUTF8WithSub(buffer.data(), static_cast<std::int32_t>(buffer.size()), &size, word.data(),
                           static_cast<std::int32_t>(word.size()), 0xfffd, nullptr, &status);
        return {buffer.data(), U_SUCCESS(status) ? static_cast<std::size_t>(size) : 0};
    }

    Stem stem(std::string_view word, std::size_t hash) {
        if (word.size() > Known{}.word.size()) return {{stem_uncached(word)}, is_stop_word(word), has_parts(word)};
        auto at = hash & (known.size() - 1);
        for (; known[at].word_bytes != 0; at = (at + 1) & (known.size() - 1)) {
            auto& place = known[at];
            if (place.word_bytes == word.size() && std::memcmp(place.word.data(), word.data(), word.size()) == 0)
                return {{{place.stem.data(), place.stem_bytes}, &place.memo}, place.stop, place.parts};
        }
        const auto found = stem_uncached(word);
        const bool stop = is_stop_word(word);
        const bool parts = has_parts(word);
        if (found.size() > Known{}.stem.size()) return {{found}, stop, parts};
        if (2 * ++known_count > known.size()) {
            make_room();
            for (at = hash & (known.size() - 1); known[at].word_bytes != 0;) at = (at + 1) & (known.size() - 1);
        }
        auto& place = known[at];
        place.word_bytes = static_cast<std::uint8_t>(word.size());
        place.stem_bytes = static_cast<std::uint8_t>(found.size());
        place.stop = stop;
        place.parts = parts;
        std::memcpy(place.word.data(), word.data(), word.size());
        std::memcpy(place.stem.data(), found.data(), found.size());
        return {{{place.stem.data(), place.stem_bytes}, &place.memo}, stop, parts};
    }

    void make_room() {
        if (known.size() >= known_places_max) {
            known.assign(known.size(), Known{});
            known_count = 1;
            return;
        }
        std::vector<Known> old(2 * known.size());
        old.swap(known);
        for (const auto& place : old) {
            if (place.word_bytes == 0) continue;
            auto at = hash({place.word.data(), place.word_bytes}) & (known.size() - 1);
            while (known[at].word_bytes != 0) at = (at + 1) & (known.size() - 1);
            known[at] = place;
        }
    }

    // Of a short word, asked for with every word there is. All its bytes count.
    static std::size_t hash(std::string_view word) {
        const auto read = [&](std::size_t at, auto value) {
            std::memcpy(&value, word.data() + at, sizeof value);
            return std::uint64_t{value};
        };
        const auto size = word.size();
        std::uint64_t hash = size;
        const auto mix = [&](std::uint64_t bytes) {
            hash = (hash ^ bytes) * 0x9e3779b97f4a7c15;
            hash ^= hash >> 32;
        };
        std::size_t at = 0;
        for (; at + 8 <= size; at += 8) mix(read(at, std::uint64_t{}));
        if (size >= 8) {
            mix(read(size - 8, std::uint64_t{}));
        } else if (size >= 4) {
            mix(read(0, std::uint32_t{}) << 32 | read(size - 4, std::uint32_t{}));
        } else if (size > 0) {
            mix(read(0, std::uint8_t{}) << 16 | read(size / 2, std::uint8_t{}) << 8 | read(size - 1, std::uint8_t{}));
        }
        return hash;
    }

    std::string_view stem_uncached(std::string_view word) {
        if (stemmer == nullptr) return word;
        const auto* stem =
            sb_stemmer_stem(stemmer, reinterpret_cast<const sb_symbol*>(word.data()), static_cast<int>(word.size()));
        if (stem == nullptr || sb_stemmer_length(stemmer) == 0) return word;
        return {reinterpret_cast<const char*>(stem), static_cast<std::size_t>(sb_stemmer_length(stemmer))};
    }

    // Gives the word's term, and those of its parts; says whether it was a stop word that was dropped.
    template <class Emit>
    bool word_terms(std::string_view word, std::size_t word_hash, bool keep_stop_words, Emit& emit) {
        const auto found = stem(word, word_hash);
        if (found.stop && !keep_stop_words) return true;
        emit(found.term);
        if (!found.parts) return false;
        while (!word.empty()) {
            const auto part = word.substr(0, word.find_first_of("_."));
            if (part.size() > 1) {
                const auto known_part = stem(part, hash(part));
                if (!known_part.stop) emit(known_part.term);
            }
            word.remove_prefix(std::min(word.size(), part.size() + 1));
        }
        return false;
    }

    template <class Emit>
    void each_term(std::string_view text, Emit&& emit) {
        // All words first, so that the places of those to come are on their way while one is looked at.
        words.clear();
        words_text.clear();
        each_word(text, [&](std::string_view word) {
            const auto word_hash = hash(word);
            __builtin_prefetch(&known[word_hash & (known.size() - 1)]);
            words.push_back(
                {static_cast<std::uint32_t>(words_text.size()), static_cast<std::uint32_t>(word.size()), word_hash});
            words_text.append(word);
        });
        bool any = false;
        const auto counted = [&](const Term& term) {
            any = true;
            emit(term);
        };
        const auto pass = [&](bool keep_stop_words) {
            bool dropped = false;
            for (const auto& [begin, size, word_hash] : words)
                dropped |= word_terms({words_text.data() + begin, size}, word_hash, keep_stop_words, counted);
            return dropped;
        };
        if (pass(false) && !any) pass(true);
    }

    sb_stemmer* stemmer;
    std::vector<Known> known = std::vector<Known>(known_places_min);
    std::size_t known_count = 0;
    std::vector<Word> words;
    std::string words_text;
    UBreakIterator* breaks = nullptr;  // Made when first needed.
    std::string buffer;                // The word being given out; only grows.
    std::u16string wide;
    std::u16string folded;
};

Analyzer::Analyzer() : state_(std::make_unique<State>()) {}
Analyzer::~Analyzer() = default;

std::uint64_t Analyzer::new_owner() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
}

void Analyzer::terms(std::string_view text, TermSink& out) {
    state_->each_term(text, [&](const Term& term) { out.add(term); });
}

void Analyzer::terms(std::string_view text, std::vector<std::string>& out) {
    state_->each_term(text, [&](const Term& term) { out.emplace_back(term.text); });
}

void Analyzer::words(std::string_view text, std::vector<std::string>& out) {
    state_->each_word(text, [&](std::string_view word) { out.emplace_back(word); });
}

Analyzer::Questions Analyzer::questions(std::string_view text) {
    // Most texts ask nothing; all question marks but '?' are beyond ASCII.
    if (text.find('?') == text.npos && is_ascii(text)) return {};
    std::size_t words = 0;
    std::size_t asked = 0;
    std::size_t in_sentence = 0;
    bool inside = false;  // A word.
    bool asks = false;
    const auto end_sentence = [&](bool question) {
        asks |= question;
        words += in_sentence;
        if (question) asked += in_sentence;
        in_sentence = 0;
        inside = false;
    };
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text[at];
        const auto rest = text.substr(at);
        if (c == '\n') {
            end_sentence(false);
        } else if (is_space(c)) {
            inside = false;
        } else if (c == '.' || c == '!' || c == '?') {
            // It ends a sentence when white space or the end follows it and whatever closes; "3.5" and "?q=" do not.
            const auto run = rest.substr(0, rest.find_first_not_of(".!?\"')]}*"));
            if (run.size() == rest.size() || is_space(rest[run.size()])) end_sentence(run.find('?') != run.npos);
            at += run.size() - 1;
        } else if (rest.starts_with("\u3002") || rest.starts_with("\uff01")) {
            end_sentence(false);
            at += 2;
        } else if (rest.starts_with("\uff1f")) {
            end_sentence(true);
            at += 2;
        } else if (rest.starts_with("\u061f")) {
            end_sentence(true);
            at += 1;
        } else if (!inside && (class_of(c) == letter || class_of(c) == digit || (c & 0x80) != 0)) {
            inside = true;
            ++in_sentence;
        }
    }
    end_sentence(false);
    return {asks, words == 0 ? 0.0F : static_cast<float>(asked) / static_cast<float>(words)};
}

std::string Analyzer::description() {
    UVersionInfo version;
    u_getUnicodeVersion(version);
    char text[U_MAX_VERSION_STRING_LENGTH];
    u_versionToString(version, text);
    return "analyzer " + std::to_string(analyzer_version) + ", unicode " + text;
}

}  // namespace annal
