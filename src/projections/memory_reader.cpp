#include "memory_reader.h"

#include "memory_cursor.h"
#include "memory_filter.h"
#include "memory_keys.h"
#include "memory_row.h"

#include <annal/limits.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace annal {
namespace {

constexpr std::size_t rows_a_read = 64;  // When each must be looked at to know whether it passes.

class MemoryReader final : public MemoryView::Reader {
 public:
    MemoryReader(std::shared_ptr<const ViewSnapshot> snapshot, Seq applied, std::optional<Seq> as_of)
        : snapshot_(std::move(snapshot)), applied_(as_of.value_or(applied)), as_of_(as_of) {}

    Seq applied() const override { return applied_; }
    Result<std::optional<Memory>> get(const Scope& scope, MemoryId id) const override;
    Result<std::vector<std::optional<Memory>>> get_many(const Scope& scope,
                                                        std::span<const Seq> ordinals) const override;
    Result<ListAnswer> list(const ListRequest& request, Timestamp now) const override;
    Result<std::optional<OrdinalSet>> matching(const Scope& scope, const Filter& filter, Timestamp now) const override;
    Result<bool> expires(std::string_view project) const override;
    Result<std::vector<std::pair<std::string, std::uint64_t>>> counts(std::string_view project) const override;

 private:
    using Rows = std::vector<std::optional<MemoryRow>>;

    Result<std::optional<MemoryRow>> row_of(const Scope& scope, MemoryId id) const;
    Result<Rows> rows(const std::string& prefix, std::string_view project, std::span<const Seq> ordinals) const;
    Result<MemoryCounts> counts_at(const std::string& key) const;
    // Puts the state as of as_of_ into a row that has changed since.
    Status step_back(const std::string& prefix, ViewIterator& versions, MemoryRow& row) const;
    // The first ordinal recorded at or after `time`.
    Result<Seq> first_recorded(const std::string& prefix, Timestamp time, std::uint64_t& keys_scanned) const;
    // The ordinals of what was recorded in [from, to); an unset end is open.
    Result<OrdinalRange> recorded_in(const std::string& prefix, const std::optional<Timestamp>& from,
                                     const std::optional<Timestamp>& to, std::uint64_t& keys_scanned) const;
    Status set_ranges(WalkOptions& options, std::uint64_t& keys_scanned) const;
    // The `enough` first of what the walk finds after a position, best first; ties by the newest.
    Result<std::vector<Seq>> by_confidence(BlockWalk& walk, const std::optional<ListPosition>& after,
                                           std::size_t enough) const;

    std::shared_ptr<const ViewSnapshot> snapshot_;
    Seq applied_;
    std::optional<Seq> as_of_;
};

Error missing_row(Seq ordinal) {
    return {ErrorCode::data_loss,
            "the memory view lacks a row that its own index names",
            {{"ordinal", std::to_string(ordinal.value)}}};
}

Result<std::optional<MemoryRow>> MemoryReader::row_of(const Scope& scope, MemoryId id) const {
    const auto prefix = memory_keys::project(scope.project);
    const auto named = snapshot_->get(memory_keys::id(prefix, id));
    if (!named) return named.error();
    if (!*named) return std::optional<MemoryRow>();
    if ((*named)->size() != 8)
        return Error{ErrorCode::data_loss, "a stored memory id is damaged", {{"memory_id", to_string(id)}}};
    const Seq ordinal{memory_keys::read_u64(**named)};
    if (as_of_ && ordinal > *as_of_) return std::optional<MemoryRow>();
    auto found = rows(prefix, scope.project, {&ordinal, 1});
    if (!found) return found.error();
    auto& row = found->front();
    if (!row) return missing_row(ordinal);
    if (!scope.contains(row->memory.scope)) return std::optional<MemoryRow>();
    return std::move(row);
}

Result<MemoryReader::Rows> MemoryReader::rows(const std::string& prefix, std::string_view project,
                                              std::span<const Seq> ordinals) const {
    std::vector<std::string> keys;
    keys.reserve(ordinals.size());
    for (const auto ordinal : ordinals) keys.push_back(memory_keys::row(prefix, ordinal));
    const auto values = snapshot_->get_many(keys);
    if (!values) return values.error();
    Rows found(ordinals.size());
    std::unique_ptr<ViewIterator> versions;
    for (std::size_t i = 0; i < ordinals.size(); ++i) {
        if (!(*values)[i] || (as_of_ && ordinals[i] > *as_of_)) continue;
        auto row = decode_row(project, ordinals[i], *(*values)[i]);
        if (!row) return row.error();
        if (as_of_ && row->memory.seq > *as_of_) {
            if (!versions) versions = snapshot_->iterate();
            if (auto stepped = step_back(prefix, *versions, *row); !stepped) return stepped.error();
        }
        found[i] = std::move(*row);
    }
    return found;
}

Result<std::optional<Memory>> MemoryReader::get(const Scope& scope, MemoryId id) const {
    auto row = row_of(scope, id);
    if (!row) return row.error();
    return *row ? std::optional(std::move((*row)->memory)) : std::nullopt;
}

Result<std::vector<std::optional<Memory>>> MemoryReader::get_many(const Scope& scope,
                                                                  std::span<const Seq> ordinals) const {
    auto found = rows(memory_keys::project(scope.project), scope.project, ordinals);
    if (!found) return found.error();
    std::vector<std::optional<Memory>> memories(ordinals.size());
    for (std::size_t i = 0; i < ordinals.size(); ++i)
        if (auto& row = (*found)[i]; row && !row->memory.forgotten && scope.contains(row->memory.scope))
            memories[i] = std::move(row->memory);
    return memories;
}

Status MemoryReader::step_back(const std::string& prefix, ViewIterator& versions, MemoryRow& row) const {
    // The first state that ended after it was current then.
    const auto ordinal = row.memory.created_seq;
    versions.seek(memory_keys::ended(prefix, ordinal, Seq{as_of_->value + 1}));
    if (const auto status = versions.status(); !status) return status;
    if (!versions.valid() || versions.key() > memory_keys::ended(prefix, ordinal, Seq{UINT64_MAX}))
        return missing_row(ordinal);
    const auto state = decode_version(versions.value(), row.memory);
    if (!state) return state.error();
    if (state->with_body || state->body_version == row.body_version) return Done{};
    const auto body = snapshot_->get(memory_keys::body(prefix, ordinal, state->body_version));
    if (!body) return body.error();
    if (!*body) return missing_row(ordinal);
    return decode_body(**body, row.memory);
}

Result<Seq> MemoryReader::first_recorded(const std::string& prefix, Timestamp time, std::uint64_t& keys_scanned) const {
    // Time of record grows with the ordinal: halve [low, high].
    const auto iterator = snapshot_->iterate();
    const auto last = memory_keys::row(prefix, Seq{UINT64_MAX});
    Seq low{0};
    for (Seq high{applied_.value + 1}; low < high;) {
        const Seq middle{low.value + (high.value - low.value) / 2};
        iterator->seek(memory_keys::row(prefix, middle));
        ++keys_scanned;
        if (const auto status = iterator->status(); !status) return status.error();
        if (!iterator->valid() || iterator->key() > last) {
            high = middle;
            continue;
        }
        const auto recorded_at = row_recorded_at(iterator->value());
        if (!recorded_at) return recorded_at.error();
        if (*recorded_at < time)
            low = Seq{memory_keys::read_u64(iterator->key().substr(prefix.size() + 1)) + 1};
        else
            high = middle;
    }
    return low;
}

Result<OrdinalRange> MemoryReader::recorded_in(const std::string& prefix, const std::optional<Timestamp>& from,
                                               const std::optional<Timestamp>& to, std::uint64_t& keys_scanned) const {
    OrdinalRange range{Seq{0}, Seq{applied_.value + 1}};
    if (from) {
        const auto first = first_recorded(prefix, *from, keys_scanned);
        if (!first) return first.error();
        range.from = *first;
    }
    if (to) {
        const auto end = first_recorded(prefix, *to, keys_scanned);
        if (!end) return end.error();
        range.to = std::min(range.to, *end);
    }
    return range;
}

Status MemoryReader::set_ranges(WalkOptions& options, std::uint64_t& keys_scanned) const {
    const std::string prefix(options.prefix);
    const auto& filter = options.filter;
    const auto recorded = recorded_in(prefix, filter.recorded_from, filter.recorded_to, keys_scanned);
    if (!recorded) return recorded.error();
    options.range = *recorded;
    const auto occurred = recorded_in(prefix, filter.occurred_from, filter.occurred_to, keys_scanned);
    if (!occurred) return occurred.error();
    options.occurred = *occurred;
    return Done{};
}

Result<std::vector<Seq>> MemoryReader::by_confidence(BlockWalk& walk, const std::optional<ListPosition>& after,
                                                     std::size_t enough) const {
    using Candidate = std::pair<std::int64_t, Seq>;
    std::vector<Candidate> best;
    const auto cut = [&] {
        if (best.size() <= enough) return;
        std::ranges::nth_element(best, best.begin() + static_cast<std::ptrdiff_t>(enough), std::greater<>());
        best.resize(enough);
    };
    for (;;) {
        const auto more = walk.next();
        if (!more) return more.error();
        if (!*more) break;
        const auto read = walk.each_confidence([&](std::uint16_t offset, std::int64_t confidence) {
            const Candidate candidate{confidence, memory_keys::ordinal_of(walk.block(), offset)};
            if (!after || candidate < Candidate{after->confidence, after->ordinal}) best.push_back(candidate);
        });
        if (!read) return read.error();
        cut();
    }
    std::ranges::sort(best, std::greater<>());
    std::vector<Seq> ordinals;
    for (const auto& [confidence, ordinal] : best) ordinals.push_back(ordinal);
    return ordinals;
}

Result<ListAnswer> MemoryReader::list(const ListRequest& request, Timestamp now) const {
    if (request.limit < 1 || request.limit > limits::list_limit_max)
        return Error{
            ErrorCode::invalid_argument,
            "limit is " + std::to_string(request.limit) + "; it may be 1 to " + std::to_string(limits::list_limit_max),
            {{"field", "limit"}, {"limit", std::to_string(limits::list_limit_max)}}};
    const auto metadata = MetadataFilter::parse(request.filter.metadata);
    if (!metadata) return metadata.error();
    const auto print = fingerprint(request, as_of_);
    std::optional<ListPosition> after;
    if (!request.cursor.empty()) {
        const auto position = decode_cursor(print, request.cursor);
        if (!position) return position.error();
        after = *position;
    }

    ListAnswer answer;
    answer.seq = applied_;
    const auto prefix = memory_keys::project(request.scope.project);
    const auto walked = request.order == ListOrder::oldest_first ? WalkOrder::ascending : WalkOrder::descending;
    WalkOptions options{prefix, request.scope, request.filter, now, as_of_, walked, request.include_forgotten, {}, {}};
    if (const auto set = set_ranges(options, answer.keys_scanned); !set) return set.error();
    auto& [from, to] = options.range;
    if (after && request.order == ListOrder::newest_first) to = std::min(to, after->ordinal);
    if (after && request.order == ListOrder::oldest_first) from = std::max(from, Seq{after->ordinal.value + 1});
    BlockWalk walk(*snapshot_, options);

    // One more than the page: whether there is a next one.
    const auto wanted = request.limit + 1;
    const auto piece = metadata->empty() ? wanted : rows_a_read;
    std::vector<Seq> pending;
    const auto take = [&](std::size_t count) -> Status {
        count = std::min(count, pending.size());
        auto found = rows(prefix, request.scope.project, {pending.data(), count});
        if (!found) return found.error();
        answer.keys_scanned += count;
        for (std::size_t i = 0; i < count && answer.memories.size() < wanted; ++i) {
            auto& row = (*found)[i];
            if (!row) return missing_row(pending[i]);
            if (metadata->empty() || metadata->passes(row->memory.metadata))
                answer.memories.push_back(std::move(row->memory));
        }
        pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(count));
        return Done{};
    };
    const auto full = [&] { return answer.memories.size() >= wanted; };

    if (request.order == ListOrder::confidence) {
        auto sorted = by_confidence(walk, after, metadata->empty() ? wanted : SIZE_MAX);
        if (!sorted) return sorted.error();
        pending = std::move(*sorted);
    } else {
        while (!full() && pending.size() + answer.memories.size() < wanted) {
            const auto more = walk.next();
            if (!more) return more.error();
            if (!*more) break;
            const auto old = pending.size();
            walk.passing().each(
                [&](std::uint16_t offset) { pending.push_back(memory_keys::ordinal_of(walk.block(), offset)); });
            if (walked == WalkOrder::descending)
                std::reverse(pending.begin() + static_cast<std::ptrdiff_t>(old), pending.end());
            while (!metadata->empty() && !pending.empty() && !full())
                if (const auto taken = take(piece); !taken) return taken.error();
        }
    }
    while (!pending.empty() && !full())
        if (const auto taken = take(std::min(piece, wanted - answer.memories.size())); !taken) return taken.error();

    answer.keys_scanned += walk.keys_scanned();
    if (full()) {
        answer.memories.resize(request.limit);
        const auto& last = answer.memories.back();
        answer.next_cursor = encode_cursor(print, {last.created_seq, sortable(last.confidence)});
    }
    return answer;
}

Result<std::optional<OrdinalSet>> MemoryReader::matching(const Scope& scope, const Filter& filter,
                                                         Timestamp now) const {
    const auto metadata = MetadataFilter::parse(filter.metadata);
    if (!metadata) return metadata.error();
    const auto prefix = memory_keys::project(scope.project);
    const auto counts = counts_at(memory_keys::counts(prefix));
    if (!counts) return counts.error();
    const bool whole_project = scope.agent.empty() && scope.user.empty() && scope.session.empty();
    if (!as_of_ && whole_project && !has_conditions(filter) && counts->expiring == 0 && counts->superseded == 0)
        return std::optional<OrdinalSet>();

    WalkOptions options{prefix, scope, filter, now, as_of_, WalkOrder::ascending, false, {}, {}};
    std::uint64_t keys_scanned = 0;
    if (const auto set = set_ranges(options, keys_scanned); !set) return set.error();
    BlockWalk walk(*snapshot_, options);
    OrdinalSet passing;
    for (;;) {
        const auto more = walk.next();
        if (!more) return more.error();
        if (!*more) return std::optional(std::move(passing));
        auto set = walk.passing();
        if (!metadata->empty()) {
            std::vector<Seq> ordinals;
            set.each([&](std::uint16_t offset) { ordinals.push_back(memory_keys::ordinal_of(walk.block(), offset)); });
            const auto found = rows(prefix, scope.project, ordinals);
            if (!found) return found.error();
            for (std::size_t i = 0; i < ordinals.size(); ++i)
                if (const auto& row = (*found)[i]; !row || !metadata->passes(row->memory.metadata))
                    set.erase(memory_keys::offset_of(ordinals[i]));
        }
        passing.insert_words(memory_keys::ordinal_of(walk.block(), 0), set.words());
    }
}

Result<bool> MemoryReader::expires(std::string_view project) const {
    const auto column = memory_keys::column(memory_keys::project(project), memory_keys::Column::expires);
    const auto blocks = snapshot_->iterate();
    blocks->seek(column);
    if (const auto status = blocks->status(); !status) return status.error();
    return blocks->valid() && blocks->key().starts_with(column);
}

Result<MemoryCounts> MemoryReader::counts_at(const std::string& key) const {
    const auto bytes = snapshot_->get(key);
    if (!bytes) return bytes.error();
    return *bytes ? MemoryCounts::decode(**bytes) : MemoryCounts{};
}

Result<std::vector<std::pair<std::string, std::uint64_t>>> MemoryReader::counts(std::string_view project) const {
    const auto counts =
        counts_at(project.empty() ? memory_keys::store_counts() : memory_keys::counts(memory_keys::project(project)));
    if (!counts) return counts.error();
    std::vector<std::pair<std::string, std::uint64_t>> by_kind;
    for (const auto& row : kind_table) by_kind.emplace_back(row.name, counts->live[static_cast<std::size_t>(row.kind)]);
    return by_kind;
}

}  // namespace

std::string MemoryCounts::encode() const {
    std::string bytes;
    for (const auto count : live) memory_keys::append_u64(bytes, count);
    memory_keys::append_u64(bytes, expiring);
    memory_keys::append_u64(bytes, superseded);
    return bytes;
}

Result<MemoryCounts> MemoryCounts::decode(std::string_view bytes) {
    if (bytes.size() != (kind_count + 2) * 8)
        return Error{ErrorCode::data_loss, "the stored counts of memories are damaged", {}};
    const auto number = [&](std::size_t i) { return memory_keys::read_u64(bytes.substr(i * 8)); };
    MemoryCounts counts;
    for (std::size_t i = 0; i < kind_count; ++i) counts.live[i] = number(i);
    counts.expiring = number(kind_count);
    counts.superseded = number(kind_count + 1);
    return counts;
}

std::unique_ptr<MemoryView::Reader> read_memories(std::shared_ptr<const ViewSnapshot> snapshot, Seq applied,
                                                  std::optional<Seq> as_of) {
    return std::make_unique<MemoryReader>(std::move(snapshot), applied, as_of);
}

}  // namespace annal
