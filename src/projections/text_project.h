// One project of the text index, being written: folds events into rows and into the next table. After an error it is
// thrown away, with all it holds in memory; the rows are the state.
#pragma once

#include "text_document.h"
#include "text_forward.h"
#include "text_postings.h"
#include "text_table.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace annal {

class TextProject {
 public:
    static Result<std::unique_ptr<TextProject>> open(const ViewSpace& space, std::string_view project,
                                                     std::shared_ptr<const TextTable> table);

    // Events of this project, in order. Those of memories that it does not know, and of types that change no text, are
    // passed over.
    Status apply(const EventView& event, Analyzer& analyzer, ViewBatch& batch);
    void finish(ViewBatch& batch);  // Writes what changed since the last finish.
    void committed() { postings_.committed(); }

    std::shared_ptr<const TextTable> table() const { return table_; }  // After finish().
    std::size_t items_in_memory() const { return postings_.terms_in_memory() + sessions_.size(); }

 private:
    using Term = TermTf<std::uint32_t>;
    using Sections = TextSections<std::uint32_t>;
    using Weights = std::vector<std::pair<std::uint32_t, double>>;
    struct Session {
        std::uint32_t number = 0;
        std::uint32_t last = no_slot;
        bool changed = false;
    };
    struct SpeakerState {
        std::uint32_t number = 0;
        std::uint64_t memories = 0;  // Live ones.
    };

    TextProject(const ViewSpace& space, std::string prefix, std::shared_ptr<const TextTable> table);
    Status load_speakers(const ViewSpace& space);

    Status record(const EventView& event, Analyzer& analyzer, ViewBatch& batch);
    Status revise(const EventView& event, Analyzer& analyzer, ViewBatch& batch);
    Status forget(const EventView& event, bool for_good, ViewBatch& batch);
    Status restore(const EventView& event, ViewBatch& batch);
    Status revise_parked(const EventView& event, Analyzer& analyzer, ViewBatch& batch);

    class Resolver;  // Terms of an event to those of the project.
    // A section's terms as numbers, counted; those of the whole memory are counted on in `all`.
    static void count(const std::vector<TextPostings::Term*>& terms, std::vector<Term>& out,
                      std::vector<TextPostings::Term*>& all);
    // Makes the slot's postings and length those of `after`, by the event `seq`.
    Status replace(std::uint32_t slot, const std::vector<Term>& before, const std::vector<Term>& after, Seq seq,
                   ViewBatch& batch);
    // The event `seq` has changed the entry: what it was is kept.
    Status keep_past(std::uint32_t slot, const TextState& was, Seq seq, const ViewBatch& batch);

    Result<Session*> session(const EventView& event, const ViewBatch& batch);
    std::uint32_t join_speaker(const std::vector<std::string>& words);
    void leave_speaker(std::uint32_t number, ViewBatch& batch);

    // The memory ids of slots: in rows only, and of the newest chunk here.
    Status add_id(std::uint32_t slot, std::string_view memory_id, ViewBatch& batch);
    Result<std::string> id_of(std::uint32_t slot, const ViewBatch& batch) const;

    // The gate: how alike a memory is to its predecessor, and to some earlier one.
    Status measure_context(std::uint32_t slot, const Sections& sections, ViewBatch& batch);
    std::uint32_t some_earlier(std::uint32_t slot) const;
    Result<std::uint64_t> likeness(const Weights& weights, std::uint32_t other, const ViewBatch& batch);
    Result<Weights> weigh(const Sections& sections, const ViewBatch& batch);

    TextTableEdit& edit();
    TextState& state(std::uint32_t slot);  // To be changed.
    void changes(std::uint32_t slot);

    std::string prefix_;
    std::shared_ptr<const TextTable> table_;
    std::unique_ptr<TextTableEdit> edit_;  // From the first change to finish().
    TextPostings postings_;
    std::unordered_map<std::string, Session> sessions_;  // By the hash of their names.
    std::vector<const std::string*> sessions_changed_;
    std::unordered_map<std::string, SpeakerState> speakers_;  // By the words of the name, joined.
    std::set<std::string> speakers_changed_;
    std::set<std::uint32_t> chunks_changed_;
    std::map<std::uint32_t, BlockPast> pasts_;  // Of entries, in this batch.
    std::uint32_t chunk_changed_last_ = no_slot;
    std::uint32_t ids_chunk_ = no_slot;
    std::string ids_;
    bool ids_changed_ = false;
    TextDocument document_;  // Kept for their memory, as the next four.
    ForwardEntry forward_;
    std::array<std::vector<TextPostings::Term*>, text_section_count> resolved_;  // In order, with repeats.
    std::vector<TextPostings::Term*> counted_;
    std::string row_;
};

}  // namespace annal
