// Which sinks a store has: `sinks.json` in its directory, readable by its owner alone and replaced as a whole; and what
// they have counted, `sync-counters.json`. And the one table of the types there are.
#pragma once

#include "adapters/sink.h"
#include "postgres_options.h"
#include "sync.h"

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct SinkConfig {
    std::string name{};  // 1 to 64 of a-z, 0-9, - and _
    std::string type{};  // Of a SinkType.
    // Where it is: one of these three. What it says may hold a password: it is never shown.
    std::string dsn{};
    std::string dsn_variable{};  // Of the environment.
    std::string dsn_file{};
    bool keeps_events = false;  // Beside the memories, if the type can.
    bool paused = false;
    std::string schema{};  // Of a PostgreSQL: PostgresOptions's when empty,
    std::string prefix{};  // and of its tables' names.
};

// Of what an operator should know of a sink. Never a secret or memory text.
using OnSinkMessage = std::function<void(std::string_view level, std::string_view message)>;

struct SinkType {
    std::string_view name;
    std::string_view dsn_help;  // What one is, in a few words.
    // The DSN as it is to be kept (a relative path made absolute, say). invalid_argument: it is none.
    Result<std::string> (*prepare)(std::string_view dsn);
    std::string (*shown)(std::string_view dsn);  // What of it is no secret.
    // Without connecting; where it is, `dsn` says. invalid_argument: as above, or the type has not what is asked for.
    Result<std::unique_ptr<Sink>> (*make)(std::string_view dsn, const SinkConfig& config,
                                          const OnSinkMessage& on_message);
};
std::span<const SinkType> sink_types();
// invalid_argument: there is none; names those there are.
Result<const SinkType*> find_sink_type(std::string_view name);

// By name; none when there is no file. permission_denied: others may read it. data_loss: it is damaged.
Result<std::vector<SinkConfig>> load_sinks(const std::filesystem::path& store);
Status save_sinks(const std::filesystem::path& store, std::vector<SinkConfig> sinks);

// What the sinks have counted in all runs, by name. Counters alone are lost with the file: none, or one that cannot be
// read, is as if nothing had been counted.
std::map<std::string, SyncCounters> load_sync_counters(const std::filesystem::path& store);
Status save_sync_counters(const std::filesystem::path& store, const std::map<std::string, SyncCounters>& counters);

// invalid_argument: a name or type that is none, or not one place.
Status check(const SinkConfig& config);
// Where it is, from wherever the configuration says. not_found: the variable is not set, or the file is not there.
Result<std::string> dsn_of(const SinkConfig& config);
Result<std::unique_ptr<Sink>> make_sink(const SinkConfig& config, const OnSinkMessage& on_message = {});
// How a sink of type postgres is reached. unimplemented: it is of another type.
Result<PostgresOptions> postgres_options(const SinkConfig& config);
std::string shown_place(const SinkConfig& config);  // For people: without a secret.

}  // namespace annal
