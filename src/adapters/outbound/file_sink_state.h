// What is in the directory of a file sink (file_sink.h), and how it is read.
#pragma once

#include "adapters/json.h"
#include "adapters/sink.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace annal::file_sink {

// How a line that ends a batch ends: this, eight digits, and `"}`.
inline constexpr std::string_view batch_ending = R"(,"crc32c":")";

Error failure(std::string_view doing);  // Of the last system call: says errno.
Error damaged(const std::string& what);

class OpenFile {
 public:
    explicit OpenFile(int fd) : fd_(fd) {}
    ~OpenFile();
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    int fd() const { return fd_; }

 private:
    int fd_;
};
using FilePtr = std::shared_ptr<const OpenFile>;

Result<FilePtr> open_file(const std::filesystem::path& path, int flags, std::string_view doing);

using Key = std::pair<std::string, MemoryId>;  // Project and memory.

// Where a memory's line is, and what an erasure asks of it.
struct Row {
    std::uint64_t offset = 0;
    std::uint32_t size = 0;
    bool in_journal = false;
    Seq created{};
    std::string user{};
};

// What sink.json says.
struct Header {
    std::uint64_t fence = 0;
    std::uint64_t generation = 0;
    std::uint64_t memories = 0;
    std::uint64_t bytes = 0;
    std::uint32_t crc = 0;
};

struct State {
    Header header;
    std::optional<SinkPosition> position;
    std::map<Key, Row> rows;
    std::map<Key, DeadLetter> letters;
    FilePtr memories, journal;
    std::uint64_t journal_bytes = 0;  // Whole batches.
    bool erased_in_journal = false;   // What was erased is in the files still.

    void erase(const std::string& project, const std::string& user, Seq requested_at);
    Result<std::string> read(const Row& row) const;  // Its line, with the end of it.
};

std::filesystem::path memories_file(const std::filesystem::path& directory, std::uint64_t generation);
std::filesystem::path journal_file(const std::filesystem::path& directory, std::uint64_t generation);

// Who calls holds the directory's lock. not_found: nothing is there. data_loss: it is damaged. unimplemented: a newer
// version wrote it. Else what failure() says of a file that cannot be opened.
Result<State> read_header(const std::filesystem::path& directory);  // sink.json alone: no rows, no files.
Result<State> load(const std::filesystem::path& directory);

std::string hex_of(std::uint32_t crc);
Json letter_json(const DeadLetter& letter);

}  // namespace annal::file_sink
