#include "file_sink.h"

#include "adapters/json.h"
#include "adapters/line_reader.h"
#include "adapters/sink_batch.h"
#include "adapters/sink_record.h"

#include "events/crc32c.h"
#include "events/hex.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <map>
#include <utility>

namespace annal {
namespace {

constexpr std::string_view ending = R"(,"crc32c":")";  // And eight digits, and the rest of the line.
constexpr std::size_t ending_bytes = ending.size() + 8 + 2;

Error failure(std::string_view doing) {
    const int reason = errno;
    auto code = ErrorCode::unavailable;
    if (reason == ENOSPC || reason == EDQUOT) code = ErrorCode::resource_exhausted;
    if (reason == EACCES || reason == EPERM || reason == EROFS) code = ErrorCode::permission_denied;
    if (reason == ENOENT || reason == ENOTDIR) code = ErrorCode::not_found;
    return {code, std::string(doing) + " in the sink's directory: " + std::strerror(reason), {}};
}

Error damaged(const std::string& what) {
    return {ErrorCode::data_loss, what + " is damaged: remove the sink's directory, and it is written anew", {}};
}

class OpenFile {
 public:
    explicit OpenFile(int fd) : fd_(fd) {}
    ~OpenFile() { close(fd_); }
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    int fd() const { return fd_; }

 private:
    int fd_;
};
using FilePtr = std::shared_ptr<const OpenFile>;

Result<FilePtr> open_file(const std::filesystem::path& path, int flags, std::string_view doing) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
    if (fd < 0) return failure(doing);
    return FilePtr(std::make_shared<OpenFile>(fd));
}

std::string hex_of(std::uint32_t crc) {
    std::array<std::uint8_t, 4> bytes{};
    for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    return to_hex(bytes);
}

Json to_json(const SinkPosition& position) {
    return {{"store_id", position.store_id},
            {"epoch", position.epoch},
            {"seq", position.seq.value},
            {"hash", to_hex(position.hash)}};
}
Json to_json(const DeadLetter& letter) {
    return {{"project", letter.project},
            {"kind", to_string(letter.kind)},
            {"memory_id", to_string(letter.memory_id)},
            {"seq", letter.seq.value},
            {"reason", letter.reason},
            {"user", letter.user},
            {"created_seq", letter.created_seq.value}};
}

// Throws what nlohmann throws: who reads files catches it, once.
SinkPosition position_of(const Json& json) {
    SinkPosition position{json.at("store_id").get<std::string>(),
                          json.at("epoch").get<std::uint64_t>(),
                          Seq{json.at("seq").get<std::uint64_t>()},
                          {}};
    const auto hash = json.at("hash").get<std::string>();
    for (std::size_t i = 0; i < position.hash.size() && 2 * i + 2 <= hash.size(); ++i)
        std::from_chars(hash.data() + 2 * i, hash.data() + 2 * i + 2, position.hash[i], 16);
    return position;
}
MemoryId memory_id_of(const Json& json) {
    const auto id = parse_memory_id(json.at("memory_id").get<std::string>());
    return id ? *id : MemoryId{};
}

using Key = std::pair<std::string, MemoryId>;
Key key_of(const Json& json) {
    return {json.at("project").get<std::string>(), memory_id_of(json)};
}
DeadLetter dead_letter_of(const Json& json) {
    auto [project, id] = key_of(json);
    return {std::move(project),
            parse_kind(json.at("kind").get<std::string>()).value_or(Kind::note),
            id,
            Seq{json.at("seq").get<std::uint64_t>()},
            json.at("reason").get<std::string>(),
            json.at("user").get<std::string>(),
            Seq{json.at("created_seq").get<std::uint64_t>()}};
}

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

    void erase(const std::string& project, const std::string& user, Seq requested_at) {
        std::erase_if(rows, [&](const auto& row) {
            return row.first.first == project && row.second.user == user && row.second.created < requested_at;
        });
        std::erase_if(letters, [&](const auto& row) {
            const auto& letter = row.second;
            return letter.project == project && letter.user == user && letter.created_seq < requested_at;
        });
        erased_in_journal = true;
    }
    void put(const Json& memory, const Row& at) {
        Key key{memory.at("scope").at("project").get<std::string>(), memory_id_of(memory)};
        auto row = at;
        row.created = Seq{memory.at("created_seq").get<std::uint64_t>()};
        row.user = memory.at("scope").value("user", "");
        letters.erase(key);
        rows[std::move(key)] = std::move(row);
    }
    // A line of a batch.
    void apply(const Json& line, const Row& at) {
        if (line.contains("memory_id")) {
            put(line, at);
        } else if (line.contains("remove")) {
            const auto key = key_of(line.at("remove"));
            rows.erase(key);
            letters.erase(key);
        } else if (line.contains("dead_letter")) {
            auto letter = dead_letter_of(line.at("dead_letter"));
            const Key key{letter.project, letter.memory_id};
            rows.erase(key);
            letters[key] = std::move(letter);
        } else {
            const auto& erased = line.at("erase");
            erase(erased.at("project").get<std::string>(), erased.at("user").get<std::string>(),
                  Seq{erased.at("requested_at").get<std::uint64_t>()});
        }
    }
    Result<std::string> read(const Row& row) const {
        std::string line(row.size, '\0');
        std::size_t done = 0;
        while (done < line.size()) {
            const auto count = pread((row.in_journal ? journal : memories)->fd(), line.data() + done,
                                     line.size() - done, static_cast<off_t>(row.offset + done));
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) return failure("reading a memory");
            if (count == 0) return damaged("a file of memories");
            done += static_cast<std::size_t>(count);
        }
        return line;
    }
};

std::filesystem::path memories_file(const std::filesystem::path& directory, std::uint64_t generation) {
    return directory / ("memories-" + std::to_string(generation) + ".jsonl");
}
std::filesystem::path journal_file(const std::filesystem::path& directory, std::uint64_t generation) {
    return directory / ("journal-" + std::to_string(generation) + ".jsonl");
}

Result<State> read_header(const std::filesystem::path& directory) {
    std::ifstream in(directory / "sink.json");
    if (!in) return Error{ErrorCode::not_found, "nothing is there", {}};
    const auto json = Json::parse(in, nullptr, false);
    try {
        if (json.at("format") != 1)
            return Error{ErrorCode::unimplemented, "the sink's directory was written by a newer version", {}};
        State state;
        const auto number = [&](const char* name) { return json.at(name).get<std::uint64_t>(); };
        state.header = {number("fence"), number("generation"), number("memories"), number("bytes"), 0};
        const auto crc = json.at("crc32c").get<std::string>();
        std::from_chars(crc.data(), crc.data() + crc.size(), state.header.crc, 16);
        if (!json.at("position").is_null()) state.position = position_of(json.at("position"));
        for (const auto& each : json.at("dead_letters")) {
            auto letter = dead_letter_of(each);
            state.letters[{letter.project, letter.memory_id}] = std::move(letter);
        }
        return state;
    } catch (const nlohmann::json::exception&) {
        return damaged("sink.json");
    }
}

Status load_memories(const std::filesystem::path& directory, State& state) {
    const auto path = memories_file(directory, state.header.generation);
    auto file = open_file(path, O_RDONLY, "opening the memories");
    if (!file) return file.error().code == ErrorCode::not_found ? damaged("the file of memories") : file.error();
    state.memories = *file;
    std::ifstream in(path);
    LineReader lines(in);
    std::string line;
    bool too_long = false;
    std::uint32_t crc = 0;
    Row at;
    while (lines.next(line, too_long)) {
        line += '\n';
        crc = crc32c(line.data(), line.size(), crc);
        at.size = static_cast<std::uint32_t>(line.size());
        state.put(Json::parse(line), at);
        at.offset += line.size();
    }
    if (at.offset != state.header.bytes || crc != state.header.crc || state.rows.size() != state.header.memories)
        return damaged("the file of memories");
    return Done{};
}

Status load_journal(const std::filesystem::path& directory, State& state) {
    const auto path = journal_file(directory, state.header.generation);
    auto file = open_file(path, O_RDWR, "opening the journal");
    if (!file) return file.error().code == ErrorCode::not_found ? damaged("the journal") : file.error();
    state.journal = *file;
    std::error_code ignored;
    const auto size = std::filesystem::file_size(path, ignored);
    std::ifstream in(path);
    LineReader lines(in);
    std::string line;
    bool too_long = false;
    std::uint32_t crc = 0;
    std::uint64_t offset = 0;
    std::vector<std::pair<std::string, Row>> batch;
    bool broken = false;
    while (lines.next(line, too_long)) {
        if (broken) return damaged("the journal");  // More follows what does not hold.
        const auto begin = offset;
        offset += line.size() + 1;
        if (offset > size) break;  // Without its end.
        if (!line.starts_with(R"({"batch":)")) {
            crc = crc32c("\n", 1, crc32c(line.data(), line.size(), crc));
            batch.emplace_back(line, Row{begin, static_cast<std::uint32_t>(line.size() + 1), true, {}, {}});
            continue;
        }
        const auto covered = line.size() - std::min(line.size(), ending_bytes);
        crc = crc32c(line.data(), covered, crc);
        if (line.substr(covered) != std::string(ending) + hex_of(crc) + "\"}") {
            broken = true;
            continue;
        }
        for (const auto& [text, row] : batch) state.apply(Json::parse(text), row);
        state.position = position_of(Json::parse(line).at("batch").at("to"));
        state.journal_bytes = offset;
        batch.clear();
        crc = 0;
    }
    return Done{};
}

Result<State> load(const std::filesystem::path& directory) {
    auto state = read_header(directory);
    if (!state) return state;
    try {
        if (auto ok = load_memories(directory, *state); !ok) return ok.error();
        if (auto ok = load_journal(directory, *state); !ok) return ok.error();
    } catch (const nlohmann::json::exception&) {
        return damaged("a line");
    }
    return state;
}

class FileWalk final : public SinkWalk {
 public:
    explicit FileWalk(State state) : state_(std::move(state)), at_(state_.rows.begin()) {}
    const SinkPosition& position() const override { return *state_.position; }
    Result<std::vector<SinkRecord>> next(std::size_t max) override {
        std::vector<SinkRecord> records;
        for (; at_ != state_.rows.end() && records.size() < max; ++at_) {
            const auto line = state_.read(at_->second);
            if (!line) return line.error();
            const auto json = parse_json(*line, "a line");
            if (!json) return damaged("a line");
            auto record = sink_record_from_json(*json);
            if (!record) return damaged("a line");
            records.push_back(std::move(*record));
        }
        return records;
    }
    Result<std::vector<DeadLetter>> dead_letters() override {
        std::vector<DeadLetter> letters;
        for (const auto& [key, letter] : state_.letters) letters.push_back(letter);
        return letters;
    }

 private:
    State state_;
    std::map<Key, Row>::const_iterator at_;
};

class FileSink final : public Sink {
 public:
    explicit FileSink(FileSinkOptions options) : options_(std::move(options)) {}

    std::string_view type() const override { return "file"; }
    SinkCapabilities capabilities() const override { return {}; }
    std::optional<std::string> refuses(const SinkRecord&) const override { return std::nullopt; }

    Result<std::optional<SinkPosition>> take_over(std::string_view store_id) override {
        state_.reset();
        if (mkdir(options_.directory.c_str(), 0700) != 0 && errno != EEXIST) return failure("making it");
        const auto held = lock(LOCK_EX);
        if (!held) return held.error();
        auto state = load(directory());
        if (!state && state.error().code != ErrorCode::not_found) return state.error();
        if (!state) {
            State empty;
            empty.header.fence = 1;
            if (auto ok = write_generation(empty, 1); !ok) return ok.error();
            state_ = std::move(empty);
        } else {
            if (auto ok = check_is_of(state->position, store_id); !ok) return ok.error();
            if (auto ok = cut_journal(*state); !ok) return ok.error();
            ++state->header.fence;
            if (auto ok = raise_fence(*state); !ok) return ok.error();
            state_ = std::move(*state);
        }
        fence_ = state_->header.fence;
        remove_leftovers();
        return state_->position;
    }

    Status apply(const SinkBatch& batch) override {
        const auto held = lock_as_taken();
        if (!held) return held.error();
        if (auto ok = check_starts_at(batch, state_->position); !ok) return ok;
        std::string text;
        std::vector<std::pair<std::size_t, Row>> records;
        const auto add = [&](const std::string& line) { text += line + "\n"; };
        for (const auto& erasure : batch.erasures)
            add(to_text({{"erase",
                          {{"project", erasure.project},
                           {"user", erasure.user},
                           {"requested_at", erasure.requested_at.value}}}}));
        for (const auto& removal : batch.removals)
            add(to_text({{"remove",
                          {{"project", removal.project},
                           {"kind", to_string(removal.kind)},
                           {"memory_id", to_string(removal.memory_id)}}}}));
        for (const auto& record : batch.upserts) {
            const auto line = to_line(record);
            records.push_back({records.size(),
                               {state_->journal_bytes + text.size(), static_cast<std::uint32_t>(line.size() + 1), true,
                                record.memory.created_seq, record.memory.scope.user}});
            add(line);
        }
        for (const auto& letter : batch.dead_letters) add(to_text({{"dead_letter", to_json(letter)}}));
        auto last = to_text({{"batch", {{"from", batch.from.seq.value}, {"to", to_json(batch.to)}}}});
        last.pop_back();
        text += last;
        text += std::string(ending) + hex_of(crc32c(text.data(), text.size())) + "\"}\n";
        if (auto ok = append(text); !ok) return ok;

        for (const auto& erasure : batch.erasures) state_->erase(erasure.project, erasure.user, erasure.requested_at);
        for (const auto& removal : batch.removals) {
            state_->rows.erase({removal.project, removal.memory_id});
            state_->letters.erase({removal.project, removal.memory_id});
        }
        for (const auto& [number, row] : records) {
            const Key key{batch.upserts[number].memory.scope.project, batch.upserts[number].memory.id};
            state_->letters.erase(key);
            state_->rows[key] = row;
        }
        for (const auto& letter : batch.dead_letters) {
            state_->rows.erase({letter.project, letter.memory_id});
            state_->letters[{letter.project, letter.memory_id}] = letter;
        }
        state_->position = batch.to;
        return fold_if_due();
    }

    Status clear() override {
        const auto held = lock_as_taken();
        if (!held) return held.error();
        State empty;
        empty.header = state_->header;
        auto written = write_generation(empty, state_->header.generation + 1);
        state_.reset();
        if (!written) return written;  // sink.json may be the one or the other.
        state_ = std::move(empty);
        remove_leftovers();
        return Done{};
    }

    SinkUsage usage() const override { return {.bytes_sent = bytes_written_}; }
    Result<std::unique_ptr<SinkWalk>> walk() override {
        const Error nothing{ErrorCode::not_found, "nothing is there", {}};
        const auto held = lock(LOCK_SH);
        if (!held) return held.error().code == ErrorCode::not_found ? nothing : held.error();
        auto state = load(directory());
        if (!state) return state.error();
        if (!state->position) return nothing;
        return std::unique_ptr<SinkWalk>(std::make_unique<FileWalk>(std::move(*state)));
    }

 private:
    const std::filesystem::path& directory() const { return options_.directory; }

    // Until it is destroyed.
    Result<FilePtr> lock(int how) const {
        auto file = open_file(directory() / "lock", O_RDWR | O_CREAT, "opening the lock");
        if (!file) return file;
        while (flock((*file)->fd(), how) != 0)
            if (errno != EINTR) return failure("locking");
        return file;
    }
    Result<FilePtr> lock_as_taken() {
        auto held = lock(LOCK_EX);
        if (!held) return held;
        const auto there = read_header(directory());
        if (!there) return there.error();
        if (there->header.fence != fence_) return fenced_error();
        if (state_) return held;
        auto state = load(directory());  // A write failed: what is there is not known.
        if (!state) return state.error();
        if (auto ok = cut_journal(*state); !ok) return ok.error();
        if (state->erased_in_journal)
            if (auto ok = write_generation(*state, state->header.generation + 1); !ok) return ok.error();
        state_ = std::move(*state);
        return held;
    }

    bool fails() const {
        errno = EIO;
        return options_.may_change && !options_.may_change();
    }
    Status write_at(int fd, std::string_view text, std::uint64_t offset, std::string_view doing) {
        bytes_written_ += text.size();
        const bool last = fails();
        if (last) text = text.substr(0, text.size() / 2);
        while (!text.empty()) {
            const auto count = pwrite(fd, text.data(), text.size(), static_cast<off_t>(offset));
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) return failure(doing);
            text.remove_prefix(static_cast<std::size_t>(count));
            offset += static_cast<std::uint64_t>(count);
        }
        errno = EIO;
        return last ? Status(failure(doing)) : Done{};
    }
    Status sync(int fd, std::string_view doing) {
        if (fails() || fsync(fd) != 0) return failure(doing);
        return Done{};
    }
    Status sync_directory() {
        const auto opened = open_file(directory(), O_RDONLY | O_DIRECTORY, "opening it");
        if (!opened) return opened.error();
        return sync((*opened)->fd(), "syncing names");
    }

    Status append(const std::string& text) {
        const auto fd = state_->journal->fd();
        const auto written = write_at(fd, text, state_->journal_bytes, "writing the journal");
        if (!written && !fails() && ftruncate(fd, static_cast<off_t>(state_->journal_bytes)) == 0) return written;
        if (written)
            if (auto synced = sync(fd, "syncing the journal"); synced) {
                state_->journal_bytes += text.size();
                return Done{};
            }
        state_.reset();  // What is in the file is not known.
        return Error{ErrorCode::unavailable, "writing the sink's journal failed", {}};
    }
    Status cut_journal(const State& state) {
        if (fails() || ftruncate(state.journal->fd(), static_cast<off_t>(state.journal_bytes)) != 0)
            return failure("cutting off what is not whole");
        return sync(state.journal->fd(), "syncing the journal");
    }
    Status fold_if_due() {
        const auto due = std::max(options_.journal_bytes_min, state_->header.bytes);
        if (!state_->erased_in_journal && state_->journal_bytes < due) return Done{};
        auto folded = write_generation(*state_, state_->header.generation + 1);
        if (folded)
            remove_leftovers();
        else
            state_.reset();  // Who takes it over folds it.
        return folded;
    }

    // In sink.json, which tells of the file of memories, not of the journal.
    Status raise_fence(State& state) {
        if (state.erased_in_journal) return write_generation(state, state.header.generation + 1);
        auto folded = read_header(directory());
        if (!folded) return folded.error();
        folded->header.fence = state.header.fence;
        return write_header(*folded);
    }

    Status write_header(const State& state) {
        Json json{{"format", 1},
                  {"fence", state.header.fence},
                  {"generation", state.header.generation},
                  {"position", state.position ? to_json(*state.position) : Json(nullptr)},
                  {"memories", state.header.memories},
                  {"bytes", state.header.bytes},
                  {"crc32c", hex_of(state.header.crc)},
                  {"dead_letters", Json::array()}};
        for (const auto& [key, letter] : state.letters) json["dead_letters"].push_back(to_json(letter));
        const auto draft = directory() / "sink.json.draft";
        const auto file = open_file(draft, O_WRONLY | O_CREAT | O_TRUNC, "writing sink.json");
        if (!file) return file.error();
        const auto text = to_text(json) + "\n";
        if (auto ok = write_at((*file)->fd(), text, 0, "writing sink.json"); !ok) return ok;
        if (auto ok = sync((*file)->fd(), "syncing sink.json"); !ok) return ok;
        if (fails() || rename(draft.c_str(), (directory() / "sink.json").c_str()) != 0)
            return failure("replacing sink.json");
        return sync_directory();
    }

    // All of the state into files of that generation, and then sink.json, with which they count.
    Status write_generation(State& state, std::uint64_t generation) {
        const int flags = O_RDWR | O_CREAT | O_TRUNC;
        const auto memories = open_file(memories_file(directory(), generation), flags, "writing the memories");
        if (!memories) return memories.error();
        const auto journal = open_file(journal_file(directory(), generation), flags, "writing the journal");
        if (!journal) return journal.error();
        auto rows = state.rows;
        Header header{state.header.fence, generation, rows.size(), 0, 0};
        std::string buffer;
        const auto flush = [&]() -> Status {
            const auto offset = header.bytes - buffer.size();
            auto written = write_at((*memories)->fd(), buffer, offset, "writing the memories");
            buffer.clear();
            return written;
        };
        for (auto& [key, row] : rows) {
            const auto line = state.read(row);
            if (!line) return line.error();
            row.offset = header.bytes;
            row.in_journal = false;
            header.bytes += line->size();
            header.crc = crc32c(line->data(), line->size(), header.crc);
            buffer += *line;
            if (buffer.size() < std::size_t{1} << 20) continue;
            if (auto ok = flush(); !ok) return ok;
        }
        if (auto ok = flush(); !ok) return ok;
        for (const auto& file : {*memories, *journal})
            if (auto ok = sync(file->fd(), "syncing the memories"); !ok) return ok;
        State next{header, state.position, std::move(rows), state.letters, *memories, *journal, 0, false};
        if (auto ok = write_header(next); !ok) return ok;
        state = std::move(next);
        return Done{};
    }
    // Files of other generations. One that stays goes with the next.
    void remove_leftovers() {
        std::error_code ignored;
        const auto generation = state_->header.generation;
        for (const auto& entry : std::filesystem::directory_iterator(directory(), ignored)) {
            const auto name = entry.path().filename().string();
            if (!name.starts_with("memories-") && !name.starts_with("journal-")) continue;
            if (entry.path() == memories_file(directory(), generation) ||
                entry.path() == journal_file(directory(), generation) || fails())
                continue;
            std::filesystem::remove(entry.path(), ignored);
        }
    }

    FileSinkOptions options_;
    std::optional<State> state_;  // What is there; unset: that is not known.
    std::uint64_t fence_ = 0;
    std::uint64_t bytes_written_ = 0;
};

}  // namespace

std::unique_ptr<Sink> make_file_sink(FileSinkOptions options) {
    return std::make_unique<FileSink>(std::move(options));
}

}  // namespace annal
