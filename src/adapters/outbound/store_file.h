// A small file of settings in a store's directory: replaced as a whole, and durable when that returns.
#pragma once

#include <annal/result.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace annal {

// nullopt: there is none. permission_denied: its mode has one of the bits of `forbidden`; says `why` they are.
Result<std::optional<std::string>> read_store_file(const std::filesystem::path& store, const std::string& name,
                                                   unsigned forbidden, std::string_view why);
// Readable by its owner alone. resource_exhausted: the disk is full.
Status replace_store_file(const std::filesystem::path& store, const std::string& name, std::string_view text);

}  // namespace annal
