#include "view_search.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace annal {
namespace {

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

class ViewSearch final : public SearchBackend {
 public:
    ViewSearch(const SearchSources& sources, const SearchRequest& request, std::optional<Seq> as_of,
               std::unique_ptr<MemoryView::Reader> memories, std::optional<OrdinalSet> passing)
        : sources_(sources),
          request_(request),
          as_of_(as_of),
          memories_(std::move(memories)),
          texts_(request.mode == SearchMode::vector || request.text.empty()
                     ? nullptr
                     : sources.texts.reader(request.scope.project, as_of)),
          passing_(std::move(passing)) {}

    Seq applied(bool of_texts, bool of_vectors) const override {
        auto seq = memories_->applied();
        if (of_texts) seq = std::min(seq, texts_->applied());
        if (of_vectors) seq = std::min(seq, sources_.vectors.applied());
        return seq;
    }
    Result<std::vector<TextHit>> by_text(std::string_view text, std::size_t depth) override {
        return rank_text(*texts_, {.text = text, .passing = passing(), .limit = depth});
    }
    Result<VectorAnswer> by_vector(const Embedding& vector, std::size_t depth) override {
        const VectorQuery query{.project = request_.scope.project,
                                .kinds = request_.filter.kinds,
                                .model = vector.model,
                                .vector = vector.values,
                                .limit = depth,
                                .passing = passing(),
                                .as_of = as_of_};
        auto given = sources_.vectors.search(query);
        if (sources_.computed == nullptr) return given;
        auto computed = sources_.computed->search(query);
        const bool none = !computed && computed.error().code == ErrorCode::not_found;
        if (!given || none) return none ? given : computed;
        if (!computed) return computed;
        return merge(std::move(*given), std::move(*computed), depth);
    }
    Result<std::vector<std::optional<Memory>>> memories(std::span<const Seq> ordinals) override {
        left_out_ = false;
        auto states = memories_->get_many(request_.scope, ordinals);
        if (!states) return states;
        for (auto& memory : *states) {
            const bool of_user = memory && sources_.without_users && !memory->scope.user.empty();
            const bool gone = memory && sources_.is_gone && sources_.is_gone(*memory);
            left_out_ = left_out_ || (of_user && !gone);
            if (of_user || gone) memory.reset();
        }
        return states;
    }
    std::vector<std::string> degraded() const override {
        if (!left_out_) return {};
        return {"memories of users are left out: the store was opened without its root key"};
    }

 private:
    const OrdinalSet* passing() const { return passing_ ? &*passing_ : nullptr; }

    const SearchSources sources_;
    const SearchRequest& request_;
    std::optional<Seq> as_of_;
    std::unique_ptr<MemoryView::Reader> memories_;
    std::unique_ptr<TextIndex::Reader> texts_;  // Null when it is not searched by text.
    std::optional<OrdinalSet> passing_;         // nullopt: all of them.
    bool left_out_ = false;
};

}  // namespace

Result<std::unique_ptr<SearchBackend>> open_view_search(const SearchSources& sources, const SearchRequest& request,
                                                        std::optional<Seq> as_of, Timestamp now) {
    auto memories = sources.memories.reader(as_of);
    auto passing = memories->matching(request.scope, request.filter, now);
    if (!passing) return passing.error();
    return std::unique_ptr<SearchBackend>(
        std::make_unique<ViewSearch>(sources, request, as_of, std::move(memories), std::move(*passing)));
}

}  // namespace annal
