#include "context.h"

#include "exit_code.h"
#include "print.h"

#include "adapters/outbound/postgres_memories.h"
#include "adapters/outbound/sink_config.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <iostream>

namespace annal::cli {
namespace {

constexpr const char* root_key_variable = "ANNAL_ROOT_KEY";

}  // namespace

Result<std::unique_ptr<Engine>> Context::open_to_read() const {
    EngineOptions options;
    options.directory = store;
    options.create_if_missing = false;
    options.embed_in_background = false;
    return open(std::move(options));
}

Result<std::unique_ptr<Engine>> Context::open_to_search() const {
    EngineOptions options;
    options.directory = store;
    options.create_if_missing = false;
    return open(std::move(options));
}

Result<std::unique_ptr<Engine>> Context::open_to_write() const {
    EngineOptions options;
    options.directory = store;
    options.embed_in_background = false;
    return open(std::move(options));
}

Result<std::unique_ptr<Engine>> Context::open_to_import() const {
    EngineOptions options;
    options.directory = store;
    return open(std::move(options));
}

Result<std::unique_ptr<PostgresMemories>> Context::open_read_from() const {
    if (read_from.empty()) return std::unique_ptr<PostgresMemories>();
    PostgresMemoriesOptions options;
    if (read_from.find('=') != std::string::npos || read_from.find("://") != std::string::npos) {
        options.postgres.connection = read_from;
    } else {
        const auto sinks = load_sinks(store);
        if (!sinks) return sinks.error();
        const auto sink = std::ranges::find(*sinks, read_from, &SinkConfig::name);
        if (sink == sinks->end())
            return Error{ErrorCode::not_found,
                         "the store has no sink of that name: --read-from takes one, or a connection string",
                         {{"field", "--read-from"}}};
        auto postgres = postgres_options(*sink);
        if (!postgres) return postgres.error();
        options.postgres = std::move(*postgres);
    }
    if (!read_schema.empty()) options.postgres.schema = read_schema;
    if (!read_prefix.empty()) options.postgres.prefix = read_prefix;
    options.store_id = read_store_id;
    if (!embedder.spec.empty()) {  // What the store's own model said of its memories is not there.
        auto models = models_in_use(embedder, store);
        if (!models) return models.error();
        options.embedder = std::move(models->active);
    }
    return PostgresMemories::open(std::move(options));
}

Result<std::unique_ptr<Engine>> Context::open(EngineOptions options) const {
    const auto models = models_in_use(embedder, options.directory);
    if (!models) return models.error();
    const auto directory = options.directory;
    auto engine = open_with(std::move(options), *models);
    if (engine && models->changed)
        if (auto saved = save_embedders(directory, models->remembered); !saved) return saved.error();
    return engine;
}

Result<std::unique_ptr<Engine>> Context::open_with(EngineOptions options, const ModelsInUse& models) const {
    options.embedder = models.active;
    options.other_embedders = models.others;
    options.root_key_file = root_key_file;
    options.root_key_variable = root_key_variable;
    options.on_message = [as_json = json](std::string_view level, std::string_view message) {
        if (level == "info" || level == "debug") return;
        const std::string line = as_json ? to_text({{"log", {{"level", level}, {"message", message}}}})
                                         : "annal: " + std::string(level) + ": " + clean(message);
        std::fputs((line + '\n').c_str(), stderr);
    };
    auto engine = Engine::open(std::move(options));
    if (engine) return engine;
    Error error = engine.error();
    if (error.code == ErrorCode::not_found && error.details.count("reason") == 0)
        error.message += "; `annal remember` and `annal import` make one, --store or ANNAL_STORE name another";
    return error;
}

Result<std::vector<SegmentReport>> Context::read_archive(
    const std::string& path, const std::string& key, Seq after,
    const std::function<bool(const Engine::LogEntry&)>& visit) const {
    ReadArchiveOptions options;
    options.path = path;
    options.verifier_key = key;
    if (store_given) {
        options.store = store;
        options.root_key_file = root_key_file;
        options.root_key_variable = root_key_variable;
    }
    return annal::read_archive(options, after, visit);
}

std::chrono::milliseconds Context::wait_max() const {
    return std::chrono::milliseconds(static_cast<std::int64_t>(wait_s * 1000));
}

ReadOptions Context::read_options(const Engine& engine, std::uint64_t min_seq) const {
    return {.min_seq = min_seq != 0 ? Seq{min_seq} : engine.head(), .wait_max = wait_max()};
}

Status Context::write(std::string_view line) {
    if (std::cout << line) return Done{};
    return Error{ErrorCode::unavailable, "the output cannot be written", {}};
}

Status Context::print(const Json& json) {
    return write(to_text(json) + '\n');
}

int fail(const Error& error, bool json) {
    std::string text;
    if (json) {
        text = to_text(to_json(error));
    } else {
        text = "annal: " + std::string(to_string(error.code)) + ": " + clean(error.message);
        for (const auto& [name, value] : error.details)
            if (name != "field") text += "\n  " + clean(name) + ": " + clean(value);
    }
    std::fputs((text + '\n').c_str(), stderr);
    return exit_code(error.code);
}

}  // namespace annal::cli
