// Measures retrieval against labelled evidence: one memory a turn, and for each question the share of its evidence
// turns among the first hits. No model, no judge.
#pragma once

#include "jsonl.h"
#include "locomo.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <span>

namespace annal {

struct EvalOptions {
    SearchMode mode = SearchMode::hybrid;
    // All conversations in one project, each searched within its own agent scope; else a project for each.
    bool together = false;
    std::string project = "locomo";
    std::function<void(std::uint64_t done, std::uint64_t all)> progress;  // Turns, then questions.
};

struct EvalFigures {  // Means over the questions.
    std::uint64_t questions = 0;
    double recall_at_10 = 0;
    double recall_at_5 = 0;
    double mrr = 0;  // Of the first evidence turn among ten hits; 0 when there is none.
};

struct EvalReport {
    SearchMode mode{};
    EvalFigures overall;                     // Categories 1 to 4.
    std::map<int, EvalFigures> by_category;  // 1 to 5, those that have questions.
    std::vector<std::string> degraded;       // What any search said of itself, each once.
};

// Imports into `engine` and asks all questions that name evidence.
Result<EvalReport> evaluate(Engine& engine, std::span<const LocomoConversation> conversations,
                            const EvalOptions& options);

nlohmann::ordered_json to_json(const EvalReport& report);

}  // namespace annal
