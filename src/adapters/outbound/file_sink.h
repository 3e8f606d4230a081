// A sink in a directory of text files: for people, for scripts, and for `annal import`. What is there is in
//   sink.json         {"format":1,"fence","generation","position","memories","bytes","crc32c","dead_letters"}, replaced
//                     as a whole; "memories", "bytes" and "crc32c" are of the file of memories
//   memories-G.jsonl  of generation G: the memories at that position, by project and id, each a line as `annal export`
//                     has it, with its vector
//   journal-G.jsonl   what came since: for each batch its lines ({"erase"}, {"remove"}, a memory, {"dead_letter"}), and
//                     {"batch":{"from","to"},"crc32c"}, which ends it
//   lock              locked (flock) while any of this is read or changed
// Whole:   a batch is there when its last line is. What follows the last whole one was never acknowledged, and is cut
//          off by who takes the sink over.
// Folding: the journal becomes memories of the next generation when it has outgrown them, and at once when a user was
//          erased: nothing of him is left in a file then.
// Secrecy: files are readable by their owner alone.
// Memory:  about 150 bytes for each memory that is there, while the sink or a walk of it is open.
#pragma once

#include "adapters/sink.h"

#include <filesystem>
#include <functional>

namespace annal {

struct FileSinkOptions {
    std::filesystem::path directory{};                         // Made if it is not there; its parent has to be.
    std::uint64_t journal_bytes_min = std::uint64_t{1} << 20;  // It is not folded before it is as long.
    // For tests: asked before every change of a file. False: the change fails; if it is a write, half of it is done.
    std::function<bool()> may_change{};
};

std::unique_ptr<Sink> make_file_sink(FileSinkOptions options);

}  // namespace annal
