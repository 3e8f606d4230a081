// key new, change: the root key, which the store itself never holds.
#include "context.h"

#include "events/root_key.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

namespace annal::cli {
namespace {

Result<int> finish(const Context& context, const std::string& file, std::string_view done) {
    const auto ok = context.json ? Context::print({{"root_key_file", file}}) : Context::write(std::string(done) + '\n');
    if (!ok) return ok.error();
    return 0;
}

CLI::App* add_command(CLI::App& key, const char* name, const char* help, const std::shared_ptr<std::string>& file) {
    auto* command = key.add_subcommand(name, help);
    command->add_option("FILE", *file, "The key's file, outside of the store")->required();
    return command;
}

void add_new(CLI::App& key, Context& context) {
    auto file = std::make_shared<std::string>();
    auto* command = add_command(key, "new", "Make a root key", file);
    command->footer(
        R"(Keep a copy of it apart from every copy of the store: without it, what is sealed cannot be read again.

Example:
  annal key new ~/annal.key; export ANNAL_ROOT_KEY_FILE=~/annal.key)");
    command->callback([file, &context] {
        context.action = [file, &context]() -> Result<int> {
            const auto made = RootKey::random();
            if (!made) return made.error();
            if (auto written = made->write_file(*file, context.store); !written) return written.error();
            return finish(context, *file, "made a root key");
        };
    });
}

void add_change(CLI::App& key, Context& context) {
    auto file = std::make_shared<std::string>();
    auto* command = add_command(key, "change", "Put another root key in the place of the present one", file);
    command->footer(R"(When the former key is destroyed, copies of the store's keys from before the change are useless.

Example:
  annal key new next.key; annal key change next.key --root-key-file annal.key)");
    command->callback([file, &context] {
        context.action = [file, &context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            if (auto changed = (*engine)->change_root_key(*file); !changed) return changed.error();
            return finish(context, *file, "the store opens with the new root key alone");
        };
    });
}

}  // namespace

void add_key_commands(CLI::App& app, Context& context) {
    auto* key = app.add_subcommand("key", "The root key of what is sealed");
    key->require_subcommand(1);
    add_new(*key, context);
    add_change(*key, context);
}

}  // namespace annal::cli
