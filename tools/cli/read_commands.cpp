// search, get, list, history. Each sees all that was acknowledged before it started, unless --min-seq says otherwise.
#include "context.h"
#include "options.h"
#include "print.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

namespace annal::cli {
namespace {

void add_min_seq(CLI::App& command, std::uint64_t& min_seq) {
    command.add_option("--min-seq", min_seq, "Wait for this seq only, not for all that was written");
}

Result<int> finish(Status printed) {
    if (!printed) return printed.error();
    return 0;
}

struct SearchFlags {
    std::string query, mode = "hybrid", vector_file;
    std::size_t limit = 10;
    std::uint64_t min_seq = 0;
    bool explain = false;
    FilterFlags filter;
};

Result<SearchRequest> request_of(const SearchFlags& flags, const Scope& scope) {
    SearchRequest request;
    request.scope = scope;
    request.text = flags.query;
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
    command->add_option("--vector-file", flags->vector_file,
                        R"(The question's vector: a file with {"model": "...", "values": [...]})");
    flags->filter.add_to(*command);
    add_min_seq(*command, flags->min_seq);
    command->footer(R"(Examples:
  annal search "why is the checkout test flaky" --project shop
  annal search "refund policy" --project shop --kind domain_knowledge --claim verified --explain
  annal search deploy --project shop --session s12 --since 2026-03-01T00:00:00Z --where env=production --limit 5)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto request = request_of(*flags, context.scope);
            if (!request) return request.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto read = context.read_options(**engine, flags->min_seq);
            request->min_seq = read.min_seq;
            request->wait_max = read.wait_max;
            const auto answer = (*engine)->search(*request);
            if (!answer) return answer.error();
            return finish(context.json ? Context::print(to_json(*answer))
                                       : Context::write(describe(*answer, flags->explain)));
        };
    });
}

struct GetFlags {
    std::string id;
    std::uint64_t min_seq = 0;
    bool forgotten = false;
};

void add_get(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("get", "Show one memory as it is now");
    auto flags = std::make_shared<GetFlags>();
    command->add_option("ID", flags->id, "The memory's id")->required();
    command->add_flag("--forgotten", flags->forgotten, "Even if it is forgotten");
    add_min_seq(*command, flags->min_seq);
    command->footer(R"(Examples:
  annal get 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop
  annal get 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop --json)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            const auto id = parse_memory_id(flags->id);
            if (!id) return id.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto memory =
                (*engine)->get(context.scope, *id, context.read_options(**engine, flags->min_seq), flags->forgotten);
            if (!memory) return memory.error();
            return finish(context.json ? Context::print(to_json(*memory)) : Context::write(describe(*memory)));
        };
    });
}

struct ListFlags {
    std::string order = "newest", cursor;
    std::size_t limit = 50;
    std::uint64_t min_seq = 0;
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
    add_min_seq(*command, flags->min_seq);
    command->footer(R"(Examples:
  annal list --project shop --kind heuristic --order confidence
  annal list --project shop --tag checkout --tag flaky --min-confidence 0.7
  annal list --project shop --limit 100 --json | jq -r .next_cursor)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            auto request = request_of(*flags, context.scope);
            if (!request) return request.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            request->read = context.read_options(**engine, flags->min_seq);
            const auto answer = (*engine)->list(*request);
            if (!answer) return answer.error();
            if (context.json) return finish(Context::print(to_json(*answer)));
            std::string text = describe(answer->memories);
            if (!answer->next_cursor.empty()) text += "more: --cursor " + answer->next_cursor + '\n';
            return finish(Context::write(text));
        };
    });
}

void add_history(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("history", "Show every event of one memory: what, who, when, why");
    auto flags = std::make_shared<GetFlags>();
    command->add_option("ID", flags->id, "The memory's id")->required();
    add_min_seq(*command, flags->min_seq);
    command->footer(R"(Examples:
  annal history 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop
  annal history 01970e2c-7b1e-7c3a-9f00-0123456789ab --project shop --json | jq '.events[].type')");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            const auto id = parse_memory_id(flags->id);
            if (!id) return id.error();
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const auto history = (*engine)->history(context.scope, *id, context.read_options(**engine, flags->min_seq));
            if (!history) return history.error();
            return finish(context.json ? Context::print(to_json(*history)) : Context::write(describe(*history)));
        };
    });
}

}  // namespace

void add_read_commands(CLI::App& app, Context& context) {
    add_search(app, context);
    add_get(app, context);
    add_list_command(app, context);
    add_history(app, context);
}

}  // namespace annal::cli
