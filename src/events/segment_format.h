// A segment: events of a log that stand together, as they are stored, in lines of text that lose nothing of them and
// are checked without the log. `export --format events` writes one that begins with the first event; the archive of a
// log is made of others. One JSON object a line:
//   {"format": "annal events 1", "store_id": UUID, "epoch": 1, "after": 256, "to": 512, "frontier": [HEX, ...],
//    "head": NOTE}
//   {"seq": 257, "hash": HEX, "event": BASE64}      hash: of the receipt; event: the stored bytes (codec.h)
//   ...
//   {"events": 256, "root": HEX, "index": [[257, 311], ...]}
// after     the seq before the first event; 0 when left out
// frontier  roots of the widest full subtrees over the events up to `after`, left to right (merkle_tree.h)
// head      a signed head of size `to` (signed_head.h), when the log had a key
// root      of the Merkle tree over all events up to `to`: what frontier and events lead to
// index     a seq and the offset of its line, of the first event and of some that follow; for who looks for one
#pragma once

#include "merkle_tree.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal {

inline constexpr std::size_t segment_line_bytes_max = std::size_t{4} << 20;

struct SegmentHeader {
    std::string store_id;
    std::uint64_t epoch = 0;
    Seq to;
    MerkleFrontier before;    // Of the events up to the first; its size is `after`.
    std::string signed_head;  // Empty: none.

    Seq after() const { return Seq{before.size()}; }
};

struct SegmentEnd {
    Hash root{};
    std::vector<std::pair<Seq, std::uint64_t>> index;  // Both rise.
};

class SegmentWriter {
 public:
    explicit SegmentWriter(std::function<Status(std::string_view line)> write) : write_(std::move(write)) {}

    // In this order; every event of (after, to], in order. Fails as `write` does.
    Status begin(const SegmentHeader& header);
    Status add(Seq seq, const Hash& hash, std::string_view stored);
    Status end(const Hash& root);

    std::uint64_t bytes() const { return bytes_; }  // Written so far.

 private:
    Status put(const std::string& line);
    void add_to_index(Seq seq);

    std::function<Status(std::string_view)> write_;
    std::uint64_t bytes_ = 0;
    std::uint64_t events_ = 0;
    std::uint64_t index_distance_ = std::uint64_t{64} << 10;  // In bytes, at least, from one entry to the next.
    std::vector<std::pair<Seq, std::uint64_t>> index_;
};

// Takes the lines of a segment in order, and believes none of them: that no event is missing or other than its hash
// says, and that they lead from the frontier to the root. What fails is invalid_argument; details: line.
class SegmentReader {
 public:
    struct Event {
        Seq seq;
        Hash hash{};
        std::string stored;
    };
    // The event of the line; nullopt: it was the first line or the last.
    Result<std::optional<Event>> take(std::string_view line);
    Status finish() const;  // All lines were taken, to the last.

    bool begun() const { return line_ > 0; }
    const SegmentHeader& header() const { return header_; }  // Once begun, and
    const SegmentEnd& end() const { return end_; }           // once finished.
    Seq seq() const { return Seq{tree_.size()}; }            // Of the last event taken.

    Error wrong(const std::string& what) const;  // In the line in hand.

 private:
    std::uint64_t line_ = 0;
    bool ended_ = false;
    SegmentHeader header_;
    SegmentEnd end_;
    MerkleFrontier tree_;
    std::vector<MerkleNode> completed_;
};

// The first and the last line by themselves; invalid_argument: they are none.
Result<SegmentHeader> parse_segment_header(std::string_view line);
Result<SegmentEnd> parse_segment_end(std::string_view line);

}  // namespace annal
