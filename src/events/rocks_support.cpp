#include "rocks_support.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/status.h>

#include <cstdio>

namespace annal {
namespace {

class MessageLogger final : public rocksdb::Logger {
 public:
    explicit MessageLogger(OnMessage on_message)
        : Logger(rocksdb::InfoLogLevel::ERROR_LEVEL), on_message_(std::move(on_message)) {}
    ~MessageLogger() override { Close().PermitUncheckedError(); }

    using Logger::Logv;
    void LogHeader(const char*, va_list) override {}
    void Logv(const char*, va_list) override {}
    void Logv(rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
        if (level < GetInfoLogLevel() || level == rocksdb::InfoLogLevel::HEADER_LEVEL || !on_message_) return;
        char text[1024];
        if (std::vsnprintf(text, sizeof text, format, arguments) > 0) on_message_("warning", text);
    }

 protected:
    rocksdb::Status CloseImpl() override { return rocksdb::Status::OK(); }

 private:
    const OnMessage on_message_;
};

// The last part of RocksDB's text is the system's reason; what goes before it names files.
std::string reason_of(const rocksdb::Status& status) {
    const std::string text = status.ToString();
    const auto colon = text.rfind(": ");
    const std::string last = colon == std::string::npos ? text : text.substr(colon + 2);
    return last.find('/') == std::string::npos ? last : std::string();
}

}  // namespace

Error to_error(const rocksdb::Status& status, std::string_view doing, const OnMessage& on_message) {
    if (on_message) on_message("error", std::string(doing) + ": " + status.ToString());
    auto code = ErrorCode::internal;
    std::string cause = "an error of the storage engine";
    if (status.IsNoSpace() || status.subcode() == rocksdb::Status::SubCode::kSpaceLimit) {
        code = ErrorCode::resource_exhausted;
        cause = "no space left on the device";
    } else if (status.IsCorruption()) {
        code = ErrorCode::data_loss;
        cause = "stored bytes are damaged";
    } else if (status.IsIOError() || status.IsShutdownInProgress() || status.IsTimedOut() || status.IsTryAgain() ||
               status.IsBusy() || status.IsNotFound()) {
        code = ErrorCode::unavailable;
        cause = "an I/O error";
        if (const auto reason = reason_of(status); !reason.empty()) cause += ", " + reason;
    }
    return {code, std::string(doing) + ": " + cause, {}};
}

std::shared_ptr<rocksdb::Logger> make_logger(const OnMessage& on_message) {
    return std::make_shared<MessageLogger>(on_message);
}

Status create_directories(rocksdb::FileSystem& files, const std::filesystem::path& directory) {
    const rocksdb::IOOptions io;
    bool is_directory = false;
    if (files.IsDirectory(directory.string(), io, &is_directory, nullptr).ok()) {
        if (is_directory) return Done{};
        return Error{ErrorCode::invalid_argument, "the store's directory is the name of a file", {}};
    }
    const auto parent = directory.has_parent_path() ? directory.parent_path() : std::filesystem::path(".");
    if (parent != directory)
        if (auto made = create_directories(files, parent); !made) return made;
    if (auto made = files.CreateDirIfMissing(directory.string(), io, nullptr); !made.ok())
        return to_error(made, "creating the store's directory");
    return sync_directory(files, parent);
}

Status sync_directory(rocksdb::FileSystem& files, const std::filesystem::path& directory) {
    const rocksdb::IOOptions io;
    std::unique_ptr<rocksdb::FSDirectory> handle;
    auto status = files.NewDirectory(directory.string(), io, &handle, nullptr);
    if (status.ok()) status = handle->Fsync(io, nullptr);
    if (!status.ok()) return to_error(status, "syncing a directory");
    return Done{};
}

}  // namespace annal
