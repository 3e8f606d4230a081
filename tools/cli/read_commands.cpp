// search, get, list, history, explain, diff. Each sees all that was acknowledged before it started, unless --min-seq or
// --as-of says otherwise. With --read-from the first three see what a sink has, and wait for --min-seq alone.
#include "context.h"
#include "options.h"
#include "print.h"

#include "adapters/outbound/postgres_memories.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

namespace annal::cli {
namespace {

// Which state a command reads.
struct ReadFlags {
    std::uint64_t min_seq = 0;
    std::string as_of;
    void add_to(CLI::App& command) {
        command.add_option("--min-seq", min_seq, "Wait for this seq only, not for all that was written");
        command.add_option("--as-of", as_of, "As it was after the event of this seq, or at this RFC 3339 time");
    }
    Result<ReadOptions> options(const Context& context, const Engine& engine) const {
        return with_moment(context.read_options(engine, min_seq));
    }
    Result<ReadOptions> options(const Context& context) const {  // Of a sink, whose head nobody knows.
        return with_moment({.min_seq = Seq{min_seq}, .wait_max = context.wait_max()});
    }

 private:
    Result<ReadOptions> with_moment(ReadOptions options) const {
        if (as_of.empty()) return options;
        const auto moment = moment_of("--as-of", as_of);
        if (!moment) return moment.error();
        options.as_of = *moment;
        options.min_seq = Seq{min_seq};  // What it waits for is that moment.
        return options;
    }
};

Result<int> finish(Status printed) {
    if (!printed) return printed.error();
    return 0;
}

struct SearchFlags {
    std::string query, mode = "hybrid", vector_file, run_id;
    std::size_t limit = 10;
    ReadFlags read;
    bool explain = false;
    FilterFlags filter;
};

// Reads in what --read-from names, or else in the store: calls read(there, options), `there` being either.
template <class Read>
auto read_in(const Context& context, const ReadFlags& flags, Result<std::unique_ptr<Engine>> (Context::*open)() const,
             Read&& read) -> decltype(read(std::declval<PostgresMemories&>(), ReadOptions{})) {
    const auto far = context.open_read_from();
    if (!far) return far.error();
    if (*far) {
        const auto options = flags.options(context);
        if (!options) return options.error();
        return read(**far, *options);
    }
    const auto engine = (context.*open)();
    if (!engine) return engine.error();
    const auto options = flags.options(context, **engine);
    if (!options) return options.error();
    return read(**engine, *options);
}

Result<SearchRequest> request_of(const SearchFlags& flags, const Scope& scope) {
    SearchRequest request;
    request.scope = scope;
    request.text = flags.query;
    request.run_id = flags.run_id;
    request.limit = flags.limit;
    const auto mode = std::find(search_mode_names.begin(), search_mode_names.end(), flags.mode);
    if (mode == search_mode_names.end())
        return Error{ErrorCode::invalid_argument, "--mode must be hybrid, text or vector", {{"field", "--mode"}}};
    request.mode = static_cast<SearchMode>(mode - search_mode_names.begin());
    if (!flags.vector_file.empty()) {
        auto vector = read_vector_file(flags.vector_file);
        if (!vector) return vector.error();
        request.vector = std::move(*vector);
    }
    auto filter = flags.filter.filter();
    if (!filter) return filter.error();
    request.filter = std::move(*filter);
    return request;
}

void add_search(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("search", "Find the memories that answer a question");
    auto flags = std::make_shared<SearchFlags>();
    command->add_option("QUERY", flags->query, "Words or a question; may be left out with --vector-file");
    command->add_option("--mode", flags->mode, "hybrid, text or vector")->capture_default_str();
    command->add_option("--limit", flags->limit, "At most so many, 1 to 1000")->capture_default_str();
    command->add_flag("--explain", flags->explain, "Why each hit is where it is");
    command->add_option("--run-id", flags->run_id,
                        "The hits are context of this run of an agent: put down what it was given");
    command->add_option("--vector-file", flags->vector_file,
                        R"(The question's vector: a file with {"model": "...", "values": [...]})");
    flags->filter.add_to(*command);
    flags->read.add_to(*command);
    command->footer(R"(Examples:
  annal search "why is the checkout test flaky" --project shop
  annal search "refund policy" --project shop --kind domain_knowledge --claim verified --explain
  annal search deploy --project shop --session s12 --since 2026-03-01T00:00:00Z --where env=production --limit 5
  annal search "refund policy" --project shop --as-of 4711
  annal search "refund policy" --project shop --agent support --run-id run-42
  ANNAL_READ_FROM='host=db dbname=shop' annal search "refund policy" --project shop    (no store here))");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto request = request_of(*flags, context.scope);
            if (!request) return request.error();
            const auto answer =
                read_in(context, flags->read, &Context::open_to_search, [&](auto& there, const ReadOptions& read) {
                    request->min_seq = read.min_seq;
                    request->wait_max = read.wait_max;
                    request->as_of = read.as_of;
                    return there.search(*request);
                });
            if (!answer) return answer.error();
            return finish(context.json ? Context::print(to_json(*answer))
                                       : Context::write(describe(*answer, flags->explain)));
        };
    });
}

struct GetFlags {
    std::string id;
    ReadFlags read;
    bool forgotten = false;
};

void add_get(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("get", "Show one memory as it is, or was");
    auto flags = std::make_shared<GetFlags>();
    command->add_option("ID", flags->id, "The memory's id")->required();
    command->add_flag("--forgotten", flags->forgotten, "Even if it is forgotten");
    flags->read.add_to(*command);
    command->footer(R"(Examples:
  annal get 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop
  annal get 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop --as-of 2026-03-01T00:00:00Z --json)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            const auto id = parse_memory_id(flags->id);
            if (!id) return id.error();
            const auto memory =
                read_in(context, flags->read, &Context::open_to_read, [&](auto& there, const ReadOptions& read) {
                    return there.get(context.scope, *id, read, flags->forgotten);
                });
            if (!memory) return memory.error();
            return finish(context.json ? Context::print(to_json(*memory)) : Context::write(describe(*memory)));
        };
    });
}

struct ListFlags {
    std::string order = "newest", cursor;
    std::size_t limit = 50;
    ReadFlags read;
    bool forgotten = false;
    FilterFlags filter;
};

Result<ListRequest> request_of(const ListFlags& flags, const Scope& scope) {
    ListRequest request;
    request.scope = scope;
    request.limit = flags.limit;
    request.cursor = flags.cursor;
    request.include_forgotten = flags.forgotten;
    if (flags.order == "newest")
        request.order = ListOrder::newest_first;
    else if (flags.order == "oldest")
        request.order = ListOrder::oldest_first;
    else if (flags.order == "confidence")
        request.order = ListOrder::confidence;
    else
        return Error{
            ErrorCode::invalid_argument, "--order must be newest, oldest or confidence", {{"field", "--order"}}};
    auto filter = flags.filter.filter();
    if (!filter) return filter.error();
    request.filter = std::move(*filter);
    return request;
}

void add_list_command(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("list", "Show memories in order, page by page");
    auto flags = std::make_shared<ListFlags>();
    command->add_option("--order", flags->order, "newest, oldest or confidence")->capture_default_str();
    command->add_option("--limit", flags->limit, "A page, 1 to 1000")->capture_default_str();
    command->add_option("--cursor", flags->cursor, "Where the page before ended: its next_cursor");
    command->add_flag("--forgotten", flags->forgotten, "The forgotten ones, too");
    flags->filter.add_to(*command);
    flags->read.add_to(*command);
    command->footer(R"(Examples:
  annal list --project shop --kind heuristic --order confidence
  annal list --project shop --tag checkout --tag flaky --min-confidence 0.7
  annal list --project shop --limit 100 --json | jq -r .next_cursor)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto request = request_of(*flags, context.scope);
            if (!request) return request.error();
            const auto answer =
                read_in(context, flags->read, &Context::open_to_read, [&](auto& there, const ReadOptions& read) {
                    request->read = read;
                    return there.list(*request);
                });
            if (!answer) return answer.error();
            if (context.json) return finish(Context::print(to_json(*answer)));
            std::string text = describe(answer->memories);
            if (!answer->next_cursor.empty()) text += "more: --cursor " + answer->next_cursor + '\n';
            return finish(Context::write(text));
        };
    });
}

struct HistoryFlags {
    std::string id;
    bool recalls = false;
    std::size_t limit = 100;
    std::optional<std::uint64_t> before;
    ReadFlags read;
};

Result<int> print_recalls(const Context& context, Engine& engine, const MemoryId& id, const HistoryFlags& flags,
                          const ReadOptions& read) {
    RecallsRequest request;
    request.scope = context.scope;
    request.memory_id = id;
    request.limit = flags.limit;
    if (flags.before) request.before = Seq{*flags.before};
    request.read = read;
    const auto answer = engine.recalls(request);
    if (!answer) return answer.error();
    return finish(context.json ? Context::print(to_json(*answer)) : Context::write(describe(*answer)));
}

void add_history(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("history", "Show every event of one memory: what, who, when, why");
    auto flags = std::make_shared<HistoryFlags>();
    command->add_option("ID", flags->id, "The memory's id")->required();
    auto* recalls = command->add_flag("--recalls", flags->recalls, "When it was given to which run, newest first");
    command->add_option("--limit", flags->limit, "With --recalls: a page, 1 to 1000")
        ->needs(recalls)
        ->capture_default_str();
    command->add_option("--before", flags->before, "With --recalls: where the page before ended: its next")
        ->needs(recalls);
    flags->read.add_to(*command);
    command->footer(R"(Examples:
  annal history 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop
  annal history 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop --recalls
  annal history 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop --json | jq '.events[].type')");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            const auto id = parse_memory_id(flags->id);
            if (!id) return id.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto read = flags->read.options(context, **engine);
            if (!read) return read.error();
            if (flags->recalls) return print_recalls(context, **engine, *id, *flags, *read);
            const auto history = (*engine)->history(context.scope, *id, *read);
            if (!history) return history.error();
            return finish(context.json ? Context::print(to_json(*history)) : Context::write(describe(*history)));
        };
    });
}

struct ExplainFlags {
    std::string run_id;
    std::size_t limit = 10;
    std::optional<std::uint64_t> after;
    ReadFlags read;
};

void add_explain(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("explain", "Show what a run was given, and what was known and not given");
    auto flags = std::make_shared<ExplainFlags>();
    command->add_option("RUN_ID", flags->run_id, "The run, as search --run-id named it")->required();
    command->add_option("--limit", flags->limit, "Of what was not given, for each query; 0 to 1000")
        ->capture_default_str();
    command->add_option("--after", flags->after, "Where the page before ended: its next");
    flags->read.add_to(*command);
    command->footer(R"(Examples:
  annal explain run-42 --project shop
  annal explain run-42 --project shop --limit 3 --json | jq '.contexts[].given[].memory.content')");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto read = flags->read.options(context, **engine);
            if (!read) return read.error();
            ExplainRequest request;
            request.scope = context.scope;
            request.run_id = flags->run_id;
            request.not_given_max = flags->limit;
            if (flags->after) request.after = Seq{*flags->after};
            request.read = *read;
            const auto answer = (*engine)->explain(request);
            if (!answer) return answer.error();
            return finish(context.json ? Context::print(to_json(*answer)) : Context::write(describe(*answer)));
        };
    });
}

struct DiffFlags {
    std::string from, to;
};

Result<DiffRequest> request_of(const DiffFlags& flags, const Context& context, const Engine& engine) {
    DiffRequest request;
    request.scope = context.scope;
    request.wait_max = context.wait_max();
    const auto from = moment_of("--from", flags.from);
    if (!from) return from.error();
    request.from = *from;
    request.to = engine.head();
    if (flags.to.empty()) return request;
    const auto to = moment_of("--to", flags.to);
    if (!to) return to.error();
    request.to = *to;
    return request;
}

void add_diff(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("diff", "Show what became of memories between two moments, one a line");
    auto flags = std::make_shared<DiffFlags>();
    command->add_option("--from", flags->from, "A seq or an RFC 3339 time: what came after it")->required();
    command->add_option("--to", flags->to, "Up to this one; now when left out");
    command->footer(R"(Examples:
  annal diff --from 2026-03-01T00:00:00Z --to 2026-03-02T00:00:00Z --project shop
  annal diff --from 4711 --project shop --json | jq -r 'select(.change == "forgotten") | .memory_id')");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto request = request_of(*flags, context, **engine);
            if (!request) return request.error();
            Status printed = Done{};
            auto done = (*engine)->diff(*request, [&](const DiffEntry& entry) {
                printed = context.json ? Context::print(to_json(entry)) : Context::write(describe(entry));
                return static_cast<bool>(printed);
            });
            return finish(done ? printed : done);
        };
    });
}

}  // namespace

void add_read_commands(CLI::App& app, Context& context) {
    add_search(app, context);
    add_get(app, context);
    add_list_command(app, context);
    add_history(app, context);
    add_explain(app, context);
    add_diff(app, context);
}

}  // namespace annal::cli
