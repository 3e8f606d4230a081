#include "sink_config.h"

#include "adapters/json.h"
#include "cosmos_sink.h"
#include "file_sink.h"
#include "postgres_connection.h"
#include "postgres_sink.h"
#include "sync_json.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

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

std::filesystem::path counters_file_of(const std::filesystem::path& store) {
    return store / "sync-counters.json";
}
std::filesystem::path file_of(const std::filesystem::path& store) {
    return store / "sinks.json";
}
Error failure(std::string_view doing) {
    const int reason = errno;
    const bool full = reason == ENOSPC || reason == EDQUOT;
    return {full ? ErrorCode::resource_exhausted : ErrorCode::unavailable,
            std::string(doing) + " the store's sinks.json: " + std::strerror(reason),
            {}};
}

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

Status write_durably(int fd, std::string_view text) {
    while (!text.empty()) {
        const auto count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failure("writing");
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return fsync(fd) == 0 ? Status(Done{}) : failure("writing");
}

// On disk when it returns, or as it was.
Status replace(const std::filesystem::path& store, const std::filesystem::path& file, const Json& json) {
    const auto draft = file.string() + ".draft";
    const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return failure("writing");
    auto written = write_durably(fd, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    ::close(fd);
    if (!written) return written;
    if (rename(draft.c_str(), file.c_str()) != 0) return failure("replacing");
    const int directory = ::open(store.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return failure("replacing");
    const bool synced = fsync(directory) == 0;
    ::close(directory);
    return synced ? Status(Done{}) : failure("replacing");
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
    struct stat about {};
    if (stat(file_of(store).c_str(), &about) != 0) {
        if (errno == ENOENT) return sinks;
        return failure("reading");
    }
    if ((about.st_mode & 077) != 0)
        return Error{ErrorCode::permission_denied,
                     "the store's sinks.json, which may hold passwords, may be read by others: chmod 600 it",
                     {}};
    std::ifstream in(file_of(store));
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (!in) return failure("reading");
    const Error damaged{
        ErrorCode::data_loss, "the store's sinks.json is damaged: remove it, and add the sinks anew", {}};
    const auto json = parse_json(text, "sinks.json");
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
    return replace(store, file_of(store), json);
}

std::map<std::string, SyncCounters> load_sync_counters(const std::filesystem::path& store) {
    std::map<std::string, SyncCounters> counters;
    std::ifstream in(counters_file_of(store));
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto json = parse_json(text, "the counters");
    if (!json || !json->is_object()) return counters;
    for (const auto& [name, each] : json->items()) counters[name] = sync_counters_from_json(each);
    return counters;
}

Status save_sync_counters(const std::filesystem::path& store, const std::map<std::string, SyncCounters>& counters) {
    Json json = Json::object();
    for (const auto& [name, each] : counters) json[name] = to_json(each);
    return replace(store, counters_file_of(store), json);
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
