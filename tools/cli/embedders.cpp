#include "embedders.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace annal::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds look_every{20};

Error of_flag(const std::string& flag, std::string message) {
    return {ErrorCode::invalid_argument, flag + ": " + std::move(message), {{"field", flag}}};
}

// Where the key is. That there is one now keeps a key that was given for its name out of the store.
Status set_key(EmbedderConfig& config, const EmbedderFlags& flags) {
    if (!flags.key_variable.empty() && !flags.key_file.empty())
        return of_flag("--embedder-key-env", "one of it and --embedder-key-file says where the key is");
    if (!flags.key_variable.empty() && std::getenv(flags.key_variable.c_str()) == nullptr)
        return of_flag("--embedder-key-env",
                       "there is no such variable in the environment; it takes the name of one, not the key");
    std::string file;
    if (!flags.key_file.empty()) {
        std::error_code failed;
        const auto path = std::filesystem::absolute(flags.key_file, failed).lexically_normal();
        if (failed || !std::filesystem::is_regular_file(path, failed))
            return of_flag("--embedder-key-file", "there is no such file; it takes the name of one, not the key");
        file = path.string();
    }
    config.key_variable = flags.key_variable;
    config.key_file = file;
    return Done{};
}

}  // namespace

Result<EmbedderConfig> embedder_of(const EmbedderFlags& flags, const std::string& spec, const std::string& flag,
                                   const EmbedderConfig* known) {
    auto config = parse_embedder(spec);
    if (!config) return of_flag(flag, config.error().message);
    if (known != nullptr && known->model != config->model) known = nullptr;
    if (auto ok = set_key(*config, flags); !ok) return ok.error();
    const bool keyless = config->key_variable.empty() && config->key_file.empty();
    if (keyless && known != nullptr && known->url == config->url) {
        config->key_variable = known->key_variable;
        config->key_file = known->key_file;
    }
    if (config->type == "hashing") return config;
    if (flags.dimension != 0) config->dimension = flags.dimension;
    if (known != nullptr) {
        if (config->dimension != 0 && config->dimension != known->dimension)
            return of_flag("--embedder-dimension", "the model's vectors have " + std::to_string(known->dimension) +
                                                       " numbers; `annal reembed --drop MODEL` forgets them");
        config->dimension = known->dimension;
    }
    if (config->dimension != 0) {
        if (auto possible = make_embedder(*config); !possible) return of_flag(flag, possible.error().message);
        return config;
    }
    const auto dimension = ask_dimension(*config);
    if (!dimension)
        return Error{dimension.error().code,
                     flag + ": the model was asked how many numbers its vectors have: " + dimension.error().message +
                         "; --embedder-dimension says it without asking",
                     dimension.error().details};
    config->dimension = *dimension;
    return config;
}

Result<ModelsInUse> models_of(StoreEmbedders remembered) {
    ModelsInUse models;
    models.remembered = std::move(remembered);
    for (const auto& config : models.remembered.all) {
        auto made = make_embedder(config);
        if (!made) return made.error();
        if (config.model == models.remembered.active)
            models.active = std::move(*made);
        else
            models.others.push_back(std::move(*made));
    }
    return models;
}

Result<ModelsInUse> models_in_use(const EmbedderFlags& flags, const std::filesystem::path& store) {
    if (flags.says_more() && (flags.spec.empty() || flags.spec == "none"))
        return of_flag("--embedder", "what is said of its key and dimension is of no embedder: name it, too");
    if (flags.spec == "none") return ModelsInUse{};
    auto remembered = load_embedders(store);
    if (!remembered) return remembered.error();
    if (flags.spec.empty()) return models_of(std::move(*remembered));
    const auto parsed = parse_embedder(flags.spec);
    auto* known = parsed ? remembered->find(parsed->model) : nullptr;
    if (parsed && known == nullptr && !remembered->all.empty())
        return of_flag("--embedder", "the store's memories are embedded by another model, " + remembered->active +
                                         "; `annal reembed --to` embeds them by this one, too");
    auto config = embedder_of(flags, flags.spec, "--embedder", known);
    if (!config) return config.error();
    const bool changed = known == nullptr || *known != *config;
    if (known == nullptr) {
        remembered->all.push_back(*config);
        remembered->active = config->model;
    } else {
        *known = *config;
    }
    // For this command; which one is active for others does not change.
    auto asked = *remembered;
    asked.active = config->model;
    auto models = models_of(std::move(asked));
    if (!models) return models;
    models->remembered = std::move(*remembered);
    models->changed = changed;
    return models;
}

Status embed_all(Engine& engine, const std::string& model, milliseconds patience, WhenDown when_down,
                 Progress& progress) {
    std::uint64_t least = ~std::uint64_t{0}, made_before = 0;
    auto since = steady_clock::now();
    for (;;) {
        const auto status = engine.status();
        if (!status) return status.error();
        std::uint64_t left = 0, made = 0;
        std::string error;
        for (const auto& each : status->embeddings) {
            if (!each.asked || (!model.empty() && each.model != model)) continue;
            left = std::max(left, each.lag_events);
            made += each.made;
            if (!each.error.empty()) error = each.error;
        }
        if (left == 0) return Done{};
        progress.show(status->head_seq.value - left, status->head_seq.value);
        const auto now = steady_clock::now();
        if (left < least || made > made_before) since = now;
        least = std::min(least, left);
        made_before = made;
        const bool out_of_patience = now - since > patience || (when_down == WhenDown::give_up && !error.empty());
        if (out_of_patience && !error.empty())
            return Error{ErrorCode::unavailable,
                         "the model gets no further: " + error + "; what it said is kept, and the next try goes on",
                         {{"lag_events", std::to_string(left)}}};
        if (out_of_patience)
            return Error{ErrorCode::deadline_exceeded,
                         "the model has not answered for as long as --wait says; what it said is kept, and the next "
                         "try goes on",
                         {{"lag_events", std::to_string(left)}}};
        std::this_thread::sleep_for(look_every);
    }
}

}  // namespace annal::cli
