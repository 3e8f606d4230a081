// kill -9 under load, and the retries that follow it. ANNAL_TRIALS (tests/support/seed.h) scales the 200 kills.
#include "child_process.h"
#include "support/log_fixture.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <random>
#include <set>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr int kills_default = 200;

}  // namespace

TEST_CASE("kill -9 takes nothing acknowledged, and retries append nothing twice", "[crash]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    TempDir dir;
    const auto where = dir.path() / "log";
    std::map<std::uint64_t, std::uint64_t> acknowledged;  // Item to seq. Recorded before the child goes on.
    std::uint64_t next = 0;
    const int kills = trials(kills_default);
    for (int trial = 0; trial <= kills; ++trial) {
        const bool last = trial == kills;
        // Some of what was acknowledged is tried again, as a client does that lost the answer.
        const std::uint64_t from = next - std::min<std::uint64_t>(next, random() % 5);
        const std::uint64_t acks = 1 + random() % 60;
        const auto spin = std::chrono::microseconds(random() % 1500);
        {
            ChildProcess child({ANNAL_LOG_CHILD, "append", where, std::to_string(from), std::to_string(next + 80)});
            for (std::uint64_t seen = 0; last || seen < acks; ++seen) {
                const auto line = child.read_line();
                if (!line) break;
                unsigned long long item = 0, seq = 0;
                if (std::sscanf(line->c_str(), "ack %llu %llu", &item, &seq) != 2) FAIL(*line);
                const auto [entry, fresh] = acknowledged.emplace(item, seq);
                if (!fresh) CHECK(entry->second == seq);
                next = std::max<std::uint64_t>(next, item + 1);
                child.go_on();
            }
            if (last) {
                CHECK(child.wait() == 0);
            } else {
                for (const auto until = std::chrono::steady_clock::now() + spin;
                     std::chrono::steady_clock::now() < until;)
                    continue;
                child.kill_now();
                child.wait();
            }
        }

        EventLogOptions options;
        options.directory = where;
        const auto log = EventLog::open(options);
        if (!log) FAIL("trial " << trial << ": " << log.error().message);
        const auto all = read_all(**log);
        if (!all) FAIL("trial " << trial << ": " << all.error().message);
        std::map<MemoryId, std::uint64_t> versions;
        std::set<std::string> contents;
        for (std::size_t i = 0; i < all->size(); ++i) {
            const auto& event = (*all)[i];
            if (event.seq != Seq{i + 1} || event.version != Version{++versions[event.memory]})
                FAIL("trial " << trial << ": not dense at " << i + 1);
            if (!contents.insert(event.content.substr(0, event.content.find_last_not_of('.') + 1)).second)
                FAIL("trial " << trial << ": twice: " << event.content.substr(0, 20));
        }
        for (const auto& [memory, version] : versions)
            if ((*log)->stream_version("shop", memory)->value != version)
                FAIL("trial " << trial << ": a stream is not at the version of its last event");
        for (const auto& [item, seq] : acknowledged)
            for (std::uint64_t part = 0; part <= item % 3; ++part)
                if (seq + part > all->size() ||
                    (*all)[seq + part - 1].content.rfind(std::to_string(item) + "." + std::to_string(part), 0) != 0)
                    FAIL("trial " << trial << ": acknowledged item " << item << " is not at seq " << seq + part);
        std::uint64_t parts = 0;
        for (std::uint64_t item = 0; item < next; ++item) parts += item % 3 + 1;
        if (last) CHECK(all->size() == parts);
    }
}
