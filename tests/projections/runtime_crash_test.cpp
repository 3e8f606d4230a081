#include "ledger.h"
#include "support/child_process.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <fstream>
#include <random>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t child_events = 3000;
constexpr std::uint64_t child_step = 50;

std::string child_argument() {
    const char* given = std::getenv(ChildProcess::argument_name);
    return given == nullptr ? std::string() : given;
}

std::vector<fs::path> files_of(const fs::path& directory) {
    std::vector<fs::path> files;
    for (const auto& file : fs::directory_iterator(directory))
        if (file.is_regular_file() && file.file_size() > 0) files.push_back(file.path());
    std::sort(files.begin(), files.end());
    return files;
}

}  // namespace

// Follows the log of a directory in small batches and tells of each `child_step` events it has applied. The parent
// kills it.
TEST_CASE("child: follow and be killed", "[.child]") {
    if (child_argument().empty()) SKIP("started by another test");
    const fs::path directory = child_argument();
    const auto log = EventLog::open({.directory = directory / "log", .create_if_missing = false});
    REQUIRE(log);
    ViewStoreOptions options{.directory = directory / "views"};
    if (fs::exists(directory / "bulk")) options.bulk_bytes_min = 1;
    Views views(options);
    Ledger ledger;
    const auto runtime = run(**log, views, {&ledger}, {.batch_events_max = 7});
    for (std::uint64_t seq = child_step; seq <= child_events; seq += child_step) {
        REQUIRE(runtime->wait_for("ledger", Seq{seq}, long_enough));
        REQUIRE(write(ChildProcess::news_fd, "+", 1) == 1);
    }
}

TEST_CASE("after a kill at any time the state is the fold of the events up to its checkpoint", "[runtime][crash]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const TempDir temp;
    {
        const auto log = EventLog::open({.directory = temp.path() / "log"});
        REQUIRE(log);
        grow(**log, child_events);
    }
    int killed_midway = 0;
    for (int trial = 0; trial < trials(1'000); ++trial) {
        if (trial % 2 == 1)  // Batches as rows, and as files.
            std::ofstream(temp.path() / "bulk");
        else
            fs::remove(temp.path() / "bulk");
        {
            ChildProcess child("child: follow and be killed", temp.path().string());
            for (auto news = random() % 12; news > 0 && child.next_news(); --news) continue;
            child.kill_now();
        }
        const auto found = [&] {
            Views views(temp.path() / "views");
            CHECK(views.store->recovered().empty());
            const auto space = views.store->space("ledger");
            REQUIRE(space);
            return read_ledger(**space);
        }();
        REQUIRE(found);
        CHECK(found->sum == sum_up_to(found->applied));
        CHECK(found->rows == found->sum);
        if (found->applied > Seq{0} && found->applied < Seq{child_events}) ++killed_midway;
        if (found->applied >= Seq{child_events}) fs::remove_all(temp.path() / "views");  // From the start again.
    }
    CHECK(killed_midway > 0);
}

// Rebuilds again and again, and tells of each step of it. The parent kills it.
TEST_CASE("child: rebuild and be killed", "[.child]") {
    if (child_argument().empty()) SKIP("started by another test");
    const fs::path directory = child_argument();
    const auto log = EventLog::open({.directory = directory / "log", .create_if_missing = false});
    REQUIRE(log);
    Views views(directory / "views");
    Ledger ledger;
    const auto runtime = run(**log, views, {&ledger}, {.batch_events_max = 500});
    for (;;) {
        REQUIRE(runtime->rebuild("ledger", [](Seq, Seq) { REQUIRE(write(ChildProcess::news_fd, "+", 1) == 1); }));
        REQUIRE(write(ChildProcess::news_fd, "!", 1) == 1);
    }
}

TEST_CASE("after a kill at any time of a rebuild, one whole generation answers", "[runtime][crash]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const TempDir temp;
    const auto log = [&] {
        auto opened = EventLog::open({.directory = temp.path() / "log"});
        REQUIRE(opened);
        return *std::move(opened);
    };
    {
        const auto filled = log();
        grow(*filled, child_events);
        Views views(temp.path() / "views");
        Ledger ledger;
        REQUIRE(run(*filled, views, {&ledger})->wait_for("ledger", Seq{child_events}, long_enough));
    }
    std::uint64_t generation = 1;
    int generations_begun = 0;
    for (int trial = 0; trial < trials(12); ++trial) {
        {
            ChildProcess child("child: rebuild and be killed", temp.path().string());
            for (auto news = random() % 16; news > 0 && child.next_news(); --news) continue;
            child.kill_now();
        }
        Views views(temp.path() / "views");
        CHECK(views.store->recovered().empty());
        const auto space = views.store->space(space_of(*views.store, "ledger"));
        REQUIRE(space);
        const auto found = read_ledger(**space);
        REQUIRE(found);
        CHECK(found->applied == Seq{child_events});  // Before anything is replayed.
        CHECK(found->sum == sum_up_to(found->applied));
        CHECK(found->rows == found->sum);
        Ledger ledger;
        const auto opened = log();
        const auto runtime = run(*opened, views, {&ledger});
        CHECK(ledger.resets == 0);
        const auto status = runtime->status().front();
        CHECK(status.note.empty());
        CHECK(status.generation >= generation);
        generations_begun += status.generation != generation;
        generation = status.generation;
        auto spaces = views.store->spaces();
        std::erase(spaces, generations_space);
        CHECK(spaces.size() == 1);
    }
    if (trials(12) >= 12) CHECK(generations_begun > 0);  // Else the kills came too early to say much.
}

// Opens views that may be damaged, follows the log to its end, and looks at all it has.
TEST_CASE("child: open damaged views", "[.child]") {
    if (child_argument().empty()) SKIP("started by another test");
    MemoryEventLog log;
    grow(log, child_events + 10);
    Views views(child_argument());
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger});
    const auto space = views.store->space("ledger");
    REQUIRE(space);
    // Damage may show itself only here; the answer is an error then, and the view is built anew.
    for (int tries = 0;; ++tries) {
        REQUIRE(tries < 1000);
        const auto reached = runtime->wait_for("ledger", log.head(), long_enough);
        const auto found = read_ledger(**space);
        if (!reached || !found || found->applied < log.head()) continue;
        CHECK(found->sum == sum_up_to(log.head()));
        CHECK(found->rows == found->sum);
        break;
    }
    const auto status = runtime->status().front();
    CHECK(status.state == "running");
    // The exact state again: it was found whole, or was built anew and says so.
    const bool anew = !status.note.empty();
    REQUIRE(write(ChildProcess::news_fd, anew ? "a" : "w", 1) == 1);
}

TEST_CASE("damaged views are found out and built anew", "[views][crash]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const TempDir temp;
    const auto whole = temp.path() / "whole";
    const auto damaged = temp.path() / "damaged";
    {
        MemoryEventLog log;
        grow(log, child_events);
        Views views(whole);
        Ledger ledger;
        REQUIRE(run(log, views, {&ledger})->wait_for("ledger", log.head(), long_enough));
    }
    const auto files = files_of(whole / "keys");
    REQUIRE(files.size() >= 4);  // CURRENT, IDENTITY, MANIFEST, OPTIONS, and a table.
    const auto count = static_cast<std::size_t>(trials(12));
    for (std::size_t trial = 0; trial < count; ++trial) {
        fs::remove_all(damaged);
        fs::copy(whole, damaged, fs::copy_options::recursive);
        const auto& victim = files[trial % files.size()];
        const auto at = random() % fs::file_size(victim);
        INFO(victim.filename() << " at " << at);
        {
            std::fstream file(damaged / "keys" / victim.filename(), std::ios::in | std::ios::out | std::ios::binary);
            file.seekg(static_cast<std::streamoff>(at));
            const auto byte = static_cast<char>(file.get() ^ (1 << random() % 8));
            file.seekp(static_cast<std::streamoff>(at));
            file.put(byte);
            REQUIRE(file.good());
        }
        ChildProcess child("child: open damaged views", damaged.string());
        CHECK(child.next_news());
        CHECK(child.wait() == 0);
    }
}
