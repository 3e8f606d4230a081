// Finds the memories of a scope that pass a filter, a block at a time: the sets of the conditions are walked side by
// side, each leaping over the blocks in which another has nothing; what is left of a block is narrowed by its columns.
// Cost: a key a set and column for each block in which all sets have something; as of an earlier seq, up to one and a
// half times the bytes of those that can change. Metadata has no keys: its conditions are checked on the rows of what
// passes the rest.
#pragma once

#include "block_past.h"
#include "memory_blocks.h"
#include "memory_keys.h"
#include "view_store.h"

#include <annal/engine.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

bool has_conditions(const Filter& filter);

enum class WalkOrder { ascending, descending };

// Ordinals in [from, to).
struct OrdinalRange {
    Seq from{0};
    Seq to{UINT64_MAX};
};

struct WalkOptions {
    std::string_view prefix;  // memory_keys::project of the scope's.
    const Scope& scope;
    const Filter& filter;
    Timestamp now;
    std::optional<Seq> as_of;  // Sets and columns as they were then; `range` ends with it.
    WalkOrder order = WalkOrder::ascending;
    bool include_forgotten = false;  // Superseded ones too; what has expired never passes.
    OrdinalRange range;              // What was recorded in the filter's time is for the caller to put here.
    OrdinalRange occurred;           // Of the memories whose recorded_at is in the filter's occurred range.
};

class BlockWalk {
 public:
    BlockWalk(const ViewSnapshot& snapshot, const WalkOptions& options);

    // To the next block with memories that pass all but the metadata conditions. False: there is none.
    Result<bool> next();
    std::uint64_t block() const { return block_; }
    const BlockSet& passing() const { return passing_; }
    // Calls visit(offset, confidence) for each passing memory of the block; the confidence as sortable() makes it.
    Status each_confidence(const std::function<void(std::uint16_t, std::int64_t)>& visit);
    std::uint64_t keys_scanned() const { return keys_scanned_; }

 private:
    struct Stream {  // The blocks of one set or column, in walk order.
        std::string prefix;
        bool changes = false;  // It may have been another.
        std::unique_ptr<ViewIterator> iterator;
        std::optional<std::uint64_t> block;  // Where it stands; none: at its end.
    };
    struct Condition {  // Met by what any of its sets holds.
        std::vector<Stream> any_of;
    };
    struct Bound {  // On a column: values in [least, greatest]; of the memories without one, those with ordinals in
                    // `unset`.
        Stream column;
        std::int64_t least;
        std::int64_t greatest;
        OrdinalRange unset;
    };

    Stream set_stream(memory_keys::Set set, std::string_view value) const;
    void require(memory_keys::Set set, const std::vector<std::string>& values);
    void bound(memory_keys::Column column, std::int64_t least, std::int64_t greatest, OrdinalRange unset);
    Stream column_stream(memory_keys::Column column) const;
    bool before(std::uint64_t a, std::uint64_t b) const { return ascending_ ? a < b : a > b; }
    std::optional<std::uint64_t> place(const Stream& stream) const;
    Status advance(Stream& stream, std::uint64_t target);
    Result<std::optional<std::uint64_t>> advance(Condition& condition, std::uint64_t target);
    Result<std::optional<std::uint64_t>> meet(std::uint64_t target);
    // Of the block a stream stands at, as of as_of_. A column's bytes that are not those stored are put into `room`.
    Result<BlockSet> set_at(const Stream& stream);
    Result<ColumnView> column_at(const Stream& stream, std::string& room);
    Result<BlockRewind> rewind_at(const Stream& stream);
    Result<BlockSet> gather();
    Status narrow();
    void clip(BlockSet& set, const OrdinalRange& range) const;

    const ViewSnapshot& snapshot_;
    std::string prefix_;
    OrdinalRange range_;
    bool ascending_;
    std::optional<Seq> as_of_;
    std::unique_ptr<ViewIterator> past_;  // Made when needed.
    std::vector<Condition> conditions_;
    std::optional<Stream> hidden_;  // What it holds does not pass.
    std::vector<Bound> bounds_;
    Stream confidence_;
    std::optional<std::uint64_t> target_;  // The next block to look at; none: done.
    std::uint64_t block_ = 0;
    BlockSet passing_;
    std::uint64_t keys_scanned_ = 0;
};

// The metadata conditions of a filter, parsed once.
class MetadataFilter {
 public:
    MetadataFilter();
    MetadataFilter(MetadataFilter&&) noexcept;
    ~MetadataFilter();
    // invalid_argument: a path is empty, or `equals` is not JSON.
    static Result<MetadataFilter> parse(const std::vector<Filter::Metadata>& conditions);
    bool empty() const;
    // A path finds a key as it is spelled, or by its parts: "a.b" is the key "a.b", or b within a. Equal is equal by
    // value: 1 and 1.0 are, objects whatever the order of their keys. A condition on a number is never met by another
    // type.
    bool passes(std::string_view metadata) const;

 private:
    struct Condition;
    std::vector<Condition> conditions_;
};

}  // namespace annal
