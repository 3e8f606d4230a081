#include "eval.h"

#include "json.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace annal {
namespace {

constexpr std::size_t hits_max = 10;
constexpr std::size_t hits_few = 5;
constexpr int adversarial = 5;  // Its questions have no answer in the conversation: not part of the overall figures.
constexpr std::chrono::milliseconds catch_up_max{600'000};

std::string project_of(const LocomoConversation& conversation, const EvalOptions& options) {
    return options.together ? options.project : options.project + "-" + conversation.sample_id;
}

void count(EvalFigures& sums, const LocomoQuestion& question, const std::vector<Hit>& hits) {
    std::size_t found = 0;
    std::size_t found_early = 0;
    std::size_t first = 0;
    for (std::size_t rank = 1; rank <= hits.size(); ++rank) {
        const auto& source = hits[rank - 1].memory.source;
        if (std::ranges::find(question.evidence, source.ref) == question.evidence.end()) continue;
        ++found;
        if (rank <= hits_few) ++found_early;
        if (first == 0) first = rank;
    }
    const auto all = static_cast<double>(question.evidence.size());
    ++sums.questions;
    sums.recall_at_10 += static_cast<double>(found) / all;
    sums.recall_at_5 += static_cast<double>(found_early) / all;
    if (first != 0) sums.mrr += 1.0 / static_cast<double>(first);
}

void divide(EvalFigures& sums) {
    if (sums.questions == 0) return;
    const auto n = static_cast<double>(sums.questions);
    sums.recall_at_10 /= n;
    sums.recall_at_5 /= n;
    sums.mrr /= n;
}

Json figures(const EvalFigures& of) {
    return {{"questions", of.questions},
            {"recall_at_10", of.recall_at_10},
            {"recall_at_5", of.recall_at_5},
            {"mrr", of.mrr}};
}

}  // namespace

Result<EvalReport> evaluate(Engine& engine, std::span<const LocomoConversation> conversations,
                            const EvalOptions& options) {
    std::uint64_t all = 0;
    std::vector<std::vector<RecordRequest>> memories;
    for (const auto& conversation : conversations) {
        memories.push_back(memories_of(conversation, project_of(conversation, options)));
        all += memories.back().size() + conversation.questions.size();
    }
    std::uint64_t done = 0;
    const auto advance = [&] {
        if (options.progress) options.progress(++done, all);
    };

    Importer importer(engine);
    for (auto& of_one : memories)
        for (auto& memory : of_one) {
            if (auto ok = importer.add(done + 1, std::move(memory)); !ok) return ok.error();
            advance();
        }
    const auto imported = importer.finish();
    if (!imported) return imported.error();
    if (!imported->rejected.empty()) return imported->rejected.front().error;
    if (auto ok = engine.wait_for(imported->seq, catch_up_max); !ok) return ok.error();

    EvalReport report;
    report.mode = options.mode;
    for (const auto& conversation : conversations) {
        SearchRequest request;
        request.scope.project = project_of(conversation, options);
        request.scope.agent = conversation.sample_id;
        request.mode = options.mode;
        request.limit = hits_max;
        request.min_seq = imported->seq;
        for (const auto& question : conversation.questions) {
            advance();
            if (question.evidence.empty()) continue;
            request.text = question.text;
            const auto answer = engine.search(request);
            if (!answer) return answer.error();
            for (const auto& note : answer->degraded)
                if (std::ranges::find(report.degraded, note) == report.degraded.end()) report.degraded.push_back(note);
            count(report.by_category[question.category], question, answer->hits);
            if (question.category != adversarial) count(report.overall, question, answer->hits);
        }
    }
    divide(report.overall);
    for (auto& [category, sums] : report.by_category) divide(sums);
    return report;
}

Json to_json(const EvalReport& report) {
    Json json = figures(report.overall);
    Json categories = Json::object();
    for (const auto& [category, of] : report.by_category) categories[std::to_string(category)] = figures(of);
    json["by_category"] = std::move(categories);
    json["mode"] = search_mode_names[static_cast<std::size_t>(report.mode)];
    json["degraded"] = report.degraded;
    return json;
}

}  // namespace annal
