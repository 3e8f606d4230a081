// What RocksDB says, in our words.
#pragma once

#include <annal/result.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace rocksdb {
class FileSystem;
class Logger;
class Status;
}  // namespace rocksdb

namespace annal {

using OnMessage = std::function<void(std::string_view level, std::string_view message)>;

// resource_exhausted: no space; data_loss: corruption; unavailable: any other I/O; internal: the rest. The message
// holds the cause and no path; the whole text goes to `on_message`.
Error to_error(const rocksdb::Status& status, std::string_view doing, const OnMessage& on_message = {});

// A logger that writes no file: RocksDB's own, on a full disk, aborts the process in builds with assertions.
std::shared_ptr<rocksdb::Logger> make_logger(const OnMessage& on_message);

// Creates it and its parents, each durably entered in the one above.
Status create_directories(rocksdb::FileSystem& files, const std::filesystem::path& directory);
Status sync_directory(rocksdb::FileSystem& files, const std::filesystem::path& directory);

}  // namespace annal
