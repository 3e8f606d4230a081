// The disposable half of a store: one ordered key space per projection, with batches that are all or nothing.
// Written unsynced: what a crash takes is replayed from the checkpoint, which is in the same batch as the state.
// Threads: reads from any thread; one writer per space.
#pragma once

#include <annal/result.h>

#include "events/checked.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

// Writes of one space, applied in order, together or not at all. A batch sees its own puts in get().
class ViewBatch {
 public:
    virtual ~ViewBatch() = default;
    virtual void put(std::string_view key, std::string_view value) = 0;
    virtual void erase(std::string_view key) = 0;
    // This batch's own value, else the store's.
    virtual Result<std::optional<std::string>> get(std::string_view key) const = 0;
};

class RowWalk {  // Over rows, ascending by key.
 public:
    virtual ~RowWalk() = default;
    virtual void next() = 0;
    virtual bool valid() const = 0;
    virtual std::string_view key() const = 0;  // Valid until the walk moves.
    virtual std::string_view value() const = 0;
    virtual Status status() const = 0;  // Ask once after the last step: an error also ends the walk.
};

class ViewIterator : public RowWalk {  // Over one space as of its making. Short-lived: it pins files.
 public:
    virtual void seek(std::string_view key) = 0;           // To the first key >= key.
    virtual void seek_for_prev(std::string_view key) = 0;  // To the last key <= key.
    virtual void prev() = 0;
};

// A frozen view of one space: all its reads agree with each other.
class ViewSnapshot {
 public:
    virtual ~ViewSnapshot() = default;
    virtual Result<std::optional<std::string>> get(std::string_view key) const = 0;
    // In the order of `keys`; nullopt where there is none. Cheaper than one by one.
    virtual Result<std::vector<std::optional<std::string>>> get_many(std::span<const std::string> keys) const = 0;
    virtual std::unique_ptr<ViewIterator> iterate() const = 0;
};

// One projection's keys.
class ViewSpace {
 public:
    virtual ~ViewSpace() = default;
    virtual Result<std::optional<std::string>> get(std::string_view key) const = 0;
    virtual std::shared_ptr<const ViewSnapshot> snapshot() const = 0;
    virtual std::unique_ptr<ViewIterator> iterate() const = 0;
    virtual std::unique_ptr<ViewBatch> new_batch() = 0;
    virtual Status write(ViewBatch& batch) = 0;  // A batch of this space; it is empty afterwards.
    // Nothing more is to be written for now: what large batches left in many files is put in order, in the background.
    virtual void settle() {}
    virtual Status clear() = 0;  // Removes every key; snapshots keep theirs.
    virtual std::uint64_t bytes_on_disk() const = 0;
    // A read since the last clear() met bytes that fail their checks (it answered data_loss): clear, and build anew.
    virtual bool damaged() const { return false; }
};

struct ViewStoreOptions {
    std::filesystem::path directory;
    // A batch of so much or more, a replay's, is written as one sorted file and not row by row: a row costs a tenth of
    // its way through WAL, memtable, flush and compaction, and the file's three syncs as much as some thousand rows.
    std::size_t bulk_bytes_min = std::size_t{1} << 20;
    std::function<void(std::string_view level, std::string_view message)> on_message{};
};

class ViewStore {
 public:
    // A store that cannot be read (damaged, unknown format) is set aside, as `<directory>.damaged` in place of an
    // earlier one, and an empty one made; `recovered` says why. already_exists: it is open elsewhere, in this process
    // or another. unavailable, resource_exhausted: the disk refuses; nothing is changed.
    static Result<std::unique_ptr<ViewStore>> open(const ViewStoreOptions& options);
    virtual ~ViewStore() = default;  // Flushes: the next open replays nothing.

    // Opens or makes the space: 1 to 64 of a-z, 0-9, '_', '-'. The same name gives the same keys. Spaces, batches,
    // snapshots and iterators that outlive the store keep it open.
    virtual Result<std::unique_ptr<ViewSpace>> space(std::string_view name) = 0;
    virtual std::vector<std::string> spaces() const = 0;
    // Durably. Its keys and files go; what was made of it before reads on. Done when there is no such space.
    virtual Status drop(std::string_view name) = 0;
    // All that was written before survives a power loss.
    virtual Status sync() = 0;
    // What was in spaces that were dropped before is in no file any more. unavailable: a reader of theirs goes on.
    virtual Status purge() = 0;
    // Reads the table files numbered past `after`, from disk, and checks every block; ends early when `progress`
    // answers false. A space that has a damaged one is damaged() from then on. data_loss: the first one; all are read
    // before.
    virtual Result<Checked> check_files(std::uint64_t after, const std::function<bool(const Checked&)>& progress) = 0;
    virtual std::filesystem::path directory() const = 0;  // Beside the key spaces, for a projection's own files.
    virtual std::uint64_t bytes_on_disk() const = 0;
    virtual std::string recovered() const = 0;  // Why it was made anew; empty when it was not.
};

}  // namespace annal
