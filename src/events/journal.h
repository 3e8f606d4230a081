// The log's write-ahead journal: what is durable before RocksDB's tables have it.
//
// Frames are numbered from 1 without a gap. Each is one batch of writes; whoever applies a batch keeps, in the same
// batch, how far he is (JournalPosition), so at open exactly the frames that his tables lack are given back, each once.
//
// A file holds the frames of one journal after the other: its blocks are written with zeros before small frames need
// them, and used again, so a sync of it moves data alone and no metadata of the file system (that is most of what a
// small sync costs). What is left in a file of the journal that had it before is told apart by the journal's number.
//
// File `N.journal`, integers little endian:
//   offset  size
//        0     8  "ANNLJNL1"
//        8     8  number of the journal: later ones have greater
//       16     8  number of its first frame; that frame and later ones in an earlier journal are void
//       24     4  CRC-32C of bytes 0 to 23
//       28        frames, one after the other
// Frame:
//        0     4  CRC-32C of the rest
//        4     4  bytes of the batch
//        8     8  number of the frame
//       16     8  number of the journal
//       24        the batch
// A journal ends at the first frame that is not whole, or not its next. A damaged frame is an end, too: that nothing
// acknowledged is behind it is for the witness to say.
//
// Threads: one at a time.
#pragma once

#include <annal/result.h>

#include <cstdint>
#include <filesystem>
#include <functional>
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

struct JournalPosition {
    std::uint64_t frame = 0;    // All up to it are applied.
    std::uint64_t journal = 0;  // Which had it.
};

class Journal {
 public:
    // Gives `apply` the frames past `applied`, in order. data_loss: one is missing between others. Errors of `apply`
    // end it. Changes no file.
    using Apply = std::function<Status(std::string_view batch)>;
    static Result<std::unique_ptr<Journal>> open(rocksdb::FileSystem& files, const std::filesystem::path& directory,
                                                 JournalPosition applied, std::uint64_t bytes_max, const Apply& apply);
    ~Journal();

    // Whether a frame of so many bytes needs begin_next() first.
    bool full(std::size_t batch_bytes) const;
    bool begun() const { return current_.has_value(); }  // Else all frames are in tables.
    // Begins another journal, in a file whose frames are all up to `in_tables`, or in a new one. The frames before are
    // synced when it returns.
    Status begin_next(std::uint64_t in_tables);

    JournalPosition next() const { return {next_frame_, number_}; }  // What append() writes. Not while full().
    // Handed to the system: survives the process. After an error here or in sync() the journal takes nothing, nor while
    // a frame was not applied.
    Status append(std::string_view batch);
    Status sync();  // All that was appended.
    void applied();
    // The frame appended could not be applied: it is void once another journal begins. Until then nothing is taken.
    void stop(const Error& error) { error_ = error; }
    // Goes on after an error, with another journal. All frames that were applied are in tables.
    void recover();

    // Removes the files whose frames are all up to `in_tables`.
    Status trim(std::uint64_t in_tables);

 private:
    struct File {
        std::string path;
        std::uint64_t size = 0;        // Of it, written with something.
        std::uint64_t last_frame = 0;  // Of its frames; when the file is current, not known yet.
    };
    Journal(rocksdb::FileSystem& files, std::filesystem::path directory, std::uint64_t bytes_max);
    void leave();  // The current one: what it has is synced, or in tables.
    Status take(const File& file);
    Result<File> make_file();
    Status write(std::uint64_t at, std::string_view bytes);
    Status failed(Error error);

    rocksdb::FileSystem& files_;
    const std::filesystem::path directory_;
    const std::uint64_t bytes_max_;
    std::vector<File> free_;  // And those whose frames are not in tables yet.
    std::optional<File> current_;
    std::unique_ptr<rocksdb::FSRandomRWFile> out_;
    std::uint64_t number_ = 0;  // Of the current one, or of the last there was.
    std::uint64_t next_frame_ = 1;
    std::uint64_t end_ = 0;
    bool synced_ = true;
    bool pending_ = false;  // A frame was appended, and is not applied.
    std::optional<Error> error_;
};

}  // namespace annal
