#include "file_sink.h"

#include "file_sink_state.h"
#include "sync_json.h"

#include "adapters/sink_batch.h"
#include "adapters/sink_record.h"

#include "events/crc32c.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <cerrno>

namespace annal {
namespace {

using namespace file_sink;

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
        for (const auto& letter : batch.dead_letters) add(to_text({{"dead_letter", letter_json(letter)}}));
        auto last = to_text({{"batch", {{"from", batch.from.seq.value}, {"to", to_json(batch.to)}}}});
        last.pop_back();
        text += last;
        text += std::string(batch_ending) + hex_of(crc32c(text.data(), text.size())) + "\"}\n";
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
        for (const auto& [key, letter] : state.letters) json["dead_letters"].push_back(letter_json(letter));
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
