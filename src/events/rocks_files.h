// Reads table files of an open RocksDB from disk, past its caches, and checks every byte.
#pragma once

#include "rocks_support.h"

#include <cstdint>

namespace rocksdb {
class DB;
}

namespace annal {

struct TableFile {
    std::uint64_t number = 0;
    std::uint64_t bytes = 0;
    std::string family;  // Of columns, whose rows it holds.
};

// Those numbered more than `after`, by number, until `visit` answers false. `whole`: Done, data_loss for a file that
// fails its checks or is gone, else why it could not be read. A file that a compaction drops meanwhile is passed over.
Status check_files(rocksdb::DB& db, std::uint64_t after,
                   const std::function<bool(const TableFile& file, const Status& whole)>& visit);

}  // namespace annal
