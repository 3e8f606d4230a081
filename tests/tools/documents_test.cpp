// What the documents show must be so.
#include "cli.h"

#include <sstream>

using annal::testing::read_file;

namespace {

const std::filesystem::path source = ANNAL_SOURCE_DIR;

}

TEST_CASE("the README shows the example that is compiled and run", "[tools]") {
    const std::string readme = read_file(source / "README.md");
    const std::string example = read_file(source / "examples/embed.cpp");
    REQUIRE_FALSE(example.empty());
    CHECK(readme.find("```cpp\n" + example + "```\n") != std::string::npos);
}

TEST_CASE("every file the documents link to is there", "[tools]") {
    for (const char* name : {"README.md", "CONTRIBUTING.md", "examples/README.md", "docs/audit.md",
                             "docs/operations.md", "docs/outbound.md", "docs/reliability.md", "CHANGELOG.md"}) {
        const std::string text = read_file(source / name);
        REQUIRE_FALSE(text.empty());
        for (std::size_t at = text.find("]("); at != std::string::npos; at = text.find("](", at + 2)) {
            const std::string target = text.substr(at + 2, text.find_first_of(")#", at) - at - 2);
            if (target.empty() || target.starts_with("http")) continue;
            INFO(name << " links to " << target);
            CHECK(std::filesystem::exists((source / name).parent_path() / target));
        }
    }
}

TEST_CASE("every test that docs/reliability.md names is there", "[tools]") {
    std::string tests;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(source / "tests"))
        if (entry.path().extension() == ".cpp") tests += read_file(entry.path());
    std::istringstream lines(read_file(source / "docs/reliability.md"));
    int named = 0;
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with("| ")) continue;
        for (auto at = line.find('"'); at != std::string::npos; at = line.find('"', at + 1)) {
            const auto end = line.find('"', at + 1);
            INFO(line.substr(at, end + 1 - at));
            CHECK(tests.find("TEST_CASE(" + line.substr(at, end + 1 - at)) != std::string::npos);
            at = end;
            ++named;
        }
    }
    CHECK(named >= 20);
}
