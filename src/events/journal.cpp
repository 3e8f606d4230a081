#include "journal.h"

#include "crc32c.h"
#include "little_endian.h"
#include "rocks_support.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <array>

namespace annal {
namespace {

constexpr std::string_view journal_magic = "ANNLJNL1", extension = ".journal";
constexpr std::size_t header_bytes = 28, frame_header_bytes = 24;
// A file grows by so much beyond a small frame; a large one grows it itself, since zeros cost what they would save.
constexpr std::size_t growth_bytes = std::size_t{64} << 10, small_frame_max = std::size_t{16} << 10;

struct Header {
    std::uint64_t number = 0, first_frame = 0;
};

std::array<char, header_bytes> pack(const Header& header) {
    std::array<char, header_bytes> bytes{};
    std::copy(journal_magic.begin(), journal_magic.end(), bytes.begin());
    put_little_endian(&bytes[8], header.number);
    put_little_endian(&bytes[16], header.first_frame);
    put_little_endian(&bytes[24], crc32c(bytes.data(), 24));
    return bytes;
}

std::optional<Header> unpack(std::string_view bytes) {
    if (bytes.size() < header_bytes || !bytes.starts_with(journal_magic)) return std::nullopt;
    if (take_little_endian<std::uint32_t>(&bytes[24]) != crc32c(bytes.data(), 24)) return std::nullopt;
    return Header{take_little_endian<std::uint64_t>(&bytes[8]), take_little_endian<std::uint64_t>(&bytes[16])};
}

std::array<char, frame_header_bytes> frame_header(JournalPosition at, std::string_view batch) {
    std::array<char, frame_header_bytes> bytes{};
    put_little_endian(&bytes[4], static_cast<std::uint32_t>(batch.size()));
    put_little_endian(&bytes[8], at.frame);
    put_little_endian(&bytes[16], at.journal);
    put_little_endian(bytes.data(), crc32c(batch.data(), batch.size(), crc32c(&bytes[4], bytes.size() - 4)));
    return bytes;
}

// The batch of the frame that `bytes` begins with; nullopt: it is not that frame, or not whole.
std::optional<std::string_view> batch_of(std::string_view bytes, JournalPosition expected) {
    if (bytes.size() < frame_header_bytes) return std::nullopt;
    const auto size = take_little_endian<std::uint32_t>(&bytes[4]);
    if (size > bytes.size() - frame_header_bytes) return std::nullopt;
    const auto batch = bytes.substr(frame_header_bytes, size);
    const auto whole = frame_header(expected, batch);
    if (!bytes.starts_with(std::string_view(whole.data(), whole.size()))) return std::nullopt;
    return batch;
}

struct Found {
    std::string path;
    Header header;
    std::string bytes;
};

}  // namespace

Journal::Journal(rocksdb::FileSystem& files, std::filesystem::path directory, std::uint64_t bytes_max)
    : files_(files), directory_(std::move(directory)), bytes_max_(bytes_max) {}

Journal::~Journal() {
    if (out_) out_->Close({}, nullptr).PermitUncheckedError();
}

Result<std::unique_ptr<Journal>> Journal::open(rocksdb::FileSystem& files, const std::filesystem::path& directory,
                                               JournalPosition applied, std::uint64_t bytes_max, const Apply& apply) {
    std::unique_ptr<Journal> journal(new Journal(files, directory, bytes_max));
    journal->number_ = applied.journal;
    journal->next_frame_ = applied.frame + 1;

    std::vector<std::string> names;
    auto status = files.GetChildren(directory.string(), {}, &names, nullptr);
    if (!status.ok()) return to_error(status, "listing the log's journals");
    std::vector<Found> found;
    for (const auto& name : names) {
        if (!name.ends_with(extension)) continue;
        Found file{(directory / name).string(), {}, {}};
        status = rocksdb::ReadFileToString(&files, file.path, &file.bytes);
        if (!status.ok()) return to_error(status, "reading a journal of the log");
        journal->free_.push_back({file.path, file.bytes.size(), 0});
        const auto header = unpack(file.bytes);
        if (!header) continue;  // It was being made, and had no frame yet; or see the witness.
        file.header = *header;
        found.push_back(std::move(file));
    }
    std::ranges::sort(found, {}, [](const Found& file) { return file.header.number; });

    for (std::size_t i = 0; i < found.size(); ++i) {
        const auto& [path, header, bytes] = found[i];
        const auto end = i + 1 < found.size() ? found[i + 1].header.first_frame : UINT64_MAX;
        std::string_view rest = std::string_view(bytes).substr(header_bytes);
        for (auto frame = header.first_frame; frame < end; ++frame) {
            const auto batch = batch_of(rest, {frame, header.number});
            if (!batch) break;
            rest.remove_prefix(frame_header_bytes + batch->size());
            if (frame < journal->next_frame_) continue;
            if (frame > journal->next_frame_)
                return Error{ErrorCode::data_loss,
                             "a part of the log's journal is missing",
                             {{"frame", std::to_string(journal->next_frame_)}}};
            if (auto done = apply(*batch); !done) return done.error();
            ++journal->next_frame_;
        }
        journal->number_ = std::max(journal->number_, header.number);
    }
    for (auto& file : journal->free_) file.last_frame = journal->next_frame_ - 1;
    return journal;
}

bool Journal::full(std::size_t batch_bytes) const {
    return !current_ || (end_ > header_bytes && end_ + frame_header_bytes + batch_bytes > bytes_max_);
}

Status Journal::begin_next(std::uint64_t in_tables) {
    if (error_) return *error_;
    if (auto synced = sync(); !synced) return synced;
    leave();
    // The largest: what it has need not be written with zeros.
    const auto best = std::ranges::max_element(
        free_, {}, [&](const File& file) { return file.last_frame <= in_tables ? file.size + 1 : 0; });
    if (best != free_.end() && best->last_frame <= in_tables) {
        const File file = *best;
        free_.erase(best);
        return take(file);
    }
    const auto made = make_file();
    return made ? take(*made) : Status(failed(made.error()));
}

Result<Journal::File> Journal::make_file() {
    for (std::size_t n = 0;; ++n) {
        File file{(directory_ / (std::to_string(n) + std::string(extension))).string(), 0, 0};
        if (std::ranges::find(free_, file.path, &File::path) != free_.end()) continue;
        std::unique_ptr<rocksdb::FSWritableFile> made;
        auto status = files_.NewWritableFile(file.path, {}, &made, nullptr);
        if (status.ok()) status = made->Close({}, nullptr);
        if (!status.ok()) return to_error(status, "making a journal of the log");
        if (auto synced = sync_directory(files_, directory_); !synced) return synced.error();
        return file;
    }
}

Status Journal::take(const File& file) {
    current_ = file;
    end_ = header_bytes;
    ++number_;
    const auto status = files_.NewRandomRWFile(file.path, {}, &out_, nullptr);
    if (!status.ok()) return failed(to_error(status, "opening a journal of the log"));
    const auto header = pack({number_, next_frame_});
    synced_ = false;
    if (auto written = write(0, {header.data(), header.size()}); !written) return written;
    return sync();
}

Status Journal::append(std::string_view batch) {
    if (error_) return *error_;
    if (pending_) return failed({ErrorCode::unavailable, "what the log's journal has could not be applied", {}});
    pending_ = true;
    static const std::string zeros(growth_bytes, '\0');
    const auto end = end_ + frame_header_bytes + batch.size();
    synced_ = false;
    if (end > current_->size && batch.size() <= small_frame_max) {
        if (auto grown = write(end, zeros); !grown) return grown;
        current_->size = end + zeros.size();
    }
    const auto header = frame_header(next(), batch);
    if (auto written = write(end_ + frame_header_bytes, batch); !written) return written;
    if (auto written = write(end_, {header.data(), header.size()}); !written) return written;
    end_ = end;
    current_->size = std::max(current_->size, end);
    return Done{};
}

void Journal::applied() {
    ++next_frame_;
    pending_ = false;
}

Status Journal::sync() {
    if (error_) return *error_;
    if (synced_) return Done{};
    const auto status = out_->Sync({}, nullptr);
    if (!status.ok()) return failed(to_error(status, "syncing the log"));
    synced_ = true;
    return Done{};
}

void Journal::recover() {
    error_.reset();
    synced_ = true;
    pending_ = false;
    leave();
}

void Journal::leave() {
    if (out_) out_->Close({}, nullptr).PermitUncheckedError();
    out_.reset();
    if (!current_) return;
    current_->last_frame = next_frame_ - 1;
    free_.push_back(*std::move(current_));
    current_.reset();
}

Status Journal::trim(std::uint64_t in_tables) {
    if (error_) return *error_;
    if (next_frame_ - 1 <= in_tables) recover();
    while (!free_.empty()) {
        const auto file = std::ranges::find_if(free_, [&](const File& each) { return each.last_frame <= in_tables; });
        if (file == free_.end()) break;
        const auto status = files_.DeleteFile(file->path, {}, nullptr);
        if (!status.ok()) return to_error(status, "removing a journal of the log");
        free_.erase(file);
    }
    return Done{};
}

Status Journal::write(std::uint64_t at, std::string_view bytes) {
    const auto status = out_->Write(at, {bytes.data(), bytes.size()}, {}, nullptr);
    if (!status.ok()) return failed(to_error(status, "writing the log"));
    return Done{};
}

// A sync that failed is never made again: the system may have dropped the pages, and would report success.
Status Journal::failed(Error error) {
    error_ = error;
    return error;
}

}  // namespace annal
