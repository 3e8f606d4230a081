// backup, restore-backup: the log copied elsewhere, and brought back.
#include "context.h"
#include "print.h"
#include "progress.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <filesystem>

namespace annal::cli {
namespace {

Result<int> finish(const Context& context, std::string_view done, const BackupInfo& backup) {
    const auto ok = context.json
                        ? Context::print(to_json(backup))
                        : Context::write(std::string(done) + " " + std::to_string(backup.id) + ": " +
                                         std::to_string(backup.seq.value) + " events, " + bytes_text(backup.bytes) +
                                         ", epoch " + std::to_string(backup.epoch) + ", checked\n");
    if (!ok) return ok.error();
    return 0;
}

void add_backup(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("backup", "Copy the log into a directory of backups, and check the copy");
    struct Flags {
        std::string directory;
        std::size_t keep = 0;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("DIR", flags->directory, "The directory of backups, of this store alone")->required();
    command->add_option("--keep", flags->keep, "How many to keep; 0: all")->capture_default_str();
    command->footer(
        R"(What an earlier backup in DIR has is not copied again. The copy is opened and every event of it is hashed before it is
called good. The directory `keys` of the store is not in it: keep that somewhere else, not beside the backups.

Examples:
  annal backup /mnt/backups/shop
  annal backup /mnt/backups/shop --keep 7 --json)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto backup = [&] {
                Progress progress("checking", !context.json);
                return (*engine)->backup(
                    flags->directory, flags->keep,
                    [&](std::uint64_t checked, std::uint64_t events) { progress.show(checked, events); });
            }();
            if (!backup) return backup.error();
            return finish(context, "backup", *backup);
        };
    });
}

void add_restore(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("restore-backup", "Make a store of a backup: --store names a new directory");
    struct Flags {
        std::string directory;
        std::uint32_t id = 0;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("DIR", flags->directory, "The directory of backups")->required();
    command->add_option("--backup", flags->id, "Which; 0: the newest")->capture_default_str();
    command->footer(
        R"(The log gets a new epoch, so that nothing that followed the original takes the copy for it; views are made when it is
opened. Copy the directory `keys` of the original into the new store to sign with the same key and to read what is sealed.

Example:
  annal restore-backup /mnt/backups/shop --store shop-restored)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            const auto backup = [&] {
                Progress progress("checking", !context.json);
                return restore_backup(
                    flags->directory, flags->id, context.store,
                    [&](std::uint64_t checked, std::uint64_t events) { progress.show(checked, events); });
            }();
            if (!backup) return backup.error();
            return finish(context, "restored backup", *backup);
        };
    });
}

}  // namespace

void add_backup_commands(CLI::App& app, Context& context) {
    add_backup(app, context);
    add_restore(app, context);
}

}  // namespace annal::cli
