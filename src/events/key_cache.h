// The keys used last, unwrapped, in locked memory.
// Threads: every method may be called from any thread.
#pragma once

#include "keystore_file.h"
#include "locked_bytes.h"

#include <list>
#include <mutex>
#include <unordered_map>

namespace annal {

class KeyCache {
 public:
    static Result<std::unique_ptr<KeyCache>> create(std::size_t keys_max);  // At least 1.

    bool get(const SubjectKeyId& id, PassingKey& key);
    void put(const SubjectKeyId& id, const PassingKey& key);
    void remove(const SubjectKeyId& id);

 private:
    struct Use {
        SubjectKeyId id;
        std::size_t slot;
    };
    KeyCache(LockedBytes keys, std::size_t keys_max);
    std::span<std::uint8_t> slot(std::size_t index) { return keys_.span().subspan(index * key_bytes, key_bytes); }

    std::mutex mutex_;
    LockedBytes keys_;
    std::list<Use> uses_;  // The last one first.
    std::unordered_map<SubjectKeyId, std::list<Use>::iterator> by_id_;
    std::vector<std::size_t> free_;
};

}  // namespace annal
