#include "log_retention.h"

#include "bytes.h"

#include <rocksdb/file_system.h>

#include <algorithm>

namespace annal {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t segment_events_max = std::uint64_t{1} << 18;
constexpr std::uint64_t segment_bytes_max = std::uint64_t{256} << 20;  // Of stored events, before the last tile.
constexpr std::uint64_t events_kept_min = 256;
constexpr std::size_t page_events_max = 1024, page_bytes_max = std::size_t{2} << 20;

Seq last_of_tiles(std::uint64_t seq) {
    return Seq{seq / tile_events * tile_events};
}

// How far a log can be archived.
Result<Seq> limit_of(const RocksStore& store, const LogToArchive& log, Seq up_to) {
    const auto head = store.last_seq();
    if (!head) return head.error();
    const auto indexed = store.indexed();
    if (!indexed) return indexed.error();
    const auto kept = std::min(head->value, events_kept_min);
    return last_of_tiles(std::min({up_to.value, log.synced.value, indexed->value, head->value - kept}));
}

// What check_segment found is the segment of the events of (after, to].
Status is_of_log(const CheckedSegment& found, const RocksStore& store, Seq after, Seq to) {
    const auto root = store.root(to);
    if (!root) return root.error();
    if (found.header.after() == after && found.header.to == to && found.root == *root) return Done{};
    return Error{ErrorCode::data_loss,
                 "the segment " + segment_file_name(Seq{after.value + 1}, to) + " is not one of this log",
                 {}};
}

// Moves one segment.
class Move {
 public:
    Move(const LogToArchive& log, const RocksStore& store, const fs::path& directory)
        : log_(log), store_(store), directory_(directory), after_(store.archive().up_to()) {}

    Result<ArchivedSegment> run(Seq limit, const std::string& recorded_directory) {
        const auto left = find_left_over(limit);
        if (!left) return left.error();
        if (auto gathered = gather(*left ? (*left)->last : limit, left->has_value()); !gathered)
            return gathered.error();
        if (auto whole = check_leaves(); !whole) return whole.error();
        const auto path = directory_ / segment_file_name(first(), last_);
        auto bytes = *left ? Result<std::uint64_t>((*left)->bytes) : write(path);
        if (!bytes) return bytes.error();

        EventArena arena;
        std::vector<EventView> events;
        if (auto read = store_.read(Seq{last_.value - 1}, last_, 1, SIZE_MAX, arena, events); !read)
            return read.error();
        const ArchivedRange range{first(), last_, *bytes, events[0].recorded_at(), recorded_directory};
        if (auto moved = store_.move_out(range, leaves_); !moved) return moved.error();
        return ArchivedSegment{first(), last_, path, *bytes, root_, left->has_value()};
    }

 private:
    struct LeftOver {
        Seq last;
        std::uint64_t bytes = 0;
    };

    Seq first() const { return Seq{after_.value + 1}; }

    // A segment of the next events that is whole and of this log.
    Result<std::optional<LeftOver>> find_left_over(Seq limit) const {
        std::vector<std::string> names;
        const auto status = log_.files.GetChildren(directory_.string(), {}, &names, nullptr);
        if (!status.ok()) return to_error(status, "listing the archive");
        std::ranges::sort(names);
        for (const auto& name : names) {
            const auto range = parse_segment_file_name(name);
            if (!range || range->first != first() || range->last > limit ||
                last_of_tiles(range->last.value) != range->last)
                continue;
            const auto found = check_segment(log_.files, directory_ / name);
            if (!found && found.error().code != ErrorCode::data_loss) return found.error();
            if (found && is_of_log(*found, store_, after_, range->last))
                return std::optional(LeftOver{range->last, found->bytes});
        }
        return std::optional<LeftOver>();
    }

    // The hashes of the events to be moved, which says how many they are.
    Status gather(Seq limit, bool all) {
        last_ = after_;
        for (std::uint64_t bytes = 0; last_ < limit; last_.value += tile_events) {
            if (!all && (bytes >= segment_bytes_max || leaves_.size() >= segment_events_max)) break;
            const auto read = store_.leaf_hashes(last_, tile_events, leaves_);
            if (!read) return read.error();
            bytes += *read;
        }
        return Done{};
    }

    Status check_leaves() {
        auto tree = MerkleFrontier::of(after_.value, [&](MerkleNodeId id) { return store_.tree_node(id); });
        if (!tree) return tree.error();
        before_ = *tree;
        std::vector<MerkleNode> completed;
        for (const auto& leaf : leaves_) {
            completed.clear();
            tree->append(leaf, completed);
        }
        root_ = tree->root();
        const auto root = store_.root(last_);
        if (!root) return root.error();
        if (root_ == *root) return Done{};
        return Error{ErrorCode::data_loss,
                     "the events up to " + std::to_string(last_.value) +
                         " are not those of the log's tree: nothing of them was archived",
                     {{"seq", std::to_string(last_.value)}}};
    }

    Result<std::uint64_t> write(const fs::path& path) const {
        const auto there = log_.files.FileExists(path.string(), {}, nullptr);
        if (there.ok())
            return Error{ErrorCode::already_exists,
                         "there is a file " + path.filename().string() +
                             " in the archive's directory, and it is not this log's segment: move it away, or name "
                             "another directory",
                         {{"file", path.filename().string()}}};
        SegmentHeader header{to_string(log_.id), log_.epoch, last_, before_, {}};
        const auto note = log_.signed_head(last_);
        if (!note && note.error().code != ErrorCode::unavailable) return note.error();
        if (note) header.signed_head = *note;
        const auto write_lines = [&](SegmentWriter& writer) -> Status {
            if (auto begun = writer.begin(header); !begun) return begun;
            if (auto added = add_events(writer); !added) return added;
            return writer.end(root_);
        };
        return write_segment(log_.files, path, write_lines, [&](const fs::path& draft) -> Status {
            const auto found = check_segment(log_.files, draft);
            if (!found) return found.error();
            return is_of_log(*found, store_, after_, last_);
        });
    }

    Status add_events(SegmentWriter& writer) const {
        EventArena arena;
        std::vector<EventView> page;
        for (Seq at = after_; at < last_; at = page.back().seq()) {
            arena.clear();
            page.clear();
            auto read = store_.read(at, last_, page_events_max, page_bytes_max, arena, page);
            if (!read) return read;
            for (const auto& event : page) {
                const auto stored = event.stored();
                auto added = writer.add(event.seq(), leaves_[event.seq().value - after_.value - 1], as_text(stored));
                if (!added) return added;
            }
        }
        return Done{};
    }

    const LogToArchive& log_;
    const RocksStore& store_;
    const fs::path& directory_;
    const Seq after_;
    Seq last_;
    std::vector<Hash> leaves_;  // Of the events in between.
    MerkleFrontier before_;
    Hash root_{};
};

}  // namespace

Result<ArchiveReport> archive_events(const LogToArchive& log, Seq up_to, const fs::path& directory,
                                     const ArchiveProgress& progress) {
    fs::path into;
    std::string recorded;
    Seq begun, limit;
    const auto planned = log.with_store([&](const RocksStore& store) -> Status {
        const auto& beside = store.archive().beside();
        into = directory.empty() ? beside : fs::absolute(directory).lexically_normal();
        if (into.filename().empty()) into = into.parent_path();
        if (into != fs::absolute(beside).lexically_normal() && into != beside) recorded = into.string();
        begun = store.archive().up_to();
        const auto found = limit_of(store, log, up_to);
        if (!found) return found.error();
        limit = *found;
        return Done{};
    });
    if (!planned) return planned.error();

    ArchiveReport report;
    report.archived_seq = begun;
    if (limit <= begun) return report;
    if (auto made = create_directories(log.files, into); !made) return made.error();
    while (report.archived_seq < limit) {
        const auto moved = log.with_store([&](const RocksStore& store) -> Status {
            auto segment = Move(log, store, into).run(limit, recorded);
            if (!segment) return segment.error();
            report.archived_seq = segment->last;
            report.segments.push_back(*std::move(segment));
            return Done{};
        });
        if (!moved) return moved.error();
        const auto reclaimed = log.with_store([](const RocksStore& store) { return store.reclaim(); });
        if (!reclaimed && log.on_message)
            log.on_message("warning", "the next archiving gives it back: " + reclaimed.error().message);
        if (progress) progress(report.archived_seq.value - begun.value, limit.value - begun.value);
    }
    return report;
}

Status keep_segment(rocksdb::FileSystem& files, const RocksStore& store, const ArchivedRange& range,
                    const std::function<Result<fs::path>()>& from, const fs::path& directory) {
    const auto path = directory / range.file_name();
    const auto checked = [&](const fs::path& file) -> Status {
        const auto found = check_segment(files, file);
        if (!found) return found.error();
        return is_of_log(*found, store, Seq{range.first.value - 1}, range.last);
    };
    const auto kept = checked(path);
    if (kept || (kept.error().code != ErrorCode::not_found && kept.error().code != ErrorCode::data_loss)) return kept;
    const auto source = from();
    if (!source) return source.error();
    if (auto made = create_directories(files, directory); !made) return made;
    const auto copied = copy_segment(files, *source, path, checked);
    if (!copied) return copied.error();
    return Done{};
}

}  // namespace annal
