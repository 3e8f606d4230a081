// How the log's RocksDB is set up, and why. Private to rocks_store.cpp.
#pragma once

#include <vector>

namespace rocksdb {
struct ColumnFamilyDescriptor;
struct DBOptions;
}  // namespace rocksdb

namespace annal {

struct RocksStoreOptions;

rocksdb::DBOptions rocks_db_options(const RocksStoreOptions& options);
std::vector<rocksdb::ColumnFamilyDescriptor> rocks_families();  // default, events, streams, idem, meta

}  // namespace annal
