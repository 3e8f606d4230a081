// import, export, eval: memories in and out, and how well they are found.
#include "context.h"
#include "exit_code.h"
#include "options.h"
#include "print.h"
#include "progress.h"

#include "adapters/eval.h"
#include "adapters/jsonl.h"
#include "adapters/locomo.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

namespace annal::cli {
namespace {

// A file, or standard input for "-".
class Input {
 public:
    static Result<std::unique_ptr<Input>> open(const std::string& path) {
        std::unique_ptr<Input> input(new Input);
        if (path == "-") return input;
        std::error_code failure;
        if (!std::filesystem::is_directory(path, failure)) input->file_.open(path, std::ios::binary);
        if (!input->file_.is_open())
            return Error{ErrorCode::not_found, "the file '" + clean(path) + "' cannot be read", {{"field", "FILE"}}};
        input->from_file_ = true;
        const auto size = std::filesystem::file_size(path, failure);
        if (!failure) input->bytes_ = size;
        return input;
    }
    std::istream& stream() { return from_file_ ? file_ : std::cin; }
    std::uint64_t bytes() const { return bytes_; }  // 0: not known.

 private:
    Input() = default;
    std::ifstream file_;
    bool from_file_ = false;
    std::uint64_t bytes_ = 0;
};

// Removed with all it holds.
class TemporaryStore {
 public:
    static Result<std::unique_ptr<TemporaryStore>> make() {
        std::error_code failure;
        std::string path = (std::filesystem::temp_directory_path(failure) / "annal-eval-XXXXXX").string();
        if (failure || mkdtemp(path.data()) == nullptr)
            return Error{ErrorCode::unavailable, "no temporary directory can be made", {}};
        return std::unique_ptr<TemporaryStore>(new TemporaryStore(path));
    }
    ~TemporaryStore() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryStore(const TemporaryStore&) = delete;
    TemporaryStore& operator=(const TemporaryStore&) = delete;
    const std::filesystem::path& path() const { return path_; }

 private:
    explicit TemporaryStore(std::string path) : path_(std::move(path)) {}
    std::filesystem::path path_;
};

Json to_json(const ImportReport& report) {
    Json rejected = Json::array();
    for (const auto& line : report.rejected)
        rejected.push_back({{"line", line.line},
                            {"code", to_string(line.error.code)},
                            {"message", line.error.message},
                            {"details", line.error.details.empty() ? Json::object() : Json(line.error.details)}});
    return {{"accepted", report.accepted},
            {"unchanged", report.unchanged},
            {"rejected", std::move(rejected)},
            {"seq", report.seq.value}};
}

// The exit code is that of the first line that was refused.
Result<int> print_report(const Context& context, const ImportReport& report) {
    Status ok = Done{};
    if (context.json) {
        ok = Context::print(to_json(report));
    } else {
        for (const auto& line : report.rejected)
            std::fputs(("line " + std::to_string(line.line) + ": " + std::string(to_string(line.error.code)) + ": " +
                        clean(line.error.message) + '\n')
                           .c_str(),
                       stderr);
        ok = Context::write("accepted " + std::to_string(report.accepted) + ", unchanged " +
                            std::to_string(report.unchanged) + ", rejected " + std::to_string(report.rejected.size()) +
                            "; the store is at seq " + std::to_string(report.seq.value) + '\n');
    }
    if (!ok) return ok.error();
    return report.rejected.empty() ? 0 : exit_code(report.rejected.front().error.code);
}

Result<ImportReport> import_locomo(Engine& engine, std::istream& in, const Context& context, Progress& progress) {
    const auto conversations = read_locomo(in);
    if (!conversations) return conversations.error();
    Importer importer(engine);
    std::uint64_t turn = 0;
    std::uint64_t all = 0;
    for (const auto& conversation : *conversations)
        for (const auto& session : conversation.sessions) all += session.turns.size();
    for (const auto& conversation : *conversations)
        for (auto& memory : memories_of(conversation, context.project_given ? context.scope.project : "locomo")) {
            if (auto ok = importer.add(++turn, std::move(memory)); !ok) return ok.error();
            progress.show(turn, all);
        }
    return importer.finish();
}

Error unknown_format(const std::string& formats) {
    return {ErrorCode::invalid_argument, "--format must be " + formats, {{"field", "--format"}}};
}

void add_import(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("import", "Bring memories in from a file");
    struct Flags {
        std::string file, format = "jsonl";
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("FILE", flags->file, "The file; - is standard input")->required();
    command->add_option("--format", flags->format, "jsonl or locomo")->capture_default_str();
    command->footer(
        R"(A line of jsonl is a memory as `get --json` shows it; only content is required, and the scope's fields default to
--project, --agent, --user and --session. A memory comes in once: the same file again adds nothing, and two equal lines are
one memory. Lines that are refused are named by number, the others come in. A vector is {"model": "...", "values": [...]}
under "embedding". What only a store can say (seq, version, recorded_at, ...) is left aside.

Examples:
  annal import team.jsonl --project shop
  echo '{"content": "prefers short answers", "kind": "preference", "category": "style"}' | annal import - --user ana
  annal import locomo.json --format locomo --project talks)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            if (flags->format != "jsonl" && flags->format != "locomo") return unknown_format("jsonl or locomo");
            auto input = Input::open(flags->file);
            if (!input) return input.error();
            if (auto ok = validate(context.scope); !ok) return ok.error();
            auto engine = context.open_to_write();
            if (!engine) return engine.error();
            Result<ImportReport> report = [&]() -> Result<ImportReport> {
                Progress progress("importing", !context.json);
                if (flags->format == "locomo") return import_locomo(**engine, (*input)->stream(), context, progress);
                const auto show = [&](std::uint64_t bytes) { progress.show(bytes, (*input)->bytes()); };
                return import_jsonl(**engine, (*input)->stream(), context.scope, show);
            }();
            if (!report) return report.error();
            return print_report(context, *report);
        };
    });
}

void add_export(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("export", "Write memories out, oldest first, one JSON object a line");
    struct Flags {
        std::string format = "jsonl", output = "-";
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("--format", flags->format, "jsonl")->capture_default_str();
    command->add_option("--output", flags->output, "The file to write; - is standard output")->capture_default_str();
    command->footer(R"(The live memories of the scope, in the shape that `import` takes.

Examples:
  annal export --project shop > shop.jsonl
  annal export --project shop --session s12 --output s12.jsonl)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            if (flags->format != "jsonl") return unknown_format("jsonl");
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            const bool to_file = flags->output != "-";
            const Error cannot_write{
                ErrorCode::unavailable, "the output file cannot be written", {{"field", "--output"}}};
            std::ofstream file;
            if (to_file) {
                file.open(flags->output, std::ios::binary | std::ios::trunc);
                if (!file) return cannot_write;
            }
            Result<ExportReport> report = [&] {
                Progress progress("exporting", to_file && !context.json);
                return export_jsonl(
                    **engine, context.scope, context.read_options(**engine, 0),
                    [&](std::string_view line) -> Status {
                        if (!to_file) return Context::write(line);
                        if (file << line) return Done{};
                        return cannot_write;
                    },
                    [&](std::uint64_t exported) { progress.show(exported, 0); });
            }();
            if (!report) return report.error();
            if (!to_file) return 0;
            file.close();
            if (!file) return cannot_write;
            auto ok = context.json ? Context::print({{"exported", report->exported}, {"seq", report->seq.value}})
                                   : Context::write("exported " + std::to_string(report->exported) +
                                                    " memories, as of seq " + std::to_string(report->seq.value) + '\n');
            if (!ok) return ok.error();
            return 0;
        };
    });
}

std::string describe(const EvalReport& report) {
    const auto row = [](const std::string& name, const EvalFigures& of) -> std::vector<std::string> {
        return {name, std::to_string(of.questions), number_text(of.recall_at_10, 3), number_text(of.recall_at_5, 3),
                number_text(of.mrr, 3)};
    };
    std::vector<std::vector<std::string>> rows{{"category", "questions", "recall@10", "recall@5", "MRR"}};
    for (const auto& [category, of] : report.by_category) rows.push_back(row(std::to_string(category), of));
    rows.push_back(row("1 to 4", report.overall));
    std::string text = "mode " + std::string(search_mode_names[static_cast<std::size_t>(report.mode)]) + "\n" +
                       table(rows, {1, 2, 3, 4});
    for (const auto& note : report.degraded) text += "degraded: " + clean(note) + '\n';
    return text;
}

void add_eval(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("eval", "Measure retrieval against labelled evidence");
    struct Flags {
        std::string file, format = "locomo", mode = "hybrid";
        bool together = false;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("FILE", flags->file, "The labelled conversations; - is standard input")->required();
    command->add_option("--format", flags->format, "locomo")->capture_default_str();
    command->add_option("--mode", flags->mode, "hybrid, text or vector")->capture_default_str();
    command->add_flag("--together", flags->together, "All conversations in one project, not in one each");
    command->footer(
        R"(Imports into a store of its own, removed afterwards, unless --store is given. Reports the mean share of a question's
evidence turns among the first 10 and 5 hits, and the mean reciprocal rank of the first. No model, no judge.

Examples:
  annal eval locomo.json --format locomo --mode text
  annal eval locomo.json --format locomo --together --json)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            if (flags->format != "locomo") return unknown_format("locomo");
            const auto mode = std::find(search_mode_names.begin(), search_mode_names.end(), flags->mode);
            if (mode == search_mode_names.end())
                return Error{
                    ErrorCode::invalid_argument, "--mode must be hybrid, text or vector", {{"field", "--mode"}}};
            auto input = Input::open(flags->file);
            if (!input) return input.error();
            const auto conversations = read_locomo((*input)->stream());
            if (!conversations) return conversations.error();

            std::unique_ptr<TemporaryStore> temporary;
            std::filesystem::path directory = context.store;
            if (!context.store_given) {
                auto made = TemporaryStore::make();
                if (!made) return made.error();
                temporary = std::move(*made);
                directory = temporary->path();
            }
            auto engine = context.open({.directory = directory, .embedder = {}, .on_message = {}});
            if (!engine) return engine.error();
            EvalOptions options;
            options.mode = static_cast<SearchMode>(mode - search_mode_names.begin());
            options.together = flags->together;
            if (context.project_given) options.project = context.scope.project;
            Progress progress("evaluating", !context.json);
            options.progress = [&](std::uint64_t done, std::uint64_t all) { progress.show(done, all); };
            const auto report = evaluate(**engine, *conversations, options);
            if (!report) return report.error();
            progress.clear();
            auto ok = context.json ? Context::print(annal::to_json(*report)) : Context::write(describe(*report));
            if (!ok) return ok.error();
            return 0;
        };
    });
}

}  // namespace

void add_move_commands(CLI::App& app, Context& context) {
    add_import(app, context);
    add_export(app, context);
    add_eval(app, context);
}

}  // namespace annal::cli
