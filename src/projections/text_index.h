// The inverted index of what memories say, with what the ranking of src/query/text_ranking.h needs: per project the
// number of memories, their mean length and the document frequencies; per memory its length, speaker, session and
// neighbours. Within a project a memory is known by its slot: 0 for the first recorded, and so on, in the order of
// ordinals; no slot is used twice. A forgotten memory leaves no posting, no count and no term in what is searched, and
// its place in its session stays open. What a restore needs is put aside, apart, until it is forgotten for good; what
// searches as of an earlier seq need is apart, too, and made by the events that replace something alone.
// Threads: a Reader is one frozen state of one project; from any one thread. reader() from any thread.
#pragma once

#include "analyzer.h"
#include "projector.h"
#include "text_codec.h"
#include "text_table.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

class TextIndex : public Projector {
 public:
    static std::unique_ptr<TextIndex> create();

    class Reader {
     public:
        virtual ~Reader() = default;
        virtual Seq applied() const = 0;
        // Statistics, entries by slot, speakers.
        virtual const TextTable& table() const = 0;
        // Of each term, in the order of `terms`: all its postings, ascending by slot; their number is the document
        // frequency. data_loss: the project's rows cannot be read.
        virtual Result<std::vector<std::vector<Posting>>> postings(std::span<const std::string> terms) const = 0;
    };
    // `as_of`: the state as it was when the log ended there, statistics too; at most what is applied. Costs up
    // to twice what changes of 8192 memories (two bytes each or some more) for every so many of which one has changed
    // since, and for each term up to twice its postings; the next reader as of the same seq finds the first part done.
    virtual std::unique_ptr<Reader> reader(std::string_view project, std::optional<Seq> as_of = std::nullopt) const = 0;
};

}  // namespace annal
