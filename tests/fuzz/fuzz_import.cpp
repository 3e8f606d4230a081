// Any bytes as a jsonl import: lines are taken or refused by number, a second import adds nothing, and an export of
// what was taken imports as the same.
#include "adapters/json.h"
#include "adapters/jsonl.h"
#include "support/fake_engine.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

namespace {

void expect(bool held) {
    if (!held) std::abort();
}

annal::ImportReport import(annal::Engine& engine, const std::string& text) {
    std::istringstream in(text);
    auto report = annal::import_jsonl(engine, in, {.project = "shop", .agent = {}, .user = {}, .session = {}});
    expect(static_cast<bool>(report));
    return *report;
}

std::string exported(annal::Engine& engine) {
    std::string text;
    const auto report = annal::export_jsonl(engine, {.project = "shop", .agent = {}, .user = {}, .session = {}}, {},
                                            [&](std::string_view line) -> annal::Status {
                                                text += line;
                                                return annal::Done{};
                                            });
    expect(static_cast<bool>(report));
    return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    annal::testing::FakeEngine engine;
    const auto first = import(engine, text);
    for (const auto& line : first.rejected) expect(!line.error.message.empty());
    const auto second = import(engine, text);
    expect(second.accepted == 0);
    expect(second.rejected.size() == first.rejected.size());

    const std::string out = exported(engine);
    annal::testing::FakeEngine other;
    import(other, out);
    expect(exported(other) == out);
    return 0;
}
