// import, export, eval: memories in and out, and how well they are found.
#include "context.h"
#include "exit_code.h"
#include "options.h"
#include "print.h"
#include "progress.h"

#include "adapters/eval.h"
#include "adapters/events_file.h"
#include "adapters/jsonl.h"
#include "adapters/locomo.h"

#include "events/hex.h"

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

Result<int> print_events(const Context& context, std::string_view done, const EventsReport& report) {
    const auto ok =
        context.json ? Context::print({{"accepted", report.accepted},
                                       {"unchanged", report.unchanged},
                                       {"rejected", Json::array()},
                                       {"seq", report.seq.value},
                                       {"root", to_hex(report.root)}})
                     : Context::write(std::string(done) + " " + std::to_string(report.accepted) +
                                      " events, unchanged " + std::to_string(report.unchanged) + "; the last is seq " +
                                      std::to_string(report.seq.value) + ", the root " + to_hex(report.root) + '\n');
    if (!ok) return ok.error();
    return 0;
}

// Of a command that writes to standard output ("-") or a file.
class Output {
 public:
    static Result<std::unique_ptr<Output>> open(const std::string& path) {
        std::unique_ptr<Output> output(new Output);
        output->to_file_ = path != "-";
        if (output->to_file_) output->file_.open(path, std::ios::binary | std::ios::trunc);
        if (output->to_file_ && !output->file_) return cannot_write();
        return output;
    }
    bool to_file() const { return to_file_; }
    Status write(std::string_view line) {
        if (!to_file_) return Context::write(line);
        if (file_ << line) return Done{};
        return cannot_write();
    }
    Status close() {
        if (to_file_) file_.close();
        if (file_) return Done{};
        return cannot_write();
    }

 private:
    Output() = default;
    static Error cannot_write() {
        return {ErrorCode::unavailable, "the output file cannot be written", {{"field", "--output"}}};
    }
    std::ofstream file_;
    bool to_file_ = false;
};

Status write_manifest(const std::string& file, const Manifest& manifest) {
    auto output = Output::open(manifest_path(file));
    if (!output) return output.error();
    if (auto written = (*output)->write(annal::to_json(manifest).dump(2) + '\n'); !written) return written;
    return (*output)->close();
}

// Of a file that has a manifest beside it; others are taken as they are.
Status check_against_manifest(const std::string& file) {
    std::error_code failure;
    if (file == "-" || !std::filesystem::is_regular_file(manifest_path(file), failure)) return Done{};
    std::ifstream beside(manifest_path(file), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(beside), {}};
    const auto manifest = manifest_from_json(text);
    if (!manifest) return manifest.error();
    auto input = Input::open(file);
    if (!input) return input.error();
    return check_manifest((*input)->stream(), *manifest);
}

Error unknown_format(const std::string& formats) {
    return {ErrorCode::invalid_argument, "--format must be " + formats, {{"field", "--format"}}};
}

// What came in, before the process ends; a model that is down is left to a later command, and has said why.
void embed(const Context& context, Engine& engine) {
    Progress progress("embedding", !context.json);
    static_cast<void>(embed_all(engine, "", context.wait_max(), WhenDown::give_up, progress));
}

void add_import(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("import", "Bring memories in from a file");
    struct Flags {
        std::string file, format = "jsonl";
        bool no_manifest = false;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("FILE", flags->file, "The file; - is standard input")->required();
    command->add_option("--format", flags->format, "jsonl, events or locomo")->capture_default_str();
    command->add_flag("--no-manifest", flags->no_manifest, "jsonl: take a file that is not as its manifest says");
    command->footer(
        R"(A line of jsonl is a memory as `get --json` shows it; only content is required, and the scope's fields default to
--project, --agent, --user and --session. A memory comes in once: the same file again adds nothing, and two equal lines are
one memory. Lines that are refused are named by number, the others come in. A vector is {"model": "...", "values": [...]}
under "embedding". What only a store can say (seq, version, recorded_at, ...) is left aside.
A FILE.manifest.json beside it, as `export --output` writes it, says how many memories of each kind there are, and their
SHA-256: a file that is another one is refused before anything is written.

events is what `export --format events` wrote: an empty store becomes the same log, event for event; one that has a
beginning of it goes on from there.

Examples:
  annal import team.jsonl --project shop
  echo '{"content": "prefers short answers", "kind": "preference", "category": "style"}' | annal import - --user ana
  annal import locomo.json --format locomo --project talks)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            if (flags->format != "jsonl" && flags->format != "locomo" && flags->format != "events")
                return unknown_format("jsonl, events or locomo");
            auto input = Input::open(flags->file);
            if (!input) return input.error();
            if (auto ok = validate(context.scope); !ok) return ok.error();
            if (flags->format == "jsonl" && !flags->no_manifest)
                if (auto ok = check_against_manifest(flags->file); !ok) return ok.error();
            auto engine = context.open_to_import();
            if (!engine) return engine.error();
            if (flags->format == "events") {
                const auto report = [&] {
                    Progress progress("importing", !context.json);
                    return import_events(**engine, (*input)->stream(),
                                         [&](std::uint64_t bytes) { progress.show(bytes, (*input)->bytes()); });
                }();
                if (!report) return report.error();
                embed(context, **engine);
                return print_events(context, "accepted", *report);
            }
            Result<ImportReport> report = [&]() -> Result<ImportReport> {
                Progress progress("importing", !context.json);
                if (flags->format == "locomo") return import_locomo(**engine, (*input)->stream(), context, progress);
                const auto show = [&](std::uint64_t bytes) { progress.show(bytes, (*input)->bytes()); };
                return import_jsonl(**engine, (*input)->stream(), context.scope, show);
            }();
            if (!report) return report.error();
            embed(context, **engine);
            return print_report(context, *report);
        };
    });
}

void add_export(CLI::App& app, Context& context) {
    auto* command = app.add_subcommand("export", "Write memories or events out, oldest first, one JSON object a line");
    struct Flags {
        std::string format = "jsonl", output = "-";
        std::uint64_t to = 0;
    };
    auto flags = std::make_shared<Flags>();
    command->add_option("--format", flags->format, "jsonl or events")->capture_default_str();
    command->add_option("--to", flags->to, "events: the last seq; 0: the newest")->capture_default_str();
    command->add_option("--output", flags->output, "The file to write; - is standard output")->capture_default_str();
    command->footer(
        R"(jsonl: the live memories of the scope, in the shape that `import` takes, vectors to the bit. Beside a file of
--output stands FILE.manifest.json: how many memories of each kind it has, and their SHA-256.
events: the whole log of all projects, as it is stored and with its hashes; nothing is lost but idempotency keys. What is
sealed stays sealed, and its keys are not in it.

Examples:
  annal export --project shop > shop.jsonl
  annal export --project shop --session s12 --output s12.jsonl
  annal export --format events --to 4711 --output shop.events; annal import shop.events --format events --store copy)");
    command->callback([flags, &context] {
        context.action = [flags, &context]() -> Result<int> {
            if (flags->format != "jsonl" && flags->format != "events") return unknown_format("jsonl or events");
            if (flags->format != "events" && flags->to != 0)
                return Error{ErrorCode::invalid_argument, "--to is for --format events", {{"field", "--to"}}};
            auto engine = context.open_to_read();
            if (!engine) return engine.error();
            auto output = Output::open(flags->output);
            if (!output) return output.error();
            const auto write = [&](std::string_view line) { return (*output)->write(line); };
            if (flags->format == "events") {
                const auto report = [&] {
                    Progress progress("exporting", (*output)->to_file() && !context.json);
                    return export_events(**engine, Seq{flags->to}, write,
                                         [&](std::uint64_t done, std::uint64_t all) { progress.show(done, all); });
                }();
                if (!report) return report.error();
                if (auto closed = (*output)->close(); !closed) return closed.error();
                return (*output)->to_file() ? print_events(context, "exported", *report) : 0;
            }
            const auto report = [&] {
                Progress progress("exporting", (*output)->to_file() && !context.json);
                return export_jsonl(**engine, context.scope, context.read_options(**engine, 0), write,
                                    [&](std::uint64_t exported) { progress.show(exported, 0); });
            }();
            if (!report) return report.error();
            if (auto closed = (*output)->close(); !closed) return closed.error();
            if (!(*output)->to_file()) return 0;
            if (auto ok = write_manifest(flags->output, report->manifest); !ok) return ok.error();
            auto ok = context.json ? Context::print({{"exported", report->exported}, {"seq", report->seq.value}})
                                   : Context::write("exported " + std::to_string(report->exported) +
                                                    " memories, as of seq " + std::to_string(report->seq.value) + '\n');
            if (!ok) return ok.error();
            return 0;
        };
    });
}

std::string describe_eval(const EvalReport& report) {
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
            EngineOptions opening;
            opening.directory = directory;
            auto engine = context.open(std::move(opening));
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
            auto ok = context.json ? Context::print(annal::to_json(*report)) : Context::write(describe_eval(*report));
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
