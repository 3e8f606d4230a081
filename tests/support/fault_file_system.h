// A file system that fails when told to: the n-th operation returns an error, or the power goes out at it.
//
// Power loss: from the n-th operation on everything fails. Then image() makes, in another directory, what a disk might
// hold: of each file what was synced and a random part of the rest, with sectors of it zeroed; of the directory what
// was synced and a random prefix of the entries made, renamed and removed since. All operations stop before the first
// byte of the image is read: a simulator that goes on writing meanwhile makes damage that no disk makes.
// What is written in place is gone from the image, too, when its sync failed, though files still show it.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace annal::testing {

class FaultFileSystem : public rocksdb::FileSystemWrapper {
 public:
    enum class Fault { none, io_error, no_space, power_loss };
    using Status = rocksdb::IOStatus;
    using Options = rocksdb::IOOptions;
    using Context = rocksdb::IODebugContext;

    // `directory`: where files are watched; what is in it now is synced.
    explicit FaultFileSystem(std::filesystem::path directory)
        : FileSystemWrapper(rocksdb::FileSystem::Default()), directory_(std::move(directory)) {
        graveyard_ = directory_.string() + ".removed";
        std::filesystem::create_directories(graveyard_);
        if (!std::filesystem::exists(directory_)) return;
        for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
            if (!entry.is_regular_file()) continue;
            auto file = std::make_shared<File>();
            file->path = entry.path();
            file->size = file->synced = entry.file_size();
            live_[entry.path().filename()] = durable_[entry.path().filename()] = file;
        }
    }
    ~FaultFileSystem() override {
        std::error_code ignored;
        std::filesystem::remove_all(graveyard_, ignored);
    }
    const char* Name() const override { return "FaultFileSystem"; }

    // Set by a thread whose operations are not to count, since nobody knows when they come: it meets no fault but the
    // end of the power.
    static inline thread_local bool in_background = false;

    // The `at`-th operation from now (1: the next) meets the fault; of those that `counts`, when it is given.
    using Counts = std::function<bool(const std::string& operation)>;
    void arm(Fault fault, std::uint64_t at, Counts counts = {}) {
        const std::lock_guard lock(mutex_);
        fault_ = fault;
        left_ = at;
        counts_ = std::move(counts);
        met_ = "";
    }
    std::uint64_t operations() const { return operations_; }
    std::string met() const {  // The operation that met the fault; empty: none did.
        const std::lock_guard lock(mutex_);
        return met_;
    }

    void set_free_bytes(std::uint64_t bytes) { free_bytes_ = bytes; }  // From now on; before it, what there is.
    std::uint64_t free_bytes_asked() const { return free_bytes_asked_; }

    void image(const std::filesystem::path& to, std::mt19937_64& random) {
        const std::lock_guard lock(mutex_);
        dark_ = true;
        auto entries = durable_;
        // What is drawn does not depend on what threads of RocksDB did when they found the time: removals, compactions,
        // and so the numbers of files.
        const auto is_drawn = [](const Change& change) {
            return (change.file || !change.to.empty()) && !change.in_background;
        };
        auto kept = static_cast<std::ptrdiff_t>(
            random() % static_cast<std::uint64_t>(std::count_if(changes_.begin(), changes_.end(), is_drawn) + 1));
        for (const auto& change : changes_) {
            if (is_drawn(change) && kept-- == 0) break;
            apply(entries, change);
        }
        std::filesystem::create_directories(to);
        const std::uint64_t seed = random();
        std::map<std::string, std::uint64_t> ranks;
        // From the newest of a kind back: whether an old one is gone yet does not matter either.
        for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
            const auto& [name, file] = *entry;
            std::string kind = std::filesystem::path(name).extension();
            if (kind.empty()) kind = name.substr(0, name.find('-'));
            std::mt19937_64 of_file(seed ^ (std::hash<std::string>()(kind) + ranks[kind]++));
            std::ofstream(to / name, std::ios::binary) << remains(*file, of_file);
        }
    }

    Status NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result, Context* context) override;
    Status ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* result, Context* context) override;
    Status NewRandomRWFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSRandomRWFile>* result, Context* context) override;
    Status NewDirectory(const std::string& name, const Options& options, std::unique_ptr<rocksdb::FSDirectory>* result,
                        Context* context) override;
    Status NewSequentialFile(const std::string& name, const rocksdb::FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* result, Context* context) override {
        if (auto fault = meet("open to read " + name); !fault.ok()) return fault;
        return FileSystemWrapper::NewSequentialFile(name, options, result, context);
    }
    Status NewRandomAccessFile(const std::string& name, const rocksdb::FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* result, Context* context) override {
        if (auto fault = meet("open to read " + name); !fault.ok()) return fault;
        return FileSystemWrapper::NewRandomAccessFile(name, options, result, context);
    }
    Status RenameFile(const std::string& from, const std::string& to, const Options& options,
                      Context* context) override {
        const std::lock_guard lock(mutex_);
        if (auto fault = meet_locked("rename " + from); !fault.ok()) return fault;
        bury(to);
        const auto status = FileSystemWrapper::RenameFile(from, to, options, context);
        if (status.ok() && watched(from)) {
            live_[base(from)]->path = to;
            change({base(from), base(to), nullptr});
        }
        return status;
    }
    Status DeleteFile(const std::string& name, const Options& options, Context* context) override {
        const std::lock_guard lock(mutex_);
        if (auto fault = meet_locked("delete " + name); !fault.ok()) return fault;
        if (!watched(name)) return FileSystemWrapper::DeleteFile(name, options, context);
        bury(name);
        change({base(name), "", nullptr});
        return Status::OK();
    }
    Status CreateDirIfMissing(const std::string& name, const Options& options, Context* context) override {
        if (auto fault = meet("make directory " + name); !fault.ok()) return fault;
        return FileSystemWrapper::CreateDirIfMissing(name, options, context);
    }
    Status GetChildren(const std::string& name, const Options& options, std::vector<std::string>* result,
                       Context* context) override {
        if (auto fault = meet("list " + name); !fault.ok()) return fault;
        return FileSystemWrapper::GetChildren(name, options, result, context);
    }
    Status GetFileSize(const std::string& name, const Options& options, std::uint64_t* size,
                       Context* context) override {
        if (auto fault = meet("size of " + name); !fault.ok()) return fault;
        return FileSystemWrapper::GetFileSize(name, options, size, context);
    }
    Status GetFreeSpace(const std::string& name, const Options& options, std::uint64_t* bytes,
                        Context* context) override {
        ++free_bytes_asked_;
        if (free_bytes_ == unset) return FileSystemWrapper::GetFreeSpace(name, options, bytes, context);
        *bytes = free_bytes_;
        return Status::OK();
    }
    Status LockFile(const std::string& name, const Options& options, rocksdb::FileLock** lock,
                    Context* context) override {
        if (auto fault = meet("lock " + name); !fault.ok()) return fault;
        return FileSystemWrapper::LockFile(name, options, lock, context);
    }

 private:
    struct File {
        std::filesystem::path path;  // Where its bytes are, for as long as the simulator lives.
        std::uint64_t size = 0;      // What was appended.
        std::uint64_t synced = 0;    // As much of it is on disk.
        bool dropped = false;        // A sync failed: what was not on disk then never is, whatever later syncs say.
        // Of a file written in place:
        std::string synced_bytes;
        std::vector<std::pair<std::uint64_t, std::string>> writes;  // Since the last sync.
        bool in_place = false;
    };
    using Entries = std::map<std::string, std::shared_ptr<File>>;
    struct Change {  // A new entry `from` when there is a file; a rename when there is a `to`; else a removal.
        std::string from, to;
        std::shared_ptr<File> file;
        bool in_background = FaultFileSystem::in_background;
    };
    class Writable;
    class InPlace;
    class Directory;

    static std::string base(const std::string& name) { return std::filesystem::path(name).filename(); }
    bool watched(const std::string& name) const { return live_.count(base(name)) != 0; }
    bool inside(const std::string& name) const { return std::filesystem::path(name).parent_path() == directory_; }

    Status meet(const std::string& what) {
        const std::lock_guard lock(mutex_);
        return meet_locked(what);
    }
    Status meet_locked(const std::string& what) {
        ++operations_;
        if (dark_) return Status::IOError("no power");
        if (fault_ == Fault::none || left_ == 0 || in_background || (counts_ && !counts_(what)) || --left_ != 0)
            return Status::OK();
        met_ = what;
        dark_ = fault_ == Fault::power_loss;
        return fault_ == Fault::no_space ? Status::NoSpace("injected") : Status::IOError("injected");
    }
    static void apply(Entries& entries, const Change& change) {
        if (change.file) {
            entries[change.from] = change.file;
        } else if (!change.to.empty()) {
            if (auto node = entries.extract(change.from)) entries[change.to] = node.mapped();
        } else {
            entries.erase(change.from);
        }
    }
    void change(Change made) {
        apply(live_, made);
        changes_.push_back(std::move(made));
    }
    void bury(const std::string& name) {  // Its bytes may be needed: the removal is not durable yet.
        if (!watched(name)) return;
        auto& file = live_[base(name)];
        const auto grave = graveyard_ / std::to_string(graves_++);
        std::filesystem::rename(file->path, grave);
        file->path = grave;
    }
    std::shared_ptr<File> enter(const std::string& name) {
        auto file = std::make_shared<File>();
        file->path = name;
        if (inside(name)) change({base(name), "", file});
        return file;
    }
    static std::string bytes_of(const File& file) {
        std::ifstream in(file.path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    }
    static void overlay(std::string& bytes, std::uint64_t at, std::string_view written) {
        bytes.resize(std::max<std::size_t>(bytes.size(), at + written.size()));
        bytes.replace(at, written.size(), written);
    }
    static std::string remains(const File& file, std::mt19937_64& random) {
        if (file.in_place) {
            std::string bytes = file.synced_bytes;
            if (random() % 2 == 0) {  // In the order they were written; the last one is torn.
                const std::size_t kept = random() % (file.writes.size() + 1);
                for (std::size_t i = 0; i <= kept && i < file.writes.size(); ++i) {
                    const auto& [at, written] = file.writes[i];
                    const std::size_t size = i < kept ? written.size() : random() % written.size();
                    overlay(bytes, at, std::string_view(written).substr(0, size));
                }
                return bytes;
            }
            for (const auto& [at, written] : file.writes)  // Sector by sector, in any order.
                for (std::uint64_t from = at; from < at + written.size();) {
                    const auto to = std::min<std::uint64_t>((from / 512 + 1) * 512, at + written.size());
                    if (random() % 2 == 0) overlay(bytes, from, std::string_view(written).substr(from - at, to - from));
                    from = to;
                }
            return bytes;
        }
        std::string bytes = bytes_of(file);
        const std::uint64_t unsynced = file.size - file.synced;
        const std::uint64_t size = file.synced + (unsynced == 0 ? 0 : random() % (unsynced + 1));
        bytes.resize(size);
        for (std::uint64_t sector = (file.synced + 511) / 512; (sector + 1) * 512 <= size; ++sector)
            if (random() % 4 == 0) bytes.replace(sector * 512, 512, 512, '\0');
        return bytes;
    }

    const std::filesystem::path directory_;
    std::filesystem::path graveyard_;
    mutable std::mutex mutex_;
    Fault fault_ = Fault::none;
    std::uint64_t left_ = 0, graves_ = 0;
    Counts counts_;
    std::atomic<std::uint64_t> operations_ = 0;
    static constexpr std::uint64_t unset = ~std::uint64_t{0};
    std::atomic<std::uint64_t> free_bytes_ = unset, free_bytes_asked_ = 0;
    std::string met_;
    bool dark_ = false;
    Entries live_, durable_;
    std::vector<Change> changes_;  // From durable_ to live_.
};

class FaultFileSystem::Writable final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
    Writable(FaultFileSystem& system, std::shared_ptr<File> file, std::unique_ptr<FSWritableFile> target)
        : FSWritableFileOwnerWrapper(std::move(target)), system_(system), file_(std::move(file)) {}

    Status Append(const rocksdb::Slice& data, const Options& options, Context* context) override {
        const std::lock_guard lock(system_.mutex_);
        if (auto fault = system_.meet_locked("append to " + file_->path.string()); !fault.ok()) return fault;
        const auto status = FSWritableFileOwnerWrapper::Append(data, options, context);
        if (status.ok()) file_->size += data.size();
        return status;
    }
    Status Append(const rocksdb::Slice& data, const Options& options, const rocksdb::DataVerificationInfo&,
                  Context* context) override {
        return Append(data, options, context);
    }
    Status Flush(const Options& options, Context* context) override {
        if (auto fault = system_.meet("flush " + file_->path.string()); !fault.ok()) return fault;
        return FSWritableFileOwnerWrapper::Flush(options, context);
    }
    Status Sync(const Options& options, Context* context) override {
        return synced([&] { return FSWritableFileOwnerWrapper::Flush(options, context); });
    }
    Status Fsync(const Options& options, Context* context) override { return Sync(options, context); }
    void PrepareWrite(std::size_t, std::size_t, const Options&, Context*) override {}  // Room ahead: for speed alone.
    Status RangeSync(std::uint64_t, std::uint64_t, const Options&, Context*) override {
        return system_.meet("range sync " + file_->path.string());  // Promises nothing.
    }
    Status Truncate(std::uint64_t size, const Options& options, Context* context) override {
        const std::lock_guard lock(system_.mutex_);
        if (auto fault = system_.meet_locked("truncate " + file_->path.string()); !fault.ok()) return fault;
        return FSWritableFileOwnerWrapper::Truncate(size, options, context);
    }
    Status Close(const Options& options, Context* context) override {
        const auto fault = system_.meet("close " + file_->path.string());
        const auto closed = FSWritableFileOwnerWrapper::Close(options, context);
        return fault.ok() ? closed : fault;
    }

 private:
    template <class Do>
    Status synced(const Do& flush) {
        const std::lock_guard lock(system_.mutex_);
        if (auto fault = system_.meet_locked("sync " + file_->path.string()); !fault.ok()) {
            file_->dropped = true;
            return fault;
        }
        const auto status = flush();
        if (status.ok() && !file_->dropped) file_->synced = file_->size;
        return status;
    }
    FaultFileSystem& system_;
    const std::shared_ptr<File> file_;
};

class FaultFileSystem::InPlace final : public rocksdb::FSRandomRWFileOwnerWrapper {
 public:
    InPlace(FaultFileSystem& system, std::shared_ptr<File> file, std::unique_ptr<FSRandomRWFile> target)
        : FSRandomRWFileOwnerWrapper(std::move(target)), system_(system), file_(std::move(file)) {
        if (file_->in_place) return;
        file_->in_place = true;
        file_->synced_bytes = bytes_of(*file_);
        if (file_->synced == file_->size) return;  // Else the rest of what was appended is not on disk yet.
        file_->writes.emplace_back(file_->synced, file_->synced_bytes.substr(file_->synced));
        file_->synced_bytes.resize(file_->synced);
    }
    Status Write(std::uint64_t at, const rocksdb::Slice& data, const Options& options, Context* context) override {
        const std::lock_guard lock(system_.mutex_);
        if (auto fault = system_.meet_locked("write " + file_->path.string()); !fault.ok()) return fault;
        file_->writes.emplace_back(at, data.ToString());
        return FSRandomRWFileOwnerWrapper::Write(at, data, options, context);
    }
    Status Sync(const Options&, Context*) override {
        const std::lock_guard lock(system_.mutex_);
        const auto fault = system_.meet_locked("sync " + file_->path.string());
        if (system_.dark_) return fault;
        if (fault.ok())
            for (const auto& [at, bytes] : file_->writes) overlay(file_->synced_bytes, at, bytes);
        file_->writes.clear();  // After a failure the system takes them for written: no later sync does it.
        return fault;
    }
    Status Fsync(const Options& options, Context* context) override { return Sync(options, context); }

 private:
    FaultFileSystem& system_;
    const std::shared_ptr<File> file_;
};

class FaultFileSystem::Directory final : public rocksdb::FSDirectory {
 public:
    Directory(FaultFileSystem& system, bool watched) : system_(system), watched_(watched) {}
    Status Fsync(const Options&, Context*) override {
        const std::lock_guard lock(system_.mutex_);
        if (auto fault = system_.meet_locked("sync a directory"); !fault.ok()) return fault;
        if (!watched_) return Status::OK();
        system_.durable_ = system_.live_;
        system_.changes_.clear();
        return Status::OK();
    }

 private:
    FaultFileSystem& system_;
    const bool watched_;
};

inline FaultFileSystem::Status FaultFileSystem::NewWritableFile(const std::string& name,
                                                                const rocksdb::FileOptions& options,
                                                                std::unique_ptr<rocksdb::FSWritableFile>* result,
                                                                Context* context) {
    const std::lock_guard lock(mutex_);
    if (auto fault = meet_locked("create " + name); !fault.ok()) return fault;
    if (watched(name) && inside(name)) bury(name);
    auto status = FileSystemWrapper::NewWritableFile(name, options, result, context);
    if (status.ok()) *result = std::make_unique<Writable>(*this, enter(name), std::move(*result));
    return status;
}

inline FaultFileSystem::Status FaultFileSystem::ReopenWritableFile(const std::string& name,
                                                                   const rocksdb::FileOptions& options,
                                                                   std::unique_ptr<rocksdb::FSWritableFile>* result,
                                                                   Context* context) {
    const std::lock_guard lock(mutex_);
    if (auto fault = meet_locked("reopen " + name); !fault.ok()) return fault;
    auto status = FileSystemWrapper::ReopenWritableFile(name, options, result, context);
    if (status.ok())
        *result =
            std::make_unique<Writable>(*this, watched(name) ? live_[base(name)] : enter(name), std::move(*result));
    return status;
}

inline FaultFileSystem::Status FaultFileSystem::NewRandomRWFile(const std::string& name,
                                                                const rocksdb::FileOptions& options,
                                                                std::unique_ptr<rocksdb::FSRandomRWFile>* result,
                                                                Context* context) {
    const std::lock_guard lock(mutex_);
    if (auto fault = meet_locked("open to write " + name); !fault.ok()) return fault;
    auto status = FileSystemWrapper::NewRandomRWFile(name, options, result, context);
    if (status.ok() && watched(name)) *result = std::make_unique<InPlace>(*this, live_[base(name)], std::move(*result));
    return status;
}

inline FaultFileSystem::Status FaultFileSystem::NewDirectory(const std::string& name, const Options&,
                                                             std::unique_ptr<rocksdb::FSDirectory>* result, Context*) {
    if (auto fault = meet("open directory " + name); !fault.ok()) return fault;
    *result = std::make_unique<Directory>(*this, std::filesystem::path(name) == directory_);
    return Status::OK();
}

}  // namespace annal::testing
