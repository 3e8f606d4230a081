// The engine that the crash tests kill, in a process of its own.
//   run STORE KEY SEED USERS BACKUPS CLOCK FROM...
//       One writer a FROM, which goes on at that step of the workload; says
//           open HEAD
//           ack WRITER STEP SEQ EVENTS HASH MICROSECONDS     of the step's first event; the hash of its last
//           backup ID SEQ ROOT
//           wrong WORDS                                      an answer that is not what was written; ends with 4
//           error CODE WORDS                                 ends with 3
//       and waits for a byte after each line but the first, before anything else is said. Ends with its input.
//   check STORE KEY SIZE
//       Opens the store and reads every file and event of its log; says "ok HEAD ROOT", of the tree over SIZE events,
//       "found CHECK" or "error CODE HEAD ACKNOWLEDGED".
// KEY and BACKUPS: a path, or "-". USERS: 0 or 1. CLOCK: seconds the clock is off at first; it steps by an hour at
// will.
#include "workload.h"

#include "events/hex.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr std::uint64_t steps_between_backups = 400;

class SteppingClock final : public Clock {
 public:
    Timestamp now() override { return {system_clock().now().us + offset_us_.load()}; }
    void step(std::int64_t seconds) { offset_us_ = seconds * 1'000'000; }

 private:
    std::atomic<std::int64_t> offset_us_ = 0;
};

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

// Nobody goes on before the line was recorded.
void say_and_wait(const std::string& line) {
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    say(line);
    if (std::getchar() == EOF) std::_Exit(0);
}

[[noreturn]] void end(const std::string& line, int code) {
    say_and_wait(line);
    std::_Exit(code);
}

[[noreturn]] void end(const Error& error, std::string_view doing) {
    end("error " + std::string(to_string(error.code)) + " " + std::string(doing) + ": " + error.message, 3);
}

EngineOptions options_for(const std::string& store, const std::string& key) {
    EngineOptions options;
    options.directory = store;
    if (key != "-") options.root_key_file = key;
    return options;
}

bool has(const SearchAnswer& answer, const MemoryId& id) {
    for (const auto& hit : answer.hits)
        if (hit.memory.id == id) return true;
    return false;
}

// What was just written is read, or is gone, by whoever waits for its seq.
void read_back(Engine& engine, const Workload& workload, Step step, Seq seq) {
    const auto expected = workload.written(step);
    if (!expected) return;
    const ReadOptions now{.min_seq = seq, .wait_max = std::chrono::minutes(5)};
    const auto read = engine.get(expected->scope, expected->id, now);
    if (!read && (!expected->forgotten || read.error().code != ErrorCode::not_found)) end(read.error(), "get");
    if (read && (expected->forgotten || read->content.find(expected->word) == std::string::npos))
        end("wrong get after " + Workload::name(step, 0), 4);
    SearchRequest request;
    request.scope = {.project = expected->scope.project, .agent = {}, .user = {}, .session = {}};
    request.text = expected->word;
    request.mode = SearchMode::text;
    request.min_seq = seq;
    request.wait_max = now.wait_max;
    const auto found = engine.search(request);
    if (!found) end(found.error(), "search");
    if (has(*found, expected->id) == expected->forgotten) end("wrong search after " + Workload::name(step, 0), 4);
}

void read_others(Engine& engine, const Workload& workload, Step step) {
    const auto draw = workload.random(step, 7);
    const Scope scope{.project = "p" + std::to_string(draw % 3), .agent = {}, .user = {}, .session = {}};
    const Seq head = engine.head();
    ListRequest list{.scope = scope, .limit = 20};
    if (head > Seq{0} && draw % 2 == 0) list.read.as_of = Seq{1 + draw % head.value};
    const auto page = engine.list(list);
    if (!page && page.error().code != ErrorCode::deadline_exceeded) end(page.error(), "list");
    SearchRequest request;
    request.scope = scope;
    request.text = "checkout timeout";
    request.vector = Embedding{"m", std::vector<float>(16, 1.0F)};
    if (draw % 3 == 0) request.as_of = list.read.as_of;
    const auto found = engine.search(request);
    if (!found && found.error().code != ErrorCode::deadline_exceeded) end(found.error(), "search");
}

void back_up(Engine& engine, const std::string& directory) {
    const auto made = engine.backup(directory, 3);
    if (!made) end(made.error(), "backup");
    say_and_wait("backup " + std::to_string(made->id) + " " + std::to_string(made->seq.value) + " " +
                 to_hex(made->root));
}

int run(int argc, char** argv) {
    SteppingClock clock;
    auto options = options_for(argv[2], argv[3]);
    const Workload workload(std::strtoull(argv[4], nullptr, 10), argv[5][0] == '1');
    const std::string backups = argv[6];
    clock.step(std::strtoll(argv[7], nullptr, 10));
    options.clock = &clock;
    auto engine = Engine::open(std::move(options));
    if (!engine) end(engine.error(), "open");
    say("open " + std::to_string((*engine)->head().value));

    const auto write_from = [&](std::uint64_t writer, std::uint64_t from) {
        for (Step step{writer, from};; ++step.number) {
            const auto begun = std::chrono::steady_clock::now();
            const auto receipts = workload.write(**engine, step);
            const auto taken = std::chrono::steady_clock::now() - begun;
            if (!receipts) end(receipts.error(), Workload::name(step, 0));
            const auto us = std::chrono::duration_cast<std::chrono::microseconds>(taken).count();
            say_and_wait("ack " + std::to_string(writer) + " " + std::to_string(step.number) + " " +
                         std::to_string(receipts->front().seq.value) + " " + std::to_string(receipts->size()) + " " +
                         to_hex(receipts->back().hash) + " " + std::to_string(us));
            if (workload.random(step, 5) % 4 == 0 && !receipts->front().replayed)
                read_back(**engine, workload, step, receipts->back().seq);
            if (workload.random(step, 6) % 16 == 0) read_others(**engine, workload, step);
            if (const auto seconds = workload.clock_after(step)) clock.step(*seconds);
            if (writer == 0 && backups != "-" && step.number % steps_between_backups == 0) back_up(**engine, backups);
        }
    };
    std::vector<std::thread> writers;
    for (int i = 8; i < argc; ++i)
        writers.emplace_back(write_from, static_cast<std::uint64_t>(i - 8), std::strtoull(argv[i], nullptr, 10));
    for (auto& writer : writers) writer.join();
    return 0;
}

int check(char** argv) {
    auto options = options_for(argv[2], argv[3]);
    options.create_if_missing = false;
    options.scrub_bytes_per_second = 0;
    const auto engine = Engine::open(std::move(options));
    if (!engine) {
        const auto detail = [&](const char* name) {
            const auto found = engine.error().details.find(name);
            return found == engine.error().details.end() ? std::string("-") : found->second;
        };
        say("error " + std::string(to_string(engine.error().code)) + " " + detail("head") + " " +
            detail("acknowledged"));
        return 3;
    }
    const auto report = (*engine)->verify({.projections = false});
    if (!report) {
        say("found " + std::string(to_string(report.error().code)));
        return 0;
    }
    for (const auto& each : report->checks)
        if (each.state == Check::State::failed) {
            say("found " + each.name);
            return 0;
        }
    const auto root = (*engine)->root(Seq{std::strtoull(argv[4], nullptr, 10)});
    say("ok " + std::to_string((*engine)->head().value) + " " + (root ? to_hex(*root) : "-"));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "run" && argc > 8) return run(argc, argv);
    if (command == "check" && argc == 5) return check(argv);
    std::fprintf(stderr, "annal_engine_child: see tests/crash/engine_child.cpp\n");
    return 2;
}
