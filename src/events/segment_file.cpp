#include "segment_file.h"

#include "base64.h"

#include <rocksdb/file_system.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace annal {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t written_at_once = std::size_t{1} << 20, read_at_once = std::size_t{1} << 20;
constexpr std::size_t sought_at_once = std::size_t{64} << 10;
constexpr std::string_view name_begin = "events-", name_end = ".jsonl";

Error damaged(const std::string& file, const std::string& what) {
    return {ErrorCode::data_loss, "the segment " + file + " is damaged: " + what, {{"file", file}}};
}

struct OpenedFile {
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    std::uint64_t bytes = 0;
};

Result<OpenedFile> open_file(rocksdb::FileSystem& files, const fs::path& path) {
    OpenedFile opened;
    auto status = files.FileExists(path.string(), {}, nullptr);
    if (status.IsNotFound() || status.IsPathNotFound())
        return Error{ErrorCode::not_found, "there is no such segment", {{"file", path.filename().string()}}};
    if (status.ok()) status = files.GetFileSize(path.string(), {}, &opened.bytes, nullptr);
    if (status.ok()) status = files.NewRandomAccessFile(path.string(), {}, &opened.file, nullptr);
    if (!status.ok()) return to_error(status, "opening a segment");
    return opened;
}

// The bytes of [at, at + size), at the end of `out`.
Status read_bytes(const rocksdb::FSRandomAccessFile& file, std::uint64_t at, std::size_t size, std::string& out) {
    const std::size_t before = out.size();
    out.resize(before + size);
    for (std::size_t done = 0; done < size;) {
        rocksdb::Slice part;
        char* to = out.data() + before + done;
        const auto status = file.Read(at + done, size - done, {}, &part, to, nullptr);
        if (!status.ok()) return to_error(status, "reading a segment");
        if (part.empty()) return Error{ErrorCode::data_loss, "a segment became shorter while it was read", {}};
        if (part.data() != to) std::copy_n(part.data(), part.size(), to);
        done += part.size();
    }
    return Done{};
}

// The lines of [at, end) of a file, one after the other.
class Lines {
 public:
    Lines(const rocksdb::FSRandomAccessFile& file, std::string name, std::uint64_t at, std::uint64_t end,
          std::size_t at_once)
        : file_(file), name_(std::move(name)), at_(at), read_to_(at), end_(end), at_once_(at_once) {}

    std::uint64_t at() const { return at_ + taken_; }  // Where the next line begins.

    // nullopt: at the end. Without its newline; valid until the next call.
    Result<std::optional<std::string_view>> next() {
        bytes_.erase(0, taken_);
        at_ += taken_;
        taken_ = 0;
        for (std::size_t searched = 0;;) {
            const auto newline = bytes_.find('\n', searched);
            if (newline != std::string::npos) {
                taken_ = newline + 1;
                return std::optional(std::string_view(bytes_).substr(0, newline));
            }
            searched = bytes_.size();
            if (read_to_ == end_) {
                if (bytes_.empty()) return std::optional<std::string_view>();
                return damaged(name_, "it ends within a line");
            }
            if (searched > segment_line_bytes_max) return damaged(name_, "a line is too long");
            const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(at_once_, end_ - read_to_));
            if (auto read = read_bytes(file_, read_to_, size, bytes_); !read) return read.error();
            read_to_ += size;
        }
    }

 private:
    const rocksdb::FSRandomAccessFile& file_;
    const std::string name_;
    std::string bytes_;      // From at_ to read_to_:
    std::size_t taken_ = 0;  // of the line in hand, and what follows it.
    std::uint64_t at_;
    std::uint64_t read_to_;
    const std::uint64_t end_;
    const std::size_t at_once_;
};

// Buffers what goes to a file that is not there under its name yet.
class Draft {
 public:
    static Result<std::unique_ptr<Draft>> create(rocksdb::FileSystem& files, const fs::path& path) {
        std::unique_ptr<Draft> draft(new Draft(files, path));
        const auto status = files.NewWritableFile(draft->draft_.string(), {}, &draft->out_, nullptr);
        if (!status.ok()) return to_error(status, "writing a segment");
        return draft;
    }
    ~Draft() {
        if (out_) out_->Close({}, nullptr).PermitUncheckedError();
        if (!kept_) files_.DeleteFile(draft_.string(), {}, nullptr).PermitUncheckedError();
    }
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;

    Status write(std::string_view bytes) {
        waiting_ += bytes;
        bytes_ += bytes.size();
        return waiting_.size() < written_at_once ? Status(Done{}) : flush();
    }

    Result<std::uint64_t> keep(const std::function<Status(const fs::path& draft)>& checked) {
        if (auto flushed = flush(); !flushed) return flushed.error();
        auto status = out_->Fsync({}, nullptr);
        if (status.ok()) status = out_->Close({}, nullptr);
        out_.reset();
        if (!status.ok()) return to_error(status, "writing a segment");
        if (auto good = checked(draft_); !good) return good.error();
        status = files_.RenameFile(draft_.string(), path_.string(), {}, nullptr);
        if (!status.ok()) return to_error(status, "writing a segment");
        kept_ = true;
        if (auto synced = sync_directory(files_, path_.parent_path()); !synced) return synced.error();
        return bytes_;
    }

 private:
    Draft(rocksdb::FileSystem& files, fs::path path)
        : files_(files), path_(std::move(path)), draft_(path_.string() + ".new") {}

    Status flush() {
        const auto status = out_->Append(waiting_, {}, nullptr);
        waiting_.clear();
        if (!status.ok()) return to_error(status, "writing a segment");
        return Done{};
    }

    rocksdb::FileSystem& files_;
    const fs::path path_, draft_;
    std::unique_ptr<rocksdb::FSWritableFile> out_;
    std::string waiting_;
    std::uint64_t bytes_ = 0;
    bool kept_ = false;
};

std::string digits_of(Seq seq) {
    char text[32];
    std::snprintf(text, sizeof text, "%012llu", static_cast<unsigned long long>(seq.value));
    return text;
}

// The last line of the file, and where it begins.
Status find_last_line(const OpenedFile& opened, const std::string& name, std::string& line, std::uint64_t& begin) {
    begin = opened.bytes;
    while (begin > 0) {
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(sought_at_once, begin));
        std::string part;
        if (auto read = read_bytes(*opened.file, begin - size, size, part); !read) return read;
        line.insert(0, part);
        begin -= size;
        if (line.back() != '\n') break;
        if (const auto newline = line.rfind('\n', line.size() - 2); line.size() > 1 && newline != std::string::npos) {
            begin += newline + 1;
            line = line.substr(newline + 1, line.size() - newline - 2);
            return Done{};
        }
        if (line.size() > segment_line_bytes_max) break;
    }
    return damaged(name, "it has no last line");
}

Status read_end(const OpenedFile& opened, const std::string& name, SegmentEnd& end, std::uint64_t& begin) {
    std::string line;
    if (auto found = find_last_line(opened, name, line, begin); !found) return found;
    auto parsed = parse_segment_end(line);
    if (!parsed) return damaged(name, parsed.error().message);
    end = *std::move(parsed);
    return Done{};
}

Seq first_of(const SegmentHeader& header) {
    return Seq{header.before.size() + 1};
}

}  // namespace

std::string segment_file_name(Seq first, Seq last) {
    return std::string(name_begin) + digits_of(first) + '-' + digits_of(last) + std::string(name_end);
}

std::optional<SegmentRange> parse_segment_file_name(std::string_view name) {
    if (!name.starts_with(name_begin) || !name.ends_with(name_end)) return std::nullopt;
    SegmentRange range;
    const auto* at = name.data() + name_begin.size();
    const auto* end = name.data() + name.size() - name_end.size();
    for (auto* seq : {&range.first, &range.last}) {
        const auto [stop, failed] = std::from_chars(at, end, seq->value);
        if (failed != std::errc()) return std::nullopt;
        at = std::min(stop + 1, end);
    }
    if (segment_file_name(range.first, range.last) != name) return std::nullopt;
    return range;
}

Result<std::uint64_t> write_segment(rocksdb::FileSystem& files, const fs::path& path,
                                    const std::function<Status(SegmentWriter&)>& write_lines,
                                    const std::function<Status(const fs::path& draft)>& checked) {
    const auto draft = Draft::create(files, path);
    if (!draft) return draft.error();
    SegmentWriter writer([&](std::string_view line) { return (*draft)->write(line); });
    if (auto written = write_lines(writer); !written) return written.error();
    return (*draft)->keep(checked);
}

Result<CheckedSegment> check_segment(rocksdb::FileSystem& files, const fs::path& path,
                                     const std::function<Status(const SegmentReader::Event&)>& visit) {
    const auto opened = open_file(files, path);
    if (!opened) return opened.error();
    const std::string name = path.filename().string();
    const auto refused = [&](const Error& error) {
        Error found = damaged(name, error.message);
        found.details.insert(error.details.begin(), error.details.end());
        return found;
    };
    SegmentEnd end;
    std::uint64_t events_end = 0;
    if (auto read = read_end(*opened, name, end, events_end); !read) return read.error();
    auto entry = end.index.begin();
    Lines lines(*opened->file, name, 0, opened->bytes, read_at_once);
    SegmentReader reader;
    for (;;) {
        const auto offset = lines.at();
        const auto line = lines.next();
        if (!line) return line.error();
        if (!*line) break;
        const auto event = reader.take(**line);
        if (!event) return refused(event.error());
        if (!*event) continue;
        if (entry != end.index.end() && entry->first == (*event)->seq && (entry++)->second != offset)
            return damaged(name, "its index is not that of its events");
        if (visit)
            if (auto visited = visit(**event); !visited) return visited.error();
    }
    if (auto finished = reader.finish(); !finished) return refused(finished.error());
    if (entry != end.index.end() || (!end.index.empty() && end.index.front().first != first_of(reader.header())))
        return damaged(name, "its index is not that of its events");
    return CheckedSegment{reader.header(), reader.end().root, opened->bytes};
}

Result<std::uint64_t> copy_segment(rocksdb::FileSystem& files, const fs::path& from, const fs::path& to,
                                   const std::function<Status(const fs::path& draft)>& checked) {
    const auto opened = open_file(files, from);
    if (!opened) return opened.error();
    const auto draft = Draft::create(files, to);
    if (!draft) return draft.error();
    std::string bytes;
    for (std::uint64_t at = 0; at < opened->bytes; at += bytes.size()) {
        bytes.clear();
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(read_at_once, opened->bytes - at));
        if (auto read = read_bytes(*opened->file, at, size, bytes); !read) return read.error();
        if (auto written = (*draft)->write(bytes); !written) return written.error();
    }
    return (*draft)->keep(checked);
}

SegmentFile::~SegmentFile() = default;

Result<std::unique_ptr<SegmentFile>> SegmentFile::open(rocksdb::FileSystem& files, const fs::path& path) {
    auto opened = open_file(files, path);
    if (!opened) return opened.error();
    std::unique_ptr<SegmentFile> segment(new SegmentFile);
    segment->name_ = path.filename().string();
    Lines lines(*opened->file, segment->name_, 0, opened->bytes, sought_at_once);
    const auto first = lines.next();
    if (!first) return first.error();
    if (!*first) return damaged(segment->name_, "it is empty");
    auto header = parse_segment_header(**first);
    if (!header) return damaged(segment->name_, header.error().message);
    if (auto read = read_end(*opened, segment->name_, segment->end_, segment->events_end_); !read) return read.error();
    const auto& index = segment->end_.index;
    if (index.empty() || index.front().first != first_of(*header) || index.back().first > header->to ||
        index.back().second >= segment->events_end_)
        return damaged(segment->name_, "its index is not that of its events");
    segment->header_ = *std::move(header);
    segment->file_ = std::move(opened->file);
    return segment;
}

Status SegmentFile::read(Seq after, Seq up_to,
                         const std::function<Result<bool>(Seq, std::string_view stored)>& visit) const {
    if (after < header_.after() || up_to > header_.to || after >= up_to)
        return Error{ErrorCode::internal, "a segment was asked for events that it does not have", {}};
    const Seq first{after.value + 1};
    const auto entry = std::prev(std::upper_bound(end_.index.begin(), end_.index.end(), first,
                                                  [](Seq seq, const auto& row) { return seq < row.first; }));
    Lines lines(*file_, name_, entry->second, events_end_, sought_at_once);
    for (Seq seq = entry->first; seq <= up_to; ++seq.value) {
        const auto line = lines.next();
        if (!line) return line.error();
        const auto text = "event " + std::to_string(seq.value);
        if (!*line) return damaged(name_, text + " is missing");
        if (seq < first) continue;
        const auto json = nlohmann::json::parse(**line, nullptr, false);
        if (!json.is_object() || json.value("seq", nlohmann::json()) != seq.value)
            return damaged(name_, text + " is not where its index says");
        const auto event = json.value("event", nlohmann::json());
        const auto stored =
            event.is_string() ? from_base64(event.get_ref<const std::string&>()) : std::optional<std::string>();
        if (!stored) return damaged(name_, text + " is not base64");
        const auto more = visit(seq, *stored);
        if (!more) return more.error();
        if (!*more) return Done{};
    }
    return Done{};
}

}  // namespace annal
