// log, status, rebuild, verify, archive: what an operator looks at.
#include "context.h"
#include "exit_code.h"
#include "options.h"
#include "print.h"
#include "progress.h"

#include "events/hex.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>

namespace annal::cli {
namespace {

Result<int> print_segments(const Context& context, const std::vector<SegmentReport>& segments) {
    for (const auto& segment : segments) {
        if (context.json) {
            if (auto ok = Context::print({{"segment", to_json(segment)}}); !ok) return ok.error();
            continue;
        }
        const std::string head = segment.verified              ? "its head is verified"
                                 : segment.signed_head.empty() ? "no signed head"
                                                               : "its head was not verified: there is no --key";
        std::fputs((clean(segment.file) + ": events " + std::to_string(segment.first.value) + " to " +
                    std::to_string(segment.last.value) + " of store " + clean(segment.store_id) + ", whole, root " +
                    to_hex(segment.root) + ", " + head + '\n')
                       .c_str(),
                   stderr);
    }
    return 0;
}

void add_log(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("log", "Show the events of the log, in order, one a line");
    struct Flags {
        std::uint64_t after = 0;
        std::uint64_t limit = 0;
        std::string archive, key;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("--after", flags->after, "Start behind this seq")->capture_default_str();
    command->add_option("--limit", flags->limit, "At most so many; 0: all")->capture_default_str();
    command->add_option("--archive", flags->archive,
                        "Of a segment, or a directory of them, instead of a store's log; all of it is checked");
    command->add_option("--key", flags->key, "With --archive: the store's public key, to verify signed heads with")
        ->needs("--archive");
    command->footer(R"text(Of all projects, unless --project, --agent, --user or --session narrow it.

With --archive no log is opened. What is sealed is shown sealed, unless --store names the store, closed, and the root key
is its keystore's. What was found of each segment is told on stderr, with --json in a line of its own at the end.

Examples:
  annal log --after 1000 --limit 20
  annal log --project shop --json | jq -r '[.seq, .type, .actor] | @tsv'
  annal log --archive shop/archive --key "$(cat store.key)")text");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            Scope scope = context.scope;
            const bool one_project = context.project_given;
            if (one_project)
                if (auto ok = validate(scope); !ok) return ok.error();
            Status printed = Done{};
            std::uint64_t count = 0;
            const auto show = [&](const Engine::LogEntry& entry) {
                if (!one_project) scope.project = entry.scope.project;
                if (!scope.contains(entry.scope)) return true;
                printed = context.json ? Context::print(to_json(entry)) : Context::write(describe(entry));
                return printed && ++count != flags->limit;
            };
            if (!flags->archive.empty()) {
                const auto segments = context.read_archive(flags->archive, flags->key, Seq{flags->after}, show);
                if (!segments) return segments.error();
                if (!printed) return printed.error();
                return print_segments(context, *segments);
            }
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            auto ok = (*engine)->read_log(Seq{flags->after}, one_project ? scope.project : "", show);
            if (!ok) return ok.error();
            if (!printed) return printed.error();
            return 0;
        };
    });
}

void add_status(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("status", "Show how far the log and each projection are");
    auto digests = std::make_shared<bool>(false);
    command->add_flag("--digests", *digests, "The SHA-256 of each projection's state, too; with --json always");
    command->footer(R"(Examples:
  annal status
  annal status --json | jq '.projections[] | {name, state, lag_events, digest}')");
    command->callback([digests, &context] {
        context.action = [digests, &context]() -> Result<int> {
            auto engine = context.open_to_search();
            if (!engine) return engine.error();
            // A projection that has stopped is what status is there to show: it is not waited for in vain.
            static_cast<void>((*engine)->wait_for((*engine)->head(), context.wait_max()));
            const auto status = (*engine)->status(*digests || context.json);
            if (!status) return status.error();
            auto ok = context.json ? Context::print(to_json(*status)) : Context::write(describe(*status));
            if (!ok) return ok.error();
            return 0;
        };
    });
}

void add_rebuild(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("rebuild", "Make projections anew from the log, while the old ones answer");
    auto name = std::make_shared<std::string>();
    command->add_option("PROJECTION,--projection", *name, "Its name, as `status` shows it; all of them when left out");
    command->footer(R"(Examples:
  annal rebuild
  annal rebuild text)");
    command->callback([name, &context] {
        context.action = [name, &context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            {
                Progress progress("rebuilding", !context.json);
                auto ok =
                    (*engine)->rebuild(*name, [&](Seq applied, Seq head) { progress.show(applied.value, head.value); });
                if (!ok) return ok.error();
            }
            const auto status = (*engine)->status(context.json);
            if (!status) return status.error();
            auto ok = context.json ? Context::print(to_json(*status)) : Context::write(describe(*status));
            if (!ok) return ok.error();
            return 0;
        };
    });
}

void add_verify(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("verify", "Check the log, its indexes and every projection against the log");
    auto log_only = std::make_shared<bool>(false);
    command->add_flag("--files-and-log", *log_only, "Leave out the comparison of projections, which replays the log");
    command->footer(
        R"(Exits with 0 only if all is well; with 11 when something is damaged, with 9 when something could not be checked.

Examples:
  annal verify
  annal verify --json | jq '.checks[] | select(.state != "ok")')");
    command->callback([log_only, &context] {
        context.action = [log_only, &context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            // One that lags is compared as of where it is.
            static_cast<void>((*engine)->wait_for((*engine)->head(), context.wait_max()));
            std::optional<Progress> progress;
            std::string shown;
            auto report = (*engine)->verify({.projections = !*log_only},
                                            [&](std::string_view check, std::uint64_t done, std::uint64_t all) {
                                                if (!progress || shown != check) {
                                                    progress.reset();
                                                    progress.emplace(shown = check, !context.json);
                                                }
                                                progress->show(done, all);
                                            });
            progress.reset();
            if (!report) return report.error();
            auto ok = context.json ? Context::print(to_json(*report)) : Context::write(describe(*report));
            if (!ok) return ok.error();
            if (report->all_well()) return 0;
            const bool damaged = std::ranges::any_of(
                report->checks, [](const Check& check) { return check.state == Check::State::failed; });
            return exit_code(damaged ? ErrorCode::data_loss : ErrorCode::unavailable);
        };
    });
}

void add_archive(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("archive", "Move the oldest events out of the log into segments");
    struct Flags {
        std::string before, directory;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("--before", flags->before, "Those before this seq or time of record")->required();
    command->add_option("--dir", flags->directory, "The directory of segments; `archive` in the store when left out");
    command->footer(
        R"(Whole ranges of 256 events are moved; the last 256 events stay in any case. A segment is written, read back and
checked before its events leave the log. Reads go on finding them there: keep the segments where they are, or in the
store's `archive`. Proofs, and what is answered from views, need no segment.

Examples:
  annal archive --before 2026-01-01T00:00:00Z
  annal archive --before 1000000 --dir /mnt/cold/shop
  annal log --archive /mnt/cold/shop)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            const auto before = moment_of("--before", flags->before);
            if (!before) return before.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto report = [&] {
                Progress progress("archiving", !context.json);
                return (*engine)->archive(*before, flags->directory, [&](std::uint64_t moved, std::uint64_t events) {
                    progress.show(moved, events);
                });
            }();
            if (!report) return report.error();
            auto ok = context.json ? Context::print(to_json(*report)) : Context::write(describe(*report));
            if (!ok) return ok.error();
            return 0;
        };
    });
}

}  // namespace

void add_operate_commands(CLI::App& app, Context& context) {
    add_log(app, context);
    add_status(app, context);
    add_rebuild(app, context);
    add_verify(app, context);
    add_archive(app, context);
}

}  // namespace annal::cli
