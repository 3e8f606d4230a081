#include "search.h"

#include "ranking_constants.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace annal {
namespace {

struct Candidate {
    Seq ordinal;
    double score = 0;
    HitParts parts;
};

void put_text_parts(HitParts& parts, const TextHit& hit, std::uint32_t rank) {
    parts.text_rank = rank;
    parts.text = hit.score;
    parts.own = hit.own;
    parts.neighbours = hit.neighbours;
    parts.session = hit.session;
    parts.speaker = hit.speaker;
    parts.question = hit.question;
    parts.matched_terms = hit.matched_terms;
}

// Reciprocal rank fusion: what both arms rank high is first; their scores need no common scale.
std::vector<Candidate> fuse(const std::vector<TextHit>& texts, const std::vector<VectorHit>& vectors) {
    std::unordered_map<std::uint64_t, Candidate> by_ordinal;
    std::uint32_t rank = 0;
    for (const auto& hit : texts) {
        auto& candidate = by_ordinal[hit.ordinal.value];
        candidate.ordinal = hit.ordinal;
        put_text_parts(candidate.parts, hit, ++rank);
        candidate.score += ranking::fusion_text_weight / (ranking::fusion_k + rank);
    }
    rank = 0;
    for (const auto& hit : vectors) {
        auto& candidate = by_ordinal[hit.ordinal.value];
        candidate.ordinal = hit.ordinal;
        candidate.parts.vector_rank = ++rank;
        candidate.parts.similarity = static_cast<double>(hit.similarity);
        candidate.score += ranking::fusion_vector_weight / (ranking::fusion_k + rank);
    }
    std::vector<Candidate> fused;
    fused.reserve(by_ordinal.size());
    for (auto& [ordinal, candidate] : by_ordinal) fused.push_back(std::move(candidate));
    std::sort(fused.begin(), fused.end(), [](const Candidate& a, const Candidate& b) {
        return a.score != b.score ? a.score > b.score : a.ordinal < b.ordinal;
    });
    return fused;
}

std::vector<Candidate> candidates_of(const std::vector<TextHit>& hits) {
    std::vector<Candidate> candidates;
    candidates.reserve(hits.size());
    for (const auto& hit : hits) {
        Candidate candidate{hit.ordinal, hit.score, {}};
        put_text_parts(candidate.parts, hit, static_cast<std::uint32_t>(candidates.size() + 1));
        candidates.push_back(std::move(candidate));
    }
    return candidates;
}

std::vector<Candidate> candidates_of(const std::vector<VectorHit>& hits) {
    std::vector<Candidate> candidates;
    candidates.reserve(hits.size());
    for (const auto& hit : hits) {
        Candidate candidate{hit.ordinal, static_cast<double>(hit.similarity), {}};
        candidate.parts.vector_rank = static_cast<std::uint32_t>(candidates.size() + 1);
        candidate.parts.similarity = candidate.score;
        candidates.push_back(std::move(candidate));
    }
    return candidates;
}

// The vector to search by, or none: the caller's, or the embedder's of the text. In hybrid mode a lexical embedder has
// nothing to add to the text arm.
Result<std::optional<Embedding>> query_vector(Embedder* embedder, const SearchRequest& request,
                                              const Embedding* given) {
    if (request.mode == SearchMode::text) return std::optional<Embedding>{};
    if (given != nullptr) return std::optional(*given);
    const bool wanted = embedder != nullptr && (request.mode == SearchMode::vector || embedder->semantic());
    if (!wanted) {
        if (request.mode == SearchMode::vector)
            return Error{ErrorCode::invalid_argument,
                         "mode vector needs a vector, or an engine opened with an embedder",
                         {{"field", "vector"}}};
        return std::optional<Embedding>{};
    }
    auto values = embedder->embed(request.text);
    if (!values) return values.error();
    return std::optional(Embedding{std::string(embedder->model()), std::move(*values)});
}

}  // namespace

Result<SearchAnswer> search(SearchBackend& backend, const SearchRequest& request, const Embedding* given,
                            Embedder* embedder) {
    SearchAnswer answer;
    auto vector = query_vector(embedder, request, given);
    if (!vector) {
        if (request.mode == SearchMode::vector) return vector.error();
        answer.degraded.push_back("vector: the embedder failed: " + vector.error().message);
        vector = std::optional<Embedding>{};
    }
    const bool by_text = request.mode != SearchMode::vector && !request.text.empty();
    answer.seq = backend.applied(by_text, vector->has_value());

    // An index may be an event ahead of the memories: what is gone there is dropped here, as is what may not be shown,
    // and the arms asked for more.
    for (std::size_t wanted = request.limit;; wanted *= 2) {
        const bool fused = by_text && *vector;
        const std::size_t depth = fused ? std::max(wanted, ranking::fusion_depth) : wanted;
        std::vector<TextHit> texts;
        std::vector<VectorHit> vectors;
        std::vector<std::string> degraded;
        const auto note = [&](std::vector<std::string> words) {
            for (auto& each : words)
                if (std::ranges::find(degraded, each) == degraded.end()) degraded.push_back(std::move(each));
        };
        if (by_text) {
            auto hits = backend.by_text(request.text, depth);
            if (!hits) return hits.error();
            texts = std::move(*hits);
            note(backend.degraded());
        }
        if (*vector) {
            auto found = backend.by_vector(**vector, depth);
            if (found) {
                vectors = std::move(found->hits);
                note(std::move(found->degraded));
                note(backend.degraded());
            } else if (found.error().code == ErrorCode::not_found) {
                note({"vector: " + found.error().message});
            } else {
                return found.error();
            }
        }
        const bool exhausted = texts.size() < depth && vectors.size() < depth;
        auto candidates = fused && !vectors.empty() ? fuse(texts, vectors)
                          : by_text                 ? candidates_of(texts)
                                                    : candidates_of(vectors);
        std::vector<Seq> ordinals;
        ordinals.reserve(candidates.size());
        for (const auto& candidate : candidates) ordinals.push_back(candidate.ordinal);
        ordinals.resize(std::min(ordinals.size(), wanted));
        auto states = backend.memories(ordinals);
        if (!states) return states.error();
        note(backend.degraded());

        answer.hits.clear();
        for (std::size_t i = 0; i < ordinals.size() && answer.hits.size() < request.limit; ++i)
            if (auto& memory = (*states)[i])
                answer.hits.push_back({std::move(*memory), candidates[i].score, std::move(candidates[i].parts)});
        if (answer.hits.size() == request.limit || exhausted) {
            answer.degraded.insert(answer.degraded.end(), degraded.begin(), degraded.end());
            return answer;
        }
    }
}

}  // namespace annal
