#include "erasures.h"

#include "rocks_keys.h"

#include <algorithm>
#include <mutex>

namespace annal {
namespace {

constexpr std::string_view tombstone_prefix = "tombstone";
constexpr std::size_t value_bytes = 17;

}  // namespace

std::string ErasureTable::key(std::string_view project, std::string_view user) {
    std::string key(prefix);
    key += '\0';
    key += project;
    key += '\0';
    key += user;
    return key;
}

std::string ErasureTable::value(const Erasure& erasure) {
    std::string value;
    append_number(value, erasure.requested_at.value);
    append_number(value, erasure.keystore_epoch);
    value += static_cast<char>(erasure.state);
    return value;
}

Result<Erasure> ErasureTable::decode(std::string_view key, std::string_view value) {
    const Error damaged{ErrorCode::data_loss, "the row of an erasure is damaged", {}};
    key.remove_prefix(std::min(key.size(), prefix.size() + 1));
    const auto end = key.find('\0');
    if (end == std::string_view::npos || end == 0 || value.size() != value_bytes) return damaged;
    Erasure erasure{std::string(key.substr(0, end)), std::string(key.substr(end + 1)),
                    Seq{take_number<std::uint64_t>(value.data())}, take_number<std::uint64_t>(value.data() + 8),
                    static_cast<ErasureState>(value.back())};
    if (erasure.user.empty() || erasure.state < ErasureState::requested || erasure.state > ErasureState::completed)
        return damaged;
    return erasure;
}

std::optional<Erasure> ErasureTable::find(std::string_view project, std::string_view user) const {
    if (empty()) return std::nullopt;
    const std::shared_lock hold(mutex_);
    const auto found = by_key_.find(key(project, user));
    return found == by_key_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<Erasure> ErasureTable::all() const {
    const std::shared_lock hold(mutex_);
    std::vector<Erasure> all;
    for (const auto& [key, erasure] : by_key_) all.push_back(erasure);
    return all;
}

void ErasureTable::put(Erasure erasure) {
    const std::lock_guard changing(mutex_);
    auto at = key(erasure.project, erasure.user);
    by_key_.insert_or_assign(std::move(at), std::move(erasure));
    empty_.store(false, std::memory_order_release);
}

std::string tombstone_key(const TombstoneHash& hash) {
    std::string key(tombstone_prefix);
    key.append(as_text(hash));
    return key;
}

std::string tombstone_value(TombstoneReason reason) {
    return {static_cast<char>(reason)};
}

Result<TombstoneReason> tombstone_reason(std::string_view value) {
    if (value.size() == 1 && (value[0] == 1 || value[0] == 2)) return static_cast<TombstoneReason>(value[0]);
    return Error{ErrorCode::data_loss, "the row of a value that is refused is damaged", {}};
}

}  // namespace annal
