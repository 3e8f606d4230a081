#include "embedder_config.h"

#include "adapters/json.h"
#include "ollama_embedder.h"
#include "openai_embedder.h"
#include "store_file.h"

#include <annal/limits.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace annal {
namespace {

constexpr const char* file_name = "embedders.json";

Error refuse(std::string message) {
    return {ErrorCode::invalid_argument, std::move(message), {{"field", "embedder"}}};
}
Error refuse_form(const std::string& what) {
    return refuse(what + "; an embedder is " + std::string(embedder_forms));
}

Status check(const EmbedderConfig& config) {
    if (!config.key_variable.empty() && !config.key_file.empty())
        return refuse("one of a variable and a file says where an embedder's key is");
    if (config.type == "hashing") return Done{};
    if (config.type != "ollama" && config.type != "openai") return refuse_form("there is no such type of embedder");
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7F'; };
    if (config.model.empty()) return refuse_form("the model's name is missing");
    if (config.model.size() > limits::name_characters_max || std::ranges::any_of(config.model, is_control))
        return refuse("a model's name is at most " + std::to_string(limits::name_characters_max) +
                      " characters, without control characters");
    if (auto url = parse_http_url(config.url); !url) return refuse_form(url.error().message);
    return Done{};
}

Result<std::string> key_of(const EmbedderConfig& config) {
    if (!config.key_variable.empty()) {
        if (const char* key = std::getenv(config.key_variable.c_str()); key != nullptr && *key != '\0')
            return std::string(key);
        return Error{ErrorCode::unauthenticated,
                     "the environment variable " + config.key_variable + ", which is to hold the key, is not set",
                     {}};
    }
    std::ifstream in(config.key_file);
    std::string key;
    if (!in || !std::getline(in, key) || key.empty())
        return Error{ErrorCode::unauthenticated,
                     "the file " + config.key_file + ", which is to hold the key, cannot be read, or is empty",
                     {}};
    if (key.back() == '\r') key.pop_back();
    return key;
}

std::string string_of(const Json& json, const char* name) {
    const auto at = json.find(name);
    return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::optional<EmbedderConfig> config_of(const Json& json) {
    if (!json.is_object()) return std::nullopt;
    EmbedderConfig config;
    config.type = string_of(json, "type");
    config.model = string_of(json, "model");
    config.url = string_of(json, "url");
    config.key_variable = string_of(json, "key_variable");
    config.key_file = string_of(json, "key_file");
    if (const auto at = json.find("dimension"); at != json.end() && at->is_number_unsigned())
        config.dimension = at->get<std::size_t>();
    if (config.dimension == 0 || config.model.empty() || !check(config)) return std::nullopt;
    if (config.type == "hashing" && config != *parse_embedder(config.type)) return std::nullopt;
    return config;
}

Json to_json(const EmbedderConfig& config) {
    Json json{{"type", config.type}, {"model", config.model}, {"dimension", config.dimension}};
    if (!config.url.empty()) json["url"] = config.url;
    if (!config.key_variable.empty()) json["key_variable"] = config.key_variable;
    if (!config.key_file.empty()) json["key_file"] = config.key_file;
    return json;
}

Result<std::unique_ptr<HttpEmbedder>> make_http_embedder(const EmbedderConfig& config, const EmbedderLimits& limits) {
    HttpEmbedderOptions options;
    options.url = config.url;
    options.model = config.model;
    options.dimension = config.dimension;
    options.service.attempts_max = limits.attempts_max;
    options.service.client.call_max = limits.call_max;
    if (!config.key_variable.empty() || !config.key_file.empty())
        options.token = [config](bool) { return key_of(config); };
    return config.type == "ollama" ? make_ollama_embedder(std::move(options))
                                   : make_openai_embedder(std::move(options));
}

}  // namespace

const EmbedderConfig* StoreEmbedders::find(std::string_view model) const {
    const auto at = std::ranges::find(all, model, &EmbedderConfig::model);
    return at == all.end() ? nullptr : &*at;
}

EmbedderConfig* StoreEmbedders::find(std::string_view model) {
    const auto at = std::ranges::find(all, model, &EmbedderConfig::model);
    return at == all.end() ? nullptr : &*at;
}

Result<EmbedderConfig> parse_embedder(std::string_view text) {
    EmbedderConfig config;
    if (text == "hashing") {
        const auto hashing = make_hashing_embedder();
        config.type = text;
        config.model = hashing->model();
        config.dimension = hashing->dimension();
        return config;
    }
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) return refuse_form("there is no such type of embedder");
    config.type = text.substr(0, colon);
    // At the first: a URL may have a user, which is refused, but never becomes part of a name.
    const auto at = std::min(text.find("@http://", colon), text.find("@https://", colon));
    if (at == std::string_view::npos) return refuse_form("@ and the server's URL are missing");
    config.model = text.substr(colon + 1, at - colon - 1);
    config.url = text.substr(at + 1);
    if (auto ok = check(config); !ok) return ok.error();
    return config;
}

std::string text_of(const EmbedderConfig& config) {
    return config.type == "hashing" ? config.type : config.type + ":" + config.model + "@" + config.url;
}

Result<StoreEmbedders> load_embedders(const std::filesystem::path& store) {
    StoreEmbedders embedders;
    const auto text =
        read_store_file(store, file_name, 022, "which says where texts are sent, may be written by others");
    if (!text) return text.error();
    if (!*text) return embedders;
    const Error damaged{
        ErrorCode::data_loss, "the store's embedders.json is damaged: remove it, and name the models anew", {}};
    const auto json = parse_json(**text, file_name);
    if (!json || !json->is_object() || !json->contains("embedders") || !json->at("embedders").is_array())
        return damaged;
    for (const auto& each : json->at("embedders")) {
        auto config = config_of(each);
        if (!config || embedders.find(config->model) != nullptr) return damaged;
        embedders.all.push_back(std::move(*config));
    }
    embedders.active = string_of(*json, "active");
    embedders.former = string_of(*json, "former");
    if (embedders.all.empty() != embedders.active.empty()) return damaged;
    if (!embedders.all.empty() && embedders.find(embedders.active) == nullptr) return damaged;
    if (!embedders.former.empty() && embedders.find(embedders.former) == nullptr) return damaged;
    return embedders;
}

Status save_embedders(const std::filesystem::path& store, const StoreEmbedders& embedders) {
    Json json{{"active", embedders.active}, {"former", embedders.former}, {"embedders", Json::array()}};
    for (const auto& config : embedders.all) {
        if (auto ok = check(config); !ok) return ok;
        json["embedders"].push_back(to_json(config));
    }
    return replace_store_file(store, file_name, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<std::shared_ptr<Embedder>> make_embedder(const EmbedderConfig& config, const EmbedderLimits& limits) {
    if (auto ok = check(config); !ok) return ok.error();
    if (config.type == "hashing") return std::shared_ptr<Embedder>(make_hashing_embedder(config.dimension));
    auto made = make_http_embedder(config, limits);
    if (!made) return made.error();
    return std::shared_ptr<Embedder>(std::move(*made));
}

Result<std::size_t> ask_dimension(const EmbedderConfig& config, const EmbedderLimits& limits) {
    if (config.dimension != 0) return config.dimension;
    auto guess = config;
    guess.dimension = 1;
    const auto made = make_embedder(guess, limits);
    if (!made) return made.error();
    const auto vector = (*made)->embed("a");
    if (vector) return guess.dimension;
    const auto actual = vector.error().details.find("actual");  // How an embedder says that it guessed wrong.
    if (actual == vector.error().details.end()) return vector.error();
    guess.dimension = std::stoul(actual->second);
    if (const auto possible = make_embedder(guess, limits); !possible) return possible.error();
    return guess.dimension;
}

}  // namespace annal
