#include "adapters/eval.h"

#include "adapters/json.h"
#include "locomo_sample.h"
#include "support/fake_engine.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <sstream>

using namespace annal;
using annal::testing::FakeEngine;
using Catch::Approx;

namespace {

std::vector<LocomoConversation> sample_conversations() {
    std::istringstream in(annal::testing::locomo_sample);
    auto conversations = read_locomo(in);
    REQUIRE(conversations);
    return *conversations;
}

}  // namespace

TEST_CASE("recall is the share of a question's evidence among the first hits", "[adapters][eval]") {
    FakeEngine engine;
    const auto report = evaluate(engine, sample_conversations(), {.mode = SearchMode::text, .progress = {}});
    REQUIRE(report);
    // Found wholly; found wholly ("harbour" is in both turns, "oil" in the first); not found. The one without evidence
    // is skipped.
    CHECK(report->overall.questions == 3);
    CHECK(report->overall.recall_at_10 == Approx(2.0 / 3));
    CHECK(report->overall.recall_at_5 == Approx(2.0 / 3));
    CHECK(report->overall.mrr == Approx(2.0 / 3));
    CHECK(report->by_category.at(1).questions == 1);
    CHECK(report->by_category.at(4).recall_at_10 == Approx(0.5));
    CHECK_FALSE(report->by_category.contains(2));
}

TEST_CASE("adversarial questions are told apart and not part of the overall figures", "[adapters][eval]") {
    FakeEngine engine;
    const auto report = evaluate(engine, sample_conversations(), {.progress = {}});
    REQUIRE(report);
    CHECK(report->by_category.at(5).questions == 1);
    CHECK(report->by_category.at(5).recall_at_10 == 0);
    CHECK(report->overall.questions == 3);
}

TEST_CASE("in one project, each conversation is searched alone", "[adapters][eval]") {
    FakeEngine engine;
    const auto report = evaluate(engine, sample_conversations(), {.together = true, .progress = {}});
    REQUIRE(report);
    for (const auto& memory : engine.memories) CHECK(memory.scope.project == "locomo");
    // Both conversations have a D1:2 and a greyhound: the other one's hit may not count, nor take a place.
    CHECK(report->overall.recall_at_10 == Approx(2.0 / 3));
    CHECK(report->by_category.at(4).mrr == Approx(0.5));
}

TEST_CASE("the report has the design's shape", "[adapters][eval]") {
    FakeEngine engine;
    const auto report = evaluate(engine, sample_conversations(), {.mode = SearchMode::text, .progress = {}});
    REQUIRE(report);
    const Json json = to_json(*report);
    CHECK(json["questions"] == 3);
    CHECK(json["mode"] == "text");
    for (const char* name : {"recall_at_10", "recall_at_5", "mrr"}) {
        CHECK(json[name].is_number());
        CHECK(json["by_category"]["4"][name].is_number());
    }
}
