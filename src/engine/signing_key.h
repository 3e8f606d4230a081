// The key that a store signs the heads of its log with: a file beside the log, made at the first open. It proves which
// store said something, to those who were told the public key; it keeps nothing secret.
#pragma once

#include "events/signed_head.h"

#include <filesystem>

namespace annal {

// The file is the seed in base64 and a newline, readable by its owner alone; so is the directory, when it is made.
// data_loss: it is there and not that. permission_denied: others may read it. unavailable, resource_exhausted: the
// disk.
Result<SigningKey> open_signing_key(const std::filesystem::path& file, std::string_view name);

}  // namespace annal
