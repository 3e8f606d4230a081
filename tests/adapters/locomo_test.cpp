#include "adapters/locomo.h"

#include "locomo_sample.h"

#include <catch2/catch_test_macros.hpp>

#include <sstream>

using namespace annal;

namespace {

Result<std::vector<LocomoConversation>> parsed(const std::string& text) {
    std::istringstream in(text);
    return read_locomo(in);
}

}  // namespace

TEST_CASE("a LoCoMo time is read as UTC", "[adapters][locomo]") {
    const auto text = [](std::string_view time) {
        const auto parsed = parse_locomo_time(time);
        return parsed ? to_string(*parsed) : std::string("refused");
    };
    CHECK(text("1:56 pm on 8 May, 2023") == "2023-05-08T13:56:00Z");
    CHECK(text("12:48 am on 1 February, 2023") == "2023-02-01T00:48:00Z");
    CHECK(text("12:09 pm on 13 September, 2023") == "2023-09-13T12:09:00Z");
    CHECK(text("13:56 pm on 8 May, 2023") == "refused");
    CHECK(text("1:56 pm on 31 June, 2023") == "refused");
    CHECK(text("1:56 pm on 8 Mai, 2023") == "refused");
    CHECK(text("8 May, 2023") == "refused");
    CHECK(text("") == "refused");
}

TEST_CASE("a turn becomes a memory with its speaker, message, session and time", "[adapters][locomo]") {
    const auto conversations = parsed(annal::testing::locomo_sample);
    REQUIRE(conversations);
    REQUIRE(conversations->size() == 2);
    const auto memories = memories_of(conversations->front(), "talks");
    REQUIRE(memories.size() == 5);
    const auto& turn = memories[1];
    CHECK(turn.scope == Scope{"talks", "conv-1", "", "conv-1/session_1"});
    CHECK(turn.content == "I adopted a greyhound called Comet.");
    CHECK(turn.context.actor == "Ines");
    CHECK(turn.context.source == Source{SourceType::message, "D1:2"});
    CHECK(to_string(*turn.occurred_at) == "2024-03-02T21:05:01Z");
    CHECK(turn.metadata == R"({"caption":"a grey dog on a sofa"})");
    CHECK(memories[0].metadata == "null");
    // Sessions follow by number, not as the file has them; position starts again in each.
    CHECK(memories[3].scope.session == "conv-1/session_2");
    CHECK(memories[4].scope.session == "conv-1/session_10");
    CHECK(to_string(*memories[4].occurred_at) == "2024-05-01T08:00:00Z");
}

TEST_CASE("evidence keeps the turns that there are, each once", "[adapters][locomo]") {
    const auto conversations = parsed(annal::testing::locomo_sample);
    REQUIRE(conversations);
    const auto& questions = conversations->front().questions;
    REQUIRE(questions.size() == 4);
    CHECK(questions[0].evidence == std::vector<std::string>{"D1:2"});
    CHECK(questions[1].evidence == std::vector<std::string>{"D1:3", "D2:1"});  // "D1:3; D2:1, D1:3", "D9:9"
    CHECK(questions[2].evidence.empty());                                      // "D:11", "D", nothing there
    CHECK(questions[3].category == 5);
}

TEST_CASE("a file of another shape is refused with the place named", "[adapters][locomo]") {
    const auto refused = [](const std::string& text) {
        const auto result = parsed(text);
        REQUIRE_FALSE(result);
        CHECK(result.error().code == ErrorCode::invalid_argument);
        return result.error().message;
    };
    CHECK(refused("{}").find("list") != std::string::npos);
    CHECK(refused("[").find("not JSON") != std::string::npos);
    CHECK(refused("[1]").find("sample 1") != std::string::npos);
    CHECK(refused("[{}]").find("sample_id") != std::string::npos);
    CHECK(refused(R"([{"sample_id":"a"}])").find("conversation") != std::string::npos);
    CHECK(refused(R"([{"sample_id":"a","conversation":{"session_1":[{"text":"x"}]}}])").find("date_time") !=
          std::string::npos);
    CHECK(refused(R"([{"sample_id":"a","conversation":{"session_1_date_time":"1:00 am on 1 May, 2024",)"
                  R"("session_1":[{"text":"x"}]}}])")
              .find("dia_id") != std::string::npos);
    CHECK(refused(R"([{"sample_id":"a","conversation":{},"qa":[{"question":"x"}]}])").find("category") !=
          std::string::npos);
    CHECK(parsed("[]"));
}
