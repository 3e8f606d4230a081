#include "vector_index.h"

#include "vector_builder.h"
#include "vector_check.h"
#include "vector_partition.h"
#include "vector_records.h"

#include "memory_event_generated.h"

#include <algorithm>
#include <shared_mutex>

namespace annal {
namespace {

using Numbered = std::map<std::uint32_t, std::shared_ptr<VectorPartition>>;

constexpr std::size_t builder_threads_max = 8;
constexpr std::size_t garbage_min = 1024;       // Fewer replaced rows are not worth a compaction.
constexpr std::uint64_t unlinked_noted = 8192;  // A longer scan than this beside the walk is said.

std::size_t builder_threads() {
    return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, builder_threads_max);
}

std::string_view view(const flatbuffers::String* text) {
    return text == nullptr ? std::string_view{} : std::string_view{text->data(), text->size()};
}

// A vector to store, borrowed from the event or from `made`.
struct NewVector {
    std::string_view model;
    std::span<const float> values;
    std::vector<float> made;
};

class Index final : public VectorIndex {
 public:
    Index(std::filesystem::path directory, std::shared_ptr<VectorSource> source, VectorBuilder::OnMessage on_message)
        : directory_(std::move(directory)),
          source_(std::move(source)),
          on_message_(std::move(on_message)),
          builder_(builder_threads(), on_message_) {}

    std::string_view name() const override { return source_ == nullptr ? "vectors" : source_->projection(); }
    std::uint32_t version() const override { return 2; }
    std::string settings() const override {
        return source_ == nullptr ? std::string()
                                  : std::string(source_->model()) + " " + std::to_string(source_->dimension());
    }
    Seq input_up_to() const override { return source_ == nullptr ? Projector::input_up_to() : source_->up_to(); }

    Status open(ViewSpace& space, Seq applied) override;
    Status reset() override;
    Status apply(std::span<const EventView> events, ViewBatch& batch) override;
    void committed() override;
    void discard() override;
    Status save() override;
    Result<std::string> digest() const override;
    std::unique_ptr<RowWalk> files() const override;

    Seq applied() const override { return Seq{applied_.load(std::memory_order_acquire)}; }
    Result<VectorAnswer> search(const VectorQuery& query) const override;
    std::vector<std::string> models(std::string_view project) const override;
    std::uint64_t live(std::string_view model, std::size_t dimension) const override;
    std::vector<Seq> ordinals(std::string_view project) const override;
    std::uint64_t unlinked() const override;
    void settle() override { builder_.settle(); }

 private:
    // Opening.
    std::filesystem::path stem(std::uint32_t number, std::uint32_t generation) const;
    Status load_partitions(const ViewSpace& space);
    Status load_states(const ViewSpace& space);
    void load_graphs();
    void remove_strays() const;

    // Folding, on the projector's thread.
    Status fold(const EventView& event, ViewBatch& batch);
    Status record(const EventView& event, ViewBatch& batch);
    Status revise(const EventView& event, ViewBatch& batch);
    Status hide(const EventView& event, bool forgotten, ViewBatch& batch);
    Result<std::optional<VectorMemory>> memory_of(const EventView& event, const ViewBatch& batch) const;
    Result<std::optional<NewVector>> vector_of(const EventView& event, const fbs::Embedding* given) const;
    Status put(VectorMemory& memory, std::string_view project, const NewVector& vector, ViewBatch& batch);
    Status drop(VectorMemory& memory, ViewBatch& batch);
    Status move(VectorMemory& memory, std::string_view project, ViewBatch& batch);
    void change(VectorPartition& partition, Slot slot, RowState state, ViewBatch& batch, Seq until = {});
    Result<std::shared_ptr<VectorPartition>> partition_for(const PartitionKey& key);
    Status compact(std::uint32_t number, ViewBatch& batch);
    Result<Slot> slot_of(const VectorMemory& memory) const;

    VectorPartitions published() const {
        const std::shared_lock lock(published_mutex_);
        return published_;
    }
    std::vector<std::shared_ptr<VectorPartition>> published_of(std::string_view project) const;
    std::unique_ptr<SearchScratch> take_scratch() const;
    void give_back(std::unique_ptr<SearchScratch> scratch) const;

    const std::filesystem::path directory_;
    const std::shared_ptr<VectorSource> source_;
    const VectorBuilder::OnMessage on_message_;

    mutable std::shared_mutex published_mutex_;
    VectorPartitions published_;
    std::atomic<std::uint64_t> applied_{0};
    mutable std::mutex scratch_mutex_;
    mutable std::vector<std::unique_ptr<SearchScratch>> scratch_;

    // The projector's thread's: with what is staged.
    VectorPartitions working_;
    Numbered numbered_;  // The same.
    std::uint32_t number_last_ = 0;
    std::map<std::uint32_t, std::shared_ptr<VectorPartition>> touched_;
    std::vector<std::shared_ptr<VectorPartition>> made_;  // In this batch: new ones and compacted ones.
    Seq staged_{0};
    Seq folding_{0};  // The event in hand.

    VectorBuilder builder_;  // Last: it stops before the rest goes.
};

std::filesystem::path Index::stem(std::uint32_t number, std::uint32_t generation) const {
    return directory_ / (std::to_string(number) + "-" + std::to_string(generation));
}

// --- Opening.

Status Index::open(ViewSpace& space, Seq applied) {
    std::error_code failed;
    std::filesystem::create_directories(directory_, failed);
    if (failed) return Error{ErrorCode::unavailable, "making the vector index's directory: " + failed.message(), {}};
    if (auto loaded = load_partitions(space); !loaded) return loaded;
    if (auto loaded = load_states(space); !loaded) return loaded;
    remove_strays();
    load_graphs();
    applied_ = applied.value;
    const std::unique_lock lock(published_mutex_);
    published_ = working_;
    return Done{};
}

Status Index::load_partitions(const ViewSpace& space) {
    WorkTeam team(builder_threads());
    const auto all = space.iterate();
    for (all->seek("p"); all->valid() && all->key().starts_with('p'); all->next()) {
        auto record = decode_partition(all->key(), all->value());
        if (!record) return Error{ErrorCode::data_loss, "the vector index's list of partitions is damaged", {}};
        const auto& [number, generation, key, count, made_at] = *record;
        auto partition = VectorPartition::open(stem(number, generation), number, generation, key, count, team);
        if (!partition) return partition.error();
        (*partition)->made_at = made_at;
        working_[key] = *partition;
        numbered_[number] = *partition;
        number_last_ = std::max(number_last_, number);
    }
    return all->status();
}

Status Index::load_states(const ViewSpace& space) {
    const auto all = space.iterate();
    for (all->seek("s"); all->valid() && all->key().starts_with('s'); all->next()) {
        const auto key = decode_slot(all->key());
        const auto record = decode_slot_record(all->value());
        const auto at = key ? numbered_.find(key->partition) : numbered_.end();
        const bool known = at != numbered_.end() && at->second->generation == key->generation &&
                           key->slot < at->second->size() && record;
        if (!known) return Error{ErrorCode::data_loss, "the vector index's list of slots is damaged", {}};
        at->second->set_since(key->slot, record->since);
        if (record->state != RowState::live) at->second->change(key->slot, record->state, record->until);
    }
    for (const auto& [number, partition] : numbered_) partition->publish();
    return all->status();
}

void Index::load_graphs() {
    for (const auto& [number, partition] : numbered_) {
        if (!partition->key.past && partition->size() >= VectorPartition::graph_slots_min) {
            const auto loaded = partition->load_graph();
            if (!loaded && on_message_)
                on_message_("warning", loaded.error().message + ": it is built anew, searches scan meanwhile");
        }
        if (partition->unlinked() > 0) builder_.offer(partition);
    }
}

// Files of partitions that a crash left half made, or half removed.
void Index::remove_strays() const {
    std::error_code failed;
    for (const auto& file : std::filesystem::directory_iterator(directory_, failed)) {
        const auto known = std::any_of(numbered_.begin(), numbered_.end(), [&](const auto& entry) {
            const auto its = stem(entry.first, entry.second->generation);
            return file.path() == its.string() + ".rows" || file.path() == its.string() + ".graph";
        });
        if (!known) std::filesystem::remove(file.path(), failed);
    }
}

Status Index::reset() {
    discard();
    for (const auto& [key, partition] : working_) partition->remove();
    {
        const std::unique_lock lock(published_mutex_);
        published_.clear();
    }
    working_.clear();
    numbered_.clear();
    number_last_ = 0;
    applied_ = 0;
    remove_strays();
    return Done{};
}

// --- Folding.

Status Index::apply(std::span<const EventView> events, ViewBatch& batch) {
    for (const auto& event : events) {
        folding_ = event.seq();
        if (auto folded = fold(event, batch); !folded) return folded;
        staged_ = event.seq();
    }
    for (const auto& [number, partition] : touched_) {
        if (auto flushed = partition->flush(); !flushed) return flushed;
        batch.put(partition_key(number), encode(PartitionRecord{number, partition->generation, partition->key,
                                                                partition->size(), partition->made_at}));
    }
    return Done{};
}

Status Index::fold(const EventView& event, ViewBatch& batch) {
    if (event.payload() != Payload::plain) return Done{};
    switch (event.type()) {
        case EventType::memory_recorded:
            return record(event, batch);
        case EventType::memory_revised:
            return revise(event, batch);
        case EventType::memory_forgotten:
            return hide(event, true, batch);
        case EventType::memory_restored:
            return hide(event, false, batch);
        default:
            return Done{};
    }
}

Status Index::record(const EventView& event, ViewBatch& batch) {
    const auto* body = event.table().body_as_MemoryRecorded();
    VectorMemory memory{event.seq(), static_cast<Kind>(body->fields_type()), false, 0};
    const auto vector = vector_of(event, body->embedding());
    if (!vector) return vector.error();
    if (*vector)
        if (auto done = put(memory, event.project(), **vector, batch); !done) return done;
    batch.put(memory_key(event.project(), event.memory_id()), encode(memory));
    return Done{};
}

Status Index::revise(const EventView& event, ViewBatch& batch) {
    const auto found = memory_of(event, batch);
    if (!found) return found.error();
    if (!*found) return Done{};
    auto memory = **found;
    const auto* body = event.table().body_as_MemoryRevised();
    const bool moves = body->fields() != nullptr && static_cast<Kind>(body->fields_type()) != memory.kind;
    if (moves) memory.kind = static_cast<Kind>(body->fields_type());
    const bool new_vector = body->content() != nullptr ||
                            (source_ == nullptr ? body->embedding() != nullptr : brings_vector_of(*source_, event));
    if (new_vector) {
        const auto vector = vector_of(event, body->embedding());
        if (!vector) return vector.error();
        if (auto done = *vector ? put(memory, event.project(), **vector, batch) : drop(memory, batch); !done)
            return done;
    } else if (moves && memory.partition != 0) {
        if (auto done = move(memory, event.project(), batch); !done) return done;
    }
    if (memory != **found) batch.put(memory_key(event.project(), event.memory_id()), encode(memory));
    return Done{};
}

Status Index::hide(const EventView& event, bool forgotten, ViewBatch& batch) {
    const auto found = memory_of(event, batch);
    if (!found) return found.error();
    if (!*found || (*found)->forgotten == forgotten) return Done{};
    auto memory = **found;
    memory.forgotten = forgotten;
    if (memory.partition != 0) {
        const auto slot = slot_of(memory);
        if (!slot) return slot.error();
        change(*numbered_.at(memory.partition), *slot, forgotten ? RowState::hidden : RowState::live, batch);
    }
    batch.put(memory_key(event.project(), event.memory_id()), encode(memory));
    return Done{};
}

// nullopt: never recorded here, since that event is in quarantine.
Result<std::optional<VectorMemory>> Index::memory_of(const EventView& event, const ViewBatch& batch) const {
    const auto value = batch.get(memory_key(event.project(), event.memory_id()));
    if (!value) return value.error();
    if (!*value) return std::optional<VectorMemory>();
    auto memory = decode_memory(**value);
    if (!memory || (memory->partition != 0 && !numbered_.contains(memory->partition)))
        return Error{ErrorCode::data_loss, "the vector index's entry of a memory is damaged", {}};
    return memory;
}

Result<std::optional<NewVector>> Index::vector_of(const EventView& event, const fbs::Embedding* given) const {
    if (source_ == nullptr) {
        if (given == nullptr || given->values()->size() == 0) return std::optional<NewVector>();
        return std::optional(NewVector{view(given->model()), {given->values()->data(), given->values()->size()}, {}});
    }
    const auto text = text_to_embed(*source_, event);
    if (!text) return std::optional<NewVector>();
    auto made = source_->find(event, *text);
    if (!made) return made.error();
    if (!*made) return std::optional<NewVector>();
    NewVector vector{source_->model(), {}, std::move(**made)};
    vector.values = vector.made;
    return std::optional(std::move(vector));
}

Result<Slot> Index::slot_of(const VectorMemory& memory) const {
    const auto slot = numbered_.at(memory.partition)->find(memory.ordinal);
    if (!slot) return Error{ErrorCode::data_loss, "the vector index has lost a memory's row", {}};
    return *slot;
}

void Index::change(VectorPartition& partition, Slot slot, RowState state, ViewBatch& batch, Seq until) {
    partition.change(slot, state, until);
    touched_[partition.number] = numbered_.at(partition.number);
    const auto key = slot_key({partition.number, partition.generation, slot});
    const auto since = partition.since(slot);
    if (state == RowState::live && since == partition.ordinal(slot))
        batch.erase(key);
    else
        batch.put(key, encode(SlotRecord{state, since, until}));
}

// The memory's vector from here on, in a new slot; the row it had is of the past.
Status Index::put(VectorMemory& memory, std::string_view project, const NewVector& vector, ViewBatch& batch) {
    const auto old = memory;
    const auto partition = partition_for({std::string(project), memory.kind, std::string(vector.model),
                                          static_cast<std::uint32_t>(vector.values.size()), false});
    if (!partition) return partition.error();
    const auto old_slot = old.partition == 0 ? Result<Slot>(Slot{0}) : slot_of(old);
    if (!old_slot) return old_slot.error();
    const auto slot = (*partition)->append(memory.ordinal, folding_, vector.values);
    if (!slot) return slot.error();
    memory.partition = (*partition)->number;
    touched_[memory.partition] = *partition;
    if (memory.forgotten || folding_ != memory.ordinal)
        change(**partition, *slot, memory.forgotten ? RowState::hidden : RowState::live, batch);
    if (old.partition == 0) return Done{};
    change(*numbered_.at(old.partition), *old_slot, RowState::replaced, batch, folding_);
    return compact(old.partition, batch);
}

Status Index::drop(VectorMemory& memory, ViewBatch& batch) {
    if (memory.partition == 0) return Done{};
    const auto slot = slot_of(memory);
    if (!slot) return slot.error();
    const auto number = memory.partition;
    memory.partition = 0;
    change(*numbered_.at(number), *slot, RowState::replaced, batch, folding_);
    return compact(number, batch);
}

// To the partition of the memory's new kind.
Status Index::move(VectorMemory& memory, std::string_view project, ViewBatch& batch) {
    const auto from = numbered_.at(memory.partition);
    const auto slot = slot_of(memory);
    if (!slot) return slot.error();
    if (auto flushed = from->flush(); !flushed) return flushed;
    return put(memory, project, {from->key.model, from->floats(*slot), {}}, batch);
}

Result<std::shared_ptr<VectorPartition>> Index::partition_for(const PartitionKey& key) {
    if (const auto at = working_.find(key); at != working_.end()) return at->second;
    const auto number = number_last_ + 1;
    auto partition = VectorPartition::create(stem(number, 0), number, 0, key);
    if (!partition) return partition.error();
    number_last_ = number;
    (*partition)->made_at = folding_;
    made_.push_back(*partition);
    working_[key] = *partition;
    numbered_[number] = *partition;
    return *partition;
}

// When half of the rows are replaced, they go to the partition's past, and the others to a new generation, by ordinal.
// Decided after each event, so that a replay does it at the same one.
Status Index::compact(std::uint32_t number, ViewBatch& batch) {
    const auto old = numbered_.at(number);
    if (old->replaced() < garbage_min || old->replaced() * 2 < old->size()) return Done{};
    if (auto flushed = old->flush(); !flushed) return flushed;
    auto compacted = VectorPartition::create(stem(number, old->generation + 1), number, old->generation + 1, old->key);
    if (!compacted) return compacted.error();
    (*compacted)->made_at = old->made_at;
    made_.push_back(*compacted);
    auto past_key = old->key;
    past_key.past = true;
    const auto past = partition_for(past_key);
    if (!past) return past.error();
    (*past)->made_at = old->made_at;
    std::vector<Slot> kept;
    for (Slot slot = 0; slot < old->size(); ++slot) {
        batch.erase(slot_key({number, old->generation, slot}));
        if (old->state(slot) != RowState::replaced) {
            kept.push_back(slot);
            continue;
        }
        const auto to = (*past)->append(old->ordinal(slot), old->since(slot), old->floats(slot));
        if (!to) return to.error();
        change(**past, *to, RowState::replaced, batch, old->staged_until(slot));
    }
    std::sort(kept.begin(), kept.end(), [&](Slot a, Slot b) { return old->ordinal(a) < old->ordinal(b); });
    working_[old->key] = *compacted;
    numbered_[number] = *compacted;
    touched_[number] = *compacted;
    for (const auto slot : kept) {
        const auto to = (*compacted)->append(old->ordinal(slot), old->since(slot), old->floats(slot));
        if (!to) return to.error();
        if (old->state(slot) == RowState::hidden || old->since(slot) != old->ordinal(slot))
            change(**compacted, *to, old->state(slot), batch);
    }
    return Done{};
}

void Index::committed() {
    for (const auto& [number, partition] : touched_) partition->publish();
    if (!made_.empty()) {
        auto before = published();
        {
            const std::unique_lock lock(published_mutex_);
            published_ = working_;
        }
        for (const auto& [key, partition] : before) made_.push_back(partition);
        for (const auto& partition : made_)  // Those that were compacted away.
            if (numbered_.at(partition->number) != partition) partition->remove();
    }
    for (const auto& [number, partition] : touched_)
        if (partition->unlinked() > 0) builder_.offer(partition);
    touched_.clear();
    made_.clear();
    applied_.store(std::max(staged_.value, applied_.load(std::memory_order_relaxed)), std::memory_order_release);
}

void Index::discard() {
    for (const auto& partition : made_) partition->remove();
    made_.clear();
    touched_.clear();
    working_ = published();
    numbered_.clear();
    number_last_ = 0;
    for (const auto& [key, partition] : working_) {
        partition->discard();
        numbered_[partition->number] = partition;
        number_last_ = std::max(number_last_, partition->number);
    }
}

// --- Saving and checking.

Status Index::save() {
    Status result = Done{};
    for (const auto& [key, partition] : published()) {
        if (auto synced = partition->sync(); !synced) result = synced;
        if (auto saved = partition->save_graph(1); !saved) result = saved;
    }
    return result;
}

Result<std::string> Index::digest() const {
    return digest_of(published());
}

std::unique_ptr<RowWalk> Index::files() const {
    return rows_of_files(published());
}

std::vector<Seq> Index::ordinals(std::string_view project) const {
    std::vector<Seq> live;
    for (const auto& partition : published_of(project)) {
        const auto count = partition->published();
        for (Slot slot = 0; slot < count; ++slot)
            if (partition->is_live(slot, count)) live.push_back(partition->ordinal(slot));
    }
    std::sort(live.begin(), live.end());
    return live;
}

std::uint64_t Index::live(std::string_view model, std::size_t dimension) const {
    std::uint64_t count = 0;
    for (const auto& [key, partition] : published())
        if (!key.past && key.model == model && key.dimension == dimension) count += partition->live();
    return count;
}

std::uint64_t Index::unlinked() const {
    std::uint64_t slots = 0;
    for (const auto& [key, partition] : published()) slots += partition->unlinked();
    return slots;
}

// --- Searching.

std::vector<std::shared_ptr<VectorPartition>> Index::published_of(std::string_view project) const {
    std::vector<std::shared_ptr<VectorPartition>> of_project;
    const std::shared_lock lock(published_mutex_);
    for (auto at = published_.lower_bound({std::string(project), Kind{}, {}, 0, false});
         at != published_.end() && at->first.project == project; ++at)
        of_project.push_back(at->second);
    return of_project;
}

std::vector<std::string> Index::models(std::string_view project) const {
    std::vector<std::string> models;
    for (const auto& partition : published_of(project)) models.push_back(partition->key.model);
    std::sort(models.begin(), models.end());
    models.erase(std::unique(models.begin(), models.end()), models.end());
    return models;
}

std::unique_ptr<SearchScratch> Index::take_scratch() const {
    const std::lock_guard lock(scratch_mutex_);
    if (scratch_.empty()) return std::make_unique<SearchScratch>();
    auto scratch = std::move(scratch_.back());
    scratch_.pop_back();
    return scratch;
}

void Index::give_back(std::unique_ptr<SearchScratch> scratch) const {
    const std::lock_guard lock(scratch_mutex_);
    scratch_.push_back(std::move(scratch));
}

Result<VectorAnswer> Index::search(const VectorQuery& query) const {
    auto partitions = published_of(query.project);
    std::erase_if(partitions, [&](const auto& its) {
        return its->key.model != query.model || (query.as_of ? its->made_at > *query.as_of : its->key.past);
    });
    if (partitions.empty()) {
        std::string known;
        for (const auto& model : models(query.project)) known += (known.empty() ? "" : ", ") + model;
        return Error{ErrorCode::not_found, "no vectors of this model", {{"models", known}}};
    }
    const auto expected = std::to_string(partitions.front()->key.dimension);
    std::erase_if(partitions, [&](const auto& its) { return its->key.dimension != query.vector.size(); });
    if (partitions.empty())
        return Error{ErrorCode::invalid_argument,
                     "the vector has another dimension than those of its model",
                     {{"field", "vector"}, {"expected", expected}, {"actual", std::to_string(query.vector.size())}}};
    if (!query.kinds.empty())
        std::erase_if(partitions, [&](const auto& its) {
            return std::find(query.kinds.begin(), query.kinds.end(), its->key.kind) == query.kinds.end();
        });

    VectorAnswer answer;
    auto scratch = take_scratch();
    scratch->probe.set(query.vector);
    for (const auto& partition : partitions) {
        if (const auto waiting = partition->unlinked(); !query.as_of && waiting > unlinked_noted)
            answer.degraded.push_back("the vector graph of kind " + std::string(to_string(partition->key.kind)) +
                                      " is being built: " + std::to_string(waiting) + " vectors are scanned");
        PartitionQuery its{query.vector, query.limit, query.passing};
        its.as_of = query.as_of;
        partition->search(its, *scratch, answer.hits);
    }
    give_back(std::move(scratch));
    std::sort(answer.hits.begin(), answer.hits.end(), nearer);
    // A row that is just being moved to the past may be met in both places.
    const auto same = [](const VectorHit& a, const VectorHit& b) { return a.ordinal == b.ordinal; };
    answer.hits.erase(std::unique(answer.hits.begin(), answer.hits.end(), same), answer.hits.end());
    if (answer.hits.size() > query.limit) answer.hits.resize(query.limit);
    return answer;
}

}  // namespace

std::unique_ptr<VectorIndex> VectorIndex::create(
    std::filesystem::path directory, std::shared_ptr<VectorSource> source,
    std::function<void(std::string_view level, std::string_view message)> on_message) {
    return std::make_unique<Index>(std::move(directory), std::move(source), std::move(on_message));
}

}  // namespace annal
