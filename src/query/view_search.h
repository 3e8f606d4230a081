// Where a store itself is searched: its views.
#pragma once

#include "search_backend.h"

#include "projections/memory_view.h"
#include "projections/text_index.h"

#include <functional>
#include <memory>

namespace annal {

struct SearchSources {  // Borrowed for as long as the backend lives.
    const MemoryView& memories;
    const TextIndex& texts;
    const VectorIndex& vectors;                    // That were given.
    const VectorIndex* computed = nullptr;         // Those that the query's model made; null: it makes none.
    bool without_users = false;                    // Leaves out memories whose scope has a user, and says so.
    std::function<bool(const Memory&)> is_gone{};  // Leaves out those it says are; null: none.
};

// `request` is borrowed, too. `as_of`: what its moment stands for, applied by all sources; `now` decides expiry.
Result<std::unique_ptr<SearchBackend>> open_view_search(const SearchSources& sources, const SearchRequest& request,
                                                        std::optional<Seq> as_of, Timestamp now);

}  // namespace annal
