#include "memory_view.h"

#include "block_past.h"
#include "memory_blocks.h"
#include "memory_keys.h"
#include "memory_reader.h"
#include "memory_row.h"
#include "memory_state.h"
#include "row_digest.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <deque>
#include <unordered_map>
#include <utility>

namespace annal {

using memory_keys::Column;
using memory_keys::Set;

void OrdinalSet::insert(Seq ordinal) {
    const std::uint64_t word = std::uint64_t{1} << (ordinal.value % 64);
    insert_words(Seq{ordinal.value - ordinal.value % 64}, {&word, 1});
}

void OrdinalSet::insert_words(Seq first, std::span<const std::uint64_t> words) {
    const auto at = first.value / 64;
    if (words_.empty()) first_word_ = at;
    if (at < first_word_) {
        words_.insert(words_.begin(), first_word_ - at, 0);
        first_word_ = at;
    }
    const auto begin = at - first_word_;
    if (words_.size() < begin + words.size()) words_.resize(begin + words.size());
    for (std::size_t i = 0; i < words.size(); ++i) {
        auto& word = words_[begin + i];
        size_ += static_cast<std::size_t>(std::popcount(words[i] & ~word));
        word |= words[i];
    }
}

namespace {

struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
template <class Value>
using ByKey = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

// The sets a memory is in, and the numbers it has: what the block keys hold, as a function of its state.
struct Membership {
    Set set;
    std::string value;
    bool operator==(const Membership&) const = default;
};

std::vector<Membership> memberships(const Memory& memory) {
    std::vector<Membership> all{{Set::all, {}},
                                {Set::kind, std::string(1, static_cast<char>(memory.kind()))},
                                {Set::claim, std::string(1, static_cast<char>(memory.claim))}};
    if (memory.forgotten || memory.superseded_by) all.push_back({Set::hidden, {}});
    if (!memory.scope.agent.empty()) all.push_back({Set::agent, memory.scope.agent});
    if (!memory.scope.user.empty()) all.push_back({Set::user, memory.scope.user});
    if (!memory.scope.session.empty()) all.push_back({Set::session, memory.scope.session});
    for (const auto& tag : memory.tags) all.push_back({Set::tag, tag});
    return all;
}

using Numbers = std::array<std::optional<std::int64_t>, memory_keys::column_count>;  // As column_list.

Numbers numbers(const Memory& memory) {
    const auto us = [](const std::optional<Timestamp>& time) { return time ? std::optional(time->us) : std::nullopt; };
    Numbers numbers{std::nullopt, std::nullopt, us(memory.valid_from), us(memory.valid_to), us(memory.expires_at)};
    if (memory.occurred_at != memory.recorded_at) numbers[0] = memory.occurred_at.us;
    if (memory.confidence != 1) numbers[1] = sortable(memory.confidence);
    return numbers;
}

bool same_body(const Memory& a, const Memory& b) {
    return a.content == b.content && a.metadata == b.metadata && a.tags == b.tags && a.fields == b.fields;
}

// A batch is folded so many events at a time: what is held of them is still in the processor's cache when it is
// written.
constexpr std::size_t fold_events_max = 1024;

// Some events being folded. Reads each key it needs at most once, and writes nothing before finish().
class Fold {
 public:
    explicit Fold(ViewBatch& batch) : batch_(batch) {}
    Status apply(const EventView& event);
    void finish();  // Writes it all to the batch.

 private:
    struct Project {
        std::string prefix;
        MemoryCounts counts;
    };
    struct Staged {
        Project* project = nullptr;
        std::optional<Memory> memory;
        Version body_version;
        bool recorded = false;  // In this batch.
        bool changed = false;
    };

    Result<Project*> project(std::string_view name);
    Result<Staged*> staged(const EventView& event);
    Status keep_version(const Staged& memory, const Memory& before, Seq ended);
    Status index(const Project& project, const Memory* before, const Memory& after);
    // Of the memory; `recorded`: it is new, there is nothing to put down in the block's past.
    Status set_member(const Project& project, const Membership& of, const Memory& memory, bool member, bool recorded);
    Status set_number(const Project& project, Column column, const Memory& memory,
                      const std::optional<std::int64_t>& was, const std::optional<std::int64_t>& is, bool recorded);
    Result<BlockSet*> set(const std::string& key);
    Result<BlockColumn*> column(const std::string& key);
    Result<BlockPast*> past(const Project& project, const std::string& block);

    ViewBatch& batch_;
    ByKey<Project> projects_;  // Nodes stay where they are.
    std::deque<Staged> memories_;
    std::unordered_map<MemoryId, Staged*> by_id_;
    ByKey<BlockSet> sets_;
    ByKey<BlockColumn> columns_;
    ByKey<BlockPast> pasts_;  // By the key of their block.
    std::vector<std::pair<std::string, std::string>> puts_;
    std::optional<MemoryCounts> store_counts_;
};

void count(MemoryCounts& counts, const Memory& memory, std::uint64_t by) {  // `by` is 1 or, wrapping, -1.
    if (memory.forgotten) return;
    counts.live[static_cast<std::size_t>(memory.kind())] += by;
    if (memory.expires_at) counts.expiring += by;
    if (memory.superseded_by) counts.superseded += by;
}

Result<MemoryCounts> load_counts(const ViewBatch& batch, std::string_view key) {
    const auto bytes = batch.get(key);
    if (!bytes) return bytes.error();
    return *bytes ? MemoryCounts::decode(**bytes) : MemoryCounts{};
}

Result<Fold::Project*> Fold::project(std::string_view name) {
    if (const auto at = projects_.find(name); at != projects_.end()) return &at->second;
    if (name.empty() || name.find('\0') != std::string_view::npos)
        return Error{ErrorCode::internal, "an event's project is empty or holds a zero byte", {}};
    if (!store_counts_) {
        auto counts = load_counts(batch_, memory_keys::store_counts());
        if (!counts) return counts.error();
        store_counts_ = *counts;
    }
    Project made{memory_keys::project(name), {}};
    auto counts = load_counts(batch_, memory_keys::counts(made.prefix));
    if (!counts) return counts.error();
    made.counts = *counts;
    return &projects_.emplace(name, std::move(made)).first->second;
}

Result<Fold::Staged*> Fold::staged(const EventView& event) {
    const auto id = event.memory_id();
    if (const auto at = by_id_.find(id); at != by_id_.end()) return at->second;
    const auto owner = project(event.project());
    if (!owner) return owner.error();
    auto& made = memories_.emplace_back(Staged{*owner, std::nullopt, {}, false, false});
    by_id_.emplace(id, &made);
    // The log gives the first event of a stream version 1: there is nothing to read.
    if (event.version() == Version{1}) return &made;
    const auto& prefix = made.project->prefix;
    const auto ordinal = batch_.get(memory_keys::id(prefix, id));
    if (!ordinal) return ordinal.error();
    if (!*ordinal) return &made;
    if ((*ordinal)->size() != 8)
        return Error{ErrorCode::data_loss, "a stored memory id is damaged", {{"memory_id", to_string(id)}}};
    const Seq created{memory_keys::read_u64(**ordinal)};
    const auto bytes = batch_.get(memory_keys::row(prefix, created));
    if (!bytes) return bytes.error();
    if (!*bytes) return Error{ErrorCode::data_loss, "a stored memory is missing", {{"memory_id", to_string(id)}}};
    auto row = decode_row(event.project(), created, **bytes);
    if (!row) return row.error();
    made.memory = std::move(row->memory);
    made.body_version = row->body_version;
    return &made;
}

Status Fold::apply(const EventView& event) {
    if (event.payload() != Payload::plain || !changes_memory(event.type())) return Done{};
    const auto found = staged(event);
    if (!found) return found.error();
    auto& it = **found;
    const auto before = it.memory;
    if (auto applied = apply_event(it.memory, event); !applied) return applied;
    it.changed = true;
    const auto& after = *it.memory;
    auto& counts = it.project->counts;
    if (before) {
        count(counts, *before, std::uint64_t(-1));
        count(*store_counts_, *before, std::uint64_t(-1));
        if (auto kept = keep_version(it, *before, event.seq()); !kept) return kept;
        if (!same_body(*before, after)) it.body_version = after.version;
    } else {
        it.recorded = true;
        it.body_version = after.version;
    }
    count(counts, after, 1);
    count(*store_counts_, after, 1);
    return index(*it.project, before ? &*before : nullptr, after);
}

Status Fold::keep_version(const Staged& it, const Memory& before, Seq ended) {
    const auto& prefix = it.project->prefix;
    const bool body_ends = !same_body(before, *it.memory);
    const bool with_body = body_ends && it.body_version == before.version;
    puts_.emplace_back(memory_keys::ended(prefix, before.created_seq, ended),
                       encode_version(before, it.body_version, with_body));
    if (body_ends && !with_body)
        puts_.emplace_back(memory_keys::body(prefix, before.created_seq, it.body_version), encode_body(before));
    return Done{};
}

Status Fold::index(const Project& project, const Memory* before, const Memory& after) {
    const auto old_sets = before ? memberships(*before) : std::vector<Membership>{};
    const auto new_sets = memberships(after);
    const auto among = [](const std::vector<Membership>& all, const Membership& one) {
        return std::ranges::find(all, one) != all.end();
    };
    for (const auto& one : old_sets) {
        if (among(new_sets, one)) continue;
        if (auto done = set_member(project, one, after, false, before == nullptr); !done) return done;
    }
    for (const auto& one : new_sets) {
        if (among(old_sets, one)) continue;
        if (auto done = set_member(project, one, after, true, before == nullptr); !done) return done;
    }
    const auto old_numbers = before ? numbers(*before) : Numbers{};
    const auto new_numbers = numbers(after);
    for (std::size_t i = 0; i < new_numbers.size(); ++i) {
        if (old_numbers[i] == new_numbers[i]) continue;
        if (auto done = set_number(project, memory_keys::column_list[i], after, old_numbers[i], new_numbers[i],
                                   before == nullptr);
            !done)
            return done;
    }
    return Done{};
}

Status Fold::set_member(const Project& project, const Membership& of, const Memory& memory, bool member,
                        bool recorded) {
    auto key = memory_keys::set(project.prefix, of.set, of.value);
    memory_keys::append_u64(key, memory_keys::block_of(memory.created_seq));
    const auto block = set(key);
    if (!block) return block.error();
    const auto offset = memory_keys::offset_of(memory.created_seq);
    if (member)
        (*block)->insert(offset);
    else
        (*block)->erase(offset);
    if (recorded) return Done{};
    const auto before = past(project, key);
    if (!before) return before.error();
    return (*before)->add(memory.seq, {offset, BlockSet::was(!member)}, [&]() -> Result<std::string> {
        std::string image;
        (*block)->encode_to(image);
        return image;
    });
}

Status Fold::set_number(const Project& project, Column which, const Memory& memory,
                        const std::optional<std::int64_t>& was, const std::optional<std::int64_t>& is, bool recorded) {
    auto key = memory_keys::column(project.prefix, which);
    memory_keys::append_u64(key, memory_keys::block_of(memory.created_seq));
    const auto block = column(key);
    if (!block) return block.error();
    const auto offset = memory_keys::offset_of(memory.created_seq);
    if (is)
        (*block)->put(offset, *is);
    else
        (*block)->erase(offset);
    if (recorded) return Done{};
    const auto before = past(project, key);
    if (!before) return before.error();
    return (*before)->add(memory.seq, {offset, BlockColumn::was(was)},
                          [&]() -> Result<std::string> { return (*block)->encode(); });
}

Result<BlockSet*> Fold::set(const std::string& key) {
    if (const auto at = sets_.find(key); at != sets_.end()) return &at->second;
    const auto bytes = batch_.get(key);
    if (!bytes) return bytes.error();
    auto loaded = *bytes ? BlockSet::decode(**bytes) : BlockSet{};
    if (!loaded) return loaded.error();
    return &sets_.emplace(key, *loaded).first->second;
}

Result<BlockColumn*> Fold::column(const std::string& key) {
    if (const auto at = columns_.find(key); at != columns_.end()) return &at->second;
    const auto bytes = batch_.get(key);
    if (!bytes) return bytes.error();
    auto loaded = *bytes ? BlockColumn::decode(**bytes) : BlockColumn{};
    if (!loaded) return loaded.error();
    return &columns_.emplace(key, std::move(*loaded)).first->second;
}

Result<BlockPast*> Fold::past(const Project& project, const std::string& block) {
    if (const auto at = pasts_.find(block); at != pasts_.end()) return &at->second;
    auto loaded = BlockPast::load(batch_, memory_keys::past(project.prefix, block));
    if (!loaded) return loaded.error();
    return &pasts_.emplace(block, std::move(*loaded)).first->second;
}

void Fold::finish() {
    for (const auto& it : memories_) {
        if (!it.changed) continue;
        const auto& memory = *it.memory;
        batch_.put(memory_keys::row(it.project->prefix, memory.created_seq), encode_row(memory, it.body_version));
    }
    std::string ordinal;
    for (const auto& it : memories_) {
        if (!it.recorded) continue;
        ordinal.clear();
        memory_keys::append_u64(ordinal, it.memory->created_seq.value);
        batch_.put(memory_keys::id(it.project->prefix, it.memory->id), ordinal);
    }
    for (const auto& [key, value] : puts_) batch_.put(key, value);
    std::string bytes;
    for (const auto& [key, set] : sets_) {
        bytes.clear();
        set.encode_to(bytes);
        batch_.put(key, bytes);  // Also when it is empty: that is how a walk as of an earlier seq comes by its past.
    }
    for (const auto& [key, column] : columns_) batch_.put(key, column.encode());
    for (auto& [key, past] : pasts_) past.finish(batch_);
    for (const auto& [name, project] : projects_)
        batch_.put(memory_keys::counts(project.prefix), project.counts.encode());
    if (store_counts_) batch_.put(memory_keys::store_counts(), store_counts_->encode());
}

class StoredMemoryView final : public MemoryView {
 public:
    std::string_view name() const override { return "memory_view"; }
    std::uint32_t version() const override { return 4; }

    Status open(ViewSpace& space, Seq applied) override {
        space_ = &space;
        applied_ = staged_ = applied.value;
        return Done{};
    }
    Status reset() override {
        applied_ = staged_ = 0;
        return Done{};
    }
    Status apply(std::span<const EventView> events, ViewBatch& batch) override {
        while (!events.empty()) {
            const auto some = events.first(std::min(events.size(), fold_events_max));
            Fold fold(batch);
            for (const auto& event : some)
                if (auto applied = fold.apply(event); !applied) return applied;
            fold.finish();
            staged_ = some.back().seq().value;
            events = events.subspan(some.size());
        }
        return Done{};
    }
    void committed() override { applied_ = staged_; }
    void discard() override { staged_ = applied_; }
    Result<std::string> digest() const override { return digest_of_rows(*space_->iterate()); }

    std::unique_ptr<Reader> reader(std::optional<Seq> as_of) const override {
        const Seq applied{applied_};  // Before the snapshot, which then holds at least this.
        return read_memories(space_->snapshot(), applied, as_of);
    }

 private:
    ViewSpace* space_ = nullptr;
    std::atomic<std::uint64_t> applied_{0};
    std::uint64_t staged_ = 0;  // The projector's thread alone.
};

}  // namespace

std::unique_ptr<MemoryView> MemoryView::create() {
    return std::make_unique<StoredMemoryView>();
}

}  // namespace annal
