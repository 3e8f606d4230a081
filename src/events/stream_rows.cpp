#include "stream_rows.h"

#include <algorithm>
#include <functional>
#include <numeric>

namespace annal {
namespace {

constexpr std::size_t slots_at_first = 64;  // A power of two.

}  // namespace

void StreamRows::add(std::string_view key, std::string_view value) {
    if (2 * (rows_.size() + 1) > slots_.size()) grow();
    const auto slot = slot_of(key.substr(0, key.size() - version_bytes));
    rows_.push_back({bytes_.size(), static_cast<std::uint32_t>(key.size()), static_cast<std::uint32_t>(value.size()),
                     slots_[slot]});
    slots_[slot] = static_cast<std::uint32_t>(rows_.size());
    bytes_ += key;
    bytes_ += value;
}

void StreamRows::clear() {
    if (rows_.empty()) return;
    bytes_.clear();
    rows_.clear();
    std::fill(slots_.begin(), slots_.end(), 0);
}

std::string_view StreamRows::value(std::size_t row) const {
    return {bytes_.data() + rows_[row].at + rows_[row].key_size, rows_[row].value_size};
}

std::vector<std::size_t> StreamRows::of_stream(std::string_view prefix) const {
    std::vector<std::size_t> found;
    if (rows_.empty()) return found;
    for (auto row = slots_[slot_of(prefix)]; row != 0; row = rows_[row - 1].previous) found.push_back(row - 1);
    std::reverse(found.begin(), found.end());
    return found;
}

std::size_t StreamRows::last_of_stream(std::string_view prefix) const {
    const auto row = rows_.empty() ? 0 : slots_[slot_of(prefix)];
    return row == 0 ? rows_.size() : row - 1;
}

std::vector<std::size_t> StreamRows::sorted() const {
    std::vector<std::size_t> order(rows_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto before = [this](std::size_t a, std::size_t b) { return key(a) < key(b); };
    if (!std::is_sorted(order.begin(), order.end(), before)) std::sort(order.begin(), order.end(), before);
    return order;
}

// Where the stream is, or would be.
std::size_t StreamRows::slot_of(std::string_view prefix) const {
    const auto mask = slots_.size() - 1;
    for (auto at = std::hash<std::string_view>{}(prefix)&mask;; at = (at + 1) & mask)
        if (slots_[at] == 0 || this->prefix(slots_[at] - 1) == prefix) return at;
}

void StreamRows::grow() {
    slots_.assign(std::max(slots_at_first, 2 * slots_.size()), 0);
    for (std::size_t row = 0; row < rows_.size(); ++row)  // The last of a stream stays.
        slots_[slot_of(prefix(row))] = static_cast<std::uint32_t>(row + 1);
}

}  // namespace annal
