#include "app.h"

#include "context.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>
#include <string_view>

namespace annal::cli {
namespace {

constexpr const char* examples = R"(Examples:
  annal remember "checkout needs a 2 s wait" --project shop --agent qa --kind heuristic --tag checkout
  annal search "flaky checkout" --project shop --explain
  annal history 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop
  annal import team.jsonl --format jsonl --project shop
  annal search "flaky checkout" --project shop --embedder ollama:nomic-embed-text@http://localhost:11434
  annal COMMAND --help                 shows more of them

Exit codes: 0 ok, 1 internal, 2 invalid_argument, 3 not_found, 4 conflict, 5 already_exists, 6 unauthenticated,
7 permission_denied, 8 resource_exhausted, 9 unavailable, 10 deadline_exceeded, 11 data_loss, 12 unimplemented.)";

void add_global_flags(CLI::App& app, Context& context) {
    app.add_option("--store", context.store, "The store's directory")->envname("ANNAL_STORE")->capture_default_str();
    app.add_option("--project", context.scope.project, "Whose memories: the project")->capture_default_str();
    app.add_option("--agent", context.scope.agent, "... the agent's");
    app.add_option("--user", context.scope.user, "... the user's");
    app.add_option("--session", context.scope.session, "... the session's");
    app.add_flag("--json", context.json, "One JSON object instead of text for people");
    app.add_option("--embedder", context.embedder.spec,
                   "The model that vectors come from, remembered by the store: hashing, ollama:MODEL@URL or "
                   "openai:MODEL@URL; none: no model for this command");
    app.add_option("--embedder-key-env", context.embedder.key_variable,
                   "... its key: the environment variable that has it; the store keeps the name alone");
    app.add_option("--embedder-key-file", context.embedder.key_file, "... or the file whose first line is the key");
    app.add_option("--embedder-dimension", context.embedder.dimension,
                   "... how many numbers its vectors have; the model is asked when left out");
    app.add_option("--root-key-file", context.root_key_file,
                   "The root key of what is sealed, outside of the store; or ANNAL_ROOT_KEY holds it")
        ->envname("ANNAL_ROOT_KEY_FILE");
    app.add_option(
           "--read-from", context.read_from,
           "search, get and list in this PostgreSQL instead of the store: a sink's name, or a connection string")
        ->envname("ANNAL_READ_FROM");
    app.add_option("--read-schema", context.read_schema, "... in this schema");
    app.add_option("--read-prefix", context.read_prefix, "... in the tables whose names begin so");
    app.add_option("--read-store-id", context.read_store_id, "... only if it was synced from this store");
    app.add_option("--wait", context.wait_s, "Seconds a read waits to see all that was written")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 86400.0));
}

// Among the arguments themselves: what is wrong with them must be said as JSON, too.
bool asks_for_json(int argc, char** argv) {
    return std::any_of(argv, argv + argc, [](const char* argument) { return std::string_view(argument) == "--json"; });
}

int parse_and_run(int argc, char** argv) {
    Context context;
    CLI::App app{"Annal, an event-sourced memory for agents: what they learn, revise and forget, in one log.", "annal"};
    app.set_version_flag("--version", "annal " ANNAL_VERSION);
    app.footer(examples);
    app.fallthrough();
    app.require_subcommand(1);
    add_global_flags(app, context);
    add_write_commands(app, context);
    add_read_commands(app, context);
    add_move_commands(app, context);
    add_operate_commands(app, context);
    add_audit_commands(app, context);
    add_backup_commands(app, context);
    add_sync_commands(app, context);
    add_key_commands(app, context);
    add_reembed_command(app, context);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
        return app.exit(asked);
    } catch (const CLI::ParseError& wrong) {
        return fail({ErrorCode::invalid_argument, std::string(wrong.what()) + " (--help shows what there is)", {}},
                    asks_for_json(argc, argv));
    }
    // The environment may have named the store; only the command line makes it the user's own choice for this command.
    context.store_given = std::any_of(argv, argv + argc, [](std::string_view argument) {
        return argument == "--store" || argument.starts_with("--store=");
    });
    context.project_given = app.get_option("--project")->count() != 0;
    const bool reads_there = app.got_subcommand("search") || app.got_subcommand("get") || app.got_subcommand("list");
    const bool read_from_given = std::any_of(argv, argv + argc, [](std::string_view argument) {
        return argument == "--read-from" || argument.starts_with("--read-from=");
    });
    if (read_from_given && !reads_there)
        return fail({ErrorCode::invalid_argument,
                     "only search, get and list read from a sink: --read-from is for them",
                     {{"field", "--read-from"}}},
                    context.json);
    auto code = context.action();
    if (code && !std::cout.flush()) code = Error{ErrorCode::unavailable, "the output cannot be written", {}};
    return code ? *code : fail(code.error(), context.json);
}

}  // namespace

int run(int argc, char** argv) {
    try {
        return parse_and_run(argc, argv);
    } catch (...) {  // What the libraries below throw, out of memory above all.
        return fail({ErrorCode::internal, "the command could not be finished", {}}, asks_for_json(argc, argv));
    }
}

}  // namespace annal::cli
