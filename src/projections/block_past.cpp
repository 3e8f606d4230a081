#include "block_past.h"

#include "memory_keys.h"
#include "text_codec.h"

#include <limits>

namespace annal {
namespace {

using text_codec::put_varint;
using text_codec::RowReader;

constexpr unsigned size_bits = 2;
constexpr std::uint64_t size_follows = 3;
constexpr Seq still_open{std::numeric_limits<std::uint64_t>::max()};

Error damaged_past() {
    return {ErrorCode::data_loss, "the past of a stored block cannot be read", {}};
}

struct Segment {
    std::uint64_t since_image = 0;
    std::uint64_t image_due = 0;
    std::optional<std::string_view> image;
    std::string_view changes;
};

std::optional<Segment> read_segment(std::string_view value) {
    RowReader row(value);
    Segment segment;
    segment.since_image = row.varint();
    segment.image_due = row.varint();
    if (const auto size = row.varint(); size > 0) segment.image = row.take(size - 1);
    segment.changes = row.rest();
    return row.ok() ? std::optional(segment) : std::nullopt;
}

// Calls visit(seq, replaced) for each change. False: not such bytes.
template <class Visit>
bool each_change(std::string_view changes, Visit&& visit) {
    RowReader row(changes);
    Seq seq;
    Replaced replaced;
    while (row.ok() && !row.rest().empty()) {
        seq.value += row.varint();
        const auto head = row.varint();
        const auto step = head >> size_bits;
        replaced.place += static_cast<std::uint32_t>((step >> 1) ^ (0 - (step & 1)));
        auto size = head & size_follows;
        if (size == size_follows) size += row.varint();
        replaced.was = row.take(size);
        if (row.ok()) visit(seq, replaced);
    }
    return row.ok();
}

std::string encode(const Segment& segment) {
    std::string value;
    put_varint(value, segment.since_image);
    put_varint(value, segment.image_due);
    put_varint(value, segment.image ? segment.image->size() + 1 : 0);
    if (segment.image) value.append(*segment.image);
    return value.append(segment.changes);
}

}  // namespace

std::string past_key(std::string_view base, Seq seq) {
    std::string key(base);
    memory_keys::append_u64(key, seq.value);
    return key;
}

Result<BlockPast> BlockPast::load(const ViewBatch& batch, std::string base, unsigned images) {
    BlockPast past;
    past.images_ = images;
    past.base_ = std::move(base);
    const auto value = batch.get(past_key(past.base_, still_open));
    if (!value) return value.error();
    if (!*value) return past;
    const auto segment = read_segment(**value);
    if (!segment) return damaged_past();
    past.since_image_ = segment->since_image;
    past.image_due_ = segment->image_due;
    past.changes_ = segment->changes;
    const bool read = each_change(segment->changes, [&](Seq seq, Replaced replaced) {
        past.last_ = seq;
        past.last_place_ = replaced.place;
    });
    if (!read) return damaged_past();
    return past;
}

void BlockPast::append(Seq seq, Replaced replaced) {
    const auto before = changes_.size();
    const auto size = std::min<std::uint64_t>(replaced.was.size(), size_follows);
    const auto step = std::int64_t{replaced.place} - std::int64_t{last_place_};
    const auto zigzag = (static_cast<std::uint64_t>(step) << 1) ^ static_cast<std::uint64_t>(step >> 63);
    put_varint(changes_, seq.value - last_.value);
    put_varint(changes_, zigzag << size_bits | size);
    if (size == size_follows) put_varint(changes_, replaced.was.size() - size_follows);
    changes_.append(replaced.was);
    last_ = seq;
    last_place_ = replaced.place;
    since_image_ += changes_.size() - before;
}

void BlockPast::seal(const std::optional<std::string>& image) {
    sealed_.emplace_back(past_key(base_, last_), encode({since_image_, image_due_, image, changes_}));
    changes_.clear();
    last_ = Seq{0};
    last_place_ = 0;
    if (image) since_image_ = 0;
}

void BlockPast::finish(ViewBatch& batch) {
    for (const auto& [key, value] : sealed_) batch.put(key, value);
    sealed_.clear();
    // Kept when it is empty: it knows how much there is since the last image.
    batch.put(past_key(base_, still_open), encode({since_image_, image_due_, std::nullopt, changes_}));
}

bool BlockRewind::add(std::string_view changes, Seq as_of) {
    const auto base = changes_.size();
    changes_.append(changes);
    return each_change(changes, [&](Seq seq, Replaced replaced) {
        if (seq <= as_of) return;
        const auto begin = base + static_cast<std::size_t>(replaced.was.data() - changes.data());
        places_.push_back(
            {replaced.place, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(replaced.was.size())});
    });
}

Result<BlockRewind> rewind(ViewIterator& rows, std::string_view base, Seq as_of) {
    BlockRewind back;
    for (; rows.valid() && rows.key().starts_with(base) && rows.key().size() == base.size() + 8; rows.next()) {
        ++back.rows;
        const auto segment = read_segment(rows.value());
        if (!segment || !back.add(segment->changes, as_of)) return damaged_past();
        if (!segment->image) continue;
        back.image = std::string(*segment->image);
        break;
    }
    if (auto done = rows.status(); !done) return done.error();
    return back;
}

}  // namespace annal
