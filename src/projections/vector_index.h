// Nearest neighbours by cosine, per partition: one project, kind, model and dimension. Exact while a partition is small
// or a filter leaves few; a graph (hnswlib, int8 codes) with exact rerank when big. The float rows are stored once, in
// a mapped file; codes and graph are made from them. Nothing is ever inserted in a slot twice. A vector that was
// replaced stays, out of the graph, for searches as of a seq at which its memory had it. Threads: searches come from
// any thread, and go on while the projector inserts.
#pragma once

#include "memory_view.h"
#include "projector.h"
#include "vector_source.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct VectorHit {
    Seq ordinal;
    float similarity = 0;  // Cosine, -1..1.
};

// Nearest first; ties by ordinal.
inline bool nearer(const VectorHit& a, const VectorHit& b) {
    return a.similarity > b.similarity || (a.similarity == b.similarity && a.ordinal < b.ordinal);
}

struct VectorQuery {
    std::string_view project;
    std::span<const Kind> kinds;  // Empty: all.
    std::string_view model;
    std::span<const float> vector;        // Unit length.
    std::size_t limit = 10;               // Never fewer hits than min(limit, memories that pass).
    const OrdinalSet* passing = nullptr;  // Null: all live ones.
    // The vectors that memories had then, by an exact scan; which memories were live then, `passing` says. At most
    // applied().
    std::optional<Seq> as_of{};
};

struct VectorAnswer {
    std::vector<VectorHit> hits;        // Nearest first; ties by ordinal.
    std::vector<std::string> degraded;  // A graph being rebuilt, say: the answer is exact but slower.
};

class VectorIndex : public Projector {
 public:
    // `directory`: for its files, made when missing. `source`: null for the index of the vectors that events bring;
    // else this is the index of its model's, of whatever is said without bringing one. Shared by all generations.
    // `on_message`: hears of damaged graphs that are built anew, and of files that could not be written.
    static std::unique_ptr<VectorIndex> create(
        std::filesystem::path directory, std::shared_ptr<VectorSource> source,
        std::function<void(std::string_view level, std::string_view message)> on_message = {});

    virtual Seq applied() const = 0;
    // not_found: no partition of that model in the project, details: models. invalid_argument: the dimension is
    // another.
    virtual Result<VectorAnswer> search(const VectorQuery& query) const = 0;
    virtual std::vector<std::string> models(std::string_view project) const = 0;
    virtual std::uint64_t live(std::string_view model, std::size_t dimension) const = 0;  // Of all projects.
    // Live vectors: every ordinal, ascending. For checks.
    virtual std::vector<Seq> ordinals(std::string_view project) const = 0;

    // Graphs are built behind the checkpoint by a thread of their own; what they do not hold yet is scanned.
    virtual std::uint64_t unlinked() const = 0;  // Vectors that wait for it; settle() returns when none does.
};

}  // namespace annal
