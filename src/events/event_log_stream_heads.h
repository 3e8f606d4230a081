// The versions of the streams that a group of appends touches, as the group leaves them, and of those touched lately.
//   of the group  an exact table, emptied by commit() and clear()
//   lately        a cache of fixed size: a slot has room for one stream and says which; a stream that is not there is
//                 asked of the store
//   never         the mark: the greatest id that a stream of the project has in the store. A greater id is new. Most
//                 ids are UUIDv7 and grow, so most new streams are known to be new without asking the store.
// Invariant: a project's mark is not below any id of its streams in the store. It is looked up once, and raised by
// commit() to every id of the group. A mark that is too high costs a look-up, no more. Nothing depends on ids growing.
// Threads: the committer only.
#pragma once

#include "rocks_store.h"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace annal {

class StreamHeads {
 public:
    StreamHeads();

    struct Project {
        std::uint64_t number = 0;  // Never given out twice, so that a slot of the cache is right or of nobody.
        MemoryId mark;             // Nil, which no stream is called: there are no streams.
    };
    // Stays where it is until commit() or clear().
    Result<Project*> project(const RocksStore& store, std::string_view name);

    // Where at() has the stream's version, until commit() or clear().
    Result<std::size_t> find(const RocksStore& store, std::string_view name, Project& project, const MemoryId& stream);
    Version& at(std::size_t place) { return group_[place].version; }

    void commit();  // The group is in the store, at the versions set.
    void clear();   // What the store holds is not known any more.

 private:
    struct Head {
        Project* project = nullptr;
        MemoryId stream;
        Version version;
    };
    struct Cached {
        std::uint64_t number = 0;  // 0: none.
        MemoryId stream;
        Version version;
    };
    struct Slot {
        std::uint32_t group = 0;  // Of another one: empty.
        std::uint32_t place = 0;
    };
    std::uint64_t hash(const Project& project, const MemoryId& stream) const;
    Cached& cached(std::uint64_t hash) { return cache_[hash >> 32 & (cache_.size() - 1)]; }
    void enter(std::uint64_t hash, std::size_t place);
    void grow();
    void empty_group();

    const std::uint64_t seed_;  // Nobody can choose ids that meet in one slot.
    std::unordered_map<std::string, Project> projects_;
    std::uint64_t project_number_ = 0;
    std::vector<Head> group_;
    std::vector<Slot> slots_;
    std::uint32_t group_number_ = 1;
    std::vector<Cached> cache_;
};

}  // namespace annal
