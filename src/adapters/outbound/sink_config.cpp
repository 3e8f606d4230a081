#include "sink_config.h"

#include "adapters/json.h"
#include "cosmos_sink.h"
#include "file_sink.h"
#include "postgres_connection.h"
#include "postgres_sink.h"
#include "store_file.h"
#include "sync_json.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>

namespace annal {
namespace {

Error refuse(std::string_view field, std::string message) {
    return {ErrorCode::invalid_argument, std::move(message), {{"field", std::string(field)}}};
}

Result<std::string> prepare_file(std::string_view dsn) {
    std::error_code failed;
    auto path = std::filesystem::absolute(dsn, failed).lexically_normal().string();
    if (dsn.empty() || failed) return refuse("dsn", "the DSN of a file sink is a directory");
    return path;
}
std::string show_file(std::string_view dsn) {
    return std::string(dsn);
}
// What a PostgreSQL alone has.
Status check_without_tables(const SinkConfig& config) {
    if (config.schema.empty() && config.prefix.empty()) return Done{};
    return refuse(config.schema.empty() ? "prefix" : "schema",
                  "a " + config.type + " sink has no schema and no tables");
}

Result<std::unique_ptr<Sink>> make_file(std::string_view dsn, const SinkConfig& config, const OnSinkMessage&) {
    if (auto ok = check_without_tables(config); !ok) return ok.error();
    if (config.keeps_events) return refuse("events", "a file sink keeps memories alone: `annal export` writes events");
    return make_file_sink({.directory = dsn});
}

Result<std::string> prepare_postgres(std::string_view dsn) {
    PostgresOptions options;
    options.connection = dsn;
    if (auto ok = check(options); !ok) return ok.error();
    return options.connection;
}
std::string show_postgres(std::string_view) {
    return "a PostgreSQL database";
}
PostgresOptions options_of(std::string_view dsn, const SinkConfig& config) {
    PostgresOptions options;
    options.connection = dsn;
    options.keep_events = config.keeps_events;
    if (!config.schema.empty()) options.schema = config.schema;
    options.prefix = config.prefix;
    return options;
}
Result<std::unique_ptr<Sink>> make_postgres(std::string_view dsn, const SinkConfig& config,
                                            const OnSinkMessage& on_message) {
    auto options = options_of(dsn, config);
    options.on_message = on_message;
    if (auto ok = check(options); !ok) return ok.error();
    return make_postgres_sink(options);
}

Result<std::string> prepare_cosmos(std::string_view dsn) {
    if (auto parsed = parse_cosmos_connection(dsn); !parsed) return parsed.error();
    return std::string(dsn);
}
std::string show_cosmos(std::string_view dsn) {
    const auto parsed = parse_cosmos_connection(dsn);
    return parsed ? parsed->endpoint : "an account of Cosmos DB";
}
Result<std::unique_ptr<Sink>> make_cosmos(std::string_view dsn, const SinkConfig& config, const OnSinkMessage&) {
    if (auto ok = check_without_tables(config); !ok) return ok.error();
    if (config.keeps_events) return refuse("events", "a Cosmos DB sink keeps memories alone");
    auto account = parse_cosmos_connection(dsn);
    if (!account) return account.error();
    if (account->key.empty()) {
        const char* key = std::getenv("ANNAL_COSMOS_KEY");
        if (key == nullptr || *key == '\0')
            return refuse("dsn", "a Cosmos DB sink needs the account's key, as AccountKey=... or in ANNAL_COSMOS_KEY");
        account->key = key;
    }
    return make_cosmos_sink({.account = std::move(*account)});
}

constexpr std::array types{
    SinkType{"file", "a directory, made if it is not there", prepare_file, show_file, make_file},
    SinkType{"postgres", "a connection string of libpq: host=... dbname=..., or postgresql://...", prepare_postgres,
             show_postgres, make_postgres},
    SinkType{"cosmos", "AccountEndpoint=...;AccountKey=...;Database=...; the key may be in ANNAL_COSMOS_KEY",
             prepare_cosmos, show_cosmos, make_cosmos},
};

constexpr const char* file_name = "sinks.json";
constexpr const char* counters_file_name = "sync-counters.json";

Result<SinkConfig> config_of(const Json& json) {
    SinkConfig config;
    const auto read = [&](const char* name, std::string& out) {
        if (const auto at = json.find(name); at != json.end() && at->is_string()) out = at->get<std::string>();
    };
    read("name", config.name);
    read("type", config.type);
    read("dsn", config.dsn);
    read("dsn_variable", config.dsn_variable);
    read("dsn_file", config.dsn_file);
    read("schema", config.schema);
    read("prefix", config.prefix);
    const auto is_set = [&](const char* name) {
        const auto at = json.find(name);
        return at != json.end() && at->is_boolean() && at->get<bool>();
    };
    config.keeps_events = is_set("events");
    config.paused = is_set("paused");
    if (auto ok = check(config); !ok) return ok.error();
    return config;
}
Json to_json(const SinkConfig& config) {
    Json json{{"name", config.name}, {"type", config.type}};
    if (!config.dsn.empty()) json["dsn"] = config.dsn;
    if (!config.dsn_variable.empty()) json["dsn_variable"] = config.dsn_variable;
    if (!config.dsn_file.empty()) json["dsn_file"] = config.dsn_file;
    if (!config.schema.empty()) json["schema"] = config.schema;
    if (!config.prefix.empty()) json["prefix"] = config.prefix;
    json["events"] = config.keeps_events;
    json["paused"] = config.paused;
    return json;
}
std::string text_of(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::span<const SinkType> sink_types() {
    return types;
}

Result<const SinkType*> find_sink_type(std::string_view name) {
    std::string names;
    for (const auto& type : types) {
        if (type.name == name) return &type;
        names += (names.empty() ? "" : ", ") + std::string(type.name);
    }
    return refuse("type", "there is no such type of sink; there is " + names);
}

Status check(const SinkConfig& config) {
    const auto is_fine = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    };
    if (config.name.empty() || config.name.size() > 64 || !std::ranges::all_of(config.name, is_fine))
        return refuse("name", "a sink's name is 1 to 64 of a-z, 0-9, - and _");
    if (auto type = find_sink_type(config.type); !type) return type.error();
    const auto places = int(!config.dsn.empty()) + int(!config.dsn_variable.empty()) + int(!config.dsn_file.empty());
    if (places != 1) return refuse("dsn", "one of a DSN, a variable and a file says where a sink is");
    return Done{};
}

Result<std::vector<SinkConfig>> load_sinks(const std::filesystem::path& store) {
    std::vector<SinkConfig> sinks;
    const auto text = read_store_file(store, file_name, 077, "which may hold passwords, may be read by others");
    if (!text) return text.error();
    if (!*text) return sinks;
    const Error damaged{
        ErrorCode::data_loss, "the store's sinks.json is damaged: remove it, and add the sinks anew", {}};
    const auto json = parse_json(**text, file_name);
    if (!json || !json->is_object() || !json->contains("sinks") || !json->at("sinks").is_array()) return damaged;
    for (const auto& each : json->at("sinks")) {
        auto config = config_of(each);
        if (!config) return damaged;
        sinks.push_back(std::move(*config));
    }
    return sinks;
}

Status save_sinks(const std::filesystem::path& store, std::vector<SinkConfig> sinks) {
    std::ranges::sort(sinks, {}, &SinkConfig::name);
    Json json{{"sinks", Json::array()}};
    for (const auto& config : sinks) json["sinks"].push_back(to_json(config));
    return replace_store_file(store, file_name, text_of(json));
}

std::map<std::string, SyncCounters> load_sync_counters(const std::filesystem::path& store) {
    std::map<std::string, SyncCounters> counters;
    const auto text = read_store_file(store, counters_file_name, 0, {});
    if (!text || !*text) return counters;
    const auto json = parse_json(**text, counters_file_name);
    if (!json || !json->is_object()) return counters;
    for (const auto& [name, each] : json->items()) counters[name] = sync_counters_from_json(each);
    return counters;
}

Status save_sync_counters(const std::filesystem::path& store, const std::map<std::string, SyncCounters>& counters) {
    Json json = Json::object();
    for (const auto& [name, each] : counters) json[name] = to_json(each);
    return replace_store_file(store, counters_file_name, text_of(json));
}

Result<std::string> dsn_of(const SinkConfig& config) {
    if (!config.dsn.empty()) return config.dsn;
    if (!config.dsn_variable.empty()) {
        if (const char* dsn = std::getenv(config.dsn_variable.c_str()); dsn != nullptr && *dsn != '\0')
            return std::string(dsn);
        return Error{ErrorCode::not_found,
                     "the environment variable that is to say where the sink is, is not set",
                     {{"variable", config.dsn_variable}}};
    }
    std::ifstream in(config.dsn_file);
    std::string dsn;
    if (!in || !std::getline(in, dsn) || dsn.empty())
        return Error{ErrorCode::not_found,
                     "the file that is to say where the sink is cannot be read, or says nothing",
                     {{"file", config.dsn_file}}};
    if (dsn.back() == '\r') dsn.pop_back();
    return dsn;
}

Result<std::unique_ptr<Sink>> make_sink(const SinkConfig& config, const OnSinkMessage& on_message) {
    const auto type = find_sink_type(config.type);
    if (!type) return type.error();
    const auto dsn = dsn_of(config);
    if (!dsn) return dsn.error();
    return (*type)->make(*dsn, config, on_message);
}

Result<PostgresOptions> postgres_options(const SinkConfig& config) {
    if (config.type != "postgres")
        return Error{ErrorCode::unimplemented,
                     "a sink of type " + config.type + " cannot be searched; one of type postgres can",
                     {{"name", config.name}}};
    const auto dsn = dsn_of(config);
    if (!dsn) return dsn.error();
    return options_of(*dsn, config);
}

std::string shown_place(const SinkConfig& config) {
    if (!config.dsn_variable.empty()) return "$" + config.dsn_variable;
    if (!config.dsn_file.empty()) return "as " + config.dsn_file + " says";
    const auto type = find_sink_type(config.type);
    return type ? (*type)->shown(config.dsn) : std::string();
}

}  // namespace annal
