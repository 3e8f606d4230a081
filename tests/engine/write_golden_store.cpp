// annal_write_golden_store DIRECTORY: makes the golden store of the present format, without its views; refuses to
// change one. DIRECTORY/root has its head: "SEQ ROOT".
#include "golden_store.h"

#include "events/hex.h"
#include "support/stopped_clock.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

int main(int argc, char** argv) {
    using namespace annal;
    namespace fs = std::filesystem;
    if (argc != 2 || fs::exists(argv[1])) {
        std::fprintf(stderr, "usage: annal_write_golden_store DIRECTORY, which is not there yet\n");
        return 2;
    }
    const fs::path directory = argv[1];
    fs::create_directories(directory);
    std::ofstream(directory / "root-key") << std::string(64, '7') << '\n';
    fs::permissions(directory / "root-key", fs::perms::owner_read | fs::perms::owner_write);
    testing::StoppedClock clock;
    EngineOptions options;
    options.directory = directory / "store";
    options.root_key_file = directory / "root-key";
    options.clock = &clock;
    auto engine = Engine::open(std::move(options));
    Status written = engine ? testing::write_golden_store(**engine) : Status(engine.error());
    if (!written) {
        std::fprintf(stderr, "%s\n", written.error().message.c_str());
        return 1;
    }
    const auto head = (*engine)->head();
    const auto root = (*engine)->root(head);
    if (!root) return 1;
    std::ofstream says(directory / "root");
    says << head.value << ' ' << to_hex(*root) << '\n';
    engine->reset();
    fs::remove_all(directory / "store" / "views");
    return says.flush() ? 0 : 1;
}
