#include "vector_partition.h"

#include "vector_graph_file.h"

#include <algorithm>
#include <cmath>

namespace annal {
namespace {

constexpr std::size_t unwritten_bytes_max = std::size_t{4} << 20;
constexpr std::size_t batch_slots = 64;  // Measured together, and at most 64 more.

std::filesystem::path with(const std::filesystem::path& stem, const char* extension) {
    auto path = stem;
    path += extension;
    return path;
}

Error no_memory() {
    return {ErrorCode::resource_exhausted, "no memory for more vectors", {}};
}

void offer(std::vector<GraphNeighbour>& nearest, std::size_t depth, GraphNeighbour found) {
    if (nearest.size() < depth) {
        nearest.push_back(found);
        std::push_heap(nearest.begin(), nearest.end());
    } else if (found < nearest.front()) {
        std::pop_heap(nearest.begin(), nearest.end());
        nearest.back() = found;
        std::push_heap(nearest.begin(), nearest.end());
    }
}

// How many candidates by code are compared exactly. Codes alone rank 0.98 of the ten nearest right; with 12 of them
// compared exactly it is 0.997 and more (measured), and the rest is for data less kind to codes.
std::size_t rerank_depth(std::size_t limit) {
    return std::max<std::size_t>(2 * limit, 20);
}
// A scan of many rows, far from the query as they may be, has more of them within the error of the codes.
std::size_t rerank_depth(std::size_t limit, std::size_t scanned) {
    return std::clamp(scanned / 128, rerank_depth(limit), 5 * rerank_depth(limit));
}

}  // namespace

VectorPartition::VectorPartition(std::filesystem::path stem, std::uint32_t its_number, std::uint32_t its_generation,
                                 PartitionKey its_key, std::unique_ptr<VectorRows> rows)
    : key(std::move(its_key)),
      number(its_number),
      generation(its_generation),
      stem_(std::move(stem)),
      rows_(std::move(rows)),
      codes_(key.dimension),
      graph_(codes_) {}

Result<std::shared_ptr<VectorPartition>> VectorPartition::create(std::filesystem::path stem, std::uint32_t number,
                                                                 std::uint32_t generation, PartitionKey key) {
    auto rows = VectorRows::create(with(stem, ".rows"), key.model, key.dimension);
    if (!rows) return rows.error();
    return std::shared_ptr<VectorPartition>(
        new VectorPartition(std::move(stem), number, generation, std::move(key), *std::move(rows)));
}

Result<std::shared_ptr<VectorPartition>> VectorPartition::open(std::filesystem::path stem, std::uint32_t number,
                                                               std::uint32_t generation, PartitionKey key, Slot count,
                                                               WorkTeam& team) {
    auto rows = VectorRows::open(with(stem, ".rows"), key.model, key.dimension, count);
    if (!rows) return rows.error();
    auto partition = std::shared_ptr<VectorPartition>(
        new VectorPartition(std::move(stem), number, generation, std::move(key), *std::move(rows)));
    auto& its = *partition;
    if (!its.codes_.reserve(count) || !its.reserve_states(count)) return no_memory();
    constexpr Slot task_slots = 1024;
    std::atomic<bool> intact{true};
    team.run((count + task_slots - 1) / task_slots, [&](std::size_t task, std::size_t) {
        const auto begin = static_cast<Slot>(task) * task_slots;
        for (auto slot = begin; slot < std::min(begin + task_slots, count); ++slot) {
            if (!its.rows_->intact(slot)) intact = false;
            its.codes_.set(slot, its.rows_->floats(slot));
        }
    });
    if (!intact) return Error{ErrorCode::data_loss, "a stored vector fails its checksum", {}};
    for (Slot slot = 0; slot < count; ++slot)
        if (!its.ordinals_.append(its.rows_->ordinal(slot))) return no_memory();
    its.written_ = count;
    return partition;
}

bool VectorPartition::reserve_states(std::size_t slots) {
    return gone_.reserve(slots) && since_.reserve(slots) && until_.reserve(slots) &&
           zones_.reserve((slots + zone_slots - 1) / zone_slots);
}

Result<Slot> VectorPartition::append(Seq ordinal, Seq since, std::span<const float> vector) {
    const auto slot = ordinals_.size();
    if (!codes_.reserve(std::size_t{slot} + 1) || !reserve_states(std::size_t{slot} + 1) || !ordinals_.append(ordinal))
        return no_memory();
    codes_.set(slot, vector);
    set_since(slot, since);
    rows_->encode(ordinal, vector, unwritten_);
    if (unwritten_.size() >= unwritten_bytes_max)
        if (auto flushed = flush(); !flushed) return flushed.error();
    return slot;
}

void VectorPartition::change(Slot slot, RowState to, Seq until) {
    if (state(slot) == RowState::replaced) --replaced_;
    if (to == RowState::replaced) ++replaced_;
    changes_[slot] = {to, until};
}

void VectorPartition::set_since(Slot slot, Seq since) {
    since_[slot] = since == ordinals_[slot] ? 0 : since.value;
}

RowState VectorPartition::state(Slot slot) const {
    if (const auto change = changes_.find(slot); change != changes_.end()) return change->second.state;
    return slot < count_.load(std::memory_order_relaxed)
               ? static_cast<RowState>(gone_[slot].load(std::memory_order_relaxed) & 3)
               : RowState::live;
}

Seq VectorPartition::staged_until(Slot slot) const {
    const auto change = changes_.find(slot);
    return change != changes_.end() ? change->second.until : until(slot);
}

Status VectorPartition::flush() {
    if (unwritten_.empty()) return Done{};
    if (auto written = rows_->write(written_, unwritten_); !written) return written;
    written_ = ordinals_.size();
    unwritten_.clear();
    return Done{};
}

void VectorPartition::publish() {
    const auto before = count_.load(std::memory_order_relaxed);
    const auto count = ordinals_.size();
    auto live = live_.load(std::memory_order_relaxed) + (count - before);
    for (auto slot = before; slot < count; ++slot) {
        auto& least = zones_[slot / zone_slots].since_least;
        const auto known = slot % zone_slots == 0 ? since(slot).value : least.load(std::memory_order_relaxed);
        least.store(std::min(known, since(slot).value), std::memory_order_relaxed);
    }
    for (const auto& [slot, change] : changes_) {
        const auto [state, until] = change;
        if (state == RowState::replaced) {
            auto& zone = zones_[slot / zone_slots];
            zone.until_greatest.store(std::max(zone.until_greatest.load(std::memory_order_relaxed), until.value),
                                      std::memory_order_relaxed);
            zone.ended.fetch_add(1, std::memory_order_release);  // A reader that counts it knows its until.
            until_[slot].store(until.value, std::memory_order_relaxed);
        }
        if (gone_[slot].load(std::memory_order_relaxed) == 0) --live;
        if (state == RowState::live) ++live;
        const auto gone = state == RowState::live ? 0 : count << 2 | static_cast<std::uint32_t>(state);
        gone_[slot].store(gone, std::memory_order_relaxed);
        if (gone != 0) zones_[slot / zone_slots].any_gone.store(true, std::memory_order_relaxed);
    }
    changes_.clear();
    live_.store(live, std::memory_order_relaxed);
    ordinals_.publish();
    count_.store(count, std::memory_order_release);
}

void VectorPartition::discard() {
    ordinals_.cut();
    unwritten_.clear();
    written_ = ordinals_.size();
    const auto changed = std::move(changes_);
    changes_.clear();
    for (const auto& [slot, dropped] : changed) {
        if (dropped.state == RowState::replaced) --replaced_;
        if (slot < ordinals_.size() && state(slot) == RowState::replaced) ++replaced_;
    }
}

// Measured at 384 dimensions: a scan takes 11 ns a slot, a walk 0.6 us for each slot of its breadth, which must grow as
// fewer of those it meets pass.
bool VectorPartition::worth_walking(std::size_t possible, Slot linked, std::size_t breadth) const {
    return static_cast<double>(possible) * static_cast<double>(possible) >
           55.0 * static_cast<double>(breadth) * static_cast<double>(linked);
}

// False: too few of what it met pass.
bool VectorPartition::walk(const PartitionQuery& query, std::size_t possible, const VectorGraph::View& view, Slot count,
                           SearchScratch& scratch) const {
    const auto depth = rerank_depth(query.limit);
    auto breadth = std::max(query.breadth, depth);
    if (!worth_walking(possible, view.linked, breadth)) return false;
    breadth = std::max(breadth, breadth * view.linked / possible);
    graph_.search(scratch.probe, breadth, view, scratch.walk);
    std::size_t found = 0;
    for (const auto& near : scratch.walk.pool) {
        if (!is_live(near.slot, count)) continue;
        if (query.passing != nullptr && !query.passing->contains(ordinals_[near.slot])) continue;
        offer(scratch.nearest, depth, near);
        if (++found == depth) return true;
    }
    return false;
}

void VectorPartition::measure(std::size_t depth, SearchScratch& scratch) const {
    scratch.distances.resize(scratch.batch.size());
    scratch.probe.distances(vector_kernels(), codes_, scratch.batch, scratch.distances.data());
    auto& nearest = scratch.nearest;
    for (std::size_t i = 0; i < scratch.batch.size(); ++i) {
        const GraphNeighbour found{scratch.distances[i], scratch.batch[i]};
        if (nearest.size() < depth || found < nearest.front()) offer(nearest, depth, found);
    }
    scratch.batch.clear();
}

void VectorPartition::scan(const OrdinalSet* passing, Slot begin, Slot end, std::size_t depth,
                           SearchScratch& scratch) const {
    const auto visit = [&](Slot slot) {
        if (slot >= begin && slot < end && is_live(slot, end)) scratch.batch.push_back(slot);
    };
    scratch.batch.clear();
    if (passing != nullptr) {
        ordinals_.for_each(*passing, [&](std::span<const Slot> slots) {
            for (const auto slot : slots) visit(slot);
            if (scratch.batch.size() >= batch_slots) measure(depth, scratch);
        });
    } else {
        for (auto slot = begin; slot < end; ++slot) {
            visit(slot);
            if (scratch.batch.size() >= batch_slots) measure(depth, scratch);
        }
    }
    measure(depth, scratch);
}

bool VectorPartition::was_valid(Slot slot, Seq as_of) const {
    const auto ended = until(slot);
    return since(slot) <= as_of && (ended == Seq{0} || ended > as_of);
}

void VectorPartition::scan_as_of(const PartitionQuery& query, Seq as_of, Slot count, SearchScratch& scratch) const {
    const auto possible = query.passing == nullptr ? count : std::min<std::size_t>(count, query.passing->size());
    const auto depth = rerank_depth(query.limit, possible);
    scratch.batch.clear();
    for (Slot begin = 0; begin < count; begin += zone_slots) {
        const auto& zone = zones_[begin / zone_slots];
        if (zone.since_least.load(std::memory_order_relaxed) > as_of.value) continue;
        if (zone.ended.load(std::memory_order_acquire) == zone_slots &&
            zone.until_greatest.load(std::memory_order_relaxed) <= as_of.value)
            continue;
        for (auto slot = begin; slot < std::min(begin + zone_slots, count); ++slot) {
            if (!was_valid(slot, as_of)) continue;
            if (query.passing != nullptr && !query.passing->contains(ordinals_[slot])) continue;
            scratch.batch.push_back(slot);
            if (scratch.batch.size() >= batch_slots) measure(depth, scratch);
        }
    }
    measure(depth, scratch);
}

void VectorPartition::rerank(const PartitionQuery& query, SearchScratch& scratch, std::vector<VectorHit>& hits) const {
    const auto first = hits.size();
    for (const auto& near : scratch.nearest) {
        const auto* row = reinterpret_cast<const char*>(rows_->floats(near.slot).data());
        for (std::size_t i = 0; i < std::min<std::size_t>(query.vector.size_bytes(), 256); i += 64)
            __builtin_prefetch(row + i);
    }
    for (const auto& near : scratch.nearest) {
        const auto row = rows_->floats(near.slot);
        const auto dot = vector_kernels().float_dot(query.vector.data(), row.data(), row.size());
        hits.push_back({ordinals_[near.slot], std::clamp(dot, -1.0F, 1.0F)});
    }
    const auto begin = hits.begin() + static_cast<std::ptrdiff_t>(first);
    std::sort(begin, hits.end(), nearer);
    hits.resize(std::min(hits.size(), first + query.limit));
}

void VectorPartition::search(const PartitionQuery& query, SearchScratch& scratch, std::vector<VectorHit>& hits) const {
    const auto view = graph_.view();  // Before the count, which is never behind it.
    const auto count = published();
    if (count == 0 || query.limit == 0) return;
    scratch.nearest.clear();
    if (query.as_of) {
        scan_as_of(query, *query.as_of, count, scratch);
        return rerank(query, scratch, hits);
    }
    const std::size_t live = live_.load(std::memory_order_relaxed);
    const auto possible = query.passing == nullptr ? live : std::min(live, ordinals_.count(*query.passing));
    if (walk(query, possible, view, count, scratch)) {
        scan(query.passing, view.linked, count, rerank_depth(query.limit), scratch);
    } else {
        scratch.nearest.clear();
        scan(query.passing, 0, count, rerank_depth(query.limit, possible), scratch);
    }
    rerank(query, scratch, hits);
}

bool VectorPartition::link(WorkTeam& team) {
    const std::lock_guard lock(building_);
    return !removed_ && unlinked() > 0 && graph_.link_block(team);
}

Slot VectorPartition::unlinked() const {
    const auto linked = graph_.linked();  // Before the count, which is never behind it.
    const auto count = published();
    if (key.past || count < graph_slots_min) return 0;
    return (count - linked) / static_cast<Slot>(graph_.block()) * static_cast<Slot>(graph_.block());
}

Status VectorPartition::load_graph() {
    const std::lock_guard lock(building_);
    auto read = read_graph(with(stem_, ".graph"), graph_, *rows_, key.dimension, published());
    saved_ = graph_.linked();
    return read;
}

Status VectorPartition::save_graph(Slot least) {
    const std::lock_guard lock(building_);
    if (removed_ || linked_unsaved() < std::max<Slot>(least, 1)) return Done{};
    saved_ = graph_.linked();  // Also when it fails: it is tried again when there is more to save.
    return write_graph(with(stem_, ".graph"), graph_, *rows_, key.dimension);
}

void VectorPartition::remove() {
    const std::lock_guard lock(building_);
    removed_ = true;
    std::error_code ignored;  // Whatever stays is removed at the next open.
    std::filesystem::remove(with(stem_, ".rows"), ignored);
    std::filesystem::remove(with(stem_, ".graph"), ignored);
}

}  // namespace annal
