#include "rocks_files.h"

#include "rocks_options.h"

#include <rocksdb/db.h>
#include <rocksdb/file_checksum.h>
#include <rocksdb/file_system.h>
#include <rocksdb/metadata.h>
#include <rocksdb/sst_file_reader.h>

#include <algorithm>

namespace annal {
namespace {

constexpr std::size_t read_bytes = std::size_t{256} << 10;

struct LiveFile {
    TableFile file;
    std::string path;
    std::string checksum, checksum_name;  // Of all its bytes, as it was made.
};

// By number.
std::vector<LiveFile> live_files(rocksdb::DB& db) {
    std::vector<rocksdb::LiveFileMetaData> found;
    db.GetLiveFilesMetaData(&found);
    std::vector<LiveFile> files;
    for (const auto& each : found)
        files.push_back({{each.file_number, each.size, each.column_family_name},
                         each.db_path + each.name,
                         each.file_checksum,
                         each.file_checksum_func_name});
    std::ranges::sort(files, {}, [](const LiveFile& live) { return live.file.number; });
    return files;
}

bool is_live(rocksdb::DB& db, std::uint64_t number) {
    const auto files = live_files(db);
    return std::ranges::any_of(files, [&](const LiveFile& live) { return live.file.number == number; });
}

rocksdb::Status check_bytes(rocksdb::DB& db, const LiveFile& file, rocksdb::FileChecksumGenerator& checksum) {
    std::unique_ptr<rocksdb::FSSequentialFile> in;
    auto status = db.GetFileSystem()->NewSequentialFile(file.path, {}, &in, nullptr);
    std::vector<char> buffer(read_bytes);
    for (rocksdb::Slice read; status.ok(); checksum.Update(read.data(), read.size())) {
        status = in->Read(buffer.size(), {}, &read, buffer.data(), nullptr);
        if (read.empty()) break;
    }
    if (!status.ok()) return status;
    checksum.Finalize();
    if (checksum.GetChecksum() == file.checksum) return rocksdb::Status::OK();
    return rocksdb::Status::Corruption("its bytes are not those that were written", file.path);
}

// Its whole checksum, if it was made with one: RocksDB's check of blocks passes over those of a filter in parts.
rocksdb::Status check_file(rocksdb::DB& db, const LiveFile& file) {
    const auto checksum = file_checksums()->CreateFileChecksumGenerator({});
    if (file.checksum_name == checksum->Name()) return check_bytes(db, file, *checksum);
    rocksdb::Options options;
    options.env = db.GetEnv();
    options.info_log = db.GetDBOptions().info_log;
    rocksdb::SstFileReader reader(options);
    if (auto opened = reader.Open(file.path); !opened.ok()) return opened;
    return reader.VerifyChecksum();
}

}  // namespace

Status check_files(rocksdb::DB& db, std::uint64_t after,
                   const std::function<bool(const TableFile& file, const Status& whole)>& visit) {
    for (const auto& live : live_files(db)) {
        const auto& file = live.file;
        if (file.number <= after) continue;
        const auto checked = check_file(db, live);
        if (!checked.ok() && !is_live(db, file.number)) continue;
        auto whole = Status(Done{});
        if (!checked.ok()) {
            auto error = to_error(checked, "checking a table file");
            const bool gone = checked.IsPathNotFound() || checked.IsNotFound();
            if (gone || checked.IsNotSupported() || checked.IsInvalidArgument()) error.code = ErrorCode::data_loss;
            error.details["file"] = std::to_string(file.number);
            whole = error;
        }
        if (!visit(file, whole)) return Done{};
    }
    return Done{};
}

}  // namespace annal
