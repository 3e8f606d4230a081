#include "event_log_stream_heads.h"

namespace annal {
namespace {

constexpr std::size_t generation_streams_max = 32'768;

}  // namespace

Result<Version*> StreamHeads::find(const RocksStore& store, std::string_view project, const MemoryId& stream) {
    key_.assign(project);
    key_ += '\0';
    key_.append(reinterpret_cast<const char*>(stream.bytes.data()), stream.bytes.size());
    if (const auto found = young_.find(key_); found != young_.end()) return &found->second;
    if (auto node = old_.extract(key_)) return &young_.insert(std::move(node)).position->second;
    const auto version = store.stream_version(project, stream);
    if (!version) return version.error();
    return &young_.emplace(key_, *version).first->second;
}

void StreamHeads::trim() {
    if (young_.size() < generation_streams_max) return;
    old_ = std::move(young_);
    young_.clear();
}

void StreamHeads::clear() {
    young_.clear();
    old_.clear();
}

}  // namespace annal
