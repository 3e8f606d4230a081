// Someone who can write to the store's files, and knows their formats, changes the past. An auditor who kept one signed
// head finds out, whatever else was changed along.
#include "events/event_log.h"
#include "support/fault_env.h"
#include "support/log_fixture.h"
#include "support/seed.h"
#include "support/tampered_log.h"
#include "support/temp_dir.h"

#include <random>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t events = 600, anchored = 500;

SigningKey key() {
    auto made = SigningKey::from_seed("annal/test", {});
    REQUIRE(made);
    return *std::move(made);
}

Result<std::unique_ptr<EventLog>> try_open(const fs::path& directory, rocksdb::Env* env = nullptr) {
    EventLogOptions options;
    options.directory = directory;
    options.env = env;
    auto log = EventLog::open(options);
    if (log) (*log)->sign_with(key());
    return log;
}

void append_up_to(EventLog& log, std::uint64_t size, const std::string& word) {
    while (log.head().value < size) {
        const auto i = log.head().value;
        REQUIRE(append(log, {{memory_number(i % 9), word + std::to_string(i)}}, {.durability = Durability::buffered}));
    }
}

// By what the change is found out; empty: not at all.
std::string found_by(const fs::path& directory, const TreeHead& head, rocksdb::Env* env = nullptr) {
    auto log = try_open(directory, env);
    if (!log) return "open";
    for (const auto part : {LogPart::events, LogPart::streams, LogPart::tree})
        if (!(*log)->check(part, 0, (*log)->head(), [](const Checked&) { return true; })) return "verify";
    const auto root = (*log)->root(Seq{head.size});
    return root && *root == head.root ? "" : "the auditor";
}

// As if it had always been so: an event that decodes, with the version and time of the one it stands for.
std::string rewritten(const std::string& stored, std::uint64_t seq) {
    const auto header = read_header(stored);
    REQUIRE(header);
    auto other = encode(note(memory_number((seq - 1) % 9), "never said"));
    REQUIRE(other);
    stamp(other->bytes, header->version, header->recorded_at);
    return {other->bytes.begin(), other->bytes.end()};
}

}  // namespace

TEST_CASE("an edit, deletion, swap or cut of what a signed head covers is found out", "[events][tamper]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    TempDir dir(TempDir::On::memory);
    TreeHead head;
    {
        auto log = try_open(dir.path() / "log");
        REQUIRE(log);
        append_up_to(**log, anchored - 1, "event ");
        REQUIRE(append(**log, {{memory_number((anchored - 1) % 9), "the last that the auditor saw"}}));
        head = SignedHead::parse(*(*log)->signed_head())->head;
        REQUIRE(head.size == anchored);
        append_up_to(**log, events, "event ");
    }
    REQUIRE(found_by(dir.path() / "log", head).empty());
    std::map<std::string, int> found;
    // Each opens two databases: what sanitizers look for there, others look at as well.
    const int tamperings = trials(trials_per_cent_default == 100 ? 10'000 : 1'000);
    for (int trial = 0; trial < tamperings; ++trial) {
        const auto copy = dir.path() / "copy";
        fs::copy(dir.path() / "log", copy);
        const std::uint64_t seq = 1 + random() % anchored, other = 1 + random() % anchored;
        const auto how = random() % 4;
        const auto thoroughly = random() % 4;  // What else is made to agree with it.
        INFO("trial " << trial << ": " << how << " of event " << seq << ", " << other << "; " << thoroughly);
        const auto change = [&](rocksdb::DB& db, rocksdb::ColumnFamilyHandle& log, rocksdb::ColumnFamilyHandle& index,
                                rocksdb::ColumnFamilyHandle& meta) {
            const auto get = [&](std::uint64_t at) {
                std::string stored;
                REQUIRE(db.Get({}, &log, number_key(at), &stored).ok());
                return stored;
            };
            const auto put = [&](std::uint64_t at, const std::string& stored) {
                REQUIRE(db.Put({}, &log, number_key(at), stored).ok());
            };
            if (how == 0) put(seq, rewritten(get(seq), seq));
            if (how == 1) REQUIRE(db.Delete({}, &log, number_key(seq)).ok());
            if (how == 2) {
                const auto one = get(seq), two = get(other == seq ? seq % anchored + 1 : other);
                put(seq, two);
                put(other == seq ? seq % anchored + 1 : other, one);
            }
            if (how == 3)
                for (auto at = seq; at <= events; ++at) REQUIRE(db.Delete({}, &log, number_key(at)).ok());
            if (thoroughly >= 1) REQUIRE(db.Delete({}, &index, indexed_key).ok());  // It is made anew.
            if (thoroughly >= 3)
                for (const auto& row : keys_of(db, meta))
                    if (row.starts_with("head")) REQUIRE(db.Delete({}, &meta, row).ok());
        };
        if (thoroughly >= 2) fs::remove(copy / "witness");
        FaultEnv env(std::make_shared<FaultFileSystem>(copy));  // Which syncs nothing: there are many.
        tamper(env, copy, change, "events", "streams", "meta");
        const auto by = found_by(copy, head, &env);
        CHECK_FALSE(by.empty());
        ++found[by];
        fs::remove_all(copy);
    }
    for (const auto& [by, count] : found) UNSCOPED_INFO(by << ": " << count);
    CHECK(found.size() >= (tamperings >= 50 ? 2U : 1U));
}

TEST_CASE("a log that is put back and goes on otherwise is found out by a head of before", "[events][tamper]") {
    TempDir dir;
    TreeHead head;
    {
        auto log = try_open(dir.path() / "log");
        REQUIRE(log);
        append_up_to(**log, 300, "event ");
    }
    fs::copy(dir.path() / "log", dir.path() / "kept");
    {
        auto log = try_open(dir.path() / "log");
        REQUIRE(log);
        REQUIRE(append(**log, {{memory_number(1), "regretted"}}));
        head = SignedHead::parse(*(*log)->signed_head())->head;
    }
    CHECK(found_by(dir.path() / "kept", head) == "the auditor");  // It is shorter than what he saw.
    {
        auto log = try_open(dir.path() / "kept");
        REQUIRE(log);
        append_up_to(**log, 400, "otherwise ");
    }
    CHECK(found_by(dir.path() / "kept", head) == "the auditor");
    CHECK(found_by(dir.path() / "log", head).empty());
}
