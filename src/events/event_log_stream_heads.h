// The versions of the streams written or asked for last. Two generations of a map: what is used moves to the young one,
// and the old one is dropped when the young one is full.
#pragma once

#include "rocks_store.h"

#include <string>
#include <unordered_map>

namespace annal {

class StreamHeads {
 public:
    // The stream's version, to be read and changed; stays where it is until trim() or clear().
    Result<Version*> find(const RocksStore& store, std::string_view project, const MemoryId& stream);
    void trim();
    void clear();

 private:
    std::unordered_map<std::string, Version> young_, old_;
    std::string key_;
};

}  // namespace annal
