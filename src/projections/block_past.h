// What the rows of a block said before each change, so that the block can be read as of an earlier seq. It lies apart
// from the block: who reads the newest state never meets it, and only events that replace something add to it.
// A block has values at places. A change puts down the value it replaced. To read as of S, take the block and undo the
// changes after S, newest first. So that a long past is not undone change by change, an image of the whole block is put
// between, whenever the changes since the last one take a share of its room. At half of it a read as of any S costs one
// and a half blocks at most, and the past three times its changes. From an image on the block itself need not be read.
//   key                                     value: a segment of changes
//   base, seq of the last (8, big endian),  size of the changes since the last image, these too (varint)
//   ff..ff for the one still being filled   the size at which the next image may be due (varint)
//                                           size of an image + 1 (varint) and the image: the block after the last
//                                           change; or 0: none
//                                           each change: seq less the one before (varint); place less the one before,
//                                           zigzag, shifted by two with the size of the value or 3 (varint); if 3, the
//                                           size less 3 (varint); the value
// Where segments end depends on the events alone, not on batches.
#pragma once

#include "view_store.h"

#include <annal/ids.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal {

struct Replaced {
    std::uint32_t place = 0;
    std::string_view was;  // Mostly empty when there was nothing: that takes no room.
};

// The past of one block, being written.
class BlockPast {
 public:
    // `base`: of its keys, no beginning of any other's. `images`: the room of one is at most so many times that of the
    // changes it follows.
    static Result<BlockPast> load(const ViewBatch& batch, std::string base, unsigned images = 2);

    // Once an event at most, in the order of seqs. `image()`: Result<std::string>, the block after the change; asked
    // for only when it may be due: the changes take the share of its room that it had when it was last asked for.
    template <class Image>
    Status add(Seq seq, Replaced replaced, Image&& image) {
        append(seq, replaced);
        if (changes_.size() < segment_bytes()) return Done{};
        std::optional<std::string> taken;
        if (since_image_ >= image_due_) {
            auto made = image();
            if (!made) return made.error();
            image_due_ = std::max<std::uint64_t>(made->size() / images_, image_bytes_min);
            if (since_image_ >= image_due_) taken = std::move(*made);
        }
        seal(taken);
        return Done{};
    }
    void finish(ViewBatch& batch);  // Writes what was added since the last finish.

 private:
    // Few to read for a big block; yet the one being filled is written anew with each batch.
    std::size_t segment_bytes() const { return std::clamp<std::uint64_t>(image_due_ / 8, 256, 1024); }
    static constexpr std::uint64_t image_bytes_min = 512;  // Of changes; fewer are sooner undone than an image is read.

    void append(Seq seq, Replaced replaced);
    void seal(const std::optional<std::string>& image);

    std::string base_;
    unsigned images_ = 2;
    std::string changes_;
    Seq last_;  // In changes_, as the next; 0 when there is none.
    std::uint32_t last_place_ = 0;
    std::uint64_t since_image_ = 0;  // Bytes of changes.
    std::uint64_t image_due_ = image_bytes_min;
    std::vector<std::pair<std::string, std::string>> sealed_;
};

std::string past_key(std::string_view base, Seq seq);

// What brings a block back to how it was.
class BlockRewind {
 public:
    std::optional<std::string> image;  // To start from; none: the block as it is.
    std::size_t rows = 0;              // Read.

    std::size_t size() const { return places_.size(); }
    // What is to be put back, the oldest first: the first of a place holds. Valid as long as this.
    Replaced operator[](std::size_t i) const {
        const auto& [place, begin, size] = places_[i];
        return {place, std::string_view(changes_).substr(begin, size)};
    }
    // One segment's changes, those after `as_of` to be undone. False: not such bytes.
    bool add(std::string_view changes, Seq as_of);

 private:
    std::string changes_;
    struct Place {
        std::uint32_t place;
        std::uint32_t begin;  // Of the value, in changes_.
        std::uint32_t size;
    };
    std::vector<Place> places_;
};
// Reads what brings it back to when the log ended at `as_of`. `rows` stands at the first key that is not before
// past_key(base, as_of + 1). data_loss: not such rows.
Result<BlockRewind> rewind(ViewIterator& rows, std::string_view base, Seq as_of);

}  // namespace annal
