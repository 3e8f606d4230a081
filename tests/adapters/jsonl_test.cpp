#include "adapters/jsonl.h"
#include "adapters/line_reader.h"

#include "adapters/json.h"
#include "support/fake_engine.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <sstream>

using namespace annal;
using annal::testing::FakeEngine;

namespace {

const Scope shop{"shop", "", "", ""};

ImportReport import(Engine& engine, const std::string& text) {
    std::istringstream in(text);
    auto report = import_jsonl(engine, in, shop);
    if (!report) FAIL(report.error().message);
    return *report;
}

std::string export_all(Engine& engine) {
    std::string out;
    const auto report = export_jsonl(engine, shop, {}, [&](std::string_view line) -> Status {
        out += line;
        return Done{};
    });
    REQUIRE(report);
    return out;
}

}  // namespace

TEST_CASE("the same file twice adds nothing", "[adapters][jsonl]") {
    FakeEngine engine;
    const std::string file = R"({"content": "one"})"
                             "\n"
                             R"({"content": "two", "kind": "preference", "category": "style"})";
    const auto first = import(engine, file);
    CHECK(first.accepted == 2);
    CHECK(first.unchanged == 0);
    CHECK(first.seq == Seq{2});
    const auto second = import(engine, file);
    CHECK(second.accepted == 0);
    CHECK(second.unchanged == 2);
    CHECK(second.rejected.empty());
    CHECK(engine.memories.size() == 2);
}

TEST_CASE("what a memory says is its identity, not how its line is spelled", "[adapters][jsonl]") {
    FakeEngine engine;
    const auto report = import(engine,
                               "{\"content\":\"one\",\"tags\":[\"a\"]}\r\n"
                               "\n"
                               "  { \"tags\" : [\"a\"], \"content\" : \"one\", \"confidence\": 1.0 }\n"
                               "{\"content\":\"one\",\"tags\":[\"b\"]}\n"
                               "{\"content\":\"one\",\"tags\":[\"a\"],\"scope\":{\"session\":\"s2\"}}\n"
                               "{\"content\":\"one\",\"tags\":[\"a\"],\"occurred_at\":\"2026-01-01T00:00:00Z\"}\n");
    CHECK(report.accepted == 4);
    CHECK(report.unchanged == 1);
}

TEST_CASE("every bad line is named by number, and the good ones come in", "[adapters][jsonl]") {
    FakeEngine engine;
    const auto report = import(engine,
                               "{\"content\":\"one\"}\n"
                               "not json\n"
                               "\n"
                               "{\"content\":\"two\",\"colour\":\"red\"}\n"
                               "{\"content\":\"\"}\n"
                               "{\"content\":\"three\"}");
    CHECK(report.accepted == 2);
    REQUIRE(report.rejected.size() == 3);
    CHECK(report.rejected[0].line == 2);
    CHECK(report.rejected[1].line == 4);
    CHECK(report.rejected[1].error.details.at("field") == "colour");
    CHECK(report.rejected[2].line == 5);
    for (const auto& line : report.rejected) CHECK(line.error.code == ErrorCode::invalid_argument);
    CHECK(engine.memories.back().content == "three");
}

TEST_CASE("a line over the limit is refused, and the next one is read from its beginning", "[adapters][jsonl]") {
    FakeEngine engine;
    const auto report =
        import(engine, "{\"content\":\"" + std::string(import_line_bytes_max, 'x') + "\"}\n{\"content\":\"after\"}\n");
    REQUIRE(report.rejected.size() == 1);
    CHECK(report.rejected[0].line == 1);
    CHECK(report.rejected[0].error.details.at("limit") == std::to_string(import_line_bytes_max));
    CHECK(report.accepted == 1);
}

TEST_CASE("a byte order mark before the first line is no part of it", "[adapters][jsonl]") {
    FakeEngine engine;
    CHECK(import(engine, "\xEF\xBB\xBF{\"content\":\"one\"}\n").accepted == 1);
}

TEST_CASE("writes are buffered, and the import ends with one that is synced", "[adapters][jsonl]") {
    FakeEngine engine;
    // The last line is known and the one before it is bad: neither can carry the sync.
    import(engine, "{\"content\":\"one\"}\n{\"content\":\"two\"}\nbad\n{\"content\":\"one\"}\n");
    REQUIRE(engine.durabilities.size() == 4);
    CHECK(engine.durabilities.front() == Durability::buffered);
    CHECK(engine.durabilities.back() == Durability::synced);
    CHECK(engine.memories.size() == 2);

    engine.durabilities.clear();
    import(engine, "{\"content\":\"one\"}\n");
    CHECK(engine.durabilities.size() == 1);  // Nothing new: nothing to sync.
}

TEST_CASE("an import reports nothing as accepted when the sync at its end fails", "[adapters][jsonl]") {
    FakeEngine engine;
    engine.calls_until_failure = 2;
    std::istringstream in("{\"content\":\"one\"}\n{\"content\":\"two\"}\n");
    const auto report = import_jsonl(engine, in, shop);
    REQUIRE_FALSE(report);
    CHECK(report.error().code == ErrorCode::unavailable);
}

TEST_CASE("an error of the store ends the import and names the line", "[adapters][jsonl]") {
    FakeEngine engine;
    engine.calls_until_failure = 1;
    std::istringstream in("{\"content\":\"one\"}\n{\"content\":\"two\"}\n{\"content\":\"three\"}\n");
    const auto report = import_jsonl(engine, in, shop);
    REQUIRE_FALSE(report);
    CHECK(report.error().code == ErrorCode::unavailable);
    CHECK(report.error().details.at("line") == "2");
    CHECK(report.error().details.at("accepted") == "1");
}

TEST_CASE("an export imported elsewhere says the same, and comes in once", "[adapters][jsonl]") {
    FakeEngine first;
    import(
        first,
        R"({"content":"one","kind":"outcome","success":true,"duration_ms":12,"metadata":{"b":[1,2.5],"a":null},"tags":["x"]})"
        "\n"
        R"({"content":"two","actor":"mara","source":{"type":"message","ref":"m1"},"valid_to":"2026-12-01T00:00:00.000001Z"})");
    const std::string exported = export_all(first);

    FakeEngine second;
    CHECK(import(second, exported).accepted == 2);
    CHECK(export_all(second) == exported);
    // Into the store it came from, and again into the other: nothing new.
    CHECK(import(first, exported).unchanged == 2);
    CHECK(import(second, exported).unchanged == 2);
}

TEST_CASE("a taken id with another content is refused", "[adapters][jsonl]") {
    FakeEngine engine;
    const std::string id = R"("memory_id":"01970e2c-7b1e-7c3a-9f00-0123456789ab")";
    import(engine, "{\"content\":\"one\"," + id + "}");
    const auto report = import(engine, "{\"content\":\"two\"," + id + "}");
    REQUIRE(report.rejected.size() == 1);
    CHECK(report.rejected[0].error.code == ErrorCode::already_exists);
    CHECK(engine.memories.size() == 1);
}

TEST_CASE("an export asks page by page", "[adapters][jsonl]") {
    FakeEngine engine;
    std::string file;
    for (int i = 0; i < 1200; ++i) file += "{\"content\":\"memory " + std::to_string(i) + "\"}\n";
    import(engine, file);
    const std::string exported = export_all(engine);
    CHECK(engine.pages_listed == 3);
    CHECK(std::ranges::count(exported, '\n') == 1200);
}

TEST_CASE("an export stops when its output does", "[adapters][jsonl]") {
    FakeEngine engine;
    import(engine, "{\"content\":\"one\"}\n{\"content\":\"two\"}\n");
    int written = 0;
    const auto report = export_jsonl(engine, shop, {}, [&](std::string_view) -> Status {
        ++written;
        return Error{ErrorCode::unavailable, "the disk is full", {}};
    });
    CHECK_FALSE(report);
    CHECK(written == 1);
}
