#include "engine/accept.h"

#include "support/seed.h"

#include <annal/limits.h>

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <random>

namespace annal {
namespace {

using Json = nlohmann::ordered_json;

RecordRequest tea() {
    RecordRequest request;
    request.scope.project = "kitchen";
    request.content = "likes tea";
    return request;
}

// The error of a request that must be refused, which names the field and, when there is one, the limit.
void check_refused(const RecordRequest& request, std::string_view field, std::string_view limit = {}) {
    const auto event = accept(request);
    INFO(field);
    REQUIRE_FALSE(event);
    CHECK(event.error().code == ErrorCode::invalid_argument);
    CHECK(event.error().details.at("field") == field);
    CHECK(event.error().message.find(field) != std::string::npos);
    if (!limit.empty()) {
        CHECK(event.error().details.at("limit") == limit);
        CHECK(event.error().message.find(limit) != std::string::npos);
    }
}

std::string repeated(std::string_view unit, std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += unit;
    return text;
}

TEST_CASE("content is limited in characters, not bytes", "[engine]") {
    auto request = tea();
    request.content = repeated("ä", limits::content_characters_max);
    CHECK(accept(request));
    request.content += "b";
    check_refused(request, "content", "8192");
    request.content = " \n\t";
    check_refused(request, "content");
    request.content = "caf\xE9";
    check_refused(request, "content");
}

TEST_CASE("tags are made distinct, then limited in number and length", "[engine]") {
    auto request = tea();
    request.tags = {"a", "b", "a"};
    CHECK(std::get<MemoryRecorded>(accept(request)->body).tags == std::vector<std::string>{"a", "b"});
    request.tags.clear();
    for (std::size_t i = 0; i < limits::tags_max; ++i) request.tags.push_back("t" + std::to_string(i));
    CHECK(accept(request));
    request.tags.push_back("one more");
    check_refused(request, "tags", "32");
    request.tags = {std::string(limits::tag_characters_max, 'x')};
    CHECK(accept(request));
    request.tags = {std::string(limits::tag_characters_max + 1, 'x')};
    check_refused(request, "tags", "64");
    request.tags = {" "};
    check_refused(request, "tags");
}

TEST_CASE("metadata is limited in depth, keys, items, strings and bytes", "[engine]") {
    auto request = tea();
    const auto check_boundary = [&](const std::string& fits, const std::string& too_much, std::string_view limit) {
        request.metadata = fits;
        INFO(fits.substr(0, 80));
        CHECK(accept(request));
        request.metadata = too_much;
        check_refused(request, "metadata", limit);
    };
    check_boundary("[[[[1]]]]", "[[[[[1]]]]]", "4");
    check_boundary(R"({"a":{"b":{"c":{"d":1}}}})", R"({"a":{"b":{"c":{"d":{}}}}})", "4");
    Json keys = Json::object(), items = Json::array();
    for (int i = 0; i < 50; ++i) {
        keys["k" + std::to_string(i)] = i;
        items.push_back(i);
    }
    Json more_keys = keys, more_items = items;
    more_keys["k50"] = 50;
    more_items.push_back(50);
    check_boundary(keys.dump(), more_keys.dump(), "50");
    check_boundary(items.dump(), more_items.dump(), "50");
    check_boundary(Json(std::string(2048, 's')).dump(), Json(std::string(2049, 's')).dump(), "2048");
    // Four strings of 2,043 bytes, their quotes, commas and brackets make 8,192 less 7 or so: the last fills it up.
    Json full = Json::array({std::string(2048, 'a'), std::string(2048, 'b'), std::string(2048, 'c'), ""});
    full[3] = std::string(limits::metadata_bytes_max - full.dump().size(), 'd');
    Json over = full;
    over[3] = full[3].get<std::string>() + "d";
    check_boundary(full.dump(), over.dump(), "8192");
}

TEST_CASE("metadata that would not come back as it went in is refused", "[engine]") {
    auto request = tea();
    for (const char* bad : {"", "{", "nul", "[1,]", "{\"a\":1} x", "NaN", "1e999", "123456789012345678901234567890",
                            R"({"a":1,"a":2})", "\"\xFF\""}) {
        request.metadata = bad;
        check_refused(request, "metadata");
    }
}

// Any JSON within the limits.
Json random_json(std::mt19937_64& random, int depth) {
    const auto pick = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
    switch (pick(depth > 0 ? 8 : 6)) {
        case 0:
            return nullptr;
        case 1:
            return pick(2) == 0;
        case 2:
            return static_cast<std::int64_t>(random());
        case 3:
            return random();
        case 4:
            return std::ldexp(static_cast<double>(random() % 1'000'003), pick(80) - 40);
        case 5:
            return repeated("ü\"\\\n€", static_cast<std::size_t>(pick(6)));
        case 6: {
            Json array = Json::array();
            for (int i = pick(4); i > 0; --i) array.push_back(random_json(random, depth - 1));
            return array;
        }
        default: {
            Json object = Json::object();
            for (int i = pick(4); i > 0; --i) object["k" + std::to_string(pick(100))] = random_json(random, depth - 1);
            return object;
        }
    }
}

TEST_CASE("metadata comes back equal, whatever JSON it is", "[engine]") {
    const auto seed = testing::test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    for (int i = 0; i < testing::trials(2000); ++i) {
        const Json given = random_json(random, 4);
        const auto kept = check_metadata(given.dump(1));
        if (given.dump().size() > limits::metadata_bytes_max) continue;
        REQUIRE(kept);
        CHECK(*kept == given.dump());
    }
}

TEST_CASE("numbers outside their range are refused by name", "[engine]") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const double bad : {-0.01, 1.01, nan}) {
        auto request = tea();
        request.confidence = bad;
        check_refused(request, "confidence");
        request = tea();
        request.fields = RelationFields{.source_id = "a", .target_id = "b", .relation_type = "knows", .strength = bad};
        check_refused(request, "strength");
    }
    auto request = tea();
    request.success_count = 1;
    check_refused(request, "success_count");
    request = tea();
    request.valid_from = Timestamp{2};
    request.valid_to = Timestamp{1};
    check_refused(request, "valid_from");
    request = tea();
    request.fields = OutcomeFields{.task_type = "t", .duration_ms = -1};
    check_refused(request, "duration_ms");
}

TEST_CASE("an embedding is normalised once, and refused when it has no direction", "[engine]") {
    auto request = tea();
    request.embedding = Embedding{"m", {3, 4}};
    const auto event = accept(request);
    REQUIRE(event);
    const auto& body = std::get<MemoryRecorded>(event->body);
    CHECK(body.embedding->values == std::vector<float>{0.6F, 0.8F});
    CHECK(body.embedding_norm == 5.0F);

    const float infinity = std::numeric_limits<float>::infinity();
    for (const auto& bad :
         {Embedding{"m", {}}, Embedding{"m", {0, 0}}, Embedding{"m", {1, infinity}}, Embedding{"", {1}},
          Embedding{"m", std::vector<float>(limits::embedding_dimension_max + 1, 1.0F)}}) {
        request.embedding = bad;
        check_refused(request, "embedding");
    }
}

TEST_CASE("a scope without a project, or with characters that keys cannot take, is refused", "[engine]") {
    auto request = tea();
    request.scope.project.clear();
    check_refused(request, "scope.project");
    for (const std::string& bad : {std::string("a\0b", 3), std::string("a\nb"), std::string("ä"), std::string("..")}) {
        request = tea();
        request.scope.agent = bad;
        check_refused(request, "scope.agent");
    }
    request = tea();
    request.scope.user = std::string(129, 'u');
    check_refused(request, "scope.user", "128");
}

TEST_CASE("a search says what is wrong with it", "[engine]") {
    SearchRequest request{.scope = {.project = "kitchen", .agent = {}, .user = {}, .session = {}}, .text = "tea"};
    CHECK(check(request));
    request.limit = 0;
    CHECK_FALSE(check(request));
    request.limit = limits::search_limit_max + 1;
    CHECK(check(request).error().details.at("field") == "limit");
    request.limit = 10;
    request.text = std::string(limits::query_characters_max + 1, 'q');
    CHECK(check(request).error().details.at("limit") == "1000");
    request.text = "  ";
    CHECK(check(request).error().details.at("field") == "text");
}

}  // namespace
}  // namespace annal
