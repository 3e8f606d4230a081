// Which events of a log were moved out of it, and how they are read back: from segments in a directory beside the log,
// or in the one that they were written to. Any thread. Events are believed by nobody here: rocks_store.h has their
// hashes.
#pragma once

#include "segment_file.h"

#include <annal/timestamp.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

namespace annal {

struct ArchivedRange {
    Seq first, last;
    std::uint64_t bytes = 0;  // Of the segment.
    Timestamp recorded_at;    // Of the last event.
    std::string directory;    // Where it was written to; empty: beside the log.

    std::string file_name() const { return segment_file_name(first, last); }
};

class LogArchive {
 public:
    LogArchive(rocksdb::FileSystem& files, std::filesystem::path beside) : files_(files), beside_(std::move(beside)) {}

    // data_loss: it does not begin where the one before it ends.
    Status add(ArchivedRange range);

    Seq up_to() const { return Seq{up_to_.load(std::memory_order_acquire)}; }  // Seq{0}: nothing was moved.
    std::vector<ArchivedRange> ranges() const;
    const std::filesystem::path& beside() const { return beside_; }

    // Where the segment is. unavailable: in neither place; details: first, last, file.
    Result<std::filesystem::path> find(const ArchivedRange& range) const;
    // Calls visit(seq, stored) for the events of (after, up_to], in order, until it returns false or an error; up_to
    // is not beyond up_to(). unavailable: as find(). data_loss: a segment is damaged, or another range's.
    Status read(Seq after, Seq up_to, const std::function<Result<bool>(Seq, std::string_view stored)>& visit) const;

 private:
    Result<std::shared_ptr<const SegmentFile>> open(const ArchivedRange& range) const;

    rocksdb::FileSystem& files_;
    const std::filesystem::path beside_;
    std::atomic<std::uint64_t> up_to_ = 0;
    mutable std::mutex mutex_;
    std::vector<ArchivedRange> ranges_;
    mutable std::vector<std::pair<Seq, std::shared_ptr<const SegmentFile>>> open_;  // By first seq; used last is last.
};

}  // namespace annal
