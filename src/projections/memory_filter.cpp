#include "memory_filter.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <utility>

namespace annal {

using memory_keys::Column;
using memory_keys::Set;

namespace {

constexpr auto least_number = std::numeric_limits<std::int64_t>::min();
constexpr auto greatest_number = std::numeric_limits<std::int64_t>::max();

template <class Enum>
std::vector<std::string> set_values(const std::vector<Enum>& wanted) {  // As memory_view.cpp stores a kind or claim.
    std::vector<std::string> values;
    for (const auto one : wanted) values.emplace_back(1, static_cast<char>(one));
    std::ranges::sort(values);
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
}

}  // namespace

bool has_conditions(const Filter& filter) {
    return !filter.kinds.empty() || !filter.tags.empty() || !filter.claims.empty() || filter.confidence_min ||
           filter.occurred_from || filter.occurred_to || filter.recorded_from || filter.recorded_to ||
           filter.valid_at || !filter.metadata.empty();
}

BlockWalk::BlockWalk(const ViewSnapshot& snapshot, const WalkOptions& options)
    : snapshot_(snapshot),
      prefix_(options.prefix),
      range_(options.range),
      ascending_(options.order == WalkOrder::ascending),
      as_of_(options.as_of),
      confidence_(column_stream(Column::confidence)) {
    const auto& scope = options.scope;
    const auto& filter = options.filter;
    if (!scope.session.empty()) require(Set::session, {scope.session});
    if (!scope.agent.empty()) require(Set::agent, {scope.agent});
    if (!scope.user.empty()) require(Set::user, {scope.user});
    for (const auto& tag : filter.tags) require(Set::tag, {tag});
    if (!filter.kinds.empty()) require(Set::kind, set_values(filter.kinds));
    if (!filter.claims.empty()) require(Set::claim, set_values(filter.claims));
    if (conditions_.empty()) require(Set::all, {""});
    if (!options.include_forgotten) hidden_ = set_stream(Set::hidden, "");

    const OrdinalRange everything;
    const OrdinalRange nothing{Seq{0}, Seq{0}};
    const auto below = [](Timestamp time) { return time.us == least_number ? least_number : time.us - 1; };
    const auto above = [](Timestamp time) { return time.us == greatest_number ? greatest_number : time.us + 1; };
    if (const auto& least = filter.confidence_min)
        bound(Column::confidence, sortable(*least), greatest_number, *least <= 1 ? everything : nothing);
    if (filter.occurred_from || filter.occurred_to)
        bound(Column::occurred, filter.occurred_from ? filter.occurred_from->us : least_number,
              filter.occurred_to ? below(*filter.occurred_to) : greatest_number, options.occurred);
    if (const auto& time = filter.valid_at) {
        bound(Column::valid_from, least_number, time->us, everything);
        bound(Column::valid_to, above(*time), greatest_number, everything);
    }
    bound(Column::expires, above(options.now), greatest_number, everything);
    if (range_.from < range_.to) target_ = memory_keys::block_of(ascending_ ? range_.from : Seq{range_.to.value - 1});
}

BlockWalk::Stream BlockWalk::set_stream(Set set, std::string_view value) const {
    return {memory_keys::set(prefix_, set, value), memory_keys::changes(set), nullptr, std::nullopt};
}

void BlockWalk::require(Set set, const std::vector<std::string>& values) {
    Condition condition;
    for (const auto& value : values) condition.any_of.push_back(set_stream(set, value));
    conditions_.push_back(std::move(condition));
}

BlockWalk::Stream BlockWalk::column_stream(Column column) const {
    return {memory_keys::column(prefix_, column), true, nullptr, std::nullopt};
}

void BlockWalk::bound(Column column, std::int64_t least, std::int64_t greatest, OrdinalRange unset) {
    bounds_.push_back({column_stream(column), least, greatest, unset});
}

Result<bool> BlockWalk::next() {
    while (target_) {
        const auto met = meet(*target_);
        if (!met) return met.error();
        target_ = std::nullopt;
        if (!*met) return false;
        block_ = **met;
        const auto last = memory_keys::block_of(ascending_ ? Seq{range_.to.value - 1} : range_.from);
        if (before(last, block_)) return false;
        if (block_ != last) target_ = ascending_ ? block_ + 1 : block_ - 1;

        const auto gathered = gather();
        if (!gathered) return gathered.error();
        passing_ = *gathered;
        if (const auto narrowed = narrow(); !narrowed) return narrowed.error();
        if (!passing_.empty()) return true;
    }
    return false;
}

std::optional<std::uint64_t> BlockWalk::place(const Stream& stream) const {
    if (!stream.iterator->valid()) return std::nullopt;
    const auto key = stream.iterator->key();
    if (key.size() != stream.prefix.size() + 8 || !key.starts_with(stream.prefix)) return std::nullopt;
    return memory_keys::read_u64(key.substr(stream.prefix.size()));
}

Status BlockWalk::advance(Stream& stream, std::uint64_t target) {
    const auto seek = [&] {
        auto key = stream.prefix;
        memory_keys::append_u64(key, target);
        if (ascending_)
            stream.iterator->seek(key);
        else
            stream.iterator->seek_for_prev(key);
        ++keys_scanned_;
        stream.block = place(stream);
    };
    if (!stream.iterator) {
        stream.iterator = snapshot_.iterate();
        seek();
    } else if (stream.block && before(*stream.block, target)) {  // Most often it is the next one.
        if (ascending_)
            stream.iterator->next();
        else
            stream.iterator->prev();
        ++keys_scanned_;
        stream.block = place(stream);
        if (stream.block && before(*stream.block, target)) seek();
    }
    return stream.iterator->status();
}

// The first block at or past `target` that any of the sets has.
Result<std::optional<std::uint64_t>> BlockWalk::advance(Condition& condition, std::uint64_t target) {
    std::optional<std::uint64_t> first;
    for (auto& stream : condition.any_of) {
        if (const auto advanced = advance(stream, target); !advanced) return advanced.error();
        if (stream.block && (!first || before(*stream.block, *first))) first = stream.block;
    }
    return first;
}

// The first block at or past `target` that every condition has.
Result<std::optional<std::uint64_t>> BlockWalk::meet(std::uint64_t target) {
    for (std::size_t agreed = 0, i = 0; agreed < conditions_.size(); i = (i + 1) % conditions_.size()) {
        const auto at = advance(conditions_[i], target);
        if (!at || !*at) return at;
        agreed = **at == target ? agreed + 1 : 1;
        target = **at;
    }
    return std::optional(target);
}

Result<BlockRewind> BlockWalk::rewind_at(const Stream& stream) {
    if (!past_) past_ = snapshot_.iterate();
    const auto base = memory_keys::past(prefix_, stream.iterator->key());
    past_->seek(past_key(base, Seq{as_of_->value + 1}));
    auto back = rewind(*past_, base, *as_of_);
    if (back) keys_scanned_ += std::max<std::size_t>(back->rows, 1);
    return back;
}

Result<BlockSet> BlockWalk::set_at(const Stream& stream) {
    if (!as_of_ || !stream.changes) return BlockSet::decode(stream.iterator->value());
    const auto back = rewind_at(stream);
    if (!back) return back.error();
    auto set = BlockSet::decode(back->image ? *back->image : stream.iterator->value());
    if (!set) return set;
    for (auto i = back->size(); i > 0; --i) {
        const auto [offset, was] = (*back)[i - 1];
        if (auto done = set->put_back(offset, was); !done) return done.error();
    }
    return set;
}

Result<ColumnView> BlockWalk::column_at(const Stream& stream, std::string& room) {
    if (!as_of_) return ColumnView::open(stream.iterator->value());
    const auto back = rewind_at(stream);
    if (!back) return back.error();
    if (back->rows == 0) return ColumnView::open(stream.iterator->value());
    auto column = BlockColumn::decode(back->image ? *back->image : stream.iterator->value());
    if (!column) return column.error();
    for (auto i = back->size(); i > 0; --i) {
        const auto [offset, was] = (*back)[i - 1];
        if (auto done = column->put_back(offset, was); !done) return done.error();
    }
    room = column->encode();
    return ColumnView::open(room);
}

Result<BlockSet> BlockWalk::gather() {
    BlockSet all;
    for (bool first = true; auto& condition : conditions_) {
        BlockSet any;
        for (const auto& stream : condition.any_of) {
            if (stream.block != block_) continue;
            const auto set = set_at(stream);
            if (!set) return set.error();
            any |= *set;
        }
        if (std::exchange(first, false))
            all = any;
        else
            all &= any;
    }
    return all;
}

void BlockWalk::clip(BlockSet& set, const OrdinalRange& range) const {
    const auto begin = memory_keys::ordinal_of(block_, 0).value;
    const auto offset = [&](Seq ordinal) { return ordinal.value > begin ? ordinal.value - begin : 0; };
    set.keep_between(offset(range.from), offset(range.to));
}

Status BlockWalk::narrow() {
    clip(passing_, range_);
    if (hidden_ && !passing_.empty()) {
        if (auto advanced = advance(*hidden_, block_); !advanced) return advanced;
        if (hidden_->block == block_) {
            const auto hidden = set_at(*hidden_);
            if (!hidden) return hidden.error();
            passing_ -= *hidden;
        }
    }
    for (auto& bound : bounds_) {
        if (passing_.empty()) break;
        if (auto advanced = advance(bound.column, block_); !advanced) return advanced;
        auto kept = passing_;
        clip(kept, bound.unset);
        if (bound.column.block == block_) {
            std::string room;
            const auto column = column_at(bound.column, room);
            if (!column) return column.error();
            kept -= column->members();
            kept |= column->between(bound.least, bound.greatest);
        }
        passing_ &= kept;
    }
    return Done{};
}

Status BlockWalk::each_confidence(const std::function<void(std::uint16_t, std::int64_t)>& visit) {
    if (auto advanced = advance(confidence_, block_); !advanced) return advanced;
    auto usual = passing_;
    if (confidence_.block == block_) {
        std::string room;
        const auto column = column_at(confidence_, room);
        if (!column) return column.error();
        usual -= column->members();
        column->each([&](std::uint16_t offset, std::int64_t confidence) {
            if (passing_.contains(offset)) visit(offset, confidence);
        });
    }
    usual.each([&](std::uint16_t offset) { visit(offset, sortable(1)); });
    return Done{};
}

struct MetadataFilter::Condition {
    std::string path;
    std::optional<nlohmann::json> equals;
    std::optional<double> at_least;
    std::optional<double> at_most;

    bool passes(const nlohmann::json& value) const {
        if (equals && !(value == *equals)) return false;
        if (!at_least && !at_most) return true;
        if (!value.is_number()) return false;
        const auto number = value.get<double>();
        return (!at_least || number >= *at_least) && (!at_most || number <= *at_most);
    }

    // Whether any value that `path` can mean passes.
    bool finds(const nlohmann::json& within, std::string_view rest) const {
        if (!within.is_object()) return false;
        if (const auto whole = within.find(rest); whole != within.end() && passes(*whole)) return true;
        for (auto dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.', dot + 1))
            if (const auto inner = within.find(rest.substr(0, dot)); inner != within.end())
                if (finds(*inner, rest.substr(dot + 1))) return true;
        return false;
    }
};

MetadataFilter::MetadataFilter() = default;
MetadataFilter::MetadataFilter(MetadataFilter&&) noexcept = default;
MetadataFilter::~MetadataFilter() = default;

Result<MetadataFilter> MetadataFilter::parse(const std::vector<Filter::Metadata>& conditions) {
    const auto refuse = [](std::string_view field, std::string_view why) {
        return Error{ErrorCode::invalid_argument,
                     "filter.metadata." + std::string(field) + " " + std::string(why),
                     {{"field", "filter.metadata." + std::string(field)}}};
    };
    MetadataFilter parsed;
    for (const auto& condition : conditions) {
        if (condition.path.empty()) return refuse("path", "may not be empty");
        auto& made =
            parsed.conditions_.emplace_back(Condition{condition.path, {}, condition.at_least, condition.at_most});
        if (!condition.equals) continue;
        made.equals = nlohmann::json::parse(*condition.equals, nullptr, false);
        if (made.equals->is_discarded()) return refuse("equals", "is not JSON");
    }
    return parsed;
}

bool MetadataFilter::empty() const {
    return conditions_.empty();
}

bool MetadataFilter::passes(std::string_view metadata) const {
    const auto value = nlohmann::json::parse(metadata, nullptr, false);
    if (value.is_discarded()) return false;
    return std::ranges::all_of(conditions_, [&](const auto& one) { return one.finds(value, one.path); });
}

}  // namespace annal
