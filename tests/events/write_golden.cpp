// annal_write_golden DIRECTORY: writes the golden files of the current schema version; refuses to change one.
#include "events/codec.h"
#include "golden_events.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

int main(int argc, char** argv) {
    using namespace annal;
    if (argc != 2) {
        std::fprintf(stderr, "usage: annal_write_golden DIRECTORY\n");
        return 2;
    }
    for (const auto& golden : testing::golden_events()) {
        const auto path = std::filesystem::path(argv[1]) / (golden.name + ".bin");
        if (std::filesystem::exists(path)) {
            std::fprintf(stderr, "%s is there already: golden files do not change\n", path.filename().c_str());
            return 1;
        }
        auto encoded = encode(golden.event);
        if (!encoded) {
            std::fprintf(stderr, "%s: %s\n", golden.name.c_str(), encoded.error().message.c_str());
            return 1;
        }
        stamp(encoded->bytes, golden.version, golden.recorded_at);
        std::ofstream file(path, std::ios::binary);
        file.write(reinterpret_cast<const char*>(encoded->bytes.data()),
                   static_cast<std::streamsize>(encoded->bytes.size()));
        if (!file.flush()) {
            std::fprintf(stderr, "%s cannot be written\n", path.filename().c_str());
            return 1;
        }
    }
}
