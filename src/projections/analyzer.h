// Text to terms: Unicode words (ICU, UAX #29), folded, stemmed (Snowball English), stop words dropped; Chinese,
// Japanese and Korean as overlapping bigrams. The same for memories and queries.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

inline constexpr std::uint32_t analyzer_version = 1;  // Raise it with any change of what comes out.
inline constexpr std::size_t term_bytes_max = 128;    // Longer words are cut there, between characters.

// Threads: one analyzer per thread. It keeps a cache of stems.
class Analyzer {
 public:
    Analyzer();
    ~Analyzer();
    Analyzer(const Analyzer&) = delete;
    Analyzer& operator=(const Analyzer&) = delete;

    // A place beside a word the analyzer remembers, for whoever looks its term up: what it leaves there, under its own
    // number, comes back with the same word. Numbers from new_owner() are used once.
    struct Memo {
        std::uint64_t owner = 0;
        void* value = nullptr;
    };
    static std::uint64_t new_owner();
    struct Term {
        std::string_view text;
        Memo* memo = nullptr;  // Null: the word is too long to be remembered.
    };
    class TermSink {
     public:
        virtual void add(const Term& term) = 0;  // It and its parts are valid during the call.

     protected:
        ~TermSink() = default;
    };

    // Gives the terms of `text` in order, repeats kept. UTF-8; bytes that are not are passed over. A name made of
    // parts (load_page, main.cpp) gives itself and its parts. A text of stop words alone keeps them: "The Who" can be
    // found.
    void terms(std::string_view text, TermSink& out);
    void terms(std::string_view text, std::vector<std::string>& out);  // Appends them.
    // Appends the words, folded but neither stemmed nor dropped: for names.
    void words(std::string_view text, std::vector<std::string>& out);

    struct Questions {
        bool asks = false;      // A sentence ends with '?'.
        float asked_share = 0;  // Share of its words in such sentences.
    };
    static Questions questions(std::string_view text);

    // What its words are made of: changes with the analyzer and with ICU's Unicode version.
    static std::string description();

 private:
    struct State;
    std::unique_ptr<State> state_;
};

// Articles, prepositions, pronouns, question words, conjunctions, and forms of be, do and have. `word` is folded.
bool is_stop_word(std::string_view word);

}  // namespace annal
