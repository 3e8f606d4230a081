// The engine as a whole against what a user would build from parts, in one process, run after run.
//   annal_bench_engine [--memories 100000] [--rounds 3] [--only
//   rebuild_text,rebuild_all,open,hybrid,as_of,bytes] [--json FILE] [--clock wall|cpu]
// --clock: of the searches as of a seq; cpu is the searching thread's own time, for a machine that is not quiet.
#include "fts5.h"

#include "support/current.h"
#include "support/generated.h"
#include "support/report.h"
#include "support/temp_dir.h"
#include "vectors/raw_hnswlib.h"

#include <annal/engine.h>

#include <CLI/CLI.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>
#include <utility>

namespace annal::bench {
namespace {

constexpr std::size_t dimension = 384;
constexpr std::size_t text_bytes = 250;
const Scope scope{.project = "bench", .agent = {}, .user = {}, .session = {}};

struct Options {
    std::size_t memories = 100'000;
    int rounds = 3;
    std::vector<std::string> only;
    std::string json;
    std::string clock = "wall";
    bool runs(const std::string& name) const { return only.empty() || std::ranges::find(only, name) != only.end(); }
};

std::unique_ptr<Engine> open(const std::filesystem::path& directory) {
    return must(Engine::open({.directory = directory}));
}

// Nothing works in the background any more, compactions included: the process takes no processor time.
void wait_until_quiet() {
    const auto used = [] {
        timespec time{};
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    };
    for (auto before = used();;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        if (const auto now = used(); now - std::exchange(before, now) < 0.01) return;
    }
}

struct Data {
    std::vector<std::string> texts;
    std::vector<float> vectors;  // Empty: texts alone.
    std::vector<float> queries;
    std::vector<std::string> questions;
};

Data make_data(std::size_t count) {
    Data data;
    TextMaker maker(1);
    for (std::size_t i = 0; i < count; ++i) data.texts.push_back(maker.text(text_bytes));
    TextMaker asker(2);
    for (int i = 0; i < 1000; ++i) {
        std::string question;
        for (int w = 0; w < 5; ++w) question += asker.word() + " ";
        data.questions.push_back(question);
    }
    data.vectors = clustered_vectors(count, dimension, 1000, 3);
    data.queries = clustered_vectors(1000, dimension, 1000, 4);
    return data;
}

void fill(Engine& engine, const Data& data, bool with_vectors) {
    constexpr std::size_t batch_size = 256;
    std::vector<RecordRequest> batch;
    for (std::size_t i = 0; i < data.texts.size(); ++i) {
        RecordRequest request{.scope = scope, .content = data.texts[i]};
        if (with_vectors) {
            const float* row = &data.vectors[i * dimension];
            request.embedding = Embedding{"bench", std::vector<float>(row, row + dimension)};
        }
        request.context.durability = Durability::buffered;
        batch.push_back(std::move(request));
        if (batch.size() == batch_size || i + 1 == data.texts.size()) {
            must(engine.record_batch(batch));
            batch.clear();
        }
    }
}

// Delete the views, open, and wait until all are current: what a user who lost them waits for.
double rebuild_seconds(const std::filesystem::path& store) {
    std::filesystem::remove_all(store / "views");
    std::unique_ptr<Engine> engine;
    const double seconds = seconds_of([&] {
        engine = open(store);
        wait_until_current(*engine);
    });
    return seconds;
}

void rebuild_text(const Options& options, const Data& data, std::vector<Row>& rows) {
    testing::TempDir dir;
    {
        auto engine = open(dir.path() / "store");
        fill(*engine, data, false);
    }
    std::vector<double> ours, peer;
    for (int round = 0; round < options.rounds; ++round) {
        const auto file = dir.path() / ("fts5-" + std::to_string(round));
        peer.push_back(static_cast<double>(data.texts.size()) / seconds_of([&] { fill_fts5(file, data.texts); }));
        ours.push_back(static_cast<double>(data.texts.size()) / rebuild_seconds(dir.path() / "store"));
    }
    rows.push_back({"rebuild MemoryView and TextIndex / SQLite FTS5", median(ours), median(peer), "rows/s",
                    median(ours) / median(peer), 1.5});
}

void rebuild_all(const Options& options, const Data& data, const std::filesystem::path& store, std::vector<Row>& rows) {
    const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    std::vector<double> ours, peer;
    for (int round = 0; round < options.rounds; ++round) {
        peer.push_back(seconds_of([&] { RawHnswlib(data.vectors, dimension, cores); }));
        ours.push_back(rebuild_seconds(store));
    }
    rows.push_back({"rebuild everything / hnswlib build, " + std::to_string(cores) + " cores", median(ours),
                    median(peer), "s", median(ours) / median(peer), 0.6, false});
}

SearchRequest request_of(const Data& data, std::size_t i, SearchMode mode) {
    SearchRequest request{.scope = scope, .text = data.questions[i % data.questions.size()], .mode = mode};
    if (mode != SearchMode::text) {
        const float* row = &data.queries[(i % 1000) * dimension];
        request.vector = Embedding{"bench", std::vector<float>(row, row + dimension)};
    }
    return request;
}

void open_to_first_answer(const Options& options, const Data& data, const std::filesystem::path& store,
                          std::vector<Row>& rows) {
    testing::TempDir dir;
    const auto file = dir.path() / "graph";
    RawHnswlib(data.vectors, dimension, std::max(1U, std::thread::hardware_concurrency())).save(file);
    std::vector<double> ours, peer;
    for (int round = 0; round < std::max(7, options.rounds); ++round) {
        peer.push_back(
            1e3 * seconds_of([&] { RawHnswlib(data.vectors, dimension, file).search(data.queries.data(), 10, 100); }));
        std::unique_ptr<Engine> engine;
        ours.push_back(1e3 * seconds_of([&] {
                           engine = open(store);
                           must(engine->search(request_of(data, 0, SearchMode::hybrid)));
                       }));
    }
    rows.push_back({"open to the first hybrid answer / hnswlib load and search", median(ours), median(peer), "ms",
                    median(ours) / median(peer), 2.0, false});
}

void hybrid(const Data& data, const std::filesystem::path& store, std::vector<Row>& rows) {
    auto engine = open(store);
    std::vector<double> us[3];
    for (std::size_t i = 0; i < 3000; ++i)
        for (const auto mode : {SearchMode::text, SearchMode::vector, SearchMode::hybrid}) {
            const auto request = request_of(data, i, mode);
            const double taken = 1e6 * seconds_of([&] { must(engine->search(request)); });
            if (i >= 500) us[static_cast<int>(mode)].push_back(taken);
        }
    const double text = median(us[static_cast<int>(SearchMode::text)]);
    const double vector = median(us[static_cast<int>(SearchMode::vector)]);
    const double both = median(us[static_cast<int>(SearchMode::hybrid)]);
    std::printf("search p50: text %.0f us, vector %.0f us, hybrid %.0f us\n", text, vector, both);
    rows.push_back(
        {"hybrid search p50 / text arm + vector arm", both, text + vector, "us", both / (text + vector), 1.3, false});
}

// A store in which each memory has so many versions, and the seqs it is read as of.
struct VersionedStore {
    testing::TempDir dir;
    std::unique_ptr<Engine> engine = open(dir.path() / "store");
    Seq first;
    std::uint64_t span = 1000;

    VersionedStore(const Data& data, unsigned versions) {
        fill(*engine, data, true);
        const auto count = data.texts.size();
        const auto recorded = engine->head();
        ListRequest request{.scope = scope, .order = ListOrder::oldest_first, .limit = 1000};
        request.read.min_seq = recorded;
        std::vector<MemoryId> ids;
        do {
            const auto page = must(engine->list(request));
            for (const auto& memory : page.memories) ids.push_back(memory.id);
            request.cursor = page.next_cursor;
        } while (!request.cursor.empty());
        for (unsigned version = 2; version <= versions; ++version)
            for (std::size_t i = 0; i < count; ++i) {
                ReviseRequest revision{.target = {.scope = scope, .memory_id = ids[i]}};
                const auto other = (i + version) % count;
                revision.content = data.texts[other];
                const float* row = &data.vectors[other * dimension];
                revision.embedding = Embedding{"bench", std::vector<float>(row, row + dimension)};
                revision.target.context.durability = Durability::buffered;
                must(engine->revise(revision));
            }
        wait_until_current(*engine);
        if (versions > 1) span = engine->head().value - recorded.value;
        first = versions > 1 ? recorded : Seq{recorded.value - span};
        engine.reset();  // What is in memory goes to disk: one version and ten are read from the same place.
        engine = open(dir.path() / "store");
        wait_until_current(*engine);
    }

    // As of a seq that was not asked for before; us.
    double search(const Options& options, SearchRequest request, std::size_t i) {
        request.as_of = Seq{first.value + i * 7919 % span};
        const auto work = [&] { must(engine->search(request)); };
        return 1e6 * (options.clock == "cpu" ? cpu_seconds_of(work) : seconds_of(work));
    }
};

void as_of(const Options& options, std::vector<Row>& rows) {
    const Data data = make_data(std::max<std::size_t>(options.memories / 10, 2000));
    VersionedStore once(data, 1);
    VersionedStore often(data, 10);
    wait_until_quiet();
    for (const auto mode : {SearchMode::text, SearchMode::vector}) {
        std::vector<double> once_us, often_us;
        for (std::size_t i = 0; i < 2000; ++i) {
            const auto request = request_of(data, i, mode);
            const double at_one = once.search(options, request, i);
            const double at_ten = often.search(options, request, i);
            if (i < 500) continue;  // Until the cache holds what it will.
            once_us.push_back(at_one);
            often_us.push_back(at_ten);
        }
        rows.push_back({std::string(search_mode_names[static_cast<std::size_t>(mode)]) +
                            " search as of a seq, ten versions / one version",
                        median(often_us), median(once_us), "us", median(often_us) / median(once_us), 2.0, false});
    }
}

std::uint64_t size_of(const std::filesystem::path& path) {
    std::uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
        if (entry.is_regular_file()) bytes += entry.file_size();
    return bytes;
}

// Anonymous memory of this process, bytes.
std::uint64_t private_memory() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("RssAnon:")) return std::strtoull(line.c_str() + 8, nullptr, 10) * 1024;
    return 0;
}

// Runs in a process of its own: only the store is in its memory.
int report_private_memory(const std::filesystem::path& store, std::size_t memories) {
    const Data data = make_data(memories / 1000);
    const std::uint64_t before = private_memory();
    auto engine = open(store);
    for (std::size_t i = 0; i < 1000; ++i) must(engine->search(request_of(data, i, SearchMode::hybrid)));
    std::printf("%llu\n", static_cast<unsigned long long>(private_memory() - before));
    return 0;
}

void bytes(const Options& options, const std::filesystem::path& store, std::vector<Row>& rows, const char* self) {
    const double raw = static_cast<double>(options.memories * (text_bytes + dimension * sizeof(float)));
    for (const auto& part : std::filesystem::recursive_directory_iterator(store))
        if (part.is_directory())
            std::printf("disk: %8.1f MB %s\n", static_cast<double>(size_of(part.path())) / 1e6,
                        part.path().lexically_relative(store).c_str());
    const auto command =
        std::string(self) + " --private-memory " + store.string() + " " + std::to_string(options.memories);
    std::FILE* child = popen(command.c_str(), "r");
    unsigned long long memory = 0;
    if (child == nullptr || std::fscanf(child, "%llu", &memory) != 1 || pclose(child) != 0) {
        std::cerr << "the process that measures memory failed\n";
        std::exit(1);
    }
    const auto disk = static_cast<double>(size_of(store));
    rows.push_back({"private memory / raw bytes", static_cast<double>(memory) / 1e6, raw / 1e6, "MB",
                    static_cast<double>(memory) / raw, 0.8, false});
    rows.push_back({"disk / raw bytes", disk / 1e6, raw / 1e6, "MB", disk / raw, 2.3, false});
}

int run(int argc, char** argv) {
    if (argc == 4 && std::string(argv[1]) == "--private-memory")
        return report_private_memory(argv[2], std::strtoull(argv[3], nullptr, 10));
    Options options;
    CLI::App app("The engine as a whole against what a user would build from parts, in one process");
    app.add_option("--memories", options.memories)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--rounds", options.rounds)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--only", options.only)
        ->delimiter(',')
        ->check(CLI::IsMember({"rebuild_text", "rebuild_all", "open", "hybrid", "as_of", "bytes"}));
    app.add_option("--json", options.json, "A file for the rows");
    app.add_option("--clock", options.clock, "Of the searches as of a seq; cpu on a machine that is not quiet")
        ->capture_default_str()
        ->check(CLI::IsMember({"wall", "cpu"}));
    CLI11_PARSE(app, argc, argv);
    const Data data = make_data(options.memories);
    std::vector<Row> rows;
    if (options.runs("rebuild_text")) rebuild_text(options, data, rows);
    testing::TempDir dir;
    const auto store = dir.path() / "store";
    if (options.runs("rebuild_all") || options.runs("open") || options.runs("hybrid") || options.runs("bytes")) {
        auto engine = open(store);
        fill(*engine, data, true);
        wait_until_current(*engine);
    }
    if (options.runs("rebuild_all")) rebuild_all(options, data, store, rows);
    if (options.runs("open")) open_to_first_answer(options, data, store, rows);
    if (options.runs("hybrid")) hybrid(data, store, rows);
    if (options.runs("as_of")) as_of(options, rows);
    if (options.runs("bytes")) bytes(options, store, rows, argv[0]);
    print(rows);
    return options.json.empty() || write_json(rows, options.json) ? 0 : 1;
}

}  // namespace
}  // namespace annal::bench

int main(int argc, char** argv) {
    return annal::bench::run(argc, argv);
}
