// annal_write_golden DIRECTORY [KEYS]: writes the golden files of the current schema version; refuses to change one.
// With KEYS, all are of a user, and sealed with the keystore in that directory, which is made when it is not there.
#include "events/codec.h"
#include "events/event_seal.h"
#include "golden_events.h"
#include "support/keystore_fixture.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

int main(int argc, char** argv) {
    using namespace annal;
    if (argc != 2 && argc != 3) {
        std::fprintf(stderr, "usage: annal_write_golden DIRECTORY [KEYS]\n");
        return 2;
    }
    std::unique_ptr<Keystore> keystore;
    if (argc == 3) {
        auto opened = testing::open_keystore(argv[2], testing::root_key('r'));
        if (!opened) {
            std::fprintf(stderr, "%s\n", opened.error().message.c_str());
            return 1;
        }
        keystore = std::move(*opened);
    }
    for (auto golden : testing::golden_events()) {
        const auto path = std::filesystem::path(argv[1]) / (golden.name + ".bin");
        if (std::filesystem::exists(path)) {
            std::fprintf(stderr, "%s is there already: golden files do not change\n", path.filename().c_str());
            return 1;
        }
        if (keystore) golden.event.scope.user = "ann";
        auto encoded = encode(golden.event);
        if (!encoded) {
            std::fprintf(stderr, "%s: %s\n", golden.name.c_str(), encoded.error().message.c_str());
            return 1;
        }
        if (keystore && !seal(*keystore, *encoded)) {
            std::fprintf(stderr, "%s cannot be sealed\n", golden.name.c_str());
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
