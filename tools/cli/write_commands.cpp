// remember, revise, revert, reinforce, forget, restore, erase: each prints its receipt.
#include "context.h"
#include "options.h"
#include "print.h"
#include "progress.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <iostream>
#include <iterator>

namespace annal::cli {
namespace {

Result<int> print_receipt(const Context& context, std::string_view done, const Result<Receipt>& receipt) {
    if (!receipt) return receipt.error();
    auto ok = context.json ? Context::print(to_json(*receipt)) : Context::write(describe(done, *receipt));
    if (!ok) return ok.error();
    return 0;
}

// "-" stands for standard input.
std::string text_or_stdin(const std::string& text) {
    if (text != "-") return text;
    std::string read{std::istreambuf_iterator<char>(std::cin), {}};
    while (!read.empty() && (read.back() == '\n' || read.back() == '\r')) read.pop_back();
    return read;
}

struct Times {
    std::optional<Timestamp> occurred_at, valid_from, valid_to, expires_at;
};

Result<Times> times_of(const MemoryFlags& flags) {
    Times times;
    const auto read = [](const char* flag, const std::optional<std::string>& text,
                         std::optional<Timestamp>& out) -> Status {
        auto time = time_of(flag, text);
        if (!time) return time.error();
        out = *time;
        return Done{};
    };
    if (auto ok = read("--occurred-at", flags.occurred_at, times.occurred_at); !ok) return ok.error();
    if (auto ok = read("--valid-from", flags.valid_from, times.valid_from); !ok) return ok.error();
    if (auto ok = read("--valid-to", flags.valid_to, times.valid_to); !ok) return ok.error();
    if (auto ok = read("--expires-at", flags.expires_at, times.expires_at); !ok) return ok.error();
    return times;
}

template <class Request>
Status take_times_and_vector(const MemoryFlags& flags, Request& request) {
    auto times = times_of(flags);
    if (!times) return times.error();
    request.occurred_at = times->occurred_at;
    request.valid_from = times->valid_from;
    request.valid_to = times->valid_to;
    request.expires_at = times->expires_at;
    if (!flags.vector_file) return Done{};
    auto embedding = read_vector_file(*flags.vector_file);
    if (!embedding) return embedding.error();
    request.embedding = std::move(*embedding);
    return Done{};
}

struct RememberFlags {
    std::string text, kind = "note", claim = "observation", id;
    double confidence = 1.0;
    MemoryFlags memory;
    WriteFlags write;
};

Result<RecordRequest> request_of(const RememberFlags& flags, const Scope& scope) {
    RecordRequest request;
    request.scope = scope;
    request.content = text_or_stdin(flags.text);
    auto kind = kind_of_name(flags.kind);
    if (!kind) return kind.error();
    request.fields = empty_fields(*kind);
    if (auto ok = set_fields(request.fields, flags.memory.fields); !ok) return ok.error();
    auto claim = claim_of_name(flags.claim);
    if (!claim) return claim.error();
    request.claim = *claim;
    request.confidence = flags.confidence;
    request.tags = flags.memory.tags;
    if (flags.memory.metadata) request.metadata = *flags.memory.metadata;
    if (auto taken = take_times_and_vector(flags.memory, request); !taken) return taken.error();
    if (!flags.id.empty()) {
        auto id = parse_memory_id(flags.id);
        if (!id) return id.error();
        request.memory_id = *id;
    }
    auto written = flags.write.context();
    if (!written) return written.error();
    request.context = std::move(*written);
    return request;
}

void add_remember(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("remember", "Record a new memory");
    auto flags = std::make_shared<RememberFlags>();
    command->add_option("TEXT", flags->text, "What to remember; - reads it from standard input")->required();
    command
        ->add_option("--kind", flags->kind,
                     "note, heuristic, outcome, preference, domain_knowledge, anti_pattern, entity or relation")
        ->capture_default_str();
    command->add_option("--claim", flags->claim, "How far to trust it: observation, inference, verified or directive")
        ->capture_default_str();
    command->add_option("--confidence", flags->confidence, "0 to 1")->capture_default_str();
    command->add_option("--id", flags->id, "The memory's id, a UUID; made when left out");
    flags->memory.add_to(*command);
    flags->write.add_to(*command);
    command->footer(R"(Examples:
  annal remember "the staging database is reset every Sunday" --project shop --tag staging
  annal remember "wait for the cart badge, not for a time" --project shop --kind heuristic \
      --field condition="checkout test is flaky" --field strategy="wait for .cart-badge" --source test_result:run-4711
  git log -1 --format=%B | annal remember - --project shop --agent qa --idempotency-key "commit:$COMMIT")");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto request = request_of(*flags, context.scope);
            if (!request) return request.error();
            auto engine = context.open_to_write();
            if (!engine) return engine.error();
            return print_receipt(context, "remembered", (*engine)->record(*request));
        };
    });
}

struct ReviseFlags {
    TargetFlags target;
    std::optional<std::string> content;
    bool no_tags = false;
    MemoryFlags memory;
};

Result<ReviseRequest> request_of(const ReviseFlags& flags, const Scope& scope) {
    ReviseRequest request;
    auto target = flags.target.target(scope);
    if (!target) return target.error();
    request.target = std::move(*target);
    if (flags.content) request.content = text_or_stdin(*flags.content);
    if (!flags.memory.tags.empty() || flags.no_tags) request.tags = flags.memory.tags;
    request.metadata = flags.memory.metadata;
    if (auto taken = take_times_and_vector(flags.memory, request); !taken) return taken.error();
    return request;
}

void add_revise(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("revise", "Change what a memory says; only what is given changes");
    auto flags = std::make_shared<ReviseFlags>();
    flags->target.add_to(*command);
    command->add_option("--content", flags->content, "The new text; - reads it from standard input");
    flags->memory.add_to(*command);
    command->add_flag("--no-tags", flags->no_tags, "Take all tags off")->excludes("--tag");
    command->footer(R"(Examples:
  annal revise 01970e2c-7b1e-7c3a-9f00-0123456789ab --content "checkout needs a 3 s wait" --reason "2 s was too short"
  annal revise 01970e2c-7b1e-7c3a-9f00-0123456789ab --tag checkout --tag slow --expected-version 2)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto request = request_of(*flags, context.scope);
            if (!request) return request.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            if (!flags->memory.fields.empty()) {
                // The fields that are not named stay as they are.
                const auto memory =
                    (*engine)->get(context.scope, request->target.memory_id, context.read_options(**engine, 0));
                if (!memory) return memory.error();
                request->fields = memory->fields;
                if (auto ok = set_fields(*request->fields, flags->memory.fields); !ok) return ok.error();
                if (request->target.expected_version.is == ExpectedVersion::Is::any)
                    request->target.expected_version = ExpectedVersion::exactly(memory->version);
            }
            return print_receipt(context, "revised", (*engine)->revise(*request));
        };
    });
}

// The writes that only name a memory.
template <class Write>
CLI::App* add_on_target(CLI::App& app, Context& context, const char* name, const char* help, const char* done,
                        Write write) {
    auto* command = app.add_subcommand(name, help);
    auto flags = std::make_shared<TargetFlags>();
    flags->add_to(*command);
    command->callback([flags, &context, done, write] {
        context.action = [flags, &context, done, write]() -> Result<int> {
            auto target = flags->target(context.scope);
            if (!target) return target.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            return print_receipt(context, done, write(**engine, *target));
        };
    });
    return command;
}

void add_erase(CLI::App& app, Context& context) {
    struct Flags {
        std::string actor, reason;
    };
    auto flags = std::make_shared<Flags>();
    auto* command = app.add_subcommand("erase", "Remove all memories of a user, for good");
    command->add_option("--actor", flags->actor, "Who asks for it; the user when left out");
    command->add_option("--reason", flags->reason, "Why; stays in the log");
    command->footer(
        R"(Destroys the user's key, so that the log, its archives and its backups cannot be read any more where they are his,
makes the views anew without him, and refuses what he said when it is imported again. It cannot be undone.

Example:
  annal erase --project shop --user ann --reason "asked for on 2026-11-20" --json > erasure-of-ann.json)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            std::optional<Progress> progress;
            std::string shown;
            const EraseRequest request{.project = context.scope.project,
                                       .user = context.scope.user,
                                       .actor = flags->actor,
                                       .reason = flags->reason};
            const auto receipt = (*engine)->erase(request, [&](std::string_view projection, Seq applied, Seq head) {
                if (!progress || shown != projection) {
                    progress.reset();
                    progress.emplace(shown = projection, !context.json);
                }
                progress->show(applied.value, head.value);
            });
            progress.reset();
            if (!receipt) return receipt.error();
            auto ok = context.json ? Context::print(to_json(*receipt)) : Context::write(describe(*receipt));
            if (!ok) return ok.error();
            return 0;
        };
    });
}

}  // namespace

void add_write_commands(CLI::App& app, Context& context) {
    add_remember(app, context);
    add_revise(app, context);

    auto to_version = std::make_shared<std::uint64_t>(0);
    auto* revert = add_on_target(
        app, context, "revert", "Bring back what a memory said at an earlier version, as a new event", "reverted",
        [to_version](Engine& engine, const Target& target) { return engine.revert(target, Version{*to_version}); });
    revert->add_option("--to-version", *to_version, "The version, as history shows it")->required();
    revert->footer(R"(Examples:
  annal revert 01970e2c-7b1e-7c3a-9f00-0123456789ab --to-version 1
  annal revert 01970e2c-7b1e-7c3a-9f00-0123456789ab --to-version 3 --reason "the change was wrong" --expected-version 5)");

    auto failed = std::make_shared<bool>(false);
    auto* reinforce =
        add_on_target(app, context, "reinforce", "Say that a memory was met again, and held", "reinforced",
                      [failed](Engine& engine, const Target& target) { return engine.reinforce(target, !*failed); });
    reinforce->add_flag("--failed", *failed, "It was met again, and did not hold");
    reinforce->footer(R"(Examples:
  annal reinforce 01970e2c-7b1e-7c3a-9f00-0123456789ab --source test_result:run-4712
  annal reinforce 01970e2c-7b1e-7c3a-9f00-0123456789ab --failed --reason "the wait did not help")");

    auto for_good = std::make_shared<bool>(false);
    auto* forget =
        add_on_target(app, context, "forget", "Take a memory out of every search; its history stays", "forgot",
                      [for_good](Engine& engine, const Target& target) { return engine.forget(target, *for_good); });
    forget->get_option("--reason")->required();
    forget->add_flag("--for-good", *for_good, "It cannot be restored, and its content is refused from now on");
    forget->footer(R"(Examples:
  annal forget 01970e2c-7b1e-7c3a-9f00-0123456789ab --reason "the checkout was rewritten"
  annal forget 01970e2c-7b1e-7c3a-9f00-0123456789ab --reason "it was never true" --for-good)");

    auto* restore = add_on_target(app, context, "restore", "Bring a forgotten memory back", "restored",
                                  [](Engine& engine, const Target& target) { return engine.restore(target); });
    restore->footer(R"(Examples:
  annal restore 01970e2c-7b1e-7c3a-9f00-0123456789ab --reason "forgotten by mistake")");
    add_erase(app, context);
}

}  // namespace annal::cli
