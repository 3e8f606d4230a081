// reembed: the models of a store. Another one is embedded with beside the active one, compared, and switched to.
#include "context.h"
#include "embedders.h"
#include "print.h"
#include "progress.h"

#include "adapters/json.h"

#include <annal/limits.h>

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <numeric>
#include <random>
#include <set>

namespace annal::cli {
namespace {

constexpr std::size_t hits_compared = 10;
constexpr std::size_t queries_shown = 3;
constexpr std::size_t page_memories = 1'000;

struct Flags {
    std::string to, model, queries, drop;
    bool fill = false, compare = false, switches = false, back = false;
    std::size_t sample = 50;
    std::uint64_t seed = 1;
};

Error refuse_flag(const std::string& flag, std::string message) {
    return {ErrorCode::invalid_argument, flag + ": " + std::move(message), {{"field", flag}}};
}

Error no_such_model(const std::string& flag, const std::string& model) {
    return {ErrorCode::not_found,
            flag + ": the store is not embedded by a model of that name; `annal reembed` shows those it is",
            {{"model", model}}};
}

Result<std::unique_ptr<Engine>> open(const Context& context, const StoreEmbedders& remembered, bool asks) {
    const auto models = models_of(remembered);
    if (!models) return models.error();
    EngineOptions options;
    options.directory = context.store;
    options.create_if_missing = false;
    options.embed_in_background = asks;
    return context.open_with(std::move(options), *models);
}

Status fill(const Context& context, Engine& engine, const std::string& model) {
    Progress progress("embedding", !context.json);
    return embed_all(engine, model, context.wait_max(), WhenDown::wait, progress);
}

// Each model that the store has vectors of or remembers.
Result<int> show(const Context& context, Engine& engine, const StoreEmbedders& remembered) {
    const auto status = engine.status();
    if (!status) return status.error();
    Json json{{"active", remembered.active}, {"former", remembered.former}, {"models", Json::array()}};
    std::vector<std::vector<std::string>> rows{{"model", "state", "vectors", "lag", "where"}};
    std::string more;
    const Json as_json = annal::to_json(*status)["embeddings"];
    for (const auto& model : status->embeddings) {
        const auto* config = remembered.find(model.model);
        if (config != nullptr && config->dimension != model.dimension) config = nullptr;
        const std::string state = config == nullptr                    ? "left"
                                  : config->model == remembered.active ? "active"
                                  : config->model == remembered.former ? "former"
                                                                       : "beside";
        Json each = as_json[json["models"].size()];
        each["active"] = state == "active";
        each["state"] = state;
        each["embedder"] = config == nullptr ? "" : text_of(*config);
        // Nobody was asked, to show this: that is no error.
        if (!model.asked) each["error"] = "";
        json["models"].push_back(std::move(each));
        rows.push_back({clean(model.model), state,
                        number_text(model.coverage(), 1) + " %" +
                            (model.without == 0 ? "" : ", none for " + std::to_string(model.without)),
                        std::to_string(model.lag_events), config == nullptr ? "-" : clean(text_of(*config))});
        if (model.asked && !model.error.empty()) more += clean(model.model) + " waits: " + clean(model.error) + '\n';
    }
    const auto text = rows.size() == 1 ? "no model: `annal reembed --to SPEC` names one\n" : table(rows, {3}) + more;
    if (auto ok = context.json ? Context::print(json) : Context::write(text); !ok) return ok.error();
    return 0;
}

Result<int> begin(const Context& context, const Flags& flags, StoreEmbedders remembered) {
    const auto parsed = parse_embedder(flags.to);
    auto* known = parsed ? remembered.find(parsed->model) : nullptr;
    const auto config = embedder_of(context.embedder, flags.to, "--to", known);
    if (!config) return config.error();
    if (known != nullptr)
        *known = *config;
    else
        remembered.all.push_back(*config);
    if (remembered.active.empty()) remembered.active = config->model;
    auto engine = open(context, remembered, true);
    if (!engine) return engine.error();
    // Before it is asked: what is cut off goes on by whatever command comes next.
    if (auto saved = save_embedders(context.store, remembered); !saved) return saved.error();
    if (auto filled = fill(context, **engine, config->model); !filled) return filled.error();
    return show(context, **engine, remembered);
}

// The one that is not active: named, or the only one.
Result<std::string> other_model(const Flags& flags, const StoreEmbedders& remembered, const std::string& flag) {
    if (!flags.model.empty()) {
        if (remembered.find(flags.model) == nullptr) return no_such_model("--model", flags.model);
        if (flags.model == remembered.active) return refuse_flag("--model", "it is the active one already");
        return flags.model;
    }
    if (remembered.all.size() < 2)
        return refuse_flag(flag, "the store has no other model; `annal reembed --to SPEC` begins one");
    if (remembered.all.size() > 2) return refuse_flag(flag, "the store has more than two models: --model says which");
    return remembered.all[0].model == remembered.active ? remembered.all[1].model : remembered.all[0].model;
}

Result<int> switch_to(const Context& context, const std::string& model, bool only_when_whole,
                      StoreEmbedders remembered) {
    auto engine = open(context, remembered, true);
    if (!engine) return engine.error();
    if (only_when_whole)
        if (auto filled = fill(context, **engine, model); !filled) return filled.error();
    remembered.former = std::exchange(remembered.active, model);
    if (auto used = (*engine)->use_model(model); !used) return used.error();
    if (auto saved = save_embedders(context.store, remembered); !saved) return saved.error();
    return show(context, **engine, remembered);
}

Result<int> drop(const Context& context, const std::string& model, StoreEmbedders remembered) {
    if (model == remembered.active && remembered.all.size() > 1)
        return refuse_flag("--drop", "it is the active one: `annal reembed --switch` to another first");
    const auto gone = std::erase_if(remembered.all, [&](const auto& config) { return config.model == model; });
    if (remembered.active == model) remembered.active.clear();
    if (remembered.former == model) remembered.former.clear();
    std::size_t dropped = 0;
    {
        auto engine = open(context, remembered, false);
        if (!engine) return engine.error();
        const auto status = (*engine)->status();
        if (!status) return status.error();
        const auto is_it = [&](const EmbeddingStatus& each) { return each.model == model; };
        if (gone == 0 && std::ranges::none_of(status->embeddings, is_it)) return no_such_model("--drop", model);
        if (auto saved = save_embedders(context.store, remembered); !saved) return saved.error();
        for (const auto& each : status->embeddings) {
            if (!is_it(each)) continue;
            if (auto done = (*engine)->drop_model(each.model, each.dimension); !done) return done.error();
            ++dropped;
        }
    }
    auto engine = open(context, remembered, false);  // Its index goes with an open.
    if (!engine) return engine.error();
    return show(context, **engine, remembered);
}

// As much of it as a query may have.
std::string as_query(std::string_view text) {
    std::size_t characters = 0, bytes = 0;
    for (; bytes < text.size(); ++bytes) {
        const bool begins = (static_cast<unsigned char>(text[bytes]) & 0xC0U) != 0x80U;
        if (begins && ++characters > limits::query_characters_max) break;
    }
    return std::string(text.substr(0, bytes));
}

Result<std::vector<std::string>> read_queries(const std::string& file) {
    std::ifstream in(file);
    if (file != "-" && !in)
        return Error{ErrorCode::not_found, "the file of --queries cannot be read", {{"field", "--queries"}}};
    std::vector<std::string> queries;
    auto& lines = file == "-" ? std::cin : in;
    for (std::string line; std::getline(lines, line);) {
        if (line.ends_with('\r')) line.pop_back();
        if (line.find_first_not_of(" \t") != std::string::npos) queries.push_back(as_query(line));
    }
    if (queries.empty()) return refuse_flag("--queries", "the file has no query: it takes one a line");
    return queries;
}

// Each content with the same chance, as the seed has it.
Result<std::vector<std::string>> sample_queries(const Context& context, Engine& engine, const Flags& flags) {
    std::vector<std::string> sample;
    std::mt19937_64 random(flags.seed);
    std::uint64_t seen = 0;
    ListRequest request;
    request.scope = context.scope;
    request.order = ListOrder::oldest_first;
    request.limit = page_memories;
    request.read = context.read_options(engine, 0);
    do {
        const auto page = engine.list(request);
        if (!page) return page.error();
        for (const auto& memory : page->memories) {
            ++seen;
            if (sample.size() < flags.sample) {
                sample.push_back(as_query(memory.content));
            } else if (const auto place = random() % seen; place < sample.size()) {
                sample[place] = as_query(memory.content);
            }
        }
        request.cursor = page->next_cursor;
    } while (!request.cursor.empty());
    if (sample.empty())
        return Error{ErrorCode::not_found, "there are no memories to take queries of; --project names whose", {}};
    return sample;
}

struct Compared {
    std::string query;
    double by_vector = 0, hybrid = 0;
};

// Of two answers' first hits, the part that both have.
Result<double> overlap(const Context& context, Engine& engine, const std::string& query, SearchMode mode,
                       const std::string& old_model, const std::string& new_model, std::set<std::string>& degraded) {
    std::set<MemoryId> first, both;
    std::size_t most = 0;
    for (const auto* model : {&old_model, &new_model}) {
        SearchRequest request;
        request.scope = context.scope;
        request.text = query;
        request.model = *model;
        request.mode = mode;
        request.limit = hits_compared;
        request.min_seq = engine.head();
        request.wait_max = context.wait_max();
        const auto answer = engine.search(request);
        if (!answer) return answer.error();
        for (const auto& what : answer->degraded) degraded.insert(*model + ": " + what);
        most = std::max(most, answer->hits.size());
        for (const auto& hit : answer->hits) {
            if (model == &old_model)
                first.insert(hit.memory.id);
            else if (first.contains(hit.memory.id))
                both.insert(hit.memory.id);
        }
    }
    return most == 0 ? 1.0 : static_cast<double>(both.size()) / static_cast<double>(most);
}

Result<int> compare(const Context& context, const Flags& flags, const StoreEmbedders& remembered) {
    const auto other = other_model(flags, remembered, "--compare");
    if (!other) return other.error();
    auto engine = open(context, remembered, true);
    if (!engine) return engine.error();
    const auto queries = flags.queries.empty() ? sample_queries(context, **engine, flags) : read_queries(flags.queries);
    if (!queries) return queries.error();
    std::vector<Compared> all;
    std::set<std::string> degraded;
    {
        Progress progress("comparing", !context.json);
        for (const auto& query : *queries) {
            const auto ask = [&](SearchMode mode) {
                return overlap(context, **engine, query, mode, remembered.active, *other, degraded);
            };
            const auto by_vector = ask(SearchMode::vector);
            if (!by_vector) return by_vector.error();
            const auto hybrid = ask(SearchMode::hybrid);
            if (!hybrid) return hybrid.error();
            all.push_back({query, *by_vector, *hybrid});
            progress.show(all.size(), queries->size());
        }
    }
    const auto mean = [&](double Compared::*of) {
        return std::accumulate(all.begin(), all.end(), 0.0,
                               [&](double sum, const Compared& each) { return sum + each.*of; }) /
               static_cast<double>(all.size());
    };
    const double by_vector = mean(&Compared::by_vector), hybrid = mean(&Compared::hybrid);
    std::ranges::stable_sort(all, {}, &Compared::by_vector);
    const auto shown = std::min(queries_shown, all.size());
    Json json{{"old", remembered.active},
              {"new", *other},
              {"queries", all.size()},
              {"overlap_at_10", by_vector},
              {"overlap_at_10_hybrid", hybrid},
              {"least", Json::array()},
              {"degraded", std::vector<std::string>(degraded.begin(), degraded.end())}};
    if (flags.queries.empty()) json["seed"] = flags.seed;
    std::string text = "old: " + clean(remembered.active) + ", new: " + clean(*other) + "; " +
                       std::to_string(all.size()) + " queries" +
                       (flags.queries.empty() ? ", contents drawn with seed " + std::to_string(flags.seed) : "") +
                       "\noverlap@10 " + number_text(by_vector, 3) + " by vector, " + number_text(hybrid, 3) +
                       " hybrid\nleast by vector:\n";
    for (std::size_t i = 0; i < shown; ++i) {
        json["least"].push_back({{"query", all[i].query}, {"overlap_at_10", all[i].by_vector}});
        text += "  " + number_text(all[i].by_vector, 3) + "  " + shorten(clean(all[i].query), 60) + '\n';
    }
    for (const auto& what : degraded) text += "degraded: " + clean(what) + '\n';
    if (auto ok = context.json ? Context::print(json) : Context::write(text); !ok) return ok.error();
    return 0;
}

Result<int> run(const Context& context, const Flags& flags) {
    const auto wanted = int(!flags.to.empty()) + int(flags.fill) + int(flags.compare) + int(flags.switches) +
                        int(flags.back) + int(!flags.drop.empty());
    if (wanted > 1)
        return refuse_flag("reembed", "one of --to, --fill, --compare, --switch, --back and --drop at a time");
    if (!context.embedder.spec.empty()) return refuse_flag("--embedder", "reembed takes --to for it");
    if (context.embedder.says_more() && flags.to.empty())
        return refuse_flag("--embedder", "what is said of its key and dimension is of no embedder: name it by --to");
    auto remembered = load_embedders(context.store);
    if (!remembered) return remembered.error();
    if (!flags.to.empty()) return begin(context, flags, std::move(*remembered));
    if (flags.compare) return compare(context, flags, *remembered);
    if (!flags.drop.empty()) return drop(context, flags.drop, std::move(*remembered));
    if (flags.switches) {
        const auto other = other_model(flags, *remembered, "--switch");
        if (!other) return other.error();
        return switch_to(context, *other, true, std::move(*remembered));
    }
    if (flags.back) {
        if (remembered->former.empty()) return refuse_flag("--back", "no other model was active before");
        const auto former = remembered->former;
        return switch_to(context, former, false, std::move(*remembered));
    }
    auto engine = open(context, *remembered, flags.fill);
    if (!engine) return engine.error();
    if (flags.fill)
        if (auto filled = fill(context, **engine, ""); !filled) return filled.error();
    return show(context, **engine, *remembered);
}

}  // namespace

void add_reembed_command(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("reembed", "Show the models that make vectors; embed by another, and switch");
    auto flags = std::make_shared<Flags>();
    command->add_option("--to", flags->to, "Embed all contents by this model, too, beside the active one");
    command->add_flag("--fill", flags->fill, "Have all models make what is missing");
    command->add_flag("--compare", flags->compare, "How much of the first ten hits the old and the new model share");
    command->add_option("--queries", flags->queries, "... for these queries, one a line; - is standard input");
    command->add_option("--sample", flags->sample, "... or for so many of the contents of the scope")
        ->capture_default_str()
        ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}));
    command->add_option("--seed", flags->seed, "... drawn by this seed")->capture_default_str();
    command->add_flag("--switch", flags->switches, "Search by the new model from now on, once it has all vectors");
    command->add_option("--model", flags->model, "... which, when the store has more than two");
    command->add_flag("--back", flags->back, "Search by the model that was active before");
    command->add_option("--drop", flags->drop, "Forget a model, and remove all its vectors");
    command->footer(
        R"(Searches are answered by the active model throughout. A run that is cut off, or whose model is down for longer than
--wait, is gone on with by the next one: what the model said is kept, and not asked for again. A key is never stored:
--embedder-key-env names the variable that has it, --embedder-key-file the file.

Examples:
  annal reembed
  annal reembed --to openai:text-embedding-3-small@https://api.openai.com/v1 --embedder-key-env OPENAI_API_KEY
  annal reembed --compare --project shop --sample 200
  annal reembed --switch
  annal reembed --back
  annal reembed --drop nomic-embed-text)");
    command->callback(
        [flags, &context] { context.action = [flags, &context]() -> Result<int> { return run(context, *flags); }; });
}

}  // namespace annal::cli
