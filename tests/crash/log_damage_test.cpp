// Damage to the log's journal; ANNAL_TRIALS scales the 240 trials. Damaged stores are opened by another process:
// a RocksDB built with assertions may abort on them.
#include "child_process.h"
#include "damage.h"
#include "support/log_fixture.h"
#include "support/seed.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <random>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

constexpr int trials_default = 240;  // Over all kinds of damage.
constexpr std::uint64_t events = 500;

// A log as a crash leaves it: copied while it is open, nobody writing.
class CrashedLog {
 public:
    CrashedLog() {
        EventLogOptions options;
        options.directory = dir_.path() / "live";
        auto log = *EventLog::open(options);
        for (std::uint64_t i = 0; i < events; ++i)
            REQUIRE(append(*log, {{memory_number(i % 40), std::to_string(i) + std::string(i * 31 % 700, 'x')}}));
        fs::copy(options.directory, image());
        REQUIRE(append(*log, {{memory_number(1), "never acknowledged, for all the witness knows"}}));
        const auto journal = journal_of(options.directory);
        longer_ = read_file(journal.path).substr(0, journal.used);
    }
    fs::path image() const { return dir_.path() / "image"; }
    const std::string& longer_journal() const { return longer_; }

 private:
    TempDir dir_;
    std::string longer_;
};

const CrashedLog& crashed_log() {
    static const CrashedLog log;
    return log;
}

// The live log's last write, cut short: of an append that nobody was told of.
void tear_tail(const fs::path& directory, std::mt19937_64& random) {
    const auto [path, used] = journal_of(directory);
    const std::string& longer = crashed_log().longer_journal();
    auto bytes = read_file(path);
    const auto end = used + 1 + random() % (longer.size() - used - 1);
    bytes.replace(used, end - used, longer, used, end - used);
    write_file(path, bytes);
}

struct Answer {
    int exit = 0;
    std::string line;
};

Answer check(const fs::path& directory) {
    ChildProcess child({ANNAL_LOG_CHILD, "check", directory});
    auto line = child.read_line();
    return {child.wait(), line.value_or("")};
}

using Inflict = std::function<void(const fs::path& directory, std::mt19937_64& random)>;
Inflict damage_journal(JournalHarm harm) {
    return [harm](const fs::path& directory, std::mt19937_64& random) { damage(journal_of(directory), harm, random); };
}

// How many of `count` damaged copies were refused; each is refused with the figures, or opened with every event.
int count_refused(const Inflict& inflict, int count, std::mt19937_64& random) {
    int refused = 0;
    for (int trial = 0; trial < count; ++trial) {
        TempDir dir;
        fs::copy(crashed_log().image(), dir.path() / "log");
        inflict(dir.path() / "log", random);
        const auto answer = check(dir.path() / "log");
        INFO("trial " << trial << ": " << answer.line << ", exit " << answer.exit);
        if (answer.line.rfind("ok ", 0) == 0) {
            CHECK(std::stoull(answer.line.substr(3)) >= events);
            continue;
        }
        ++refused;
        char code[64] = "", head[64] = "", acknowledged[64] = "";
        REQUIRE(std::sscanf(answer.line.c_str(), "error %63s %63s %63s", code, head, acknowledged) == 3);
        CHECK(std::string_view(code) == "data_loss");
        CHECK(std::string_view(acknowledged) == std::to_string(events));
        CHECK((std::string_view(head) == "unknown" || std::stoull(head) <= events));
        const auto again = check(dir.path() / "log");  // Refusing changed nothing.
        CHECK(again.line == answer.line);
    }
    return refused;
}

}  // namespace

TEST_CASE("damage to acknowledged events is refused with what is known, never opened short", "[crash][damage]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    const int each = std::max(1, trials(trials_default) / 5);
    CHECK(count_refused(damage_journal(JournalHarm::flip), each, random) == each);
    CHECK(count_refused(damage_journal(JournalHarm::zero_page), each, random) == each);
    CHECK(count_refused(damage_journal(JournalHarm::truncate), each, random) == each);
}

TEST_CASE("a torn tail that nobody was promised does not keep a log from opening", "[crash][damage]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    const int each = std::max(1, trials(trials_default) / 5);
    CHECK(count_refused(damage_journal(JournalHarm::garbage_tail), each, random) == 0);
    CHECK(count_refused(tear_tail, each, random) == 0);
}

TEST_CASE("a log whose files or witness are gone or damaged is refused, or said to be unwitnessed", "[crash][damage]") {
    TempDir dir;
    const auto copy = [&](const char* name) {
        fs::copy(crashed_log().image(), dir.path() / name);
        return dir.path() / name;
    };
    const auto no_current = copy("a");
    fs::remove(no_current / "CURRENT");
    CHECK(check(no_current).line == "error data_loss unknown " + std::to_string(events));

    const auto no_journal = copy("b");
    fs::remove(journal_of(no_journal).path);
    CHECK(check(no_journal).line.rfind("error data_loss", 0) == 0);

    const auto bad_witness = copy("c");
    write_file(bad_witness / "witness", std::string(5000, 'x'));
    CHECK(check(bad_witness).line.rfind("error data_loss", 0) == 0);

    const auto half_witness = copy("d");  // One slot is enough.
    auto witness = read_file(half_witness / "witness");
    witness[40] ^= 1;
    write_file(half_witness / "witness", witness);
    CHECK(check(half_witness).line == "ok " + std::to_string(events));

    const auto no_witness = copy("e");
    fs::remove(no_witness / "witness");
    CHECK(check(no_witness).line == "ok " + std::to_string(events));

    TempDir other;
    EventLogOptions options;
    options.directory = other.path() / "log";
    REQUIRE(EventLog::open(options));
    const auto foreign = copy("f");
    fs::copy_file(options.directory / "witness", foreign / "witness", fs::copy_options::overwrite_existing);
    CHECK(check(foreign).line.rfind("error data_loss", 0) == 0);
}
