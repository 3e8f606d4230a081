// The log against RocksDB alone: interleaved pairs of runs in one process, medians and ratios.
//   annal_bench_log [--only few|many|batch|hashing|replay] [--rounds N] [--ms MILLISECONDS] [--dir DIRECTORY] [--json
//   FILE]
// The directory must be on a disk whose fsync is real; a directory in memory says nothing.
#include "raw_rocks.h"

#include "events/event_log.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

namespace annal::bench {
namespace {

using std::chrono::steady_clock;

struct Settings {
    int rounds = 9;
    std::chrono::milliseconds run{};
    std::filesystem::path directory = std::filesystem::temp_directory_path();
    std::string json;
    std::string only;
};

struct Row {
    std::string what, peer;
    double ours = 0, theirs = 0;  // Events per second, medians.
    double ratio = 0;             // Median of the pairs' ratios.
    double bar = 0;
};

[[noreturn]] void die(const Error& error) {
    std::fprintf(stderr, "annal: %s\n", error.message.c_str());
    std::abort();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

MemoryEvent plain_event(std::uint64_t number, std::size_t content_bytes) {
    MemoryEvent event;
    event.scope = {.project = "bench", .agent = "writer", .user = "", .session = ""};
    event.actor = "writer";
    MemoryRecorded body;
    body.content.resize(content_bytes);
    std::uint64_t state = number * 0x9E3779B97F4A7C15U + 1;  // Text of 32 letters: compresses somewhat, as text does.
    for (auto& c : body.content) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        c = "etaoinshrdlucmfwypvbgkqjxz ,.-'e"[state >> 59];
    }
    event.body = std::move(body);
    return event;
}

// A memory of its own for each number; ids grow with time, as those of UUID version 7 do.
EncodedEvent encode_as(MemoryEvent& event, std::uint64_t number) {
    for (std::size_t i = 0; i < 8; ++i) event.memory_id.bytes[i] = static_cast<std::uint8_t>(number >> (56 - 8 * i));
    event.event_id.bytes = event.memory_id.bytes;
    auto encoded = encode(event);
    if (!encoded) die(encoded.error());
    return *std::move(encoded);
}

EncodedEvent event_of(std::uint64_t number, std::size_t content_bytes) {
    auto event = plain_event(number, content_bytes);
    return encode_as(event, number);
}

// How long the content must be for the stored event to have `bytes`.
std::size_t content_for(std::size_t bytes) {
    std::size_t content = bytes;
    while (event_of(1, content).bytes.size() > bytes) content -= 8;
    return content;
}

std::string_view content_of(const MemoryEvent& event) {
    return std::get<MemoryRecorded>(event.body).content;
}

std::string_view view(const EncodedEvent& event) {
    return {reinterpret_cast<const char*>(event.bytes.data()), event.bytes.size()};
}

std::unique_ptr<EventLog> open_log(const std::filesystem::path& directory) {
    EventLogOptions options;
    options.directory = directory;
    auto log = EventLog::open(options);
    if (!log) die(log.error());
    return *std::move(log);
}

void append(EventLog& log, std::span<EncodedEvent> events, std::string_view key = {},
            Durability durability = Durability::synced) {
    std::vector<AppendItem> items;
    items.reserve(events.size());
    for (auto& event : events) items.push_back({ExpectedVersion::any(), &event});
    AppendBatch batch;
    batch.project = "bench";
    batch.items = items;
    batch.idempotency_key = key;
    batch.durability = durability;
    if (auto receipts = log.append(batch); !receipts) die(receipts.error());
}

// Events per second of `writers` threads that each call once() until the time is up. once() returns how many it wrote.
double rate(int writers, std::chrono::milliseconds run, const std::function<std::size_t()>& once) {
    std::atomic<bool> stop = false;
    std::atomic<std::size_t> written = 0;
    std::vector<std::thread> threads;
    const auto begin = steady_clock::now();
    for (int i = 0; i < writers; ++i)
        threads.emplace_back([&] {
            std::size_t mine = 0;
            while (!stop.load(std::memory_order_relaxed)) mine += once();
            written += mine;
        });
    std::this_thread::sleep_for(run);
    stop = true;
    for (auto& thread : threads) thread.join();
    return static_cast<double>(written.load()) / std::chrono::duration<double>(steady_clock::now() - begin).count();
}

Row pairs(const Settings& settings, std::string what, std::string peer, double bar, const std::function<double()>& ours,
          const std::function<double()>& theirs) {
    std::vector<double> our_rates, their_rates, ratios;
    ours(), theirs();  // Warm.
    for (int round = 0; round < settings.rounds; ++round) {
        const bool we_begin = round % 2 == 0;
        const double first = we_begin ? ours() : theirs();
        const double second = we_begin ? theirs() : ours();
        our_rates.push_back(we_begin ? first : second);
        their_rates.push_back(we_begin ? second : first);
        ratios.push_back(our_rates.back() / their_rates.back());
    }
    Row row{std::move(what), std::move(peer), median(our_rates), median(their_rates), median(ratios), bar};
    std::printf("%-48s %-34s %10.0f %10.0f %7.2f %5.2f %s\n", row.what.c_str(), row.peer.c_str(), row.ours, row.theirs,
                row.ratio, row.bar, row.ratio >= row.bar ? "" : "BELOW");
    std::fflush(stdout);
    return row;
}

struct Directories {  // Fresh ones for the two sides, removed at the end.
    explicit Directories(const Settings& settings) {
        std::string path = (settings.directory / "annal-bench-XXXXXX").string();
        if (mkdtemp(path.data()) == nullptr)
            die({ErrorCode::not_found, "--dir must name a directory that is there and can be written", {}});
        root = path;
    }
    ~Directories() {
        std::error_code ignored;
        std::filesystem::remove_all(root, ignored);
    }
    std::filesystem::path root;
};

Row appends(const Settings& settings, std::size_t bytes, int writers, double bar) {
    const Directories directories(settings);
    const auto log = open_log(directories.root / "annal");
    RawRocks raw(directories.root / "raw");
    const std::size_t content = content_for(bytes);
    std::atomic<std::uint64_t> next = 1, next_raw = 1;
    const std::string value(view(event_of(1, content)));
    return pairs(
        settings, std::to_string(bytes) + " B appends, " + std::to_string(writers) + " writers",
        writers >= 64 ? "RocksDB's group commit" : "RocksDB's synced put", bar,
        [&] {
            return rate(writers, settings.run, [&] {
                thread_local MemoryEvent event;
                if (content_of(event).size() != content) event = plain_event(next, content);
                auto encoded = encode_as(event, next++);
                append(*log, {&encoded, 1});
                return std::size_t{1};
            });
        },
        [&] {
            return rate(writers, settings.run, [&] {
                raw.put_synced(next_raw++, value);
                return std::size_t{1};
            });
        });
}

Row batches(const Settings& settings, std::size_t bytes) {
    const Directories directories(settings);
    const auto log = open_log(directories.root / "annal");
    RawRocks raw(directories.root / "raw");
    const std::size_t content = content_for(bytes);
    constexpr std::size_t size = 256;
    std::uint64_t next = 1, next_raw = 1;
    std::vector<EncodedEvent> ready;
    for (std::uint64_t i = 0; i < size; ++i) ready.push_back(event_of(i, content));
    std::vector<MemoryEvent> plain;
    for (std::uint64_t i = 0; i < size; ++i) plain.push_back(plain_event(i, content));
    return pairs(
        settings, std::to_string(bytes) + " B in batches of 256, all included", "RocksDB's synced batch put", 0.8,
        [&] {
            return rate(1, settings.run, [&] {
                std::vector<EncodedEvent> events;
                events.reserve(size);
                const std::string key = "key " + std::to_string(next);
                for (auto& event : plain) events.push_back(encode_as(event, next++));
                append(*log, events, key);
                return size;
            });
        },
        [&] {
            return rate(1, settings.run, [&] {
                std::vector<std::string_view> values;
                for (const auto& event : ready) values.push_back(view(event));
                raw.put_batch(next_raw, values, true);
                next_raw += size;
                return size;
            });
        });
}

// What hashing and signing cost: the log when all of it is done twice, against the log.
Row hashing(const Settings& settings, std::size_t bytes, int writers) {
    const Directories directories(settings);
    const std::size_t content = content_for(bytes);
    const auto open = [&](const std::filesystem::path& directory, unsigned repeats) {
        auto log = EventLog::open({.directory = directory, .hashing_repeats = repeats});
        if (!log) die(log.error());
        (*log)->sign_with(*SigningKey::from_seed("annal/bench", {}));
        return std::move(*log);
    };
    const auto once = open(directories.root / "once", 1), twice = open(directories.root / "twice", 2);
    const auto appends = [&](EventLog& log, std::atomic<std::uint64_t>& next) {
        return rate(writers, settings.run, [&] {
            thread_local MemoryEvent event;
            if (content_of(event).size() != content) event = plain_event(next, content);
            auto encoded = encode_as(event, next++);
            append(log, {&encoded, 1});
            return std::size_t{1};
        });
    };
    std::atomic<std::uint64_t> next_once = 1, next_twice = 1;
    return pairs(
        settings, std::to_string(bytes) + " B, hashing and signing twice, " + std::to_string(writers) + " writers",
        "once", 0.95, [&] { return appends(*twice, next_twice); }, [&] { return appends(*once, next_once); });
}

Row replay(const Settings& settings, std::size_t bytes, std::uint64_t count) {
    const Directories directories(settings);
    RawRocks raw(directories.root / "raw");
    const std::size_t content = content_for(bytes);
    auto log = open_log(directories.root / "annal");
    for (std::uint64_t next = 1; next <= count;) {
        std::vector<EncodedEvent> events;
        for (int i = 0; i < 500; ++i) events.push_back(event_of(next++, content));
        append(*log, events, {}, Durability::buffered);
        std::vector<std::string_view> values;
        for (const auto& event : events) values.push_back(view(event));
        raw.put_batch(next - 500, values, false);
    }
    log.reset();
    log = open_log(directories.root / "annal");
    raw.flush();
    const auto timed = [&](const auto& scan) {
        const auto begin = steady_clock::now();
        const std::uint64_t seen = scan();
        if (seen < count) std::abort();
        return static_cast<double>(seen) / std::chrono::duration<double>(steady_clock::now() - begin).count();
    };
    return pairs(
        settings, std::to_string(bytes) + " B replay into a counter", "iterator + FlatBuffers verifier", 0.5,
        [&] {
            return timed([&] {
                EventArena arena;
                std::vector<EventView> page;
                std::array<std::uint64_t, event_type_count + 1> by_type{};
                std::uint64_t seen = 0;
                for (Seq after{}; after < log->head(); after = page.back().seq()) {
                    arena.clear();
                    page.clear();
                    if (auto read = log->read(after, {}, arena, page); !read) die(read.error());
                    for (const auto& event : page) ++by_type[static_cast<std::size_t>(event.type())];
                    seen += page.size();
                }
                return seen;
            });
        },
        [&] { return timed([&] { return raw.scan_and_verify(); }); });
}

int run(int argc, char** argv) {
    Settings settings;
    std::int64_t milliseconds = 400;
    CLI::App app("The log against RocksDB alone: interleaved pairs of runs in one process, medians and ratios");
    app.add_option("--only", settings.only)->check(CLI::IsMember({"few", "many", "batch", "hashing", "replay"}));
    app.add_option("--rounds", settings.rounds)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--ms", milliseconds, "Each run")->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--dir", settings.directory, "On a disk whose fsync is real; a directory in memory says nothing")
        ->capture_default_str()
        ->check(CLI::ExistingDirectory);
    app.add_option("--json", settings.json, "A file for the rows");
    CLI11_PARSE(app, argc, argv);
    settings.run = std::chrono::milliseconds(milliseconds);
    std::printf("%-48s %-34s %10s %10s %7s %5s\n", "annal's log", "against", "ours /s", "theirs /s", "ratio", "bar");
    std::vector<Row> rows;
    const auto wanted = [&](std::string_view group) { return settings.only.empty() || settings.only == group; };
    for (const std::size_t bytes : {std::size_t{512}, std::size_t{2048}}) {
        if (wanted("few"))
            for (const int writers : {1, 8}) rows.push_back(appends(settings, bytes, writers, 0.9));
        if (wanted("many"))
            for (const int writers : {64, 256}) rows.push_back(appends(settings, bytes, writers, 2.0));
    }
    if (wanted("batch"))
        for (const std::size_t bytes : {std::size_t{512}, std::size_t{2048}}) rows.push_back(batches(settings, bytes));
    if (wanted("hashing"))
        for (const int writers : {1, 8, 64}) rows.push_back(hashing(settings, 512, writers));
    if (wanted("replay")) rows.push_back(replay(settings, 512, 200'000));

    if (!settings.json.empty()) {
        auto report = nlohmann::json::array();
        for (const auto& row : rows)
            report.push_back({{"what", row.what},
                              {"against", row.peer},
                              {"ours_per_second", row.ours},
                              {"theirs_per_second", row.theirs},
                              {"ratio", row.ratio},
                              {"bar", row.bar}});
        std::ofstream(settings.json) << report.dump(2) << '\n';
    }
    return std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.ratio >= row.bar; }) ? 0 : 1;
}

}  // namespace
}  // namespace annal::bench

int main(int argc, char** argv) {
    return annal::bench::run(argc, argv);
}
