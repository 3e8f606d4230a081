// What the rows of a block said before each change, so that the block can be read as of an earlier seq. It lies apart
// from the block: who reads the newest state never meets it, and only events that replace something add to it.
// A change puts down what it replaced. To read as of S, take the block and undo the changes after S, newest first. So
// that a long past is not undone change by change, an image of the whole block is put between, whenever the changes
// since the last one take as much room: a read as of any S then costs twice the block at most, and the past twice its
// changes.
//   key                                     value: a segment of changes
//   base, seq of the last (8, big endian),  size of the changes since the last image, these too (varint)
//   ff..ff for the one still being filled   size of an image + 1 (varint) and the image: the block after the last
//                                           change; or 0: none
//                                           each change: seq less the one before, size (varints), what was
// Where segments end depends on the events alone, not on batches.
#pragma once

#include "view_store.h"

#include <annal/ids.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal {

// The past of one block, being written.
class BlockPast {
 public:
    // `base`: of its keys, no beginning of any other's.
    static Result<BlockPast> load(const ViewBatch& batch, std::string base);

    // Once an event at most, in the order of seqs. `image()`: Result<std::string>, the block after the change; asked
    // for only when it is due.
    template <class Image>
    Status add(Seq seq, std::string_view was, Image&& image) {
        append(seq, was);
        if (changes_.size() < segment_bytes) return Done{};
        std::optional<std::string> taken;
        if (since_image_ >= image_bytes_min) {
            auto made = image();
            if (!made) return made.error();
            if (since_image_ >= made->size()) taken = std::move(*made);
        }
        seal(taken);
        return Done{};
    }
    void finish(ViewBatch& batch);  // Writes what was added since the last finish.

 private:
    static constexpr std::size_t segment_bytes = 256;
    static constexpr std::size_t image_bytes_min = 512;  // Of changes; fewer are sooner undone than an image is read.

    void append(Seq seq, std::string_view was);
    void seal(const std::optional<std::string>& image);

    std::string base_;
    std::string changes_;
    Seq last_;
    std::uint64_t since_image_ = 0;  // Bytes of changes.
    std::vector<std::pair<std::string, std::string>> sealed_;
};

std::string past_key(std::string_view base, Seq seq);

struct BlockRewind {
    std::optional<std::string> image;  // To start from; none: the block as it is.
    std::vector<std::string> was;      // To be put back, in this order.
    std::size_t rows = 0;              // Read.
};
// What brings a block back to how it was when the log ended at `as_of`. `rows` stands at the first key that is not
// before past_key(base, as_of + 1). data_loss: not such rows.
Result<BlockRewind> rewind(ViewIterator& rows, std::string_view base, Seq as_of);

}  // namespace annal
