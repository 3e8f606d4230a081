#include "log_proofs.h"

#include "base64.h"
#include "bytes.h"

namespace annal {
namespace {

std::string line(const Hash& hash) {
    return to_base64(as_text(hash)) + '\n';
}

std::string lines(const std::vector<Hash>& path) {
    std::string text;
    for (const auto& hash : path) text += line(hash);
    return text;
}

}  // namespace

Result<std::string> prove_inclusion(const EventLog& log, Seq seq, Seq size) {
    if (auto there = log.root(size); !there) return there.error();
    if (seq == Seq{} || seq > size)
        return Error{ErrorCode::invalid_argument,
                     "event " + std::to_string(seq.value) + " is not among the first " + std::to_string(size.value),
                     {{"seq", std::to_string(seq.value)}, {"size", std::to_string(size.value)}}};
    const auto path = inclusion_proof(seq.value - 1, size.value, [&](MerkleNodeId id) { return log.tree_node(id); });
    if (!path) return path.error();
    EventArena arena;
    std::vector<EventView> events;
    if (auto read = log.read(Seq{seq.value - 1}, {1, 1}, arena, events); !read) return read.error();
    const auto stored = events.at(0).stored();
    return "annal inclusion proof v1\nseq " + std::to_string(seq.value) + "\nsize " + std::to_string(size.value) +
           "\nrecorded_at " + std::to_string(events[0].recorded_at().us) + "\nversion " +
           std::to_string(events[0].version().value) + "\nbody " + line(body_hash(as_text(stored))) + lines(*path);
}

Result<std::string> prove_consistency(const EventLog& log, Seq size1, Seq size2) {
    if (auto there = log.root(size2); !there) return there.error();
    const auto path = consistency_proof(size1.value, size2.value, [&](MerkleNodeId id) { return log.tree_node(id); });
    if (!path) return path.error();
    return "annal consistency proof v1\nold_size " + std::to_string(size1.value) + "\nnew_size " +
           std::to_string(size2.value) + '\n' + lines(*path);
}

}  // namespace annal
