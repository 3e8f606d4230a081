// sync add, list, status, run, pause, resume, resync, verify, remove: the sinks of a store.
#include "context.h"
#include "exit_code.h"
#include "print.h"
#include "progress.h"

#include "adapters/outbound/sink_config.h"
#include "adapters/outbound/sync.h"
#include "adapters/outbound/sync_json.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>
#include <set>

namespace annal::cli {
namespace {

using namespace std::chrono_literals;

Error no_such_sink(const std::string& name) {
    return {ErrorCode::not_found,
            "there is no sink of that name; `annal sync list` shows those there are",
            {{"name", name}}};
}

// Those named; all of them when none is.
Result<std::vector<SinkConfig>> sinks_of(const Context& context, const std::vector<std::string>& names) {
    auto sinks = load_sinks(context.store);
    if (!sinks || names.empty()) return sinks;
    std::vector<SinkConfig> chosen;
    for (const auto& name : std::set(names.begin(), names.end())) {
        const auto at = std::ranges::find(*sinks, name, &SinkConfig::name);
        if (at == sinks->end()) return no_such_sink(name);
        chosen.push_back(*at);
    }
    return chosen;
}

Result<SinkConfig> sink_of(const Context& context, const std::string& name) {
    auto sinks = sinks_of(context, {name});
    if (!sinks) return sinks.error();
    return std::move(sinks->front());
}

Status change_sinks(const Context& context, const std::function<Status(std::vector<SinkConfig>&)>& change) {
    if (!std::filesystem::is_directory(context.store))
        return Error{
            ErrorCode::not_found,
            "there is no store there; `annal remember` and `annal import` make one, --store or ANNAL_STORE name "
            "another",
            {}};
    auto sinks = load_sinks(context.store);
    if (!sinks) return sinks.error();
    if (auto ok = change(*sinks); !ok) return ok;
    return save_sinks(context.store, std::move(*sinks));
}

Status change_sink(const Context& context, const std::string& name,
                   const std::function<void(std::vector<SinkConfig>&, std::vector<SinkConfig>::iterator)>& change) {
    return change_sinks(context, [&](std::vector<SinkConfig>& sinks) -> Status {
        const auto at = std::ranges::find(sinks, name, &SinkConfig::name);
        if (at == sinks.end()) return no_such_sink(name);
        change(sinks, at);
        return Done{};
    });
}

Json to_json(const SinkConfig& config) {
    Json json{{"name", config.name},
              {"type", config.type},
              {"place", shown_place(config)},
              {"events", config.keeps_events},
              {"paused", config.paused}};
    if (!config.schema.empty()) json["schema"] = config.schema;
    if (!config.prefix.empty()) json["prefix"] = config.prefix;
    return json;
}

Status say(const Context& context, const SinkConfig& config, std::string_view done) {
    if (context.json) return Context::print(to_json(config));
    return Context::write("sink " + config.name + " " + std::string(done) + "\n");
}

std::string lag_text(const SyncStatus& status) {
    if (status.lag_events == 0) return "none";
    return std::to_string(status.lag_events) + " events, " + number_text(status.lag_seconds, 0) + " s";
}

Status print_statuses(const Context& context, const std::vector<SyncStatus>& all) {
    if (context.json) {
        Json json{{"sinks", Json::array()}};
        for (const auto& status : all) json["sinks"].push_back(annal::to_json(status));
        return Context::print(json);
    }
    if (all.empty()) return Context::write("no sinks; `annal sync add --help` shows how to add one\n");
    std::vector<std::vector<std::string>> rows{{"name", "type", "state", "seq", "lag", "records", "dead letters",
                                                "retries", "throttled", "MB sent", "RU", "error"}};
    for (const auto& status : all)
        rows.push_back({status.name, status.type, std::string(to_string(status.state)),
                        status.position ? std::to_string(status.position->seq.value) : "-", lag_text(status),
                        std::to_string(status.records), std::to_string(status.dead_letters),
                        std::to_string(status.retries), std::to_string(status.throttles),
                        number_text(static_cast<double>(status.bytes_sent) / 1e6, 1),
                        number_text(status.request_units, 0), status.error ? clean(status.error->message) : ""});
    return Context::write(table(rows, {3, 5, 6, 7, 8, 9, 10}));
}

void add_add(CLI::App& sync, Context& context) {
    auto* command = sync.add_subcommand("add", "Add a sink: a place outside that is kept equal to the log");
    auto config = std::make_shared<SinkConfig>();
    std::string types;
    for (const auto& type : sink_types())
        types += (types.empty() ? "" : "; ") + std::string(type.name) + ": " + std::string(type.dsn_help);
    command->add_option("TYPE", config->type, "What it is (and its DSN): " + types)->required();
    command->add_option("--name", config->name, "What it is called from now on")->required();
    auto* dsn = command->add_option("--dsn", config->dsn, "Where it is; kept in the store's sinks.json, never shown");
    auto* variable = command->add_option("--dsn-env", config->dsn_variable,
                                         "... the environment variable that says it whenever it is needed");
    auto* file = command->add_option("--dsn-file", config->dsn_file, "... the file whose first line says it");
    dsn->excludes(variable, file);
    variable->excludes(file);
    command->add_flag("--events", config->keeps_events, "The events, too, beside the memories, if the type keeps them");
    command->add_option("--schema", config->schema, "Of a PostgreSQL: the schema for its tables; annal when left out");
    command->add_option("--prefix", config->prefix, "Of a PostgreSQL: what its tables' names begin with");
    command->footer(
        R"(Nothing is connected to: `annal sync run` does that, and makes what is missing there. A password is best kept out of
the store: name a variable or a file.

Examples:
  annal sync add file --name copy --dsn /mnt/copies/shop
  annal sync add file --name copy --dsn-env COPY_DIRECTORY
  annal sync run --until-current)");
    command->callback([config, &context] {
        context.action = [config, &context]() -> Result<int> {
            if (auto ok = check(*config); !ok) return ok.error();
            const auto type = find_sink_type(config->type);
            if (!type) return type.error();
            if (!config->dsn.empty()) {
                auto dsn = (*type)->prepare(config->dsn);
                if (!dsn) return dsn.error();
                config->dsn = *std::move(dsn);
                if (auto sink = make_sink(*config); !sink) return sink.error();
            }
            if (!config->dsn_file.empty()) config->dsn_file = std::filesystem::absolute(config->dsn_file).string();
            auto added = change_sinks(context, [&](std::vector<SinkConfig>& sinks) -> Status {
                if (std::ranges::find(sinks, config->name, &SinkConfig::name) != sinks.end())
                    return Error{ErrorCode::already_exists, "there is a sink of that name", {{"name", config->name}}};
                sinks.push_back(*config);
                return Done{};
            });
            if (!added) return added.error();
            if (auto ok = say(context, *config, "added; `annal sync run` brings it up to date"); !ok) return ok.error();
            return 0;
        };
    });
}

void add_list(CLI::App& sync, Context& context) {
    auto* command = sync.add_subcommand("list", "Show which sinks there are, without asking them anything");
    command->footer(R"(Example:
  annal sync list --json | jq -r '.sinks[].name')");
    command->callback([&context] {
        context.action = [&context]() -> Result<int> {
            const auto sinks = load_sinks(context.store);
            if (!sinks) return sinks.error();
            Json json{{"sinks", Json::array()}};
            std::vector<std::vector<std::string>> rows{{"name", "type", "place", ""}};
            for (const auto& config : *sinks) {
                json["sinks"].push_back(to_json(config));
                rows.push_back({config.name, config.type, clean(shown_place(config)), config.paused ? "paused" : ""});
            }
            const auto ok = context.json     ? Context::print(json)
                            : sinks->empty() ? print_statuses(context, {})
                                             : Context::write(table(rows));
            if (!ok) return ok.error();
            return 0;
        };
    });
}

void add_sync_status(CLI::App& sync, Context& context) {
    auto* command = sync.add_subcommand("status", "Ask every sink where it is, and show how far behind the log");
    command->footer(
        R"(Nothing is taken over or written. Exits with 0 if every sink that is not paused could say, and is of this log.

Example:
  annal sync status --json | jq '.sinks[] | {name, state, lag_events}')");
    command->callback([&context] {
        context.action = [&context]() -> Result<int> {
            const auto sinks = load_sinks(context.store);
            if (!sinks) return sinks.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto counters = load_sync_counters(context.store);
            std::vector<SyncStatus> all;
            int code = 0;
            for (const auto& config : *sinks) {
                auto sink = make_sink(config);
                SyncStatus status;
                if (sink) {
                    status = look_at(**engine, **sink);
                } else {
                    status.type = config.type;
                    status.state = SyncState::failed;
                    status.error = sink.error();
                }
                status.name = config.name;
                if (const auto counted = counters.find(config.name); counted != counters.end())
                    static_cast<SyncCounters&>(status) = counted->second;
                if (config.paused)
                    status.state = SyncState::paused;
                else if (status.error && code == 0)
                    code = exit_code(status.error->code);
                all.push_back(std::move(status));
            }
            if (auto ok = print_statuses(context, all); !ok) return ok.error();
            return code;
        };
    });
}

// The signals that end a run, kept from every thread: it asks for them itself.
class Interruption {
 public:
    Interruption() {
        sigemptyset(&signals_);
        sigaddset(&signals_, SIGINT);
        sigaddset(&signals_, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    }
    ~Interruption() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    Interruption(const Interruption&) = delete;
    Interruption& operator=(const Interruption&) = delete;
    bool came_within(std::chrono::milliseconds wait) const {
        const timespec limit{wait.count() / 1000, (wait.count() % 1000) * 1'000'000};
        return sigtimedwait(&signals_, nullptr, &limit) > 0;
    }

 private:
    sigset_t signals_{};
    sigset_t before_{};
};

void warn(bool as_json, std::string_view level, std::string_view message) {
    const std::string line = as_json ? to_text({{"log", {{"level", level}, {"message", message}}}})
                                     : "annal: " + std::string(level) + ": " + clean(message);
    std::fputs((line + '\n').c_str(), stderr);
}

SyncOptions sync_options(const Context& context) {
    SyncOptions options;
    options.on_message = [as_json = context.json](std::string_view level, std::string_view message) {
        warn(as_json, level, message);
    };
    return options;
}

Status add_to(SyncRunner& runner, const Context& context, const SinkConfig& config, bool paused) {
    auto sink = make_sink(config, sync_options(context).on_message);
    if (!sink) return sink.error();
    auto counters = load_sync_counters(context.store);
    return runner.add(config.name, *std::move(sink), paused, counters[config.name]);
}

// So that `status`, and the next run, go on from there.
void keep_counters(const Context& context, const std::vector<SyncStatus>& all) {
    const auto before = load_sync_counters(context.store);
    auto counters = before;
    for (const auto& status : all) counters[status.name] = status;
    if (counters == before) return;
    if (auto kept = save_sync_counters(context.store, counters); !kept)
        warn(context.json, "warning", "the counters of sinks cannot be kept: " + kept.error().message);
}

std::uint64_t applied(const std::vector<SyncStatus>& all) {
    std::uint64_t sum = 0;
    for (const auto& status : all) sum += status.position ? status.position->seq.value : 0;
    return sum;
}

// The sinks of a run. Some could not even be made: of those it is told why, and the others go on.
struct Run {
    std::unique_ptr<SyncRunner> runner{};
    std::vector<SyncStatus> unmade{};

    std::vector<SyncStatus> status() const {
        auto all = runner->status();
        all.insert(all.end(), unmade.begin(), unmade.end());
        std::ranges::sort(all, {}, &SyncStatus::name);
        return all;
    }
};

// Until each of them has applied all that was written before, or says why it cannot, or gets no further for --wait.
Result<int> run_until_current(const Context& context, Engine& engine, const Run& run,
                              const std::vector<std::string>& names, const Interruption& interruption) {
    const auto head = engine.head();
    std::optional<Error> first;
    {
        Progress progress("syncing", !context.json);
        for (const auto& name : names) {
            auto moved = std::chrono::steady_clock::now();
            for (std::uint64_t before = 0;;) {
                const auto reached = run.runner->wait_for(name, head, 200ms);
                if (reached) break;
                const auto now = applied(run.status());
                progress.show(now, head.value * names.size());
                if (now != before) moved = std::chrono::steady_clock::now();
                before = now;
                const bool waits = reached.error().code == ErrorCode::deadline_exceeded &&
                                   std::chrono::steady_clock::now() - moved < context.wait_max();
                if (waits && !interruption.came_within(0ms)) continue;
                if (!first) first = reached.error();
                break;
            }
        }
    }
    const auto all = run.status();
    keep_counters(context, run.runner->status());
    if (auto ok = print_statuses(context, all); !ok) return ok.error();
    if (!first && !run.unmade.empty()) first = run.unmade.front().error;
    if (first) return *first;
    return 0;
}

// Until it is interrupted; what others change in the configuration is taken over within a second.
Result<int> run_on(const Context& context, const Run& run, const std::vector<std::string>& names,
                   const Interruption& interruption) {
    Progress progress("following", !context.json);
    while (!interruption.came_within(1000ms)) {
        const auto all = run.runner->status();
        keep_counters(context, all);
        std::uint64_t lag = 0;
        for (const auto& status : all) lag += status.lag_events;
        progress.show(applied(all), applied(all) + lag);
        const auto sinks = load_sinks(context.store);
        if (!sinks) continue;  // Said by the next command that needs it.
        for (const auto& status : all) {
            const auto config = std::ranges::find(*sinks, status.name, &SinkConfig::name);
            Status changed = Done{};
            if (config == sinks->end())
                changed = run.runner->remove(status.name);
            else if (config->paused && status.state != SyncState::paused)
                changed = run.runner->pause(status.name);
            else if (!config->paused && status.state == SyncState::paused)
                changed = run.runner->resume(status.name);
            if (!changed) return changed.error();
        }
        for (const auto& config : *sinks) {
            const bool is_there = std::ranges::find(all, config.name, &SyncStatus::name) != all.end();
            const bool is_meant = names.empty() || std::ranges::find(names, config.name) != names.end();
            if (!is_there && is_meant)
                static_cast<void>(add_to(*run.runner, context, config, config.paused));  // Or next time.
        }
    }
    progress.clear();
    keep_counters(context, run.runner->status());
    if (auto ok = print_statuses(context, run.status()); !ok) return ok.error();
    return 0;
}

void add_run(CLI::App& sync, Context& context) {
    auto* command = sync.add_subcommand("run", "Bring sinks up to date, and keep them so");
    struct Flags {
        std::vector<std::string> names;
        bool until_current = false;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("NAME", flags->names, "Which; all that are not paused when left out");
    command->add_flag("--until-current", flags->until_current, "End when they have all that was written before");
    command->footer(
        R"(A sink that is down is tried again, and hinders no other. With --until-current the command gives one up that gets no
further for --wait seconds, and exits with its error. Without, it ends when it is interrupted, and follows what `sync
pause`, `resume`, `add` and `remove` change. It takes each sink over: another process that follows for the same one stops.

Examples:
  annal sync run --until-current
  annal sync run copy --until-current --wait 600 --json)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            const Interruption interruption;  // Before there are threads.
            auto sinks = sinks_of(context, flags->names);
            if (!sinks) return sinks.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            auto runner = SyncRunner::start(**engine, sync_options(context));
            if (!runner) return runner.error();
            Run run{*std::move(runner), {}};
            std::vector<std::string> names;
            for (const auto& config : *sinks) {
                if (auto ok = add_to(*run.runner, context, config, config.paused); !ok) {
                    warn(context.json, "warning", "sink " + config.name + ": " + ok.error().message);
                    SyncStatus status;
                    status.name = config.name;
                    status.type = config.type;
                    status.state = SyncState::failed;
                    status.error = ok.error();
                    run.unmade.push_back(std::move(status));
                } else if (!config.paused) {
                    names.push_back(config.name);
                }
            }
            if (flags->until_current) return run_until_current(context, **engine, run, names, interruption);
            return run_on(context, run, flags->names, interruption);
        };
    });
}

void add_resync(CLI::App& sync, Context& context) {
    auto* command = sync.add_subcommand("resync", "Clear a sink, and bring it up to date from the start");
    auto name = std::make_shared<std::string>();
    command->add_option("NAME", *name, "Which")->required();
    command->footer(
        R"(For a sink that `needs_resync`: the log was restored from a backup, and is not the history that the sink followed. All
that is there is removed first. A sink of another store is left alone.

Example:
  annal sync resync copy)");
    command->callback([name, &context] {
        context.action = [name, &context]() -> Result<int> {
            const Interruption interruption;
            const auto config = sink_of(context, *name);
            if (!config) return config.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            auto runner = SyncRunner::start(**engine, sync_options(context));
            if (!runner) return runner.error();
            const Run run{*std::move(runner), {}};
            if (auto ok = add_to(*run.runner, context, *config, true); !ok) return ok.error();
            if (auto ok = run.runner->resync(*name); !ok) return ok.error();
            return run_until_current(context, **engine, run, {*name}, interruption);
        };
    });
}

void add_pause_and_resume(CLI::App& sync, Context& context) {
    for (const bool paused : {true, false}) {
        auto* command = paused ? sync.add_subcommand("pause", "Leave a sink as it is until it is resumed")
                               : sync.add_subcommand("resume", "Go on with a sink that was paused");
        auto name = std::make_shared<std::string>();
        command->add_option("NAME", *name, "Which")->required();
        command->footer(paused ? R"(What is written meanwhile is not lost: the log has it.

Example:
  annal sync pause copy)"
                               : R"(Example:
  annal sync resume copy && annal sync run copy --until-current)");
        command->callback([name, paused, &context] {
            context.action = [name, paused, &context]() -> Result<int> {
                SinkConfig changed;
                auto ok = change_sink(context, *name, [&](auto&, auto at) {
                    at->paused = paused;
                    changed = *at;
                });
                if (ok) ok = say(context, changed, paused ? "paused" : "resumed");
                if (!ok) return ok.error();
                return 0;
            };
        });
    }
}

void add_remove(CLI::App& sync, Context& context) {
    auto* command = sync.add_subcommand("remove", "Forget about a sink; what is there stays there");
    auto name = std::make_shared<std::string>();
    command->add_option("NAME", *name, "Which")->required();
    command->footer(R"(From then on nothing reaches it, erasures neither: remove what is there by its own means.

Example:
  annal sync remove copy)");
    command->callback([name, &context] {
        context.action = [name, &context]() -> Result<int> {
            SinkConfig removed;
            auto ok = change_sink(context, *name, [&](auto& sinks, auto at) {
                removed = *at;
                sinks.erase(at);
            });
            if (auto counters = load_sync_counters(context.store); ok && counters.erase(*name) > 0)
                ok = save_sync_counters(context.store, counters);
            if (ok) ok = say(context, removed, "removed; what is there stays there");
            if (!ok) return ok.error();
            return 0;
        };
    });
}

std::string describe_comparison(const std::string& name, const SinkComparison& found) {
    std::string text = name + ": " + (found.equal() ? "equal to the log" : "NOT equal to the log") + " as of event " +
                       std::to_string(found.position.seq.value) + ": " + std::to_string(found.memories) +
                       " memories, " + std::to_string(found.records) + " records, " +
                       std::to_string(found.dead_letters) + " dead letters";
    if (!found.equal())
        text += "; " + std::to_string(found.different) + " different, " + std::to_string(found.missing) + " missing, " +
                std::to_string(found.extra) + " too many; the first: " + clean(found.first_difference);
    if (found.to_be_erased > 0) text += "; " + std::to_string(found.to_be_erased) + " to be erased by the next run";
    return text + '\n';
}

void add_sync_verify(CLI::App& sync, Context& context) {
    auto* command =
        sync.add_subcommand("verify", "Compare every record of a sink with the log, as of where the sink is");
    auto names = std::make_shared<std::vector<std::string>>();
    command->add_option("NAME", *names, "Which; all when left out");
    command->footer(
        R"(Exits with 0 only if all are equal to the log, with 11 if one is not, and with the error of the first that could not
be compared. The first difference is told by id and field, never with text of a memory.

Examples:
  annal sync verify copy
  annal sync verify --json | jq '.sinks[] | select(.equal | not)')");
    command->callback([names, &context] {
        context.action = [names, &context]() -> Result<int> {
            const auto sinks = sinks_of(context, *names);
            if (!sinks) return sinks.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            Json json{{"sinks", Json::array()}};
            std::string text;
            std::optional<Error> first;
            bool equal = true;
            for (const auto& config : *sinks) {
                const auto found = [&]() -> Result<SinkComparison> {
                    auto sink = make_sink(config);
                    if (!sink) return sink.error();
                    Progress progress("comparing " + config.name, !context.json);
                    return compare(**engine, **sink,
                                   [&](std::uint64_t done, std::uint64_t all) { progress.show(done, all); });
                }();
                Json one{{"name", config.name}, {"type", config.type}};
                if (found) {
                    equal = equal && found->equal();
                    one.update(annal::to_json(*found));
                    text += describe_comparison(config.name, *found);
                } else {
                    if (!first) first = found.error();
                    one["error"] = annal::to_json(found.error())["error"];
                    text += config.name + ": could not be compared: " + clean(found.error().message) + '\n';
                }
                json["sinks"].push_back(std::move(one));
            }
            if (auto ok = context.json ? Context::print(json) : Context::write(text); !ok) return ok.error();
            if (!equal) return exit_code(ErrorCode::data_loss);
            return first ? exit_code(first->code) : 0;
        };
    });
}

}  // namespace

void add_sync_commands(CLI::App& app, Context& context) {
    auto* sync = app.add_subcommand("sync", "Keep places outside equal to the log: databases, files");
    sync->require_subcommand(1);
    sync->footer(R"(Examples:
  annal sync add file --name copy --dsn /mnt/copies/shop
  annal sync run --until-current
  annal sync verify copy
  annal sync COMMAND --help            shows more of them)");
    add_add(*sync, context);
    add_list(*sync, context);
    add_sync_status(*sync, context);
    add_run(*sync, context);
    add_pause_and_resume(*sync, context);
    add_resync(*sync, context);
    add_sync_verify(*sync, context);
    add_remove(*sync, context);
}

}  // namespace annal::cli
