#include "log_backup.h"

#include "base64.h"
#include "bytes.h"
#include "log_retention.h"
#include "witness.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/utilities/backup_engine.h>

#include <algorithm>
#include <charconv>

namespace annal {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view file_prefix = "backup-", first_line = "annal backup v1\n", lock_name = "annal.lock",
                           archive_name = "archive";

// A backup as its file tells of it.
struct Description {
    BackupInfo info;
    Hash hash{};  // Of the last event.
};

std::string text_of(const Hash& hash) {
    return to_base64(as_text(hash));
}

std::string to_text(const Description& backup) {
    const auto& info = backup.info;
    std::string text(first_line);
    text += "id " + std::to_string(info.id) + "\nstore " + info.store_id + "\nepoch " + std::to_string(info.epoch) +
            "\nseq " + std::to_string(info.seq.value) + "\nroot " + text_of(info.root) + "\nhash " +
            text_of(backup.hash) + "\nbytes " + std::to_string(info.bytes) + "\ncreated_at " +
            std::to_string(info.created_at.us) + '\n';
    return text + "sha256 " + text_of(sha256(text)) + '\n';
}

// Takes the line "NAME VALUE" off the front.
std::optional<std::string_view> take_value(std::string_view& text, std::string_view name) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos || !text.starts_with(name) || text.size() <= name.size() ||
        text[name.size()] != ' ')
        return std::nullopt;
    const auto value = text.substr(name.size() + 1, end - name.size() - 1);
    text.remove_prefix(end + 1);
    return value;
}

template <class T>
bool take_number(std::string_view& text, std::string_view name, T& number) {
    const auto value = take_value(text, name);
    if (!value) return false;
    const auto [end, failed] = std::from_chars(value->data(), value->data() + value->size(), number);
    return failed == std::errc() && end == value->data() + value->size();
}

bool take_hash(std::string_view& text, std::string_view name, Hash& hash) {
    const auto value = take_value(text, name);
    const auto bytes = value ? from_base64(*value) : std::nullopt;
    if (!bytes || bytes->size() != hash.size()) return false;
    std::copy(bytes->begin(), bytes->end(), hash.begin());
    return true;
}

std::optional<Description> parse(std::string_view text) {
    const auto last = text.rfind("sha256 ");
    if (!text.starts_with(first_line) || last == std::string_view::npos) return std::nullopt;
    const Hash expected = sha256(text.substr(0, last));
    text.remove_prefix(first_line.size());
    Description backup;
    auto& info = backup.info;
    Hash found{};
    if (!take_number(text, "id", info.id)) return std::nullopt;
    const auto store = take_value(text, "store");
    if (!store) return std::nullopt;
    info.store_id = *store;
    if (!take_number(text, "epoch", info.epoch) || !take_number(text, "seq", info.seq.value) ||
        !take_hash(text, "root", info.root) || !take_hash(text, "hash", backup.hash) ||
        !take_number(text, "bytes", info.bytes) || !take_number(text, "created_at", info.created_at.us) ||
        !take_hash(text, "sha256", found) || !text.empty() || found != expected)
        return std::nullopt;
    return backup;
}

rocksdb::FileSystem& files_of(rocksdb::Env* env) {
    return *(env != nullptr ? env : rocksdb::Env::Default())->GetFileSystem();
}

fs::path file_of(const fs::path& directory, std::uint32_t id) {
    return directory / (std::string(file_prefix) + std::to_string(id));
}

Status write_file(rocksdb::FileSystem& files, const fs::path& path, const std::string& text) {
    const std::string draft = path.string() + ".new";
    std::unique_ptr<rocksdb::FSWritableFile> out;
    auto status = files.NewWritableFile(draft, {}, &out, nullptr);
    if (status.ok()) status = out->Append(text, {}, nullptr);
    if (status.ok()) status = out->Fsync({}, nullptr);
    if (status.ok()) status = out->Close({}, nullptr);
    if (status.ok()) status = files.RenameFile(draft, path.string(), {}, nullptr);
    if (!status.ok()) return to_error(status, "describing the backup");
    return sync_directory(files, path.parent_path());
}

// The good backups of a directory, oldest first. data_loss: one's file is damaged.
Result<std::vector<Description>> read_descriptions(rocksdb::FileSystem& files, const fs::path& directory) {
    std::vector<std::string> names;
    auto status = files.GetChildren(directory.string(), {}, &names, nullptr);
    if (status.IsNotFound()) return Error{ErrorCode::not_found, "there is no directory of backups there", {}};
    if (!status.ok()) return to_error(status, "listing the backups");
    std::vector<Description> backups;
    for (const auto& name : names) {
        if (!name.starts_with(file_prefix) || name.ends_with(".new")) continue;
        std::string text;
        status = rocksdb::ReadFileToString(&files, (directory / name).string(), &text);
        if (!status.ok()) return to_error(status, "reading a backup's description");
        auto backup = parse(text);
        if (!backup || file_of(directory, backup->info.id) != directory / name)
            return Error{ErrorCode::data_loss, "the description of a backup is damaged", {{"file", name}}};
        backups.push_back(*std::move(backup));
    }
    std::sort(backups.begin(), backups.end(),
              [](const Description& a, const Description& b) { return a.info.id < b.info.id; });
    return backups;
}

rocksdb::BackupEngineOptions engine_options(const fs::path& directory, rocksdb::Logger* logger) {
    rocksdb::BackupEngineOptions options(directory.string());
    options.share_table_files = true;
    options.share_files_with_checksum = true;
    options.sync = true;
    options.info_log = logger;
    return options;
}

// One at a time into a directory.
class DirectoryLock {
 public:
    static Result<std::unique_ptr<DirectoryLock>> take(rocksdb::FileSystem& files, const fs::path& directory) {
        rocksdb::FileLock* lock = nullptr;
        if (!files.LockFile((directory / lock_name).string(), {}, &lock, nullptr).ok())
            return Error{ErrorCode::already_exists, "another backup into that directory is under way", {}};
        return std::unique_ptr<DirectoryLock>(new DirectoryLock(files, lock));
    }
    ~DirectoryLock() { files_.UnlockFile(lock_, {}, nullptr).PermitUncheckedError(); }
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
    DirectoryLock(rocksdb::FileSystem& files, rocksdb::FileLock* lock) : files_(files), lock_(lock) {}
    rocksdb::FileSystem& files_;
    rocksdb::FileLock* lock_;
};

// The segments of what `store` archived are in `directory`, and whole, when this returns; says how many bytes they are.
// `from` is asked for those that are not there.
Result<std::uint64_t> keep_segments(rocksdb::FileSystem& files, const RocksStore& store, const fs::path& directory,
                                    const std::function<Result<fs::path>(const ArchivedRange&)>& from,
                                    const BackupProgress& progress) {
    std::uint64_t bytes = 0;
    for (const auto& range : store.archive().ranges()) {
        if (auto kept = keep_segment(
                files, store, range, [&] { return from(range); }, directory);
            !kept)
            return kept.error();
        bytes += range.bytes;
        if (progress) progress(range.last.value, store.archive().up_to().value);
    }
    return bytes;
}

// Opens the copy, hashes all of it, and says what it is.
Result<Description> examine(const rocksdb::BackupInfo& copy, const LogToBackUp& log, const fs::path& directory,
                            const BackupProgress& progress) {
    auto store = RocksStore::open({.directory = copy.name_for_open,
                                   .env = copy.env_for_open.get(),
                                   .on_message = log.on_message,
                                   .read_only = true});
    if (!store) return store.error();
    const Error other{ErrorCode::data_loss, "the copy is not the log's: it was not kept", {}};
    const auto identity = (*store)->identity();
    if (!identity) return identity.error();
    if (!*identity || (*identity)->store != log.id) return other;
    const auto head = (*store)->last_seq();
    if (!head) return head.error();
    const auto copied = (*store)->folded_root(*head, progress);
    if (!copied) return copied.error();
    const auto root = log.store.root(*head);
    if (!root) return root.error();
    if (*copied != *root) return other;
    const auto segments = keep_segments(
        files_of(log.env), **store, directory / archive_name,
        [&](const ArchivedRange& range) { return log.store.archive().find(range); }, progress);
    if (!segments) return segments.error();

    Description backup;
    backup.info = {copy.backup_id, to_string(log.id), log.epoch, *head, *root, copy.size + *segments, log.clock.now()};
    const auto last = (*store)->stored_event(*head);
    if (!last) return last.error();
    if (*last) backup.hash = event_hash(*head, **last);
    return backup;
}

Status remove_file(rocksdb::FileSystem& files, const fs::path& path) {
    const auto status = files.DeleteFile(path.string(), {}, nullptr);
    if (!status.ok()) return to_error(status, "removing an old backup");
    return Done{};
}

// Everything in `draft` is whole and what the backup was; and it has a witness of the new epoch.
Result<BackupInfo> make_log(const Description& backup, const fs::path& backups, const fs::path& draft, Clock& clock,
                            const OnMessage& on_message, const BackupProgress& progress) {
    BackupInfo info = backup.info;
    Witness witness;
    {
        auto store = RocksStore::open({.directory = draft, .on_message = on_message, .read_only = true});
        if (!store) return store.error();
        const Error other{ErrorCode::data_loss, "the backup is damaged: it is not the log that was copied", {}};
        const auto identity = (*store)->identity();
        if (!identity) return identity.error();
        if (!*identity || to_string((*identity)->store) != info.store_id) return other;
        const auto head = (*store)->last_seq();
        if (!head) return head.error();
        if (*head != info.seq) return other;
        const auto root = (*store)->folded_root(info.seq, progress);
        if (!root) return root.error();
        if (*root != info.root) return other;
        const auto archive = (*store)->archive().beside();  // The draft's, and so that of the log which it becomes.
        const auto from = [&](const ArchivedRange& range) -> Result<fs::path> {
            const auto name = range.file_name();
            if (files_of(nullptr).FileExists((archive / name).string(), {}, nullptr).ok())
                return Error{ErrorCode::already_exists,
                             "there is another segment of that name: restore into an empty directory",
                             {{"file", name}}};
            if (files_of(nullptr).FileExists((backups / archive_name / name).string(), {}, nullptr).ok())
                return backups / archive_name / name;
            return Error{ErrorCode::data_loss,
                         "the backup is damaged: the segment " + name + " of its archive is missing",
                         {{"file", name}}};
        };
        const auto segments = keep_segments(files_of(nullptr), **store, archive, from, progress);
        if (!segments) return segments.error();
        witness.store = (*identity)->store;
    }
    // Two restores of one backup are two logs: an epoch is never given out twice.
    info.epoch = std::max(info.epoch + 1, static_cast<std::uint64_t>(clock.now().us / 1'000'000));
    witness.epoch = info.epoch;
    witness.seq = info.seq;
    witness.hash = backup.hash;
    witness.root = info.root;
    if (auto made = WitnessFile::create(files_of(nullptr), draft, witness); !made) return made.error();
    return info;
}

}  // namespace

Result<BackupInfo> make_backup(const LogToBackUp& log, const fs::path& into, std::size_t keep,
                               const BackupProgress& progress) {
    auto& files = files_of(log.env);
    const fs::path directory = fs::absolute(into);  // A copy is opened by its absolute path alone.
    if (auto made = create_directories(files, directory); !made) return made.error();
    const auto lock = DirectoryLock::take(files, directory);
    if (!lock) return lock.error();
    auto good = read_descriptions(files, directory);
    if (!good) return good.error();
    for (const auto& backup : *good)
        if (backup.info.store_id != to_string(log.id))
            return Error{ErrorCode::invalid_argument,
                         "the directory holds backups of another store",
                         {{"store_id", backup.info.store_id}}};

    const auto logger = make_logger(log.on_message);
    rocksdb::BackupEngine* opened = nullptr;
    rocksdb::Status status = rocksdb::BackupEngine::Open(
        engine_options(directory, logger.get()), log.env != nullptr ? log.env : rocksdb::Env::Default(), &opened);
    if (!status.ok()) return to_error(status, "opening the directory of backups", log.on_message);
    const std::unique_ptr<rocksdb::BackupEngine> engine(opened);

    std::vector<rocksdb::BackupInfo> there;
    engine->GetBackupInfo(&there);
    for (const auto& each : there) {
        const bool is_good = std::any_of(good->begin(), good->end(),
                                         [&](const Description& of) { return of.info.id == each.backup_id; });
        if (is_good) continue;
        status = engine->DeleteBackup(each.backup_id);
        if (!status.ok()) return to_error(status, "removing an unfinished backup", log.on_message);
    }

    auto copied = log.store.copy_to(*engine);
    if (!copied) return copied.error();
    const std::uint32_t id = *copied;
    rocksdb::BackupInfo copy;
    status = engine->VerifyBackup(id, true);
    if (status.ok()) status = engine->GetBackupInfo(id, &copy, true);
    Result<Description> backup = status.ok() ? examine(copy, log, directory, progress)
                                             : Result<Description>(to_error(status, "checking the backup"));
    if (backup) {
        auto described = write_file(files, file_of(directory, id), to_text(*backup));
        if (!described) backup = described.error();
    }
    copy = {};
    if (!backup) {
        engine->DeleteBackup(id).PermitUncheckedError();  // The next run tries again.
        return backup.error();
    }

    good->push_back(*backup);
    for (; keep != 0 && good->size() > keep; good->erase(good->begin())) {
        const auto old = good->front().info.id;
        if (auto removed = remove_file(files, file_of(directory, old)); !removed) return removed.error();
        status = engine->DeleteBackup(old);
        if (!status.ok()) return to_error(status, "removing an old backup", log.on_message);
    }
    return backup->info;
}

Result<std::vector<BackupInfo>> list_backups(const fs::path& directory) {
    const auto backups = read_descriptions(files_of(nullptr), directory);
    if (!backups) return backups.error();
    std::vector<BackupInfo> infos;
    for (const auto& backup : *backups) infos.push_back(backup.info);
    return infos;
}

Result<BackupInfo> restore_backup(const fs::path& directory, std::uint32_t id, const fs::path& log_directory,
                                  Clock& clock, const OnMessage& on_message, const BackupProgress& progress) {
    auto& files = files_of(nullptr);
    const auto good = read_descriptions(files, directory);
    if (!good) return good.error();
    const auto wanted = std::find_if(good->rbegin(), good->rend(),
                                     [&](const Description& each) { return id == 0 || each.info.id == id; });
    if (wanted == good->rend())
        return Error{ErrorCode::not_found, "there is no such backup", {{"id", std::to_string(id)}}};
    if (files.FileExists(log_directory.string(), {}, nullptr).ok())
        return Error{ErrorCode::already_exists, "there is a log already: restore into an empty directory", {}};

    const auto logger = make_logger(on_message);
    rocksdb::BackupEngineReadOnly* opened = nullptr;
    rocksdb::Status status =
        rocksdb::BackupEngineReadOnly::Open(engine_options(directory, logger.get()), rocksdb::Env::Default(), &opened);
    if (!status.ok()) return to_error(status, "opening the directory of backups", on_message);
    std::unique_ptr<rocksdb::BackupEngineReadOnly> engine(opened);

    const fs::path draft = log_directory.string() + ".restoring", store = log_directory.parent_path();
    const fs::path archive = store / archive_name;
    std::error_code failure;
    const bool had_store = fs::exists(store, failure), had_archive = fs::exists(archive, failure);
    fs::remove_all(draft, failure);  // What an earlier run left.
    if (auto made = create_directories(files, draft); !made) return made.error();
    status = engine->RestoreDBFromBackup(wanted->info.id, draft.string(), draft.string());
    engine.reset();  // After an error its threads still copy.
    Result<BackupInfo> info = status.ok() ? make_log(*wanted, directory, draft, clock, on_message, progress)
                                          : Result<BackupInfo>(to_error(status, "restoring the backup", on_message));
    if (info) {
        status = files.RenameFile(draft.string(), log_directory.string(), {}, nullptr);
        if (!status.ok()) info = to_error(status, "restoring the backup", on_message);
    }
    if (!info) {
        fs::remove_all(draft, failure);
        if (!had_archive) fs::remove_all(archive, failure);
        if (!had_store) fs::remove(store, failure);
        return info;
    }
    if (auto synced = sync_directory(files, store); !synced) return synced.error();
    return info;
}

}  // namespace annal
