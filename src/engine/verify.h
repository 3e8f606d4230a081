// Engine::verify(): every check there is, one after the other.
#pragma once

#include "projections/embedding_store.h"
#include "projections/runtime.h"

namespace annal {

// `embeddings` null: there are none.
VerifyReport verify(EventLog& log, ViewStore& views, EmbeddingStore* embeddings, ProjectionRuntime& projections,
                    const VerifyOptions& options,
                    const std::function<void(std::string_view check, std::uint64_t done, std::uint64_t all)>& progress);

}  // namespace annal
