#include "event_log_stream_heads.h"

#include <openssl/rand.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace annal {
namespace {

constexpr std::size_t cached_streams = 16'384;  // Powers of two.
constexpr std::size_t group_slots_at_first = 1024;
constexpr std::size_t projects_max = 1024;

std::uint64_t random_seed() {
    std::uint64_t seed = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&seed), sizeof seed) != 1)
        seed = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    return seed;
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

StreamHeads::StreamHeads() : seed_(random_seed()), slots_(group_slots_at_first), cache_(cached_streams) {}

Result<StreamHeads::Project*> StreamHeads::project(const RocksStore& store, std::string_view name) {
    const auto [entry, unknown] = projects_.try_emplace(std::string(name));
    if (!unknown) return &entry->second;
    const auto mark = store.greatest_stream(name);
    if (!mark) {
        projects_.erase(entry);
        return mark.error();
    }
    entry->second = {++project_number_, *mark};
    return &entry->second;
}

Result<std::size_t> StreamHeads::find(const RocksStore& store, std::string_view name, Project& project,
                                      const MemoryId& stream) {
    const auto key = hash(project, stream);
    for (std::size_t at = key; slots_[at &= slots_.size() - 1].group == group_number_; ++at) {
        const std::size_t place = slots_[at].place;
        if (group_[place].stream == stream && group_[place].project == &project) return place;
    }
    Version version;
    if (const auto& known = cached(key); known.number == project.number && known.stream == stream) {
        version = known.version;
    } else if (stream <= project.mark) {
        const auto stored = store.stream_version(name, stream);
        if (!stored) return stored.error();
        version = *stored;
    }
    group_.push_back({&project, stream, version});
    if (2 * group_.size() > slots_.size())
        grow();
    else
        enter(key, group_.size() - 1);
    return group_.size() - 1;
}

void StreamHeads::commit() {
    for (const auto& head : group_) {
        if (head.version == Version{}) continue;
        head.project->mark = std::max(head.project->mark, head.stream);
        cached(hash(*head.project, head.stream)) = {head.project->number, head.stream, head.version};
    }
    empty_group();
    if (projects_.size() > projects_max) projects_.clear();
}

void StreamHeads::clear() {
    empty_group();
    projects_.clear();  // And with their numbers all that is cached.
}

std::uint64_t StreamHeads::hash(const Project& project, const MemoryId& stream) const {
    std::array<std::uint64_t, 2> halves{};
    static_assert(sizeof halves == sizeof stream.bytes);
    std::memcpy(halves.data(), stream.bytes.data(), sizeof halves);
    constexpr std::uint64_t odd = 0x9E3779B97F4A7C15U;
    return mix(mix(halves[0] ^ seed_, halves[1] ^ odd) ^ seed_, project.number ^ odd);
}

void StreamHeads::enter(std::uint64_t hash, std::size_t place) {
    std::size_t at = hash;
    while (slots_[at &= slots_.size() - 1].group == group_number_) ++at;
    slots_[at] = {group_number_, static_cast<std::uint32_t>(place)};
}

void StreamHeads::grow() {
    slots_.assign(2 * slots_.size(), {});
    for (std::size_t place = 0; place < group_.size(); ++place)
        enter(hash(*group_[place].project, group_[place].stream), place);
}

void StreamHeads::empty_group() {
    group_.clear();
    if (++group_number_ != 0) return;
    slots_.assign(slots_.size(), {});
    group_number_ = 1;
}

}  // namespace annal
