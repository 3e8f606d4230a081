// Recall of the text ranking on conversations in the shape of LoCoMo, index and ranking alone: annal_bench_locomo FILE
// One memory per turn; for each question of categories 1 to 4 the share of its evidence turns among the first ten hits.
// Twice: each conversation in a project of its own, and all in one, each question asked within its own conversation.
#include "query/text_ranking.h"
#include "support/memory_space.h"
#include "support/projector_feed.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <regex>
#include <set>

using namespace annal;
using nlohmann::json;

namespace {

// "1:56 pm on 8 May, 2023"
Timestamp parse_time(const std::string& text) {
    static const std::regex shape(R"((\d+):(\d+) ([ap])m on (\d+) (\w+), (\d+))");
    static const std::vector<std::string> months{"January", "February", "March",     "April",   "May",      "June",
                                                 "July",    "August",   "September", "October", "November", "December"};
    std::smatch part;
    if (!std::regex_match(text, part, shape)) return {};
    const auto hour = std::stoi(part[1]) % 12 + (part[3] == "p" ? 12 : 0);
    const auto month = std::ranges::find(months, part[5].str()) - months.begin() + 1;
    char rfc[40];
    std::snprintf(rfc, sizeof rfc, "%04d-%02d-%02dT%02d:%02d:00Z", std::stoi(part[6]), static_cast<int>(month),
                  std::stoi(part[4]), hour, std::stoi(part[2]));
    const auto time = parse_timestamp(rfc, "time");
    return time ? *time : Timestamp{};
}

struct Question {
    std::string text;
    int category = 0;
    std::string project;
    std::size_t sample = 0;
    std::set<std::uint64_t> evidence;  // Ordinals.
};

struct Score {
    double recall_10 = 0, recall_5 = 0, mrr = 0;
    std::size_t count = 0;
};

void run(const json& samples, bool together) {
    testing::MemorySpace space;
    testing::EventTape tape;
    std::vector<Question> questions;
    std::vector<OrdinalSet> members(samples.size());
    std::set<std::string> projects;
    for (std::size_t s = 0; s < samples.size(); ++s) {
        const auto& sample = samples[s];
        const auto name = sample.at("sample_id").get<std::string>();
        const auto project = together ? std::string("all") : name;
        projects.insert(project);
        std::map<std::string, std::uint64_t> by_turn;
        for (int n = 1; sample["conversation"].contains("session_" + std::to_string(n)); ++n) {
            const auto session = "session_" + std::to_string(n);
            const auto start = parse_time(sample["conversation"].at(session + "_date_time").get<std::string>());
            std::int64_t position = 0;
            for (const auto& turn : sample["conversation"][session]) {
                MemoryEvent event;
                event.memory_id = testing::numbered_id(tape.head().value + 1);
                event.scope = {project, name, "", session};
                event.actor = turn.at("speaker").get<std::string>();
                event.source = {SourceType::message, turn.at("dia_id").get<std::string>()};
                event.occurred_at = Timestamp{start.us + position++ * 1'000'000};
                MemoryRecorded body;
                body.content = turn.at("text").get<std::string>();
                if (turn.contains("blip_caption")) body.metadata = json{{"caption", turn["blip_caption"]}}.dump();
                event.body = std::move(body);
                const auto ordinal = tape.append(std::move(event));
                by_turn[turn["dia_id"]] = ordinal.value;
                members[s].insert(ordinal);
            }
        }
        static const std::regex reference(R"(D(\d+):(\d+))");
        for (const auto& qa : sample.at("qa")) {
            Question question{qa.at("question"), qa.at("category"), project, s, {}};
            for (const auto& evidence : qa.value("evidence", json::array())) {
                const auto text = evidence.get<std::string>();
                for (std::sregex_iterator at(text.begin(), text.end(), reference), end; at != end; ++at)
                    if (const auto turn = by_turn.find(at->str()); turn != by_turn.end())
                        question.evidence.insert(turn->second);
            }
            if (question.category >= 1 && question.category <= 4 && !question.evidence.empty())
                questions.push_back(std::move(question));
        }
    }

    const auto index = TextIndex::create();
    Seq applied;
    if (!index->open(space, applied) || !testing::follow(tape, *index, space, applied, tape.head())) std::exit(1);
    for (const auto& project : projects) {
        const auto reader = index->reader(project);
        const auto& statistics = reader->table().statistics();
        std::printf("%s: %llu memories, %llu pairs, r %.2f, gate %.2f\n", project.c_str(),
                    static_cast<unsigned long long>(statistics.memories),
                    static_cast<unsigned long long>(statistics.context_pairs),
                    static_cast<double>(statistics.predecessor_sum) / static_cast<double>(statistics.other_sum),
                    context_gate(statistics));
    }

    std::map<int, Score> scores;  // 0: all.
    for (const auto& question : questions) {
        const auto reader = index->reader(question.project);
        const auto hits = rank_text(
            *reader, {.text = question.text, .passing = together ? &members[question.sample] : nullptr, .limit = 10});
        if (!hits) std::exit(1);
        double found_10 = 0, found_5 = 0, reciprocal = 0;
        for (std::size_t rank = 0; rank < hits->size(); ++rank) {
            if (!question.evidence.contains((*hits)[rank].ordinal.value)) continue;
            ++found_10;
            if (rank < 5) ++found_5;
            if (reciprocal == 0) reciprocal = 1.0 / static_cast<double>(rank + 1);
        }
        const auto all = static_cast<double>(question.evidence.size());
        for (const int category : {0, question.category}) {
            auto& score = scores[category];
            score.recall_10 += found_10 / all;
            score.recall_5 += found_5 / all;
            score.mrr += reciprocal;
            ++score.count;
        }
    }
    std::printf("%-10s %5s %10s %10s %8s\n", "category", "n", "recall@10", "recall@5", "MRR");
    for (const auto& [category, score] : scores) {
        const auto n = static_cast<double>(score.count);
        std::printf("%-10s %5zu %10.3f %10.3f %8.3f\n", category == 0 ? "1 to 4" : std::to_string(category).c_str(),
                    score.count, score.recall_10 / n, score.recall_5 / n, score.mrr / n);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: annal_bench_locomo FILE\n");
        return 2;
    }
    std::ifstream file(argv[1]);
    const auto samples = json::parse(file, nullptr, false);
    if (!samples.is_array()) {
        std::fprintf(stderr, "not a list of conversations\n");
        return 1;
    }
    std::printf("Each conversation in its own project\n");
    run(samples, false);
    std::printf("\nAll in one project\n");
    run(samples, true);
    return 0;
}
