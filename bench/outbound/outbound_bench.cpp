// A sync of a whole store into a PostgreSQL of its own, against a plain COPY of the same rows into tables with the same
// indexes.
//   annal_bench_outbound [--memories 100000] [--dimension 384] [--slice 5000] [--json FILE]
// --dimension 0: memories without vectors.
// The two take turns, a slice each, so that neither has the better graph or the better hour. Each slice's rate is told
// by the clock, and by the processor time of this process and the server together, for a machine that is not quiet: the
// sync takes turns, too, reading a batch and having it written, so that neither hides the other.
#include "support/current.h"
#include "support/generated.h"
#include "support/postgres_server.h"
#include "support/report.h"
#include "support/temp_dir.h"

#include "adapters/outbound/postgres_sink.h"
#include "adapters/outbound/sync.h"

#include <annal/engine.h>

#include <CLI/CLI.hpp>

#include <libpq-fe.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>

namespace annal::bench {
namespace {

constexpr std::size_t text_bytes = 250;
constexpr const char* synced = "synced";
constexpr const char* copied = "copied";

struct Options {
    std::size_t memories = 100'000;
    std::size_t dimension = 384;
    std::size_t slice = 5000;
    std::string json;
};

[[noreturn]] void give_up(const std::string& why) {
    std::cerr << why << '\n';
    std::exit(1);
}

std::unique_ptr<Engine> filled_engine(const std::filesystem::path& directory, const Options& options) {
    auto engine = must(Engine::open({.directory = directory}));
    TextMaker maker(1);
    const auto vectors = clustered_vectors(options.memories, options.dimension, 1000, 3);
    std::vector<RecordRequest> batch;
    for (std::size_t i = 0; i < options.memories; ++i) {
        RecordRequest request{.scope = {.project = "bench", .agent = {}, .user = {}, .session = {}},
                              .content = maker.text(text_bytes)};
        if (options.dimension > 0) {
            const float* row = &vectors[i * options.dimension];
            request.embedding = Embedding{"bench", std::vector<float>(row, row + options.dimension)};
        }
        request.context.durability = Durability::buffered;
        batch.push_back(std::move(request));
        if (batch.size() == 256 || i + 1 == options.memories) {
            must(engine->record_batch(batch));
            batch.clear();
        }
    }
    wait_until_current(*engine);
    return engine;
}

class Connection {
 public:
    explicit Connection(const std::string& text) : connection_(PQconnectdb(text.c_str())) {
        if (PQstatus(connection_) != CONNECTION_OK) give_up(PQerrorMessage(connection_));
    }
    ~Connection() { PQfinish(connection_); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    std::vector<std::string> column(const std::string& sql) {
        PGresult* const result = PQexec(connection_, sql.c_str());
        const auto status = PQresultStatus(result);
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) give_up(PQerrorMessage(connection_));
        std::vector<std::string> values;
        for (int i = 0; i < PQntuples(result); ++i) values.emplace_back(PQgetvalue(result, i, 0));
        PQclear(result);
        return values;
    }
    std::string copy_out(const std::string& sql) {
        PQclear(PQexec(connection_, sql.c_str()));
        std::string bytes;
        char* piece = nullptr;
        for (int size = 0; (size = PQgetCopyData(connection_, &piece, 0)) > 0; PQfreemem(piece))
            bytes.append(piece, static_cast<std::size_t>(size));
        end_copy();
        return bytes;
    }
    void copy_in(const std::string& sql, std::string_view bytes) {
        PQclear(PQexec(connection_, sql.c_str()));
        while (!bytes.empty()) {
            const auto piece = bytes.substr(0, 65'536);
            if (PQputCopyData(connection_, piece.data(), static_cast<int>(piece.size())) != 1)
                give_up(PQerrorMessage(connection_));
            bytes.remove_prefix(piece.size());
        }
        if (PQputCopyEnd(connection_, nullptr) != 1) give_up(PQerrorMessage(connection_));
        end_copy();
    }

 private:
    void end_copy() {
        while (PGresult* const result = PQgetResult(connection_)) {
            if (PQresultStatus(result) != PGRES_COMMAND_OK) give_up(PQerrorMessage(connection_));
            PQclear(result);
        }
    }
    PGconn* connection_;
};

std::unique_ptr<Sink> sink_in(const testing::PostgresServer& server, const std::string& schema) {
    PostgresOptions options;
    options.connection = server.connection();
    options.schema = schema;
    options.on_message = [](std::string_view, std::string_view message) { std::cerr << message << '\n'; };
    return make_postgres_sink(options);
}

// Of a process and those of its children that have ended; of `all`, the others, too.
double cpu_seconds_of_process(const std::string& pid, bool all) {
    std::ifstream stat("/proc/" + pid + "/stat");
    std::string text{std::istreambuf_iterator<char>(stat), {}};
    std::istringstream fields(text.substr(text.rfind(')') + 2));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    double ticks = 0;
    for (int i = 0; i < 4; ++i) {
        double more = 0;
        fields >> more;
        ticks += more;
    }
    double seconds = ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
    std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
    for (std::string child; all && children >> child;) seconds += cpu_seconds_of_process(child, false);
    return seconds;
}

// By the clock, and of the processor.
struct Cost {
    double wall = 0;
    double cpu = 0;
};

template <class Work>
Cost cost_of(const std::string& server_pid, Work&& work) {
    const auto used = [&] {
        timespec time{};
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec) +
               cpu_seconds_of_process(server_pid, true);
    };
    const auto before = used();
    const auto wall = seconds_of(work);
    return {wall, used() - before};
}

// Until the event is there, and what else was under way.
Cost sync_up_to(SyncRunner& runner, Seq seq, const std::string& server_pid) {
    return cost_of(server_pid, [&] {
        must(runner.resume("bench"));
        must(runner.wait_for("bench", seq, std::chrono::hours(2)));
        must(runner.pause("bench"));
    });
}

// The same tables and indexes, empty.
void make_twin(Connection& connection, const testing::PostgresServer& server) {
    must(sink_in(server, copied)->take_over("bench"));
    for (auto index : connection.column("SELECT indexdef FROM pg_indexes WHERE schemaname = 'synced' AND tablename = "
                                        "'notes' AND indexdef LIKE '%hnsw%'")) {
        const auto at = index.find(" ON synced.");
        index.replace(at, std::strlen(" ON synced."), " ON copied.");
        connection.column(index);
    }
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app("A sync of a whole store into a PostgreSQL, against a plain COPY of the same rows");
    app.add_option("--memories", options.memories)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--dimension", options.dimension, "0: memories without vectors")->capture_default_str();
    app.add_option("--slice", options.slice)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--json", options.json, "A file for the rows");
    CLI11_PARSE(app, argc, argv);
    if (!testing::PostgresServer::programs()) give_up("PostgreSQL is not installed");
    // Both graphs fit, as they do on a server that is there to search them.
    testing::PostgresServer server(testing::PostgresServer::Sync::off, {"shared_buffers=1GB", "max_wal_size=8GB"});
    Connection connection(server.connection());
    connection.column("SET client_min_messages = error");
    testing::TempDir dir;
    const auto engine = filled_engine(dir.path() / "store", options);
    std::string server_pid;
    std::ifstream(connection.column("SHOW data_directory").at(0) + "/postmaster.pid") >> server_pid;
    const auto runner = must(SyncRunner::start(*engine));
    must(runner->add("bench", sink_in(server, synced), true));
    std::string columns;
    std::vector<double> ours, peer, ratios;
    double ours_cpu = 0, peer_cpu = 0;
    for (Seq at{}; at < engine->head();) {
        const Seq wanted{std::min(at.value + options.slice, engine->head().value)};
        const auto sync = sync_up_to(*runner, wanted, server_pid);
        if (at == Seq{}) {
            make_twin(connection, server);
            for (const auto& name :
                 connection.column("SELECT attname FROM pg_attribute WHERE attrelid = 'synced.notes'::regclass "
                                   "AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"))
                columns += (columns.empty() ? "" : ", ") + name;
        }
        const auto reached = runner->status().at(0).position->seq;
        const auto rows = connection.copy_out("COPY (SELECT " + columns + " FROM synced.notes WHERE seq > " +
                                              std::to_string(at.value) + " ORDER BY seq) TO STDOUT (FORMAT binary)");
        const auto copy = cost_of(server_pid, [&] {
            connection.copy_in("COPY copied.notes (" + columns + ") FROM STDIN (FORMAT binary)", rows);
        });
        const auto count = static_cast<double>(reached.value - at.value);
        at = reached;
        ours.push_back(count / sync.wall);
        peer.push_back(count / copy.wall);
        ratios.push_back(ours.back() / peer.back());
        ours_cpu += sync.cpu;
        peer_cpu += copy.cpu;
        std::printf("to %llu: sync %.0f rows/s, COPY %.0f rows/s, ratio %.2f; of processor time %.0f, %.0f, %.2f\n",
                    static_cast<unsigned long long>(at.value), ours.back(), peer.back(), ratios.back(),
                    count / sync.cpu, count / copy.cpu, copy.cpu / sync.cpu);
        std::fflush(stdout);
    }
    const std::string same = "SELECT (SELECT count(*) FROM synced.notes) = (SELECT count(*) FROM copied.notes)";
    if (connection.column(same).at(0) != "t") give_up("the two do not hold the same rows");
    const auto what = std::to_string(options.memories) + " memories, " +
                      (options.dimension > 0 ? std::to_string(options.dimension) + " floats" : "no vectors");
    const auto count = static_cast<double>(options.memories);
    const std::vector<Row> rows{
        {"sync / COPY, " + what + ", a slice", median(ours), median(peer), "rows/s", median(ratios), 0.7},
        {"... all, in processor time", count / ours_cpu, count / peer_cpu, "rows/s", peer_cpu / ours_cpu, 0.7}};
    print(rows);
    return options.json.empty() || write_json(rows, options.json) ? 0 : 1;
}

}  // namespace
}  // namespace annal::bench

int main(int argc, char** argv) {
    return annal::bench::run(argc, argv);
}
