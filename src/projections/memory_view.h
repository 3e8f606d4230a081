// The state of every memory, now and at each of its versions, and the ordered keys that answer lists, now and as of any
// seq.
// Ordinal: a memory's created_seq. Short, unique and increasing; what the other indexes hold in place of its id.
// Threads: a Reader is one frozen state and may be used from any one thread; take a new one per request.
#pragma once

#include "projector.h"

#include <annal/engine.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal {

// A set of ordinals of one project: one bit a seq, from the first of them on.
class OrdinalSet {
 public:
    void insert(Seq ordinal);
    // The ordinals first + i whose bit i is set, 64 a word; `first` is a multiple of 64.
    void insert_words(Seq first, std::span<const std::uint64_t> words);
    bool contains(Seq ordinal) const {
        const auto word = ordinal.value / 64 - first_word_;  // Wraps when it is before the first.
        return word < words_.size() && ((words_[word] >> (ordinal.value % 64)) & 1) != 0;
    }
    // Which of the ordinals 64 * index + i are in it: bit i.
    std::uint64_t word(std::uint64_t index) const {
        const auto at = index - first_word_;
        return at < words_.size() ? words_[at] : 0;
    }
    std::size_t size() const { return size_; }

 private:
    std::vector<std::uint64_t> words_;
    std::uint64_t first_word_ = 0;
    std::size_t size_ = 0;
};

class MemoryView : public Projector {
 public:
    static std::unique_ptr<MemoryView> create();

    class Reader {
     public:
        virtual ~Reader() = default;
        virtual Seq applied() const = 0;
        // Forgotten ones too: the caller decides. nullopt: no such memory in `scope`.
        virtual Result<std::optional<Memory>> get(const Scope& scope, MemoryId id) const = 0;
        // In the order of `ordinals`; nullopt for one that is gone, forgotten, or not in `scope`.
        virtual Result<std::vector<std::optional<Memory>>> get_many(const Scope& scope,
                                                                    std::span<const Seq> ordinals) const = 0;
        // One page. `now` decides expiry; include_forgotten brings back superseded ones too, never expired ones. In
        // order of confidence, ties come newest first, and a memory whose confidence changes between two pages may be
        // on both or neither. Keys read: those of the page, and one for each 8192 seqs walked and set or column the
        // filter needs; metadata conditions alone read the row of each memory that passes the rest.
        virtual Result<ListAnswer> list(const ListRequest& request, Timestamp now) const = 0;
        // The live memories of `scope` that pass `filter` and are not expired or superseded at `now`. Without
        // conditions (scope of a project alone, empty filter, nothing expired or superseded): nullopt, "all of them".
        virtual Result<std::optional<OrdinalSet>> matching(const Scope& scope, const Filter& filter,
                                                           Timestamp now) const = 0;
        // Whether a memory of the project has, or had, a time at which it expires: without one it does not matter what
        // `now` is.
        virtual Result<bool> expires(std::string_view project) const = 0;
        // Live memories of the newest state by kind; `project` empty: of the whole store.
        virtual Result<std::vector<std::pair<std::string, std::uint64_t>>> counts(std::string_view project) const = 0;
    };
    // `as_of`: the state as it was when the log ended there; at most what is applied. What changed since costs up to
    // twice the keys, however often it did; a memory that did costs two more.
    virtual std::unique_ptr<Reader> reader(std::optional<Seq> as_of = std::nullopt) const = 0;
};

}  // namespace annal
