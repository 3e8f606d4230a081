// Segments as files: written whole or not at all, checked whole, copied, and read at any seq.
#pragma once

#include "rocks_support.h"
#include "segment_format.h"

#include <filesystem>
#include <memory>

namespace rocksdb {
class FSRandomAccessFile;
}

namespace annal {

// "events-000000000257-000000000512.jsonl": twelve digits or more, so that they are listed in their order.
std::string segment_file_name(Seq first, Seq last);
struct SegmentRange {
    Seq first, last;
};
std::optional<SegmentRange> parse_segment_file_name(std::string_view name);

// Makes the file `path` of what write_lines(SegmentWriter&) writes: durable, and under its name only when it is whole
// and `checked` says so of its draft. Returns its bytes.
Result<std::uint64_t> write_segment(rocksdb::FileSystem& files, const std::filesystem::path& path,
                                    const std::function<Status(SegmentWriter&)>& write_lines,
                                    const std::function<Status(const std::filesystem::path& draft)>& checked);

struct CheckedSegment {
    SegmentHeader header;
    Hash root{};
    std::uint64_t bytes = 0;
};
// Reads all of it. data_loss: it is damaged, cut off, or no segment; details: file, line. Events that were visited
// before that were whole. not_found: no such file. Ends with the error that `visit` returns.
Result<CheckedSegment> check_segment(rocksdb::FileSystem& files, const std::filesystem::path& path,
                                     const std::function<Status(const SegmentReader::Event&)>& visit = {});

// Durable, and the same bytes; `checked` as above.
Result<std::uint64_t> copy_segment(rocksdb::FileSystem& files, const std::filesystem::path& from,
                                   const std::filesystem::path& to,
                                   const std::function<Status(const std::filesystem::path& draft)>& checked);

// An open segment. Any thread.
class SegmentFile {
 public:
    // Reads the first line and the last. Errors as check_segment.
    static Result<std::unique_ptr<SegmentFile>> open(rocksdb::FileSystem& files, const std::filesystem::path& path);
    ~SegmentFile();

    const SegmentHeader& header() const { return header_; }
    // Calls visit(seq, stored) for the events of (after, up_to], in order, until it returns false or an error. Reads
    // from the index's entry before the first: 64 KiB more than that, as a rule. Hashes are not compared: whoever reads
    // one event of many has its hash from elsewhere. data_loss: a line is not its event.
    Status read(Seq after, Seq up_to, const std::function<Result<bool>(Seq, std::string_view stored)>& visit) const;

 private:
    SegmentFile() = default;
    std::string name_;
    std::unique_ptr<rocksdb::FSRandomAccessFile> file_;
    SegmentHeader header_;
    SegmentEnd end_;
    std::uint64_t events_end_ = 0;  // Where the last line begins.
};

}  // namespace annal
