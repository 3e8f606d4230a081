#include "rocks_files.h"

#include <rocksdb/db.h>
#include <rocksdb/metadata.h>
#include <rocksdb/sst_file_reader.h>

#include <algorithm>

namespace annal {
namespace {

struct LiveFile {
    TableFile file;
    std::string path;
};

// By number.
std::vector<LiveFile> live_files(rocksdb::DB& db) {
    std::vector<rocksdb::LiveFileMetaData> found;
    db.GetLiveFilesMetaData(&found);
    std::vector<LiveFile> files;
    for (const auto& each : found)
        files.push_back({{each.file_number, each.size, each.column_family_name}, each.db_path + each.name});
    std::ranges::sort(files, {}, [](const LiveFile& live) { return live.file.number; });
    return files;
}

bool is_live(rocksdb::DB& db, std::uint64_t number) {
    const auto files = live_files(db);
    return std::ranges::any_of(files, [&](const LiveFile& live) { return live.file.number == number; });
}

rocksdb::Status check_file(rocksdb::DB& db, const std::string& path) {
    rocksdb::Options options;
    options.env = db.GetEnv();
    options.info_log = db.GetDBOptions().info_log;
    rocksdb::SstFileReader reader(options);
    if (auto opened = reader.Open(path); !opened.ok()) return opened;
    return reader.VerifyChecksum();
}

}  // namespace

Status check_files(rocksdb::DB& db, std::uint64_t after,
                   const std::function<bool(const TableFile& file, const Status& whole)>& visit) {
    for (const auto& [file, path] : live_files(db)) {
        if (file.number <= after) continue;
        const auto checked = check_file(db, path);
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
