// Memories in and out, one JSON object a line, in the shape of json.h. Both ways stream: memory use does not grow with
// the file.
#pragma once

#include "manifest.h"

#include <annal/engine.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct RejectedLine {
    std::uint64_t line = 0;  // From 1.
    Error error;
};

struct ImportReport {
    std::uint64_t accepted = 0;
    std::uint64_t unchanged = 0;  // The store had them already.
    std::vector<RejectedLine> rejected;
    Seq seq;  // The store's head when all of it was durable.
};

// Takes memories one after the other and keeps count. Idempotent: a memory's key is the SHA-256 of all it says (scope
// included), unless it brings its own, so that the same memory comes in once however often it is given; two equal lines
// of one file are one memory. One that brings the memory_id of a memory that says the same is unchanged, too.
// Writes are handed to the system one by one and synced together by finish().
class Importer {
 public:
    explicit Importer(Engine& engine) : engine_(engine) {}

    // `line` names it in the report. An error ends the import: the store takes no more; details say the line.
    Status add(std::uint64_t line, Result<RecordRequest> request);
    // When it returns, all that the report counts as accepted is on disk.
    Result<ImportReport> finish();

 private:
    Engine& engine_;
    ImportReport report_;
    RecordRequest last_;  // The last that was written, and not yet known to be synced.
    bool unsynced_ = false;
};

// Empty lines are skipped. `progress` is told how many bytes were read, now and then.
Result<ImportReport> import_jsonl(Engine& engine, std::istream& in, const Scope& defaults,
                                  const std::function<void(std::uint64_t bytes)>& progress = {});

struct ExportReport {
    std::uint64_t exported = 0;
    Seq seq;  // What the first page reflects.
    Manifest manifest;
};

// The live memories of `scope`, oldest first, each with its vector: import gives it the same bits. permission_denied:
// one is sealed. `write` is given one line at a time, with its end of line.
Result<ExportReport> export_jsonl(Engine& engine, const Scope& scope, const ReadOptions& read,
                                  const std::function<Status(std::string_view line)>& write,
                                  const std::function<void(std::uint64_t exported)>& progress = {});

}  // namespace annal
