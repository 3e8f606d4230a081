#include "vector_graph.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

namespace annal {
namespace {

constexpr Slot no_slot = ~Slot{0};
constexpr Slot expanded = Slot{1} << 31;  // A flag on pool entries during a walk.

// Lists are read while they are rewritten: any mixture is a list of linked slots, and a walk needs no more.
Slot load(const Slot& link) {
    return __atomic_load_n(&link, __ATOMIC_RELAXED);
}
void store(Slot& link, Slot value) {
    __atomic_store_n(&link, value, __ATOMIC_RELAXED);
}

constexpr std::size_t links_max_at(unsigned level) {
    return level == 0 ? VectorGraph::ground_links_max : VectorGraph::links_max;
}

std::size_t length(const Slot* list, unsigned level) {
    std::size_t count = 0;
    while (count < links_max_at(level) && load(list[count]) != no_slot) ++count;
    return count;
}

void write_list(Slot* list, unsigned level, std::span<const GraphNeighbour> links) {
    for (std::size_t i = 0; i < links_max_at(level); ++i) store(list[i], i < links.size() ? links[i].slot : no_slot);
}

// Keeps the pool sorted and at most `breadth` long. Returns where it went; the pool's size when it did not.
std::size_t insert(std::vector<GraphNeighbour>& pool, std::size_t breadth, GraphNeighbour found) {
    if (pool.size() >= breadth && !(found.distance < pool.back().distance)) return pool.size();
    const auto at = std::upper_bound(pool.begin(), pool.end(), found, [](const auto& a, const auto& b) {
        return a.distance < b.distance || (a.distance == b.distance && (a.slot & ~expanded) < (b.slot & ~expanded));
    });
    const auto index = static_cast<std::size_t>(at - pool.begin());
    if (pool.size() >= breadth) pool.pop_back();
    pool.insert(pool.begin() + static_cast<std::ptrdiff_t>(index), found);
    return index;
}

}  // namespace

struct VectorGraph::Plan {
    struct Chosen {
        unsigned level = 0;
        std::vector<GraphNeighbour> links;
    };
    std::vector<Chosen> levels;
};

struct VectorGraph::Worker {
    CodeProbe probe;        // The slot that is being linked.
    CodeProbe other_probe;  // One of its candidates.
    WalkScratch scratch;
    std::vector<Slot> mates;
    std::vector<float> mate_distances;
    std::vector<GraphNeighbour> merged;
    std::vector<GraphNeighbour> kept;
    std::vector<Slot> kept_slots;
};

VectorGraph::VectorGraph(const VectorCodes& codes, const VectorKernels& kernels, std::size_t block)
    : codes_(codes),
      kernels_(kernels),
      block_(block),
      ground_(ground_links_max * sizeof(Slot)),
      upper_(links_max * sizeof(Slot)) {}
VectorGraph::~VectorGraph() = default;

unsigned VectorGraph::level_of(Slot slot) {
    // splitmix64; a level more with one chance in 16 = M, as hnswlib draws them.
    std::uint64_t x = (std::uint64_t{slot} + 1) * 0x9E3779B97F4A7C15U;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    x ^= x >> 31;
    return static_cast<unsigned>(std::countr_zero(x | (std::uint64_t{1} << 40))) / 4;
}

// The top is stored after linked_ and loaded before it: it is always one of the slots that are seen.
VectorGraph::View VectorGraph::view() const {
    const auto top = top_.load(std::memory_order_acquire);
    return {linked(), static_cast<Slot>(top), static_cast<unsigned>(top >> 32)};
}

void VectorGraph::publish(const View& view) {
    linked_.store(view.linked, std::memory_order_release);
    top_.store(std::uint64_t{view.top_level} << 32 | view.top, std::memory_order_release);
}

Slot* VectorGraph::list(Slot slot, unsigned level) const {
    return reinterpret_cast<Slot*>(level == 0 ? ground_.at(slot) : upper_.at(upper_at_[slot] + level - 1));
}

std::vector<Slot> VectorGraph::links(Slot slot, unsigned level) const {
    const auto* from = list(slot, level);
    return {from, from + length(from, level)};
}

// Room for the lists up to `slots`, all of them empty.
bool VectorGraph::reserve(Slot slots) {
    if (!ground_.reserve(slots) || !upper_at_.reserve(slots)) return false;
    auto next = upper_count_;
    for (auto slot = linked(); slot < slots; ++slot) {
        if (!upper_.reserve(std::size_t{next} + level_of(slot))) return false;
        upper_at_[slot] = next;
        next += level_of(slot);
        for (unsigned level = 0; level <= level_of(slot); ++level) write_list(list(slot, level), level, {});
    }
    return true;
}

// Greedily from `from` on `level` down to just above `above`.
Slot VectorGraph::descend(const CodeProbe& probe, Slot from, unsigned level, unsigned above, Slot visible,
                          WalkScratch& scratch) const {
    float best = 0;
    probe.distances(kernels_, codes_, {&from, 1}, &best);
    scratch.distances.resize(ground_links_max);
    for (; level > above; --level) {
        for (bool moved = true; moved;) {
            moved = false;
            scratch.batch.clear();
            const auto* links = list(from, level);
            for (std::size_t i = 0; i < links_max; ++i) {
                const auto slot = load(links[i]);
                if (slot == no_slot) break;
                if (slot >= visible) continue;
                scratch.batch.push_back(slot);
            }
            probe.distances(kernels_, codes_, scratch.batch, scratch.distances.data());
            for (std::size_t i = 0; i < scratch.batch.size(); ++i)
                if (scratch.distances[i] < best) {
                    best = scratch.distances[i];
                    from = scratch.batch[i];
                    moved = true;
                }
        }
    }
    return from;
}

// hnswlib's base-layer search with one sorted array in place of its two heaps: a node's unvisited neighbours are
// collected first, then measured four at a time.
void VectorGraph::walk(const CodeProbe& probe, Slot from, unsigned level, std::size_t breadth, Slot visible,
                       WalkScratch& scratch) const {
    if (scratch.visited.size() < visible) scratch.visited.resize(std::bit_ceil(visible));
    if (++scratch.mark == 0) {
        std::fill(scratch.visited.begin(), scratch.visited.end(), std::uint8_t{0});
        scratch.mark = 1;
    }
    auto* visited = scratch.visited.data();
    const auto mark = scratch.mark;
    auto& pool = scratch.pool;
    scratch.distances.resize(ground_links_max);
    pool.assign(1, {0, from});
    probe.distances(kernels_, codes_, {&from, 1}, &pool[0].distance);
    visited[from] = mark;
    for (std::size_t next = 0; next < pool.size();) {
        if ((pool[next].slot & expanded) != 0) {
            ++next;
            continue;
        }
        const auto* links = list(pool[next].slot, level);
        pool[next].slot |= expanded;
        scratch.batch.clear();
        for (std::size_t i = 0; i < links_max_at(level); ++i) {
            const auto slot = load(links[i]);
            if (slot == no_slot) break;
            if (slot >= visible || visited[slot] == mark) continue;
            visited[slot] = mark;
            scratch.batch.push_back(slot);
        }
        probe.distances(kernels_, codes_, scratch.batch, scratch.distances.data());
        auto lowest = next + 1;
        for (std::size_t i = 0; i < scratch.batch.size(); ++i)
            lowest = std::min(lowest, insert(pool, breadth, {scratch.distances[i], scratch.batch[i]}));
        next = lowest;
        if (next < pool.size()) __builtin_prefetch(list(pool[next].slot & ~expanded, level));
    }
    for (auto& found : pool) found.slot &= ~expanded;
}

void VectorGraph::search(const CodeProbe& probe, std::size_t breadth, const View& view, WalkScratch& scratch) const {
    scratch.pool.clear();
    if (view.linked == 0) return;
    const auto from = descend(probe, view.top, view.top_level, 0, view.linked, scratch);
    walk(probe, from, 0, breadth, view.linked, scratch);
}

// hnswlib's getNeighborsByHeuristic2: a candidate is kept when no kept one is nearer to it than the slot itself is.
// `nearest` is sorted.
void VectorGraph::choose(std::vector<GraphNeighbour>& nearest, std::size_t count, Worker& worker) const {
    if (nearest.size() < count) return;
    auto& kept = worker.kept;
    auto& slots = worker.kept_slots;
    kept.clear();
    slots.clear();
    for (const auto& candidate : nearest) {
        if (kept.size() == count) break;
        bool good = true;
        if (!kept.empty()) {
            worker.other_probe.set(codes_, candidate.slot);
            for (std::size_t i = 0; i < slots.size() && good; i += 4) {
                const auto some = std::span(slots).subspan(i, std::min<std::size_t>(4, slots.size() - i));
                float distances[4];
                worker.other_probe.distances(kernels_, codes_, some, distances);
                for (std::size_t j = 0; j < some.size(); ++j) good = good && !(distances[j] < candidate.distance);
            }
        }
        if (!good) continue;
        kept.push_back(candidate);
        slots.push_back(candidate.slot);
    }
    nearest.assign(kept.begin(), kept.end());
}

// Chooses the links of `slot` on each of its levels, from the frozen graph and its block's earlier slots.
void VectorGraph::plan(Slot slot, Slot block_begin, Plan& plan, Worker& worker) const {
    plan.levels.clear();
    worker.probe.set(codes_, slot);
    worker.mates.clear();
    for (auto mate = block_begin; mate < slot; ++mate) worker.mates.push_back(mate);
    worker.mate_distances.resize(worker.mates.size());
    worker.probe.distances(kernels_, codes_, worker.mates, worker.mate_distances.data());

    const auto [linked, top, top_level] = view();
    const auto level_max = level_of(slot);
    const bool frozen = linked > 0;
    auto from = top;
    if (frozen && top_level > level_max)
        from = descend(worker.probe, from, top_level, level_max, block_begin, worker.scratch);
    for (auto level = level_max + 1; level-- > 0;) {
        auto& merged = worker.merged;
        merged.clear();
        if (frozen && level <= top_level) {
            walk(worker.probe, from, level, breadth, block_begin, worker.scratch);
            from = worker.scratch.pool.front().slot;
            merged = worker.scratch.pool;
        }
        for (std::size_t i = 0; i < worker.mates.size(); ++i)
            if (level_of(worker.mates[i]) >= level)
                insert(merged, breadth, {worker.mate_distances[i], worker.mates[i]});
        choose(merged, links_max, worker);
        plan.levels.push_back({level, merged});
    }
}

void VectorGraph::link_back(Slot target, unsigned level, Slot slot, Worker& worker) {
    auto* links = list(target, level);
    const auto count = length(links, level);
    if (count < links_max_at(level)) {
        store(links[count], slot);
        return;
    }
    worker.mates.assign(links, links + count);
    worker.mates.push_back(slot);
    worker.mate_distances.resize(worker.mates.size());
    worker.probe.set(codes_, target);
    worker.probe.distances(kernels_, codes_, worker.mates, worker.mate_distances.data());
    worker.merged.clear();
    for (std::size_t i = 0; i < worker.mates.size(); ++i)
        worker.merged.push_back({worker.mate_distances[i], worker.mates[i]});
    std::sort(worker.merged.begin(), worker.merged.end());
    choose(worker.merged, links_max_at(level), worker);
    write_list(links, level, worker.merged);
}

bool VectorGraph::link_block(WorkTeam& team) {
    const auto begin = linked();
    const auto end = begin + static_cast<Slot>(block_);
    if (!reserve(end)) return false;
    while (workers_.size() < team.workers()) workers_.push_back(std::make_unique<Worker>());
    plans_.resize(block_);
    team.run(block_, [&](std::size_t task, std::size_t worker) {
        plan(begin + static_cast<Slot>(task), begin, plans_[task], *workers_[worker]);
    });

    struct Back {
        unsigned level;
        Slot target;
        Slot slot;
    };
    std::vector<Back> backs;
    auto next = view();
    next.linked = end;
    for (auto slot = begin; slot < end; ++slot) {
        for (const auto& chosen : plans_[slot - begin].levels) {
            write_list(list(slot, chosen.level), chosen.level, chosen.links);
            for (const auto& link : chosen.links) backs.push_back({chosen.level, link.slot, slot});
        }
        upper_count_ += level_of(slot);
        if (slot == 0 || level_of(slot) > next.top_level) {
            next.top = slot;
            next.top_level = level_of(slot);
        }
    }
    std::sort(backs.begin(), backs.end(), [](const Back& a, const Back& b) {
        return std::tie(a.level, a.target, a.slot) < std::tie(b.level, b.target, b.slot);
    });
    // Targets are apart from each other, so they can be shared out; each gets its links in slot order.
    std::vector<std::size_t> groups;
    for (std::size_t i = 0; i < backs.size(); ++i)
        if (i == 0 || backs[i].target != backs[i - 1].target || backs[i].level != backs[i - 1].level)
            groups.push_back(i);
    groups.push_back(backs.size());
    constexpr std::size_t groups_a_task = 32;
    team.run((groups.size() - 1 + groups_a_task - 1) / groups_a_task, [&](std::size_t task, std::size_t worker) {
        const auto last = std::min((task + 1) * groups_a_task, groups.size() - 1);
        for (auto i = groups[task * groups_a_task]; i < groups[last]; ++i)
            link_back(backs[i].target, backs[i].level, backs[i].slot, *workers_[worker]);
    });
    publish(next);
    return true;
}

// For each slot and level, ground first: the number of links as a byte, then the links, 4 bytes each.
void VectorGraph::serialise(std::string& out) const {
    const auto slots = linked();
    for (Slot slot = 0; slot < slots; ++slot)
        for (unsigned level = 0; level <= level_of(slot); ++level) {
            const auto* from = list(slot, level);
            const auto count = length(from, level);
            out.push_back(static_cast<char>(count));
            out.append(reinterpret_cast<const char*>(from), count * sizeof(Slot));
        }
}

bool VectorGraph::restore(std::string_view bytes, Slot slots) {
    if (linked() != 0 || slots % block_ != 0 || !reserve(slots)) return false;
    View next{slots, 0, 0};
    Slot upper = 0;
    for (Slot slot = 0; slot < slots; ++slot) {
        for (unsigned level = 0; level <= level_of(slot); ++level) {
            if (bytes.empty()) return false;
            const auto count = static_cast<std::uint8_t>(bytes.front());
            bytes.remove_prefix(1);
            if (count > links_max_at(level) || bytes.size() < count * sizeof(Slot)) return false;
            auto* to = list(slot, level);
            std::memcpy(to, bytes.data(), count * sizeof(Slot));
            bytes.remove_prefix(count * sizeof(Slot));
            for (std::size_t i = 0; i < count; ++i)
                if (to[i] >= slots || to[i] == slot || (level > 0 && level_of(to[i]) < level)) return false;
        }
        upper += level_of(slot);
        if (slot == 0 || level_of(slot) > next.top_level) next = {slots, slot, level_of(slot)};
    }
    if (!bytes.empty()) return false;
    upper_count_ = upper;
    publish(next);
    return true;
}

}  // namespace annal
