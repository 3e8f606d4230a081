#include "file_sink_state.h"

#include "adapters/line_reader.h"

#include "events/crc32c.h"
#include "events/hex.h"

#include <fcntl.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <vector>

namespace annal::file_sink {
namespace {

constexpr std::size_t batch_ending_bytes = batch_ending.size() + 8 + 2;

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

void put(State& state, const Json& memory, const Row& at) {
    Key key{memory.at("scope").at("project").get<std::string>(), memory_id_of(memory)};
    auto row = at;
    row.created = Seq{memory.at("created_seq").get<std::uint64_t>()};
    row.user = memory.at("scope").value("user", "");
    state.letters.erase(key);
    state.rows[std::move(key)] = std::move(row);
}

// A line of a batch.
void apply(State& state, const Json& line, const Row& at) {
    if (line.contains("memory_id")) {
        put(state, line, at);
    } else if (line.contains("remove")) {
        const auto key = key_of(line.at("remove"));
        state.rows.erase(key);
        state.letters.erase(key);
    } else if (line.contains("dead_letter")) {
        auto letter = dead_letter_of(line.at("dead_letter"));
        const Key key{letter.project, letter.memory_id};
        state.rows.erase(key);
        state.letters[key] = std::move(letter);
    } else {
        const auto& erased = line.at("erase");
        state.erase(erased.at("project").get<std::string>(), erased.at("user").get<std::string>(),
                    Seq{erased.at("requested_at").get<std::uint64_t>()});
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
        put(state, Json::parse(line), at);
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
        const auto covered = line.size() - std::min(line.size(), batch_ending_bytes);
        crc = crc32c(line.data(), covered, crc);
        if (line.substr(covered) != std::string(batch_ending) + hex_of(crc) + "\"}") {
            broken = true;
            continue;
        }
        for (const auto& [text, row] : batch) apply(state, Json::parse(text), row);
        state.position = position_of(Json::parse(line).at("batch").at("to"));
        state.journal_bytes = offset;
        batch.clear();
        crc = 0;
    }
    return Done{};
}

}  // namespace

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

OpenFile::~OpenFile() {
    close(fd_);
}

Result<FilePtr> open_file(const std::filesystem::path& path, int flags, std::string_view doing) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
    if (fd < 0) return failure(doing);
    return FilePtr(std::make_shared<OpenFile>(fd));
}

std::filesystem::path memories_file(const std::filesystem::path& directory, std::uint64_t generation) {
    return directory / ("memories-" + std::to_string(generation) + ".jsonl");
}
std::filesystem::path journal_file(const std::filesystem::path& directory, std::uint64_t generation) {
    return directory / ("journal-" + std::to_string(generation) + ".jsonl");
}

void State::erase(const std::string& project, const std::string& user, Seq requested_at) {
    std::erase_if(rows, [&](const auto& row) {
        return row.first.first == project && row.second.user == user && row.second.created < requested_at;
    });
    std::erase_if(letters, [&](const auto& row) {
        const auto& letter = row.second;
        return letter.project == project && letter.user == user && letter.created_seq < requested_at;
    });
    erased_in_journal = true;
}

Result<std::string> State::read(const Row& row) const {
    std::string line(row.size, '\0');
    std::size_t done = 0;
    while (done < line.size()) {
        const auto count = pread((row.in_journal ? journal : memories)->fd(), line.data() + done, line.size() - done,
                                 static_cast<off_t>(row.offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failure("reading a memory");
        if (count == 0) return damaged("a file of memories");
        done += static_cast<std::size_t>(count);
    }
    return line;
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

std::string hex_of(std::uint32_t crc) {
    std::array<std::uint8_t, 4> bytes{};
    for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    return to_hex(bytes);
}

Json letter_json(const DeadLetter& letter) {
    return {{"project", letter.project},
            {"kind", to_string(letter.kind)},
            {"memory_id", to_string(letter.memory_id)},
            {"seq", letter.seq.value},
            {"reason", letter.reason},
            {"user", letter.user},
            {"created_seq", letter.created_seq.value}};
}

}  // namespace annal::file_sink
