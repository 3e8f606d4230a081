// The navigable graph over the codes of one partition: HNSW with hnswlib's parameters, neighbour heuristic and link
// rules (M 16, 32 on the ground layer, efConstruction 200), in arrays of its own that searches read while it grows.
//
// It is a function of the rows in slot order alone, whatever the threads, batches and CPU: slots are linked in whole
// blocks of a fixed size; each slot's neighbours are chosen from the graph as it was before the block and from the
// earlier slots of the block, all of them compared; then the links back are made, each target's in slot order. A slot's
// level is a hash of its number. With blocks of one slot the links are hnswlib's own.
//
// Threads: one thread links (its team helps it); any number search meanwhile, each with its own WalkScratch. A search
// sees the slots that were linked when it began.
#pragma once

#include "vector_codes.h"
#include "vector_team.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct GraphNeighbour {
    float distance = 0;
    Slot slot = 0;
    bool operator<(const GraphNeighbour& other) const {
        return distance < other.distance || (distance == other.distance && slot < other.slot);
    }
};

// What one walk needs, kept between walks.
struct WalkScratch {
    std::vector<GraphNeighbour> pool;  // The result: nearest first. The slots' top bits are used during a walk.
    std::vector<std::uint8_t> visited;
    std::uint8_t mark = 0;
    std::vector<Slot> batch;
    std::vector<float> distances;
};

class VectorGraph {
 public:
    static constexpr std::size_t links_max = 16;         // M, above the ground and of a new slot.
    static constexpr std::size_t ground_links_max = 32;  // 2 M.
    static constexpr std::size_t breadth = 200;          // efConstruction.
    static constexpr std::size_t block_slots = 128;

    // `block`: of slots linked together; another than the default makes another graph. For tests.
    explicit VectorGraph(const VectorCodes& codes, const VectorKernels& kernels = vector_kernels(),
                         std::size_t block = block_slots);
    ~VectorGraph();

    Slot linked() const { return linked_.load(std::memory_order_acquire); }
    std::size_t block() const { return block_; }
    // Links the next block; its codes are set. False: no memory, nothing changed.
    bool link_block(WorkTeam& team);

    struct View {  // The graph at one moment: its first `linked` slots, and where walks begin.
        Slot linked = 0;
        Slot top = 0;
        unsigned top_level = 0;
    };
    View view() const;
    // scratch.pool: the `breadth` nearest slots of the view that a walk finds.
    void search(const CodeProbe& probe, std::size_t breadth, const View& view, WalkScratch& scratch) const;

    // The links and levels; no codes. The same bytes for the same graph.
    void serialise(std::string& out) const;
    // Into an empty graph whose codes are set. False: not the links of a graph of `slots` slots; it stays empty.
    bool restore(std::string_view bytes, Slot slots);

    static unsigned level_of(Slot slot);
    std::vector<Slot> links(Slot slot, unsigned level) const;  // For checks.

 private:
    struct Plan;
    struct Worker;

    Slot* list(Slot slot, unsigned level) const;
    bool reserve(Slot slots);
    void publish(const View& view);
    Slot descend(const CodeProbe& probe, Slot from, unsigned level, unsigned above, Slot visible,
                 WalkScratch& scratch) const;
    void walk(const CodeProbe& probe, Slot from, unsigned level, std::size_t breadth, Slot visible,
              WalkScratch& scratch) const;
    void choose(std::vector<GraphNeighbour>& nearest, std::size_t count, Worker& worker) const;
    void plan(Slot slot, Slot block_begin, Plan& plan, Worker& worker) const;
    void link_back(Slot target, unsigned level, Slot slot, Worker& worker);

    const VectorCodes& codes_;
    const VectorKernels& kernels_;
    std::size_t block_;
    SlotBytes ground_;          // ground_links_max slots each, ended by no_slot when fewer.
    SlotArray<Slot> upper_at_;  // Where a slot's lists above the ground begin in upper_; its levels follow each other.
    SlotBytes upper_;           // links_max slots each.
    Slot upper_count_ = 0;
    std::atomic<Slot> linked_{0};
    std::atomic<std::uint64_t> top_{0};  // level << 32 | slot
    std::vector<std::unique_ptr<Worker>> workers_;
    std::vector<Plan> plans_;
};

}  // namespace annal
