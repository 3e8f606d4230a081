// The vectors of one project, kind, model and dimension: rows on disk, their codes, ordinals and graph in memory.
// Each row is live (found), hidden (its memory is forgotten: kept for a restore) or replaced: its memory has another
// one now, or none. A replaced row was its memory's vector from one event to another, and a search as of a seq between
// them finds it; compaction moves it to a partition of past rows, which has no graph. Threads: stage, change, flush,
// publish and discard are the projector's thread's; link and save the builder's; searches come from any number of
// others meanwhile and see one published moment, whole.
#pragma once

#include "vector_graph.h"
#include "vector_index.h"
#include "vector_ordinals.h"
#include "vector_rows.h"

#include <atomic>
#include <compare>
#include <map>
#include <mutex>
#include <optional>

namespace annal {

struct PartitionKey {
    std::string project;
    Kind kind{};
    std::string model;
    std::uint32_t dimension = 0;
    bool past = false;  // Of replaced rows alone.
    auto operator<=>(const PartitionKey&) const = default;
};

enum class RowState : std::uint8_t { live = 0, hidden = 1, replaced = 2 };  // Stored numbers.

// What a search needs, kept between searches.
struct SearchScratch {
    CodeProbe probe;
    WalkScratch walk;
    std::vector<Slot> batch;
    std::vector<float> distances;
    std::vector<GraphNeighbour> nearest;  // A heap, the farthest on top.
};

struct PartitionQuery {
    std::span<const float> vector;
    std::size_t limit = 10;
    const OrdinalSet* passing = nullptr;
    std::size_t breadth = 100;  // Of a walk where every slot passes.
    // A scan of the rows that were their memories' vectors then, live or not; whether a memory was forgotten is for
    // `passing` to say.
    std::optional<Seq> as_of{};
};

class VectorPartition {
 public:
    // From here on a graph is made; below, a scan of all is quicker than a walk.
    static constexpr std::size_t graph_slots_min = 4096;

    // `stem`: the path of its files, without ".rows" and ".graph".
    static Result<std::shared_ptr<VectorPartition>> create(std::filesystem::path stem, std::uint32_t number,
                                                           std::uint32_t generation, PartitionKey key);
    // With `count` rows, staged, all live since their memories were recorded, and no graph yet. data_loss: they are not
    // there, or one fails its checksum.
    static Result<std::shared_ptr<VectorPartition>> open(std::filesystem::path stem, std::uint32_t number,
                                                         std::uint32_t generation, PartitionKey key, Slot count,
                                                         WorkTeam& team);

    const PartitionKey key;
    const std::uint32_t number;
    const std::uint32_t generation;
    Seq made_at;  // By the event of that seq, in its first generation. Set before others know of it.

    // Staged: seen by these calls, by searches only once published.
    Result<Slot> append(Seq ordinal, Seq since, std::span<const float> vector);
    std::optional<Slot> find(Seq ordinal) const { return ordinals_.find(ordinal); }
    void change(Slot slot, RowState state, Seq until = {});  // `until`: the event that replaced it.
    void set_since(Slot slot, Seq since);                    // Of one not yet published.
    RowState state(Slot slot) const;
    Seq staged_until(Slot slot) const;
    Slot size() const { return ordinals_.size(); }
    std::size_t replaced() const { return replaced_; }
    Seq ordinal(Slot slot) const { return ordinals_[slot]; }
    Seq since(Slot slot) const {
        const auto since = since_[slot];
        return since == 0 ? ordinals_[slot] : Seq{since};
    }
    Seq until(Slot slot) const { return Seq{until_[slot].load(std::memory_order_relaxed)}; }  // Seq{0}: still.
    std::span<const float> floats(Slot slot) const { return rows_->floats(slot); }            // Of a flushed one.
    bool intact(Slot slot) const { return rows_->intact(slot); }                              // Its checksum is right.

    Status flush();  // Everything that was appended is in the file.
    void publish();
    void discard();

    // Adds at least min(limit, live ones that pass) hits, nearest first.
    void search(const PartitionQuery& query, SearchScratch& scratch, std::vector<VectorHit>& hits) const;
    Slot live() const { return live_.load(std::memory_order_relaxed); }
    Slot published() const { return count_.load(std::memory_order_acquire); }
    bool is_live(Slot slot, Slot count) const {
        if (!zones_[slot / zone_slots].any_gone.load(std::memory_order_relaxed)) return true;
        const auto gone = gone_[slot].load(std::memory_order_relaxed);
        return gone == 0 || (gone >> 2) > count;
    }

    // The graph: links one more block of published rows. False: there is none.
    bool link(WorkTeam& team);
    Slot unlinked() const;  // Published slots that wait for link().
    Status load_graph();
    // Writes links that are not on disk yet, when they are at least `least`.
    Status save_graph(Slot least);
    Slot saved() const { return saved_.load(std::memory_order_relaxed); }
    Slot linked_unsaved() const { return graph_.linked() - saved(); }
    std::vector<Slot> links(Slot slot, unsigned level) const { return graph_.links(slot, level); }  // For checks.
    Status sync() { return rows_->sync(); }

    // Its files go; link and save do nothing any more. Searches that hold it go on.
    void remove();

 private:
    VectorPartition(std::filesystem::path stem, std::uint32_t number, std::uint32_t generation, PartitionKey key,
                    std::unique_ptr<VectorRows> rows);
    bool reserve_states(std::size_t slots);
    bool worth_walking(std::size_t possible, Slot linked, std::size_t breadth) const;
    bool walk(const PartitionQuery& query, std::size_t possible, const VectorGraph::View& view, Slot count,
              SearchScratch& scratch) const;
    void scan(const OrdinalSet* passing, Slot begin, Slot end, std::size_t depth, SearchScratch& scratch) const;
    void scan_as_of(const PartitionQuery& query, Seq as_of, Slot count, SearchScratch& scratch) const;
    void measure(std::size_t depth, SearchScratch& scratch) const;  // The batch.
    bool was_valid(Slot slot, Seq as_of) const;
    void rerank(const PartitionQuery& query, SearchScratch& scratch, std::vector<VectorHit>& hits) const;

    std::filesystem::path stem_;
    std::unique_ptr<VectorRows> rows_;
    VectorCodes codes_;
    SlotOrdinals ordinals_;
    // 0: live. Else state | 4 * the count of slots from which on it is so: a search of an earlier moment still finds
    // it.
    SlotArray<std::atomic<std::uint32_t>> gone_;
    SlotArray<std::uint64_t> since_;  // 0: since its memory was recorded.
    SlotArray<std::atomic<std::uint64_t>> until_;
    // What is known of zone_slots slots together: one look, where each of them would be a cache line of its own.
    struct Zone {
        std::atomic<std::uint64_t> since_least;
        std::atomic<std::uint64_t> until_greatest;
        std::atomic<std::uint32_t> ended;  // Slots that were replaced.
        std::atomic<bool> any_gone;        // One of them is, or was.
    };
    static constexpr Slot zone_slots = 1024;
    SlotArray<Zone> zones_;
    VectorGraph graph_;
    std::atomic<Slot> count_{0};
    std::atomic<Slot> live_{0};

    std::vector<std::byte> unwritten_;  // Encoded rows behind written_.
    Slot written_ = 0;
    struct Change {
        RowState state{};
        Seq until;
    };
    std::map<Slot, Change> changes_;
    std::size_t replaced_ = 0;

    std::mutex building_;
    bool removed_ = false;
    std::atomic<Slot> saved_{0};
};

}  // namespace annal
