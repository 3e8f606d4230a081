#include "log_archive.h"

#include <rocksdb/file_system.h>

#include <algorithm>

namespace annal {
namespace {

constexpr std::size_t open_segments_max = 8;

}  // namespace

Status LogArchive::add(ArchivedRange range) {
    const std::lock_guard lock(mutex_);
    const Seq before = ranges_.empty() ? Seq{} : ranges_.back().last;
    if (range.first.value != before.value + 1 || range.last < range.first)
        return Error{ErrorCode::data_loss,
                     "the rows of what was archived have a gap",
                     {{"seq", std::to_string(before.value + 1)}}};
    ranges_.push_back(std::move(range));
    up_to_.store(ranges_.back().last.value, std::memory_order_release);
    return Done{};
}

std::vector<ArchivedRange> LogArchive::ranges() const {
    const std::lock_guard lock(mutex_);
    return ranges_;
}

Result<std::filesystem::path> LogArchive::find(const ArchivedRange& range) const {
    for (const auto& directory : {beside_, std::filesystem::path(range.directory)}) {
        if (directory.empty()) continue;
        const auto path = directory / range.file_name();
        const auto there = files_.FileExists(path.string(), {}, nullptr);
        if (there.ok()) return path;
        if (!there.IsNotFound() && !there.IsPathNotFound()) return to_error(there, "looking for a segment");
    }
    return Error{ErrorCode::unavailable,
                 "events " + std::to_string(range.first.value) + " to " + std::to_string(range.last.value) +
                     " were archived, and their segment " + range.file_name() + " is not there: bring it back",
                 {{"first", std::to_string(range.first.value)},
                  {"last", std::to_string(range.last.value)},
                  {"file", range.file_name()}}};
}

Result<std::shared_ptr<const SegmentFile>> LogArchive::open(const ArchivedRange& range) const {
    {
        const std::lock_guard lock(mutex_);
        const auto known =
            std::ranges::find(open_, range.first, &std::pair<Seq, std::shared_ptr<const SegmentFile>>::first);
        if (known != open_.end()) {
            std::rotate(known, known + 1, open_.end());
            return open_.back().second;
        }
    }
    const auto path = find(range);
    if (!path) return path.error();
    auto opened = SegmentFile::open(files_, *path);
    if (!opened) return opened.error();
    const std::shared_ptr<const SegmentFile> segment = *std::move(opened);
    if (segment->header().after().value + 1 != range.first.value || segment->header().to != range.last)
        return Error{ErrorCode::data_loss,
                     "the segment " + range.file_name() + " has other events than its name says",
                     {{"file", range.file_name()}}};
    const std::lock_guard lock(mutex_);
    if (open_.size() == open_segments_max) open_.erase(open_.begin());
    open_.emplace_back(range.first, segment);
    return segment;
}

Status LogArchive::read(Seq after, Seq up_to,
                        const std::function<Result<bool>(Seq, std::string_view stored)>& visit) const {
    bool more = true;
    while (more && after < up_to) {
        ArchivedRange range;
        {
            const std::lock_guard lock(mutex_);
            const auto found = std::ranges::upper_bound(ranges_, after, {}, &ArchivedRange::last);
            if (found == ranges_.end())
                return Error{ErrorCode::internal, "events that were not archived were looked for there", {}};
            range = *found;
        }
        const auto segment = open(range);
        if (!segment) return segment.error();
        const Seq end = std::min(up_to, range.last);
        const auto stop_at_false = [&](Seq seq, std::string_view stored) -> Result<bool> {
            auto visited = visit(seq, stored);
            more = visited && *visited;
            return visited;
        };
        if (auto read = (*segment)->read(after, end, stop_at_false); !read) return read;
        after = end;
    }
    return Done{};
}

}  // namespace annal
