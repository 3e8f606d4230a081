#include "block_past.h"

#include "memory_keys.h"
#include "text_codec.h"

#include <algorithm>
#include <limits>

namespace annal {
namespace {

using text_codec::put_bytes;
using text_codec::put_varint;
using text_codec::RowReader;

constexpr Seq still_open{std::numeric_limits<std::uint64_t>::max()};

Error damaged() {
    return {ErrorCode::data_loss, "the past of a stored block cannot be read", {}};
}

struct Segment {
    std::uint64_t since_image = 0;
    std::optional<std::string_view> image;
    std::string_view changes;
};

std::optional<Segment> read_segment(std::string_view value) {
    RowReader row(value);
    Segment segment;
    segment.since_image = row.varint();
    if (const auto size = row.varint(); size > 0) segment.image = row.take(size - 1);
    segment.changes = row.rest();
    return row.ok() ? std::optional(segment) : std::nullopt;
}

// Calls visit(seq, was) for each change. False: not such bytes.
template <class Visit>
bool each_change(std::string_view changes, Visit&& visit) {
    RowReader row(changes);
    Seq seq;
    while (row.ok() && !row.rest().empty()) {
        seq.value += row.varint();
        const auto was = row.bytes();
        if (row.ok()) visit(seq, was);
    }
    return row.ok();
}

std::string encode_segment(std::uint64_t since_image, const std::optional<std::string>& image,
                           std::string_view changes) {
    std::string value;
    put_varint(value, since_image);
    put_varint(value, image ? image->size() + 1 : 0);
    if (image) value.append(*image);
    return value.append(changes);
}

}  // namespace

std::string past_key(std::string_view base, Seq seq) {
    std::string key(base);
    memory_keys::append_u64(key, seq.value);
    return key;
}

Result<BlockPast> BlockPast::load(const ViewBatch& batch, std::string base) {
    BlockPast past;
    past.base_ = std::move(base);
    const auto value = batch.get(past_key(past.base_, still_open));
    if (!value) return value.error();
    if (!*value) return past;
    const auto segment = read_segment(**value);
    if (!segment) return damaged();
    past.since_image_ = segment->since_image;
    past.changes_ = segment->changes;
    if (!each_change(segment->changes, [&](Seq seq, std::string_view) { past.last_ = seq; })) return damaged();
    return past;
}

void BlockPast::append(Seq seq, std::string_view was) {
    const auto before = changes_.size();
    put_varint(changes_, changes_.empty() ? seq.value : seq.value - last_.value);
    put_bytes(changes_, was);
    last_ = seq;
    since_image_ += changes_.size() - before;
}

void BlockPast::seal(const std::optional<std::string>& image) {
    sealed_.emplace_back(past_key(base_, last_), encode_segment(since_image_, image, changes_));
    changes_.clear();
    if (image) since_image_ = 0;
}

void BlockPast::finish(ViewBatch& batch) {
    for (const auto& [key, value] : sealed_) batch.put(key, value);
    sealed_.clear();
    // Kept when it is empty: it knows how much there is since the last image.
    batch.put(past_key(base_, still_open), encode_segment(since_image_, std::nullopt, changes_));
}

Result<BlockRewind> rewind(ViewIterator& rows, std::string_view base, Seq as_of) {
    BlockRewind back;
    for (; rows.valid() && rows.key().starts_with(base) && rows.key().size() == base.size() + 8; rows.next()) {
        ++back.rows;
        const auto segment = read_segment(rows.value());
        const bool read = segment && each_change(segment->changes, [&](Seq seq, std::string_view was) {
                              if (seq > as_of) back.was.emplace_back(was);
                          });
        if (!read) return damaged();
        if (!segment->image) continue;
        back.image = std::string(*segment->image);
        break;
    }
    if (auto done = rows.status(); !done) return done.error();
    std::ranges::reverse(back.was);
    return back;
}

}  // namespace annal
