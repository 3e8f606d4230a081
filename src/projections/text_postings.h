// The terms of one project and their postings, being written. What was touched stays in memory, so that a rebuild reads
// nothing back; rows reach the batch once, at the end of it.
// A term's postings lie in blocks of 256, sealed as they fill, and a tail of the last ones. What is taken out or put
// between others changes the block it belongs to; so the blocks depend on the order of events alone, not on batches.
#pragma once

#include "analyzer.h"
#include "block_past.h"
#include "text_codec.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace annal {

inline constexpr std::size_t block_postings = 256;

// What every memory that holds the term asks for is on its first cache line.
struct alignas(64) TextTerm {
    std::uint32_t number = 0;
    std::uint32_t counted = 0;  // Both zero but while the terms of one memory are counted: in all of it,
    std::uint32_t in_section = 0;
    std::uint32_t count = 0;  // Postings of the tail: how many,
    std::uint32_t last = 0;   // the last one's slot (no_slot when there is none), and the run.
    bool changed = false;
    bool stored = false;  // The dictionary has it.
    std::uint64_t df = 0;
    std::string run;
    std::string text;
};

// Terms by text: one probe, one comparison, as every word of every memory asks here.
class TermTable {
 public:
    TextTerm* find(std::string_view text) const;
    TextTerm& add(std::string_view text);  // Not there yet. Stays where it is.
    void remove(const TextTerm& term);

 private:
    struct Place {
        std::size_t hash = 0;
        std::unique_ptr<TextTerm> term;  // Null: free, or removed.
        bool used = false;               // Once; a search goes on past it.
    };
    void grow();

    std::vector<Place> places_ = std::vector<Place>(1024);
    std::size_t used_ = 0;
};

class TextPostings {
 public:
    // `fresh`: the project has no rows yet.
    TextPostings(const ViewSpace& space, std::string prefix, bool fresh)
        : space_(space), prefix_(std::move(prefix)), complete_(fresh) {}

    using Term = TextTerm;

    // A term by name; made, with the next number, when there is none yet. Valid until removed.
    Result<Term*> resolve(std::string_view text, const ViewBatch& batch, std::uint32_t& numbers);
    // The same, with one look at what was left beside the word the last time.
    Result<Term*> resolve(const Analyzer::Term& term, const ViewBatch& batch, std::uint32_t& numbers) {
        if (term.memo != nullptr && term.memo->owner == owner_) return static_cast<Term*>(term.memo->value);
        auto found = resolve(term.text, batch, numbers);
        if (found && term.memo != nullptr) *term.memo = {owner_, *found};
        return found;
    }
    // internal: no such term.
    Result<Term*> by_number(std::uint32_t number, const ViewBatch& batch);

    // `slot` is beyond all others of the term.
    void append(Term& term, Posting posting);
    // Sets the tf of a slot anywhere, or removes it (tf = 0), by the event `seq`; what was is kept as the past. A term
    // without postings is gone with its number.
    Status set(Term& term, Posting posting, Seq seq, ViewBatch& batch);

    void finish(ViewBatch& batch);  // Writes what changed.
    void committed() { blocks_.clear(); }
    std::size_t terms_in_memory() const { return by_number_.size(); }

 private:
    using BlockId = std::pair<std::uint32_t, std::uint32_t>;  // Term, last slot when it was sealed.

    void touch(Term& term);
    void seal_full(Term& term);
    // The sealed block that covers `slot`; nullopt: the tail does.
    Result<std::optional<BlockId>> find_block(const Term& term, std::uint32_t slot);
    Result<std::string> block(const BlockId& id, const ViewBatch& batch) const;
    void replace_block(const BlockId& id, const std::vector<Posting>& postings);
    void remove(Term& term, ViewBatch& batch);
    Status keep_past(const Term& term, Posting was, Seq seq, const ViewBatch& batch);
    Result<std::vector<Posting>> all(const Term& term);

    const ViewSpace& space_;
    std::string prefix_;
    bool complete_;                                // Every term of the project is in memory.
    std::uint64_t owner_ = Analyzer::new_owner();  // Another one when a term goes: what was left of it is void.
    TermTable terms_;
    std::unordered_map<std::uint32_t, Term*> by_number_;
    std::vector<Term*> changed_;
    std::map<BlockId, std::optional<std::string>> blocks_;  // Sealed ones changed in this batch; nullopt: erased.
    std::map<std::string, BlockPast> pasts_;                // Of this batch, by the base of their keys.
    std::unique_ptr<ViewIterator> stored_;                  // As of the batch's beginning; made when needed.
};

}  // namespace annal
