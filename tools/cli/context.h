// What every command works with: the global flags, the store, and where its output goes.
#pragma once

#include "embedders.h"

#include "adapters/json.h"

#include <annal/engine.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

namespace CLI {
class App;
}

namespace annal {
class PostgresMemories;
}

namespace annal::cli {

struct Context {
    // The global flags.
    std::string store = "memory";
    Scope scope{.project = "default", .agent = {}, .user = {}, .session = {}};
    EmbedderFlags embedder;
    std::string root_key_file;
    double wait_s = 60;
    // Where search, get and list read instead of in the store: a sink's name or a DSN; and what is to be there.
    std::string read_from;
    std::string read_schema;
    std::string read_prefix;
    std::string read_store_id;
    bool json = false;
    bool store_given = false;  // On the command line, not by the environment or default.
    bool project_given = false;

    // Set by the command that was parsed. Its result is the process's exit code.
    std::function<Result<int>()> action;

    // A read never makes a store: not_found when there is none. Neither it nor a write asks a model for more than the
    // query's vector: a process that ends at once would ask in vain, and again. What is there to search, or to say how
    // far the models are, has them make what is missing.
    Result<std::unique_ptr<Engine>> open_to_read() const;
    Result<std::unique_ptr<Engine>> open_to_search() const;
    Result<std::unique_ptr<Engine>> open_to_write() const;
    Result<std::unique_ptr<Engine>> open_to_import() const;
    // With the models that the store remembers, or that --embedder says; and remembers those.
    Result<std::unique_ptr<Engine>> open(EngineOptions options) const;
    Result<std::unique_ptr<Engine>> open_with(EngineOptions options, const ModelsInUse& models) const;

    // What --read-from says, without connecting. Null: nothing.
    Result<std::unique_ptr<PostgresMemories>> open_read_from() const;

    // Of a segment or a directory of them; with the keystore of --store when that was given.
    Result<std::vector<SegmentReport>> read_archive(const std::string& path, const std::string& key, Seq after,
                                                    const std::function<bool(const Engine::LogEntry&)>& visit) const;

    std::chrono::milliseconds wait_max() const;
    // All that was acknowledged before the command started, unless it says otherwise.
    ReadOptions read_options(const Engine& engine, std::uint64_t min_seq) const;

    // One line on stdout. unavailable when stdout takes no more.
    static Status write(std::string_view line);
    static Status print(const Json& json);
};

// Says an error on stderr, as JSON when asked to, and returns the exit code for it.
int fail(const Error& error, bool json);

// Each adds its commands to the app.
void add_write_commands(CLI::App& app, Context& context);    // remember, revise, revert, reinforce, forget, restore,
                                                             // erase
void add_read_commands(CLI::App& app, Context& context);     // search, get, list, history, explain, diff
void add_move_commands(CLI::App& app, Context& context);     // import, export, eval
void add_operate_commands(CLI::App& app, Context& context);  // log, status, rebuild, verify, archive
void add_audit_commands(CLI::App& app, Context& context);    // audit head, keys, prove, consistency
void add_backup_commands(CLI::App& app, Context& context);   // backup, restore-backup
void add_sync_commands(CLI::App& app, Context& context);     // sync add, list, status, run, pause, resume, resync,
                                                             // verify, remove
void add_key_commands(CLI::App& app, Context& context);      // key new, change
void add_reembed_command(CLI::App& app, Context& context);   // reembed

}  // namespace annal::cli
