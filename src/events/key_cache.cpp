#include "key_cache.h"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace annal {

KeyCache::KeyCache(LockedBytes keys, std::size_t keys_max) : keys_(std::move(keys)), free_(keys_max) {
    std::iota(free_.begin(), free_.end(), std::size_t{0});
}

Result<std::unique_ptr<KeyCache>> KeyCache::create(std::size_t keys_max) {
    assert(keys_max > 0);
    auto keys = LockedBytes::zeros(keys_max * key_bytes);
    if (!keys) return keys.error();
    return std::unique_ptr<KeyCache>(new KeyCache(std::move(*keys), keys_max));
}

bool KeyCache::get(const SubjectKeyId& id, PassingKey& key) {
    const std::lock_guard lock(mutex_);
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) return false;
    uses_.splice(uses_.begin(), uses_, found->second);
    const auto bytes = slot(found->second->slot);
    std::copy(bytes.begin(), bytes.end(), key.bytes.begin());
    return true;
}

void KeyCache::put(const SubjectKeyId& id, const PassingKey& key) {
    const std::lock_guard lock(mutex_);
    if (by_id_.count(id) != 0) return;
    if (free_.empty()) {
        free_.push_back(uses_.back().slot);
        by_id_.erase(uses_.back().id);
        uses_.pop_back();
    }
    uses_.push_front(Use{id, free_.back()});
    free_.pop_back();
    by_id_[id] = uses_.begin();
    std::copy(key.bytes.begin(), key.bytes.end(), slot(uses_.front().slot).begin());
}

void KeyCache::remove(const SubjectKeyId& id) {
    const std::lock_guard lock(mutex_);
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) return;
    const auto use = found->second;
    const auto bytes = slot(use->slot);
    std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});
    free_.push_back(use->slot);
    by_id_.erase(found);
    uses_.erase(use);
}

}  // namespace annal
