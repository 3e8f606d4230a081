// What a file of memories (jsonl.h) holds, in a file of its own beside it: for who moves memories and wants to know
// that all of them arrived as they left.
//   {"format": 1, "seq": of the store they are from, "memories": how many,
//    "kinds": {"note": {"count": how many, "sha256": hex of all lines of that kind, in order, ends of line included}}}
// A kind of which there is none is left out.
#pragma once

#include "json.h"

#include <annal/kind.h>

#include <array>
#include <cstdint>
#include <istream>
#include <memory>
#include <string>
#include <string_view>

namespace annal {

struct Manifest {
    struct Lines {
        std::uint64_t count = 0;
        std::string sha256{};  // Hex; empty when there is none.
        bool operator==(const Lines&) const = default;
    };
    Seq seq{};
    std::array<Lines, kind_count> kinds{};  // By Kind.
};

class ManifestBuilder {
 public:
    ManifestBuilder();
    ~ManifestBuilder();
    void add(Kind kind, std::string_view line);  // With its end of line.
    Manifest finish(Seq seq);                    // Once.

 private:
    struct Digest;
    std::array<std::unique_ptr<Digest>, kind_count> digests_;
};

std::string manifest_path(const std::string& file);  // FILE.manifest.json

Json to_json(const Manifest& manifest);
// invalid_argument: not a manifest. unimplemented: of a newer version.
Result<Manifest> manifest_from_json(std::string_view text);

// Reads the whole file, a line at a time. data_loss: it is not what the manifest says; the message names the first kind
// that differs, or the first line that is no memory.
Status check_manifest(std::istream& file, const Manifest& manifest);

}  // namespace annal
