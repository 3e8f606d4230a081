// How the log's RocksDB is set up, and why. Private to rocks_store.cpp.
#pragma once

#include <memory>
#include <vector>

namespace rocksdb {
class FileChecksumGenFactory;
struct ColumnFamilyDescriptor;
struct DBOptions;
}  // namespace rocksdb

namespace annal {

struct RocksStoreOptions;

// Gives what RocksDB's own of that name gives.
std::shared_ptr<rocksdb::FileChecksumGenFactory> file_checksums();
rocksdb::DBOptions rocks_db_options(const RocksStoreOptions& options);
std::vector<rocksdb::ColumnFamilyDescriptor> rocks_families();  // default, events, streams, idem, meta

}  // namespace annal
