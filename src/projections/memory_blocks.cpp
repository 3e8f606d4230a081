#include "memory_blocks.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace annal {
namespace {

constexpr std::size_t bitmap_bytes = memory_keys::block_size / 8;
constexpr std::size_t sparse_max = bitmap_bytes / 2 - 1;  // The size tells which it is.
constexpr std::size_t dictionary_max = 64;                // Few enough to be found by halving in a step or six.
enum Layout : char { equal = 0, dictionary = 1, differences = 2 };

Error damaged_block(std::string_view what) {
    return {ErrorCode::data_loss, "a stored block " + std::string(what) + " is damaged", {}};
}

std::uint64_t little(std::uint64_t value) {  // To or from little endian.
    if constexpr (std::endian::native == std::endian::big) value = __builtin_bswap64(value);
    return value;
}

// Both move whole words where there is room, since columns of thousands pass through them.
void append_little(std::string& bytes, std::uint64_t value, std::size_t width) {
    value = little(value);
    bytes.append(reinterpret_cast<const char*>(&value), width);
}

std::uint64_t read_little(std::string_view bytes, std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    if (at + 8 <= bytes.size()) {
        std::memcpy(&value, bytes.data() + at, 8);
        return little(value) & (~std::uint64_t{0} >> (64 - 8 * width));
    }
    std::memcpy(&value, bytes.data() + at, width);
    return little(value);
}

std::uint64_t distance(std::int64_t from, std::int64_t to) {
    return static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from);
}

std::int64_t plus(std::int64_t least, std::uint64_t difference) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(least) + difference);
}

}  // namespace

bool BlockSet::empty() const {
    return std::all_of(words_.begin(), words_.end(), [](std::uint64_t word) { return word == 0; });
}

std::size_t BlockSet::size() const {
    std::size_t count = 0;
    for (const auto word : words_) count += static_cast<std::size_t>(std::popcount(word));
    return count;
}

void BlockSet::keep_between(std::uint64_t begin, std::uint64_t end) {
    const auto up_to = [](std::uint64_t bits) {  // The lowest ones of a word.
        return bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    };
    for (std::uint64_t i = 0; i < word_count; ++i) {
        const auto first = i * 64;
        words_[i] &= end > first ? up_to(end - first) : 0;
        words_[i] &= begin > first ? ~up_to(begin - first) : ~std::uint64_t{0};
    }
}

BlockSet& BlockSet::operator&=(const BlockSet& other) {
    for (std::size_t i = 0; i < word_count; ++i) words_[i] &= other.words_[i];
    return *this;
}

BlockSet& BlockSet::operator|=(const BlockSet& other) {
    for (std::size_t i = 0; i < word_count; ++i) words_[i] |= other.words_[i];
    return *this;
}

BlockSet& BlockSet::operator-=(const BlockSet& other) {
    for (std::size_t i = 0; i < word_count; ++i) words_[i] &= ~other.words_[i];
    return *this;
}

void BlockSet::encode_to(std::string& bytes) const {
    if (size() <= sparse_max)
        each([&](std::uint16_t offset) { append_little(bytes, offset, 2); });
    else
        for (const auto word : words_) append_little(bytes, word, 8);
}

Result<BlockSet> BlockSet::decode(std::string_view bytes) {
    BlockSet set;
    if (bytes.size() == bitmap_bytes) {
        for (std::size_t i = 0; i < word_count; ++i) set.words_[i] = read_little(bytes, i * 8, 8);
        return set;
    }
    if (bytes.size() % 2 != 0 || bytes.size() > 2 * sparse_max) return damaged_block("set");
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
        const auto offset = read_little(bytes, i, 2);
        if (offset >= memory_keys::block_size) return damaged_block("set");
        set.insert(static_cast<std::uint16_t>(offset));
    }
    return set;
}

std::string BlockSet::was(bool member) {
    return member ? std::string(1, 1) : std::string();
}

Status BlockSet::put_back(std::uint32_t offset, std::string_view was) {
    if (offset >= memory_keys::block_size || was.size() > 1) return damaged_block("set's past");
    if (was.empty())
        erase(static_cast<std::uint16_t>(offset));
    else
        insert(static_cast<std::uint16_t>(offset));
    return Done{};
}

void BlockColumn::put(std::uint16_t offset, std::int64_t value) {
    if (values_.empty() || values_.back().first < offset) {  // Memories come in order.
        values_.emplace_back(offset, value);
        return;
    }
    const auto at = std::ranges::lower_bound(values_, offset, {}, &std::pair<std::uint16_t, std::int64_t>::first);
    if (at->first == offset)
        at->second = value;
    else
        values_.emplace(at, offset, value);
}

void BlockColumn::erase(std::uint16_t offset) {
    const auto at = std::ranges::lower_bound(values_, offset, {}, &std::pair<std::uint16_t, std::int64_t>::first);
    if (at != values_.end() && at->first == offset) values_.erase(at);
}

std::string BlockColumn::was(const std::optional<std::int64_t>& value) {
    std::string bytes;
    if (value) append_little(bytes, static_cast<std::uint64_t>(*value), 8);
    return bytes;
}

Status BlockColumn::put_back(std::uint32_t offset, std::string_view was) {
    if (offset >= memory_keys::block_size || (!was.empty() && was.size() != 8)) return damaged_block("column's past");
    if (was.empty())
        erase(static_cast<std::uint16_t>(offset));
    else
        put(static_cast<std::uint16_t>(offset), static_cast<std::int64_t>(read_little(was, 0, 8)));
    return Done{};
}

std::string BlockColumn::encode() const {
    BlockSet members;
    auto least = std::numeric_limits<std::int64_t>::max();
    auto greatest = std::numeric_limits<std::int64_t>::min();
    std::vector<std::int64_t> different;  // As long as they are few.
    bool few = true;
    std::int64_t last = 0;
    for (const auto& [offset, value] : values_) {
        members.insert(offset);
        least = std::min(least, value);
        greatest = std::max(greatest, value);
        if (!few || (!different.empty() && value == last)) continue;
        last = value;
        const auto at = std::ranges::lower_bound(different, value);
        if (at != different.end() && *at == value) continue;
        few = different.size() < dictionary_max;
        if (few) different.insert(at, value);
    }
    std::string set;
    members.encode_to(set);
    std::string bytes;
    const auto width = static_cast<std::size_t>(std::bit_width(distance(least, greatest)) + 7) / 8;
    bytes.reserve(32 + set.size() + values_.size() * (few ? 1 : width) + different.size() * 8);
    append_little(bytes, set.size(), 2);
    bytes.append(set);
    if (few && different.size() == 1) {
        bytes.push_back(equal);
        append_little(bytes, static_cast<std::uint64_t>(least), 8);
    } else if (few && different.size() * 8 + values_.size() < values_.size() * width) {
        bytes.push_back(dictionary);
        append_little(bytes, different.size() - 1, 1);
        for (const auto value : different) append_little(bytes, static_cast<std::uint64_t>(value), 8);
        for (const auto& [offset, value] : values_)
            bytes.push_back(static_cast<char>(std::ranges::lower_bound(different, value) - different.begin()));
    } else {
        bytes.push_back(differences);
        append_little(bytes, static_cast<std::uint64_t>(least), 8);
        append_little(bytes, static_cast<std::uint64_t>(greatest), 8);
        append_little(bytes, width, 1);
        for (const auto& [offset, value] : values_) append_little(bytes, distance(least, value), width);
    }
    return bytes;
}

Result<BlockColumn> BlockColumn::decode(std::string_view bytes) {
    const auto view = ColumnView::open(bytes);
    if (!view) return view.error();
    BlockColumn column;
    column.values_.reserve(view->members().size() + 1);
    view->each([&](std::uint16_t offset, std::int64_t value) { column.values_.emplace_back(offset, value); });
    return column;
}

Result<ColumnView> ColumnView::open(std::string_view bytes) {
    if (bytes.size() < 2) return damaged_block("column");
    const auto set_size = read_little(bytes, 0, 2);
    bytes.remove_prefix(2);
    if (bytes.size() < set_size + 9) return damaged_block("column");
    auto members = BlockSet::decode(bytes.substr(0, set_size));
    if (!members) return members.error();
    ColumnView view;
    view.members_ = *members;
    const auto count = view.members_.size();
    const auto layout = bytes[set_size];
    bytes.remove_prefix(set_size + 1);
    const auto number = [&](std::size_t at) { return static_cast<std::int64_t>(read_little(bytes, at, 8)); };
    if (layout == equal) {
        if (bytes.size() != 8) return damaged_block("column");
        view.least_ = view.greatest_ = number(0);
        return view;
    }
    std::size_t head = 0;
    if (layout == dictionary) {
        const auto different = static_cast<std::size_t>(read_little(bytes, 0, 1)) + 1;
        head = 1 + different * 8;
        view.width_ = 1;
        if (bytes.size() != head + count) return damaged_block("column");
        for (std::size_t i = 0; i < different; ++i) view.dictionary_.push_back(number(1 + i * 8));
        if (!std::ranges::is_sorted(view.dictionary_)) return damaged_block("column");
        view.least_ = view.dictionary_.front();
        view.greatest_ = view.dictionary_.back();
        for (const char index : bytes.substr(head))
            if (static_cast<unsigned char>(index) >= different) return damaged_block("column");
    } else if (layout == differences) {
        head = 17;
        if (bytes.size() < head) return damaged_block("column");
        view.least_ = number(0);
        view.greatest_ = number(8);
        view.width_ = static_cast<std::size_t>(read_little(bytes, 16, 1));
        if (view.width_ < 1 || view.width_ > 8 || bytes.size() != head + count * view.width_)
            return damaged_block("column");
    } else {
        return damaged_block("column");
    }
    view.codes_ = bytes.substr(head);
    return view;
}

std::uint64_t ColumnView::code(std::size_t rank) const {
    return read_little(codes_, rank * width_, width_);
}

std::int64_t ColumnView::value(std::size_t rank) const {
    if (width_ == 0) return least_;
    return dictionary_.empty() ? plus(least_, code(rank)) : dictionary_[code(rank)];
}

BlockSet ColumnView::between(std::int64_t least, std::int64_t greatest) const {
    if (least > greatest || least > greatest_ || greatest < least_) return {};
    if (least <= least_ && greatest >= greatest_) return members_;
    // Compared as stored: values and codes sort alike.
    std::uint64_t from = 0;
    std::uint64_t to = 0;
    if (dictionary_.empty()) {
        from = distance(least_, std::max(least, least_));
        to = distance(least_, std::min(greatest, greatest_));
    } else {
        const auto begin = std::ranges::lower_bound(dictionary_, least) - dictionary_.begin();
        const auto end = std::ranges::upper_bound(dictionary_, greatest) - dictionary_.begin();
        if (begin >= end) return {};
        from = static_cast<std::uint64_t>(begin);
        to = static_cast<std::uint64_t>(end) - 1;
    }
    BlockSet passing;
    std::size_t rank = 0;
    members_.each([&](std::uint16_t offset) {
        const auto one = code(rank++);
        if (one >= from && one <= to) passing.insert(offset);
    });
    return passing;
}

std::int64_t sortable(double value) {
    const auto bits = std::bit_cast<std::int64_t>(value == 0 ? 0.0 : value);  // One zero.
    return bits >= 0 ? bits : bits ^ std::numeric_limits<std::int64_t>::max();
}

double from_sortable(std::int64_t value) {
    return std::bit_cast<double>(value >= 0 ? value : value ^ std::numeric_limits<std::int64_t>::max());
}

}  // namespace annal
