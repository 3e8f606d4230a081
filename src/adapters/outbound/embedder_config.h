// Which models a store is embedded with: `embedders.json` in its directory, readable by its owner alone and replaced as
// a whole. No key is in it, but where the key is.
#pragma once

#include <annal/embedder.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct EmbedderConfig {
    std::string type{};         // hashing, ollama or openai
    std::string model{};        // As the server calls it, and as the vectors are called: one of a name in a store.
    std::string url{};          // http:// or https://; of hashing: none.
    std::size_t dimension = 0;  // 1 to 4096; 0: not known yet.
    // Where the key is, if the server wants one: at most one of the two.
    std::string key_variable{};  // Of the environment.
    std::string key_file{};      // Its first line.
    bool operator==(const EmbedderConfig&) const = default;
};

// All models of a store.
struct StoreEmbedders {
    std::vector<EmbedderConfig> all{};
    std::string active{};  // By whose vectors text is searched; empty only when there are none.
    std::string former{};  // That was active before; may be empty.

    const EmbedderConfig* find(std::string_view model) const;  // nullptr: there is none.
    EmbedderConfig* find(std::string_view model);
    bool operator==(const StoreEmbedders&) const = default;
};

inline constexpr std::string_view embedder_forms =
    "none, hashing, ollama:MODEL@URL or openai:MODEL@URL, such as ollama:nomic-embed-text@http://localhost:11434 or "
    "openai:text-embedding-3-small@https://api.openai.com/v1";

// "hashing", "ollama:MODEL@URL", "openai:MODEL@URL"; a model's name may hold colons and slashes. Of the latter two the
// dimension is not known yet. invalid_argument: none of these, or a URL with a user or a query, where secrets are. What
// was given is not in the error: it may hold one.
Result<EmbedderConfig> parse_embedder(std::string_view text);
std::string text_of(const EmbedderConfig& config);  // The same again.

// None when there is no file. permission_denied: others may write it. data_loss: it is damaged.
Result<StoreEmbedders> load_embedders(const std::filesystem::path& store);
Status save_embedders(const std::filesystem::path& store, const StoreEmbedders& embedders);

struct EmbedderLimits {
    int attempts_max = 2;  // The engine asks again by itself.
    std::chrono::milliseconds call_max{30'000};
};
// Without connecting: the key is read when it is needed, and again when it is not accepted.
Result<std::shared_ptr<Embedder>> make_embedder(const EmbedderConfig& config, const EmbedderLimits& limits = {});
// Of the vectors that the model makes: asks it for one.
Result<std::size_t> ask_dimension(const EmbedderConfig& config, const EmbedderLimits& limits = {});

}  // namespace annal
