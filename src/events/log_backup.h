// Copies of a log in a directory of their own, made while it is written, each sharing with the one before it what did
// not change (RocksDB's backup engine). A copy is called good, and can be restored, only once it was opened and every
// event of it hashed: its root must be the log's. What was found is in the file `backup-ID` beside it, lines of text:
//   annal backup v1
//   id 3
//   store UUID
//   epoch 1
//   seq 4711          the last event
//   root BASE64       of the Merkle tree of all of them
//   hash BASE64       of the last event
//   bytes 1234567
//   created_at 1763700000000000    microseconds since 1970
//   sha256 BASE64     of all lines above
// A directory holds backups of one store. Keys are never in it. The segments that the log was archived to are in its
// `archive`, shared by all backups: what is whole there is not copied again, and nothing there is ever removed.
#pragma once

#include "rocks_store.h"

#include <annal/engine.h>

#include <filesystem>
#include <vector>

namespace annal {

using BackupProgress = std::function<void(std::uint64_t checked, std::uint64_t events)>;

struct LogToBackUp {
    const RocksStore& store;
    std::array<std::uint8_t, 16> id;
    std::uint64_t epoch;
    rocksdb::Env* env;  // Null: the system's.
    Clock& clock;
    const OnMessage& on_message;
};

// Removes what an earlier run left unfinished and, when `keep` is not 0, all but the newest `keep`. already_exists:
// another backup into that directory is under way. invalid_argument: it holds backups of another store. data_loss: the
// copy is not the log; it is removed.
Result<BackupInfo> make_backup(const LogToBackUp& log, const std::filesystem::path& directory, std::size_t keep,
                               const BackupProgress& progress);

// The good ones, oldest first; not_found: there is no such directory.
Result<std::vector<BackupInfo>> list_backups(const std::filesystem::path& directory);

// Makes the log `log_directory`, which must not be there, of the backup `id` (0: the newest): checked again, and of a
// later epoch, so that nothing that followed the original takes the copy for it. not_found: there is no such backup.
// data_loss: the copy is not what it was; nothing is left behind.
Result<BackupInfo> restore_backup(const std::filesystem::path& directory, std::uint32_t id,
                                  const std::filesystem::path& log_directory, Clock& clock, const OnMessage& on_message,
                                  const BackupProgress& progress);

}  // namespace annal
