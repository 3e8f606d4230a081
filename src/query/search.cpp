#include "search.h"

#include "ranking_constants.h"
#include "text_ranking.h"

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

// A memory is in one of the two; in both for as long as one of them is behind the other.
VectorAnswer merge(VectorAnswer one, VectorAnswer other, std::size_t limit) {
    one.hits.insert(one.hits.end(), other.hits.begin(), other.hits.end());
    one.degraded.insert(one.degraded.end(), other.degraded.begin(), other.degraded.end());
    std::sort(one.hits.begin(), one.hits.end(), nearer);
    std::unordered_set<std::uint64_t> seen;
    std::erase_if(one.hits, [&](const VectorHit& hit) { return !seen.insert(hit.ordinal.value).second; });
    if (one.hits.size() > limit) one.hits.resize(limit);
    return one;
}

// What the arms of one request give, `depth` deep.
class Arms {
 public:
    Arms(const SearchSources& sources, const SearchRequest& request, std::optional<Seq> as_of,
         const OrdinalSet* passing, bool by_text)
        : sources_(sources),
          request_(request),
          as_of_(as_of),
          passing_(passing),
          texts_(by_text ? sources.texts.reader(request.scope.project, as_of) : nullptr) {}

    Seq text_applied() const { return texts_->applied(); }

    Result<std::vector<TextHit>> text(std::size_t depth) const {
        return rank_text(*texts_, {.text = request_.text, .passing = passing_, .limit = depth});
    }
    Result<VectorAnswer> vector(const Embedding& vector, std::size_t depth) const {
        const VectorQuery query{.project = request_.scope.project,
                                .kinds = request_.filter.kinds,
                                .model = vector.model,
                                .vector = vector.values,
                                .limit = depth,
                                .passing = passing_,
                                .as_of = as_of_};
        auto given = sources_.vectors.search(query);
        if (sources_.computed == nullptr) return given;
        auto computed = sources_.computed->search(query);
        const bool none = !computed && computed.error().code == ErrorCode::not_found;
        if (!given || none) return none ? given : computed;
        if (!computed) return computed;
        return merge(std::move(*given), std::move(*computed), depth);
    }

 private:
    const SearchSources& sources_;
    const SearchRequest& request_;
    std::optional<Seq> as_of_;
    const OrdinalSet* passing_;
    std::unique_ptr<TextIndex::Reader> texts_;  // Null when it is not searched by text.
};

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
Result<std::optional<Embedding>> query_vector(const SearchSources& sources, const SearchRequest& request,
                                              const Embedding* given) {
    if (request.mode == SearchMode::text) return std::optional<Embedding>{};
    if (given != nullptr) return std::optional(*given);
    const bool wanted =
        sources.embedder != nullptr && (request.mode == SearchMode::vector || sources.embedder->semantic());
    if (!wanted) {
        if (request.mode == SearchMode::vector)
            return Error{ErrorCode::invalid_argument,
                         "mode vector needs a vector, or an engine opened with an embedder",
                         {{"field", "vector"}}};
        return std::optional<Embedding>{};
    }
    auto values = sources.embedder->embed(request.text);
    if (!values) return values.error();
    return std::optional(Embedding{std::string(sources.embedder->model()), std::move(*values)});
}

}  // namespace

Result<SearchAnswer> search(const SearchSources& sources, const SearchRequest& request, const Embedding* given,
                            std::optional<Seq> as_of, Timestamp now) {
    SearchAnswer answer;
    auto vector = query_vector(sources, request, given);
    if (!vector) {
        if (request.mode == SearchMode::vector) return vector.error();
        answer.degraded.push_back("vector: the embedder failed: " + vector.error().message);
        vector = std::optional<Embedding>{};
    }
    const bool by_text = request.mode != SearchMode::vector && !request.text.empty();

    const auto memories = sources.memories.reader(as_of);
    auto passing = memories->matching(request.scope, request.filter, now);
    if (!passing) return passing.error();
    const Arms arms(sources, request, as_of, *passing ? &**passing : nullptr, by_text);
    answer.seq = memories->applied();
    if (by_text) answer.seq = std::min(answer.seq, arms.text_applied());
    if (*vector) answer.seq = std::min(answer.seq, sources.vectors.applied());

    // An index may be an event ahead of the memories: what is gone there is dropped here, as is what may not be shown,
    // and the arms asked for more.
    for (std::size_t wanted = request.limit;; wanted *= 2) {
        const bool fused = by_text && *vector;
        const std::size_t depth = fused ? std::max(wanted, ranking::fusion_depth) : wanted;
        std::vector<TextHit> texts;
        std::vector<VectorHit> vectors;
        std::vector<std::string> degraded;
        bool left_out = false;
        if (by_text) {
            auto hits = arms.text(depth);
            if (!hits) return hits.error();
            texts = std::move(*hits);
        }
        if (*vector) {
            auto found = arms.vector(**vector, depth);
            if (found) {
                vectors = std::move(found->hits);
                degraded = std::move(found->degraded);
            } else if (found.error().code == ErrorCode::not_found) {
                degraded.push_back("vector: " + found.error().message);
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
        auto states = memories->get_many(request.scope, ordinals);
        if (!states) return states.error();

        answer.hits.clear();
        for (std::size_t i = 0; i < ordinals.size() && answer.hits.size() < request.limit; ++i) {
            auto& memory = (*states)[i];
            if (!memory || (sources.is_gone && sources.is_gone(*memory))) continue;
            if (sources.without_users && !memory->scope.user.empty()) {
                left_out = true;
                continue;
            }
            answer.hits.push_back({std::move(*memory), candidates[i].score, std::move(candidates[i].parts)});
        }
        if (left_out) degraded.push_back("memories of users are left out: the store was opened without its root key");
        if (answer.hits.size() == request.limit || exhausted) {
            answer.degraded.insert(answer.degraded.end(), degraded.begin(), degraded.end());
            return answer;
        }
    }
}

}  // namespace annal
