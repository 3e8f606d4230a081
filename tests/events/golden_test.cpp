// Events stored by every released schema version stay readable, and mean what they meant.
#include "events/codec.h"
#include "golden_events.h"
#include "support/event_bytes.h"

#include <catch2/catch_test_macros.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

using namespace annal;
using annal::testing::golden_events;

namespace {

std::filesystem::path golden_directory(unsigned schema_version) {
    return std::filesystem::path(ANNAL_GOLDEN_DIR) / "events" / ("v" + std::to_string(schema_version));
}

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("golden events of every schema version are read as what they were", "[events][golden]") {
    for (unsigned version = 1; version <= schema_version_current; ++version) {
        std::set<EventType> types;
        for (const auto& golden : golden_events()) {
            INFO("v" << version << " " << golden.name);
            const auto stored = read_file(golden_directory(version) / (golden.name + ".bin"));
            EventArena arena;
            const auto view = decode(Seq{1}, stored, arena);
            REQUIRE(view);
            CHECK(view->unpack() == golden.event);
            CHECK(view->version() == golden.version);
            CHECK(view->recorded_at() == golden.recorded_at);
            CHECK(read_header(stored)->schema_version == version);
            CHECK(golden.name.starts_with(to_string(view->type())));
            CHECK(annal::testing::survives_reading(*view));
            types.insert(view->type());
        }
        CHECK(types.size() == event_type_count);
    }
}

TEST_CASE("every golden file is one that is tested", "[events][golden]") {
    std::set<std::string> names;
    for (const auto& golden : golden_events()) names.insert(golden.name + ".bin");
    for (unsigned version = 1; version <= schema_version_current; ++version)
        for (const auto& entry : std::filesystem::directory_iterator(golden_directory(version)))
            CHECK((names.contains(entry.path().filename()) || entry.path().extension() == ".md"));
}
