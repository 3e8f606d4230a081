// The file of a keystore: wrapped keys, and nothing in the clear but random ids and keyed hashes.
//
// One file is in force, `epoch.N`, N in 16 hex digits: the greatest. Keys are appended to it. A new epoch is a whole
// new file, written as `epoch.new`, synced and renamed; what it replaces is then overwritten and removed. A crash
// leaves either the old epoch in force, or the new one and something left to remove.
//
// Header, a block of 512 bytes:
//   offset  size  field                  (little endian)
//        0     8  "ANNLKEY1"
//        8    16  store UUID
//       24     8  epoch
//       32     8  count of keys when it was written; those that follow were appended
//       40    24  nonce of the next field
//       64    48  epoch key, sealed with the root key
//      112    24  nonce of the next field
//      136   112  secrets of the store, sealed with the epoch key (keystore.cpp); the last is
//                                     reserved
//      248   260  zero
//      508     4  CRC-32C of bytes 0 to 507
// Then blocks of six keys and 8 bytes of zeros, so that a key never lies across two sectors. A key:
//        0    16  id, random
//       16    16  keyed hash of its project and subject
//       32    48  key, sealed with the epoch key
//       80     4  CRC-32C of bytes 0 to 79, seeded with the CRC that precedes it in the file
//
// An append is one key, synced before the next: a crash can leave one torn key, at the end of the file. It is not there
// whole, or its CRC, written last, is still zero. Anything else that fails its check is damage.
#pragma once

#include "aead.h"

#include <annal/ids.h>
#include <annal/result.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rocksdb {
class FileSystem;
class FSRandomRWFile;
}  // namespace rocksdb

namespace annal {

using SubjectKeyId = Uuid<struct SubjectKeyTag>;
using SubjectHash = Uuid<struct SubjectTag>;  // Keyed, of project and subject.

inline constexpr std::size_t keystore_secrets_bytes = 3 * key_bytes;

struct KeystoreHeader {
    std::array<std::uint8_t, 16> store{};
    std::uint64_t epoch = 0;
    std::uint64_t count = 0;
    AeadNonce epoch_key_nonce{};
    std::array<std::uint8_t, key_bytes + aead_tag_bytes> epoch_key{};
    AeadNonce secrets_nonce{};
    std::array<std::uint8_t, keystore_secrets_bytes + aead_tag_bytes> secrets{};
    bool operator==(const KeystoreHeader&) const = default;
};

struct KeyRecord {
    SubjectKeyId id;
    SubjectHash subject;
    std::array<std::uint8_t, key_bytes + aead_tag_bytes> key{};
    bool operator==(const KeyRecord&) const = default;
};

struct KeystoreContent {
    KeystoreHeader header;
    std::vector<KeyRecord> keys;
    bool operator==(const KeystoreContent&) const = default;
};

// The bytes of a new file. header.count is what it says, at most the number of keys.
std::string encode_keystore(const KeystoreContent& content);
// data_loss: not such a file, of another version, or damaged. A torn last key is left out.
Result<KeystoreContent> decode_keystore(std::string_view bytes);

class KeystoreFile {
 public:
    // What is in force in `directory`; nullopt: nothing. Changes no file.
    static Result<std::optional<KeystoreContent>> read(rocksdb::FileSystem& files,
                                                       const std::filesystem::path& directory);

    // What read() found, to append to: durable by now, and the only file.
    static Result<std::unique_ptr<KeystoreFile>> open(rocksdb::FileSystem& files,
                                                      const std::filesystem::path& directory,
                                                      const KeystoreContent& content);
    // Puts a new epoch in force, durably. Others than the file in force may be left: remove_others().
    // When it fails, either epoch may be in force after a crash.
    static Result<std::unique_ptr<KeystoreFile>> create(rocksdb::FileSystem& files,
                                                        const std::filesystem::path& directory,
                                                        const KeystoreContent& content);
    ~KeystoreFile();

    // Durable when it returns. After a failure, what the file holds is unknown: no append any more.
    Status append(const KeyRecord& record);
    // Overwrites and removes the files of other epochs.
    Status remove_others();

 private:
    KeystoreFile(rocksdb::FileSystem& files, std::filesystem::path directory, std::uint64_t epoch);

    rocksdb::FileSystem& files_;
    const std::filesystem::path directory_;
    const std::uint64_t epoch_;
    std::unique_ptr<rocksdb::FSRandomRWFile> file_;
    std::size_t count_ = 0;
    std::uint32_t last_crc_ = 0;
};

}  // namespace annal
