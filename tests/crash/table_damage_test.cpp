// Flipped bits in the tables of a log. ANNAL_TRIALS (tests/support/seed.h) scales the 40 trials. Damaged stores are
// opened by another process: a RocksDB built with assertions may abort on them.
#include "child_process.h"
#include "damage.h"
#include "support/seed.h"
#include "support/temp_dir.h"
#include "workload.h"

#include <catch2/catch_test_macros.hpp>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

constexpr int table_trials_default = 40;
constexpr std::uint64_t steps = 200;

}  // namespace

TEST_CASE("a flipped bit in any table of a log is refused or found, and ends no process", "[crash][damage]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    TempDir dir;
    const auto whole = dir.path() / "whole", damaged = dir.path() / "damaged";
    const Workload workload(seed, false);
    for (std::uint64_t part = 0; part < 2; ++part) {  // Each close leaves tables.
        auto engine = Engine::open({.directory = whole});
        REQUIRE(engine);
        for (std::uint64_t step = part * steps; step < (part + 1) * steps; ++step)
            REQUIRE(workload.write(**engine, {0, step}));
    }
    for (int trial = 0; trial < trials(table_trials_default); ++trial) {
        fs::remove_all(damaged);
        fs::create_directories(damaged);
        fs::copy(whole / "log", damaged / "log");
        fs::copy(whole / "keys", damaged / "keys");
        const auto tables = tables_of(damaged / "log");
        REQUIRE(tables.size() >= 2);
        const auto& table = tables[random() % tables.size()];
        flip_bit(table, random, 64);  // In its last bytes not every bit says something.
        ChildProcess child({ANNAL_ENGINE_CHILD, "check", damaged, "-", "1"});
        const auto line = child.read_line().value_or("nothing");
        const int ended = child.wait();
        INFO("trial " << trial << ", " << table.filename() << ": " << line << ", ended with " << ended);
        CHECK(ended < 1000);
        CHECK((line.starts_with("found ") || line.starts_with("error data_loss")));
    }
}
