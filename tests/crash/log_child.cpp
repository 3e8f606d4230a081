// What the crash tests run beside them.
//   append DIR FROM TO   appends item FROM up to, without, TO; says "ack ITEM SEQ" and waits for a line after each
//   check DIR            says "ok HEAD" once every event has been read, or "error CODE HEAD ACKNOWLEDGED"
//   fill DIR BALLAST     appends until the disk is full, reads all, removes BALLAST, goes on; says "ok FULL AFTER"
#include "support/log_fixture.h"

#include <signal.h>

#include <cstdio>
#include <cstdlib>

using namespace annal;
using namespace annal::testing;

namespace {

int say_error(const Error& error) {
    const auto detail = [&](const char* name) {
        const auto found = error.details.find(name);
        return found == error.details.end() ? std::string("-") : found->second;
    };
    std::printf("error %s %s %s\n", std::string(to_string(error.code)).c_str(), detail("head").c_str(),
                detail("acknowledged").c_str());
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return 3;
}

int append_items(EventLog& log, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t item = from; item < to; ++item) {
        std::vector<Note> notes;
        for (std::uint64_t part = 0; part <= item % 3; ++part)
            notes.push_back({memory_number((item + part) % 7),
                             std::to_string(item) + "." + std::to_string(part) + std::string(item * 37 % 1500, '.')});
        const auto receipts = append(log, notes, {.key = std::to_string(item), .request = 1});
        if (!receipts) return say_error(receipts.error());
        std::printf("ack %llu %llu\n", static_cast<unsigned long long>(item),
                    static_cast<unsigned long long>(receipts->at(0).seq.value));
        std::fflush(stdout);
        if (std::getchar() == EOF) return 0;
    }
    return 0;
}

int check(const EventLog& log) {
    const auto all = read_all(log);
    if (!all) return say_error(all.error());
    std::printf("ok %zu\n", all->size());
    return 0;
}

// Appends until refused; the contents taken are added to `taken`.
Error fill_up(EventLog& log, std::vector<std::string>& taken) {
    for (std::uint64_t i = 0;; ++i) {
        std::string content = std::to_string(taken.size()) + " ";
        std::uint64_t noise = i;
        while (content.size() < 60'000) {
            noise = noise * 6364136223846793005U + 1442695040888963407U;
            content += static_cast<char>('!' + (noise >> 58));
        }
        const auto receipts = append(log, {{memory_number(i % 5), content}});
        if (!receipts) return receipts.error();
        taken.push_back(std::move(content));
    }
}

bool holds(const EventLog& log, const std::vector<std::string>& taken) {
    const auto all = read_all(log);
    if (!all) return false;
    // An append whose outcome was not known may be there too: what was taken is there in its order.
    std::size_t found = 0;
    for (const auto& event : *all)
        if (found < taken.size() && event.content == taken[found]) ++found;
    return found == taken.size();
}

int fill(EventLog& log, const char* ballast) {
    std::vector<std::string> taken;
    for (int i = 0; i < 3; ++i) {
        const auto full = fill_up(log, taken);
        if (full.code != ErrorCode::resource_exhausted) return say_error(full);
        if (!holds(log, taken)) return 4;
    }
    const std::size_t when_full = taken.size();
    std::remove(ballast);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (bool resumed = false; !resumed;) {
        if (std::chrono::steady_clock::now() > deadline) return 5;
        if (append(log, {{memory_number(1), "there is room"}})) {
            taken.push_back("there is room");
            resumed = true;
        } else {
            log.wait_past(Seq{~std::uint64_t{0}}, std::chrono::milliseconds(20));
        }
    }
    if (!holds(log, taken)) return 6;
    std::printf("ok %zu %zu\n", when_full, taken.size());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    const std::string_view command = argv[1];
    EventLogOptions options;
    options.directory = argv[2];
    options.create_if_missing = command != "check";
    if (command == "fill") options.disk_free_bytes_min = 0;
    options.stream_rows_max = 16;                                   // So that rows of streams are written now and then,
    if (command == "append") options.journal_bytes_max = 32 << 10;  // and the next journal is begun;
    options.large_batch_bytes_min = 4 << 10;                        // and some rows are made while the disk syncs.
    auto log = EventLog::open(options);
    if (!log) return say_error(log.error());
    if (command == "append" && argc == 5)
        return append_items(**log, std::strtoull(argv[3], nullptr, 10), std::strtoull(argv[4], nullptr, 10));
    if (command == "check") return check(**log);
    if (command == "fill" && argc == 4) return fill(**log, argv[3]);
    return 2;
}
