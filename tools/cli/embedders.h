// The models that a command works with: what --embedder says of them, and what the store remembers.
#pragma once

#include "progress.h"

#include "adapters/outbound/embedder_config.h"

#include <annal/engine.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace annal::cli {

struct EmbedderFlags {
    std::string spec{};  // Of --embedder; empty: it was not given.
    std::string key_variable{}, key_file{};
    std::size_t dimension = 0;  // 0: it was not given.
    bool says_more() const { return !key_variable.empty() || !key_file.empty() || dimension != 0; }
};

struct ModelsInUse {
    StoreEmbedders remembered{};
    bool changed = false;  // Of what the store remembered: to be saved once it is open.
    std::shared_ptr<Embedder> active{};
    std::vector<std::shared_ptr<Embedder>> others{};
};

// What `spec`, given as `flag`, says with the other flags. Its dimension may be asked of the model, unless `known`, of
// the same name, has it.
Result<EmbedderConfig> embedder_of(const EmbedderFlags& flags, const std::string& spec, const std::string& flag,
                                   const EmbedderConfig* known);
// Without --embedder: what the store remembers. With it: that model, the first of a store is remembered, and one that
// it has is where it says from then on. invalid_argument: the store has another one.
Result<ModelsInUse> models_in_use(const EmbedderFlags& flags, const std::filesystem::path& store);
// As the store remembers them, the active one first.
Result<ModelsInUse> models_of(StoreEmbedders remembered);

enum class WhenDown { give_up, wait };
// Until the model (all that are asked when it is empty) has said all it is asked for: as long as it gets on, and at
// most `patience` while it does not. The model's error, or deadline_exceeded.
Status embed_all(Engine& engine, const std::string& model, std::chrono::milliseconds patience, WhenDown when_down,
                 Progress& progress);

}  // namespace annal::cli
