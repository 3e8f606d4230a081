// The witness: how far the log has been acknowledged as durable, kept outside RocksDB.
//
// RocksDB's recovery cannot tell a torn tail that nobody was promised from damage to events that were acknowledged, so
// after each synced commit the log's head is written here too. It is a lower bound: it may lag what is durable (it is
// itself fsynced about once a second only), and never runs ahead of it.
//
// The file `witness` holds two slots, at 0 and 4096, written in turn so that a torn write leaves the other. A slot:
//   offset  size  field              (little endian)
//        0     8  "ANNLWIT2"
//        8    16  store UUID
//       24     8  epoch
//       32     8  seq
//       40    32  hash of that event (event_log_hash.h); zero when seq is
//       72    32  root of the Merkle tree of the events up to it (merkle_tree.h)
//      104     8  count of writes: the greater is the newer
//      112     1  1: closed cleanly, nothing follows seq
//      113     3  zero
//      116     4  CRC-32C of bytes 0 to 115
#pragma once

#include "event_log_hash.h"

#include <annal/ids.h>
#include <annal/result.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

namespace rocksdb {
class FileSystem;
class FSRandomRWFile;
}  // namespace rocksdb

namespace annal {

struct Witness {
    std::array<std::uint8_t, 16> store{};
    std::uint64_t epoch = 0;
    Seq seq;
    Hash hash{};
    Hash root{};
    bool clean = false;
};

class WitnessFile {
 public:
    // nullopt: there is no such file. data_loss: no slot of it is whole.
    static Result<std::optional<Witness>> read(rocksdb::FileSystem& files, const std::filesystem::path& directory);

    // Replaces the file as one step, durable when it returns, and keeps it open.
    static Result<std::unique_ptr<WitnessFile>> create(rocksdb::FileSystem& files,
                                                       const std::filesystem::path& directory, const Witness& witness);
    ~WitnessFile();

    Status write(const Witness& witness);  // Handed to the system: survives the process.
    Status sync();

 private:
    WitnessFile();
    std::unique_ptr<rocksdb::FSRandomRWFile> file_;
    std::uint64_t writes_ = 0;
};

}  // namespace annal
