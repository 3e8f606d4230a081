// Proofs over a log as the text files of docs/decisions/0006-proofs.md, which annal-verify-proof takes.
#pragma once

#include "event_log.h"

#include <string>

namespace annal {

// That event `seq` is in the log of the first `size` events. invalid_argument: not 0 < seq <= size <= head.
Result<std::string> prove_inclusion(const EventLog& log, Seq seq, Seq size);

// That the log of the first `size1` events is the beginning of that of the first `size2`. invalid_argument: not
// 0 < size1 <= size2 <= head.
Result<std::string> prove_consistency(const EventLog& log, Seq size1, Seq size2);

}  // namespace annal
