// Moves the oldest events of a log to its archive, a segment at a time:
//   1. the segment is written to a draft, synced, read back and checked against the log's tree, and named
//   2. one synced batch puts in the log the hashes of its events (so that proofs need no segment) and a row that names
//      it, and takes its events out
//   3. their space is given back
// A crash leaves the events in the log, in the segment, or in both. A segment that a run left, cut off before its
// second step, is taken by the next one if it is whole and of this log; no segment is ever removed or written over.
#pragma once

#include "rocks_store.h"

#include <annal/engine.h>

#include <filesystem>
#include <functional>

namespace annal {

struct LogToArchive {
    const WithStore& with_store;
    std::array<std::uint8_t, 16> id;
    std::uint64_t epoch;
    Seq synced;  // The head of what is durable.
    rocksdb::FileSystem& files;
    const OnMessage& on_message;
    // A signed head of that size; unavailable: there is no key.
    std::function<Result<std::string>(Seq size)> signed_head;
};

using ArchiveProgress = std::function<void(std::uint64_t moved, std::uint64_t events)>;

// The events up to `up_to`, as far as they are whole tiles, are indexed, and are not among the last 256, into
// `directory` (empty: beside the log). What was moved before an error stays moved. already_exists: another file has a
// segment's name. data_loss: the events are not those of the log's tree, or the segment is not what was written.
Result<ArchiveReport> archive_events(const LogToArchive& log, Seq up_to, const std::filesystem::path& directory,
                                     const ArchiveProgress& progress);

// For backups: the segment of `range`, checked against `store`'s tree, is in `directory` when this returns, copied from
// `from` unless it was there. data_loss: the one to copy is not the log's.
Status keep_segment(rocksdb::FileSystem& files, const RocksStore& store, const ArchivedRange& range,
                    const std::function<Result<std::filesystem::path>()>& from, const std::filesystem::path& directory);

}  // namespace annal
