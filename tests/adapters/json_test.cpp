#include "adapters/json.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <string>

using namespace annal;

namespace {

Result<RecordRequest> read(const std::string& text, const Scope& defaults = {"shop", "", "", ""}) {
    auto json = parse_json(text, "the line");
    if (!json) return json.error();
    return record_request_from_json(*json, defaults);
}

std::string field_of(const Result<RecordRequest>& result) {
    REQUIRE_FALSE(result);
    CHECK(result.error().code == ErrorCode::invalid_argument);
    const auto at = result.error().details.find("field");
    return at == result.error().details.end() ? "" : at->second;
}

Memory sample() {
    Memory memory;
    memory.id = *parse_memory_id("01970e2c-7b1e-7c3a-9f00-0123456789ab");
    memory.version = Version{3};
    memory.seq = Seq{9};
    memory.created_seq = Seq{4};
    memory.scope = {"shop", "qa", "", "s1"};
    memory.fields = OutcomeFields{"deploy", "ship 2.4", "canary", true, 1500, "", "good"};
    memory.content = "the canary held";
    memory.tags = {"deploy"};
    memory.metadata = R"({"env":"production","runs":[1,2.5,null]})";
    memory.claim = Claim::verified;
    memory.confidence = 0.75;
    memory.actor = "mara";
    memory.source = {SourceType::tool_call, "call-7"};
    memory.recorded_at = Timestamp{1'790'000'000'123'456};
    memory.updated_at = memory.recorded_at;
    memory.occurred_at = Timestamp{1'790'000'000'000'000};
    memory.valid_to = Timestamp{1'795'000'000'000'000};
    return memory;
}

}  // namespace

TEST_CASE("a memory is shown with the design's names, its typed fields flat beside the rest", "[adapters][json]") {
    const Json json = to_json(sample());
    CHECK(to_text(json) ==
          R"({"memory_id":"01970e2c-7b1e-7c3a-9f00-0123456789ab","version":3,"seq":9,"created_seq":4,"kind":"outcome",)"
          R"("content":"the canary held","task_type":"deploy","task_description":"ship 2.4","strategy_used":"canary",)"
          R"("success":true,"duration_ms":1500,"error_message":"","user_feedback":"good","tags":["deploy"],)"
          R"("metadata":{"env":"production","runs":[1,2.5,null]},"claim":"verified","confidence":0.75,)"
          R"("occurrence_count":0,"success_count":0,"scope":{"project":"shop","agent":"qa","session":"s1"},)"
          R"("actor":"mara","source":{"type":"tool_call","ref":"call-7"},"recorded_at":"2026-09-21T14:13:20.123456Z",)"
          R"("updated_at":"2026-09-21T14:13:20.123456Z","occurred_at":"2026-09-21T14:13:20Z",)"
          R"("valid_to":"2026-11-18T11:06:40Z","forgotten":false})");
}

TEST_CASE("what `get` shows can be read back as a request that says the same", "[adapters][json]") {
    const Memory memory = sample();
    const auto request = read(to_text(to_json(memory)), {"other", "nobody", "someone", ""});
    REQUIRE(request);
    CHECK(request->memory_id == memory.id);
    CHECK(request->fields == memory.fields);
    CHECK(request->content == memory.content);
    CHECK(request->tags == memory.tags);
    CHECK(request->metadata == memory.metadata);
    CHECK(request->claim == memory.claim);
    CHECK(request->confidence == memory.confidence);
    CHECK(request->occurred_at == memory.occurred_at);
    CHECK(request->valid_to == memory.valid_to);
    CHECK_FALSE(request->valid_from);
    CHECK(request->context.actor == memory.actor);
    CHECK(request->context.source == memory.source);
    // Each field that the line's scope leaves out is the caller's.
    CHECK(request->scope == Scope{"shop", "qa", "someone", "s1"});
}

TEST_CASE("only content is required; the rest has the engine's defaults", "[adapters][json]") {
    const auto request = read(R"({"content": "a note"})");
    REQUIRE(request);
    CHECK(kind_of(request->fields) == Kind::note);
    CHECK(request->metadata == "null");
    CHECK(request->confidence == 1.0);
    CHECK(request->claim == Claim::observation);
    CHECK(request->scope == Scope{"shop", "", "", ""});
    CHECK_FALSE(request->memory_id);
    CHECK_FALSE(request->occurred_at);
}

TEST_CASE("every kind's typed fields are read, null leaving one unset", "[adapters][json]") {
    for (const auto& row : kind_table) {
        const KindFields fields = empty_fields(row.kind);
        Memory memory = sample();
        memory.fields = fields;
        const auto request = read(to_text(to_json(memory)));
        REQUIRE(request);
        CHECK(request->fields == fields);
    }
    const auto outcome = read(R"({"content": "x", "kind": "outcome", "duration_ms": null, "success": true})");
    REQUIRE(outcome);
    CHECK(std::get<OutcomeFields>(outcome->fields).success);
    CHECK_FALSE(std::get<OutcomeFields>(outcome->fields).duration_ms);
}

TEST_CASE("what is wrong in a line is refused with the field's name", "[adapters][json]") {
    CHECK(field_of(read("{}")) == "content");
    CHECK(field_of(read(R"({"content": 7})")) == "content");
    CHECK(field_of(read(R"({"content": null})")) == "content");
    CHECK(field_of(read(R"([])")) == "the memory");
    CHECK(field_of(read(R"({"content": "x", "colour": "red"})")) == "colour");
    CHECK(field_of(read(R"({"content": "x", "kind": "heuristics"})")) == "kind");
    CHECK(field_of(read(R"({"content": "x", "condition": "of a heuristic"})")) == "condition");
    CHECK(field_of(read(R"({"content": "x", "kind": "outcome", "success": "yes"})")) == "success");
    CHECK(field_of(read(R"({"content": "x", "kind": "outcome", "duration_ms": 1.5})")) == "duration_ms");
    CHECK(field_of(read(R"({"content": "x", "kind": "outcome", "duration_ms": 9223372036854775808})")) ==
          "duration_ms");
    CHECK(field_of(read(R"({"content": "x", "tags": "one"})")) == "tags");
    CHECK(field_of(read(R"({"content": "x", "tags": [1]})")) == "tags");
    CHECK(field_of(read(R"({"content": "x", "claim": "certain"})")) == "claim");
    CHECK(field_of(read(R"({"content": "x", "claim": ""})")) == "claim");
    CHECK(field_of(read(R"({"content": "x", "confidence": "0.5"})")) == "confidence");
    CHECK(field_of(read(R"({"content": "x", "occurrence_count": -1})")) == "occurrence_count");
    CHECK(field_of(read(R"({"content": "x", "occurrence_count": 1.0})")) == "occurrence_count");
    CHECK(field_of(read(R"({"content": "x", "occurred_at": "2026-01-01T12:00:00"})")) == "occurred_at");
    CHECK(field_of(read(R"({"content": "x", "occurred_at": ""})")) == "occurred_at");
    CHECK(field_of(read(R"({"content": "x", "occurred_at": 1790000000})")) == "occurred_at");
    CHECK(field_of(read(R"({"content": "x", "memory_id": "7"})")) == "memory_id");
    CHECK(field_of(read(R"({"content": "x", "memory_id": ""})")) == "memory_id");
    CHECK(field_of(read(R"({"content": "x", "scope": "shop"})")) == "scope");
    CHECK(field_of(read(R"({"content": "x", "scope": {"tenant": "t"}})")) == "scope.tenant");
    CHECK(field_of(read(R"({"content": "x", "scope": {"agent": 1}})")) == "scope.agent");
    CHECK(field_of(read(R"({"content": "x", "source": {"type": "rumour"}})")) == "source.type");
    CHECK(field_of(read(R"({"content": "x", "source": {"kind": "file"}})")) == "source.kind");
    CHECK(field_of(read(R"({"content": "x", "embedding": [1, 2]})")) == "embedding");
    CHECK(field_of(read(R"({"content": "x", "embedding": {"model": "m", "values": "1"}})")) == "embedding.values");
    CHECK(field_of(read(R"({"content": "x", "embedding": {"model": "m", "values": [1, "2"]}})")) == "embedding.values");
    CHECK(field_of(read(R"({"content": "x", "embedding": {"model": "m", "size": 2}})")) == "embedding.size");
    CHECK(field_of(read(R"({"content": "x", "forgotten": true})")) == "forgotten");
}

TEST_CASE("times with an offset become UTC", "[adapters][json]") {
    const auto request = read(R"({"content": "x", "occurred_at": "2026-01-01T12:00:00+14:00"})");
    REQUIRE(request);
    CHECK(to_string(*request->occurred_at) == "2025-12-31T22:00:00Z");
}

TEST_CASE("JSON that would lose something when read is refused", "[adapters][json]") {
    const auto refused = [](const std::string& text, std::string_view why) {
        const auto json = parse_json(text, "the line");
        REQUIRE_FALSE(json);
        CHECK(json.error().code == ErrorCode::invalid_argument);
        INFO(json.error().message);
        CHECK(json.error().message.find(why) != std::string::npos);
    };
    refused(R"({"metadata": {"id": 18446744073709551616}})", "64 bits");
    refused(R"({"metadata": {"id": -9223372036854775809}})", "64 bits");
    refused(R"({"content": "a", "content": "b"})", "twice");
    refused(R"({"content": "a"} {"content": "b"})", "not JSON");
    refused(R"({"content": "a")", "not JSON");
    refused("{\"content\": \"\xff\"}", "not JSON");
    refused(R"({"confidence": 1e999})", "not JSON");
    refused(R"({"confidence": NaN})", "not JSON");
    refused("", "not JSON");
    refused(std::string(65, '[') + std::string(65, ']'), "nested");
    CHECK(parse_json(std::string(64, '[') + std::string(64, ']'), "the line"));
    REQUIRE(parse_json("18446744073709551615", "the line"));
    CHECK(to_text(*parse_json("[18446744073709551615, -9223372036854775808, 0.1]", "it")) ==
          "[18446744073709551615,-9223372036854775808,0.1]");
}

TEST_CASE("an error is shown by code, message and details", "[adapters][json]") {
    CHECK(to_text(to_json(Error{ErrorCode::conflict, "moved on", {{"actual", "3"}}})) ==
          R"({"error":{"code":"conflict","message":"moved on","details":{"actual":"3"}}})");
    CHECK(to_text(to_json(Error{ErrorCode::data_loss, "x", {}})) ==
          R"({"error":{"code":"data_loss","message":"x","details":{}}})");
}

TEST_CASE("receipts, answers, history and status have the design's shapes", "[adapters][json]") {
    Receipt receipt;
    receipt.memory_id = sample().id;
    receipt.event_id.bytes[15] = 7;
    receipt.seq = Seq{12};
    receipt.version = Version{2};
    receipt.hash[0] = 0xAB;
    CHECK(to_text(to_json(receipt)) ==
          R"({"memory_id":"01970e2c-7b1e-7c3a-9f00-0123456789ab","event_id":"00000000-0000-0000-0000-000000000007",)"
          R"("seq":12,"version":2,"hash":"ab)" +
              std::string(62, '0') + R"(","replayed":false})");

    SearchAnswer answer;
    answer.hits.push_back({sample(), 1.5, {}});
    answer.hits.front().parts.matched_terms = {"canari"};
    answer.seq = Seq{9};
    answer.degraded = {"the vector index is being built"};
    const Json found = to_json(answer);
    CHECK(found["hits"][0]["memory"]["memory_id"] == to_string(sample().id));
    CHECK(found["hits"][0]["score"] == 1.5);
    CHECK(found["hits"][0]["parts"]["matched_terms"][0] == "canari");
    CHECK(found["seq"] == 9);
    CHECK(found["degraded"].size() == 1);

    HistoryEntry entry;
    entry.seq = Seq{1};
    entry.version = Version{1};
    entry.type = "MemoryRecorded";
    entry.changes = R"({"content":"a"})";
    const Json history = to_json(std::vector{entry});
    CHECK(history["events"][0]["type"] == "MemoryRecorded");
    CHECK(history["events"][0]["changes"]["content"] == "a");

    EngineStatus status;
    status.head_seq = Seq{4};
    status.projections.push_back({});
    status.projections.front().name = "text";
    const Json shown = to_json(status);
    CHECK(shown["head_seq"] == 4);
    for (const char* name : {"name", "version", "generation", "applied_seq", "lag_events", "state", "error", "digest"})
        CHECK(shown["projections"][0].contains(name));

    const Json page = to_json(ListAnswer{});
    CHECK(to_text(page) == R"({"memories":[],"next_cursor":"","seq":0})");
}

TEST_CASE("bytes that are not UTF-8 cannot break the output", "[adapters][json]") {
    CHECK(to_text(Json("a\xff")) == "\"a\xEF\xBF\xBD\"");
}

TEST_CASE("typed fields are set from the command line by their type", "[adapters][json]") {
    KindFields fields = empty_fields(Kind::relation);
    REQUIRE(set_field_from_text(fields, "source_id", "17"));
    REQUIRE(set_field_from_text(fields, "strength", "0.25"));
    REQUIRE(set_field_from_text(fields, "bidirectional", "true"));
    const auto& relation = std::get<RelationFields>(fields);
    CHECK(relation.source_id == "17");
    CHECK(relation.strength == 0.25);
    CHECK(relation.bidirectional);
    CHECK_FALSE(set_field_from_text(fields, "strength", "much"));
    CHECK_FALSE(set_field_from_text(fields, "colour", "red"));
}
