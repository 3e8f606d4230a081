// EventLog::check(), over the rows of one store. Reads in pages, so that the store is never held for long.
#pragma once

#include "event_log.h"
#include "rocks_store.h"
#include "signed_head.h"
#include "witness.h"

#include <functional>

namespace annal {

// What the tree is held against, beside the rows of the store.
struct TreeWitnesses {
    std::optional<Witness> witness{};
    std::optional<VerifierKey> key{};  // Of heads that this store signed.
};

Result<Checked> check_log(LogPart part, std::uint64_t after, Seq up_to, const WithStore& with_store,
                          const TreeWitnesses& witnesses, const std::function<bool(const Checked&)>& progress);

}  // namespace annal
