// Engine::verify(): every check there is, one after the other.
#pragma once

#include "projections/runtime.h"

namespace annal {

VerifyReport verify(EventLog& log, ViewStore& views, ProjectionRuntime& projections, const VerifyOptions& options,
                    const std::function<void(std::string_view check, std::uint64_t done, std::uint64_t all)>& progress);

}  // namespace annal
