// The key above all keys of a store: 32 bytes that its owner keeps, and the store never does.
//
// A file holds them raw, or as 64 hex digits or base64 with white space around; an environment variable as hex or
// base64. No error tells of the key more than its length.
#pragma once

#include "locked_bytes.h"

#include <annal/result.h>

#include <filesystem>
#include <string_view>

namespace annal {

class RootKey {
 public:
    // `store`: the store's directory. A file inside of it would be copied with what it locks.
    // not_found: no such file. permission_denied: others than its owner may read or write it. invalid_argument: it is
    // inside the store, no regular file, or holds no key. details: reason, one of missing, unreadable, inside_store,
    // readable_by_others, malformed.
    static Result<RootKey> read_file(const std::filesystem::path& file, const std::filesystem::path& store);
    // not_found, reason missing: it is not set, or empty. The variable stays as it is.
    static Result<RootKey> from_environment(const char* variable);

    static Result<RootKey> random();
    // Durable when it returns, as hex, for its owner alone. already_exists: there is such a file, and it is as it was.
    Status write_file(const std::filesystem::path& file, const std::filesystem::path& store) const;

    KeyView view() const { return bytes_.key(); }

 private:
    explicit RootKey(LockedBytes bytes) : bytes_(std::move(bytes)) {}
    static Result<RootKey> parse(std::string_view text);

    LockedBytes bytes_;
};

}  // namespace annal
