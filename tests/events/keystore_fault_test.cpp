// A keystore whose file system fails at every operation, and one whose power goes out at any moment. ANNAL_TRIALS
// scales both.
#include "support/fault_file_system.h"
#include "support/keystore_fixture.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <set>

using namespace annal;
using namespace annal::testing;

namespace {

// What the callers of a keystore were told.
struct Told {
    struct Payload {
        std::string name;
        SealedPayload sealed;
        KeyRecord record;  // As it was on disk.
    };
    std::vector<Payload> payloads;
    std::set<SubjectKeyId> erased, in_doubt;  // By their keys; in doubt: the erasure failed.
    std::set<char> roots{'r'};                // Those that may be needed.
    std::string tried_last;                   // To seal for it.
    int failures = 0;
};

class Worker {
 public:
    // Where an operation failed: try it again with the same keystore; else stop.
    Worker(FaultFileSystem& files, const std::filesystem::path& directory, Told& told, bool tries_again)
        : files_(files), directory_(directory), told_(told), tries_again_(tries_again) {}

    bool run() {
        for (int round = 0; round < 2; ++round) {
            if (!attempt([&] { return open(); })) return false;
            for (int i = 0; i < 5; ++i)
                if (!seal(std::to_string(5 * round + i))) return false;
            if (!seal("1") || !erase({"1", "3"}) || !seal("3")) return false;
            const char next = round == 0 ? 's' : 't';
            told_.roots.insert(next);
            if (!attempt([&] { return keystore_->change_root_key(root_key(next)); })) return false;
            told_.roots = {next};
            if (!seal("last") || !erase({"0", "nobody"})) return false;
        }
        return true;
    }

 private:
    template <class Do>
    bool attempt(const Do& act) {
        for (int tries = 0; tries < (tries_again_ ? 2 : 1); ++tries) {
            if (act()) return true;
            ++told_.failures;
        }
        return false;
    }
    Status open() {
        keystore_.reset();
        auto opened = open_keystore(directory_, root_key(*told_.roots.begin()), &files_);
        if (!opened) return opened.error();
        keystore_ = std::move(*opened);
        return Done{};
    }
    bool seal(const std::string& name) {
        told_.tried_last = name;
        return attempt([&]() -> Status {
            auto sealed = keystore_->seal({"shop", name}, "event", name);
            if (!sealed) return sealed.error();
            const auto record = stored_key(directory_, sealed->key);
            REQUIRE(record);  // It is handed out when it is on disk.
            told_.payloads.push_back({name, std::move(*sealed), *record});
            return Done{};
        });
    }
    bool erase(const std::vector<std::string>& names) {
        std::vector<Subject> subjects;
        std::set<SubjectKeyId> keys;
        for (const auto& name : names) {
            subjects.push_back({"shop", name});
            for (const auto& payload : told_.payloads)
                if (payload.name == name) keys.insert(payload.sealed.key);
        }
        told_.in_doubt.insert(keys.begin(), keys.end());
        if (!attempt([&] { return keystore_->erase(subjects); })) return false;
        told_.erased.insert(keys.begin(), keys.end());
        return true;
    }

    FaultFileSystem& files_;
    const std::filesystem::path directory_;
    Told& told_;
    const bool tries_again_;
    std::unique_ptr<Keystore> keystore_;
};

std::unique_ptr<Keystore> open_with_any(const std::filesystem::path& directory, const Told& told,
                                        rocksdb::FileSystem* files = nullptr) {
    for (const char root : told.roots) {
        auto keystore = open_keystore(directory, root_key(root), files);
        if (!keystore) FAIL("it does not open: " << keystore.error().message);
        if ((*keystore)->state() == KeystoreState::unlocked) return std::move(*keystore);
    }
    FAIL("no root key opens it");
    return nullptr;
}

// What every keystore must satisfy after anything.
void check_keystore(const std::filesystem::path& directory, const Told& told) {
    auto keystore = open_with_any(directory, told);
    CHECK(files_in(directory).size() == 1);
    std::map<SubjectKeyId, Payload> states;
    for (const auto& payload : told.payloads) {
        const auto unsealed = keystore->unseal(payload.sealed, "event");
        if (!unsealed) FAIL("a payload of " << payload.name << ": " << unsealed.error().message);
        const bool plain = unsealed->state == Payload::plain;
        if (plain && unsealed->payload != payload.name) FAIL("another payload than " << payload.name << "'s");
        if (plain && told.erased.count(payload.sealed.key) != 0) FAIL(payload.name << " was erased, and is back");
        if (!plain && told.in_doubt.count(payload.sealed.key) == 0) FAIL(payload.name << " is lost");
        if (!plain)
            for (const auto bytes : {as_text(payload.record.key), as_text(payload.record.id.bytes)})
                if (any_file_holds(directory, bytes)) FAIL(payload.name << "'s key is still in a file");
        const auto [known, first] = states.emplace(payload.sealed.key, unsealed->state);
        CHECK(known->second == unsealed->state);
    }
    const auto sealed = keystore->seal({"shop", "goes on"}, "event", "goes on");
    REQUIRE(sealed);
    const Subject goes_on{"shop", "goes on"};
    CHECK(keystore->erase({&goes_on, 1}));
    CHECK(keystore->unseal(*sealed, "event")->state == Payload::erased);
}

// Another process finds what the first one left, its last key maybe, and seals with it.
void seal_for_last_one(const std::filesystem::path& directory, Told& told, FaultFileSystem& files) {
    auto keystore = open_with_any(directory, told, &files);
    auto sealed = keystore->seal({"shop", told.tried_last}, "event", told.tried_last);
    REQUIRE(sealed);
    const auto record = *stored_key(directory, sealed->key);
    told.payloads.push_back({told.tried_last, std::move(*sealed), record});
}

std::uint64_t operations_of_a_run() {
    TempDir dir;
    FaultFileSystem files(dir.path() / "keys");
    Told told;
    REQUIRE(Worker(files, dir.path() / "keys", told, false).run());
    check_keystore(dir.path() / "keys", told);
    return files.operations();
}

void fail_each_operation(FaultFileSystem::Fault fault, bool tries_again) {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    const auto operations = operations_of_a_run();
    const auto stride = static_cast<std::uint64_t>(std::max(1, 100 / trials(100)));
    int met = 0, surfaced = 0;
    for (std::uint64_t at = 1 + seed % stride; at <= operations; at += stride) {
        TempDir dir(TempDir::On::memory);
        const auto keys = dir.path() / "keys";
        FaultFileSystem files(keys);
        Told told;
        files.arm(fault, at);
        const bool done = Worker(files, keys, told, tries_again).run();
        INFO("operation " << at << " of " << operations << ": " << files.met());
        met += files.met().empty() ? 0 : 1;
        surfaced += told.failures;
        CHECK((!tries_again || done));  // One failure, and it went on from there.
        files.arm(FaultFileSystem::Fault::none, 0);
        if (!tries_again) seal_for_last_one(keys, told, files);
        files.image(dir.path() / "after", random);
        check_keystore(dir.path() / "after", told);
    }
    CHECK(met > 0);
    CHECK(surfaced > 0);
}

}  // namespace

TEST_CASE("an error at any file operation of a keystore loses no key and brings none back",
          "[events][keystore][fault]") {
    fail_each_operation(FaultFileSystem::Fault::io_error, false);
}

TEST_CASE("a keystore goes on after an error at any file operation", "[events][keystore][fault]") {
    fail_each_operation(FaultFileSystem::Fault::io_error, true);
}

TEST_CASE("a keystore goes on after a full disk at any file operation", "[events][keystore][fault]") {
    fail_each_operation(FaultFileSystem::Fault::no_space, true);
}

TEST_CASE("power loss at any moment: a keystore keeps its keys, and an erasure happened or did not",
          "[events][keystore][fault]") {
    const std::uint64_t seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    const auto operations = operations_of_a_run();
    for (int trial = 0; trial < trials(300); ++trial) {
        TempDir dir(TempDir::On::memory);
        Told told;
        const auto keys = dir.path() / "keys", after = dir.path() / "after", again = dir.path() / "again";
        const auto at = 1 + random() % operations;
        INFO("trial " << trial << ", operation " << at);
        {
            FaultFileSystem files(keys);
            files.arm(FaultFileSystem::Fault::power_loss, at);
            Worker(files, keys, told, false).run();
            files.image(after, random);
        }
        // One in four loses it again while it recovers.
        if (trial % 4 == 0) {
            FaultFileSystem files(after);
            files.arm(FaultFileSystem::Fault::power_loss, 1 + random() % 12);
            for (const char root : told.roots) (void)open_keystore(after, root_key(root), &files);
            files.image(again, random);
        }
        check_keystore(trial % 4 == 0 ? again : after, told);
    }
}

TEST_CASE("after a write or sync that failed, no key is appended to that file", "[events][keystore][fault]") {
    // The system takes what it could not sync for written.
    for (const std::uint64_t at : {1U, 2U}) {
        TempDir dir(TempDir::On::memory);
        FaultFileSystem files(dir.path() / "keys");
        auto keystore = *open_keystore(dir.path() / "keys", root_key('r'), &files);
        const auto before = *keystore->seal({"shop", "ann"}, "event", "ann");
        files.arm(FaultFileSystem::Fault::io_error, at);
        CHECK(keystore->seal({"shop", "bob"}, "event", "bob").error().code == ErrorCode::unavailable);
        CHECK(keystore->seal({"shop", "ann"}, "event", "ann"));  // Writes nothing.
        CHECK(keystore->epoch() == 1);
        CHECK(keystore->seal({"shop", "bob"}, "event", "bob"));
        CHECK(keystore->epoch() == 2);
        CHECK(keystore->unseal(before, "event")->payload == "ann");
    }
}

TEST_CASE("what a rewrite left that failed is overwritten, too", "[events][keystore][fault]") {
    // At the rename, and at the sync of the directory: then the file is in force after a crash, maybe.
    for (const bool renamed : {false, true}) {
        TempDir dir(TempDir::On::memory);
        const auto keys = dir.path() / "keys";
        const auto removed_files = keys.string() + ".removed";  // Where that file system keeps what was removed.
        FaultFileSystem files(keys);
        auto keystore = *open_keystore(keys, root_key('r'), &files);
        REQUIRE(keystore->seal({"shop", "ann"}, "event", "ann"));
        const Subject ann{"shop", "ann"};
        files.arm(FaultFileSystem::Fault::io_error, renamed ? 8 : 6);
        REQUIRE_FALSE(keystore->change_root_key(root_key('s')));
        REQUIRE(files.met().find(renamed ? "sync a directory" : "rename") != std::string::npos);
        const auto left = decode_keystore(bytes_of(keys / (renamed ? "epoch.0000000000000002" : "epoch.new")));
        REQUIRE(left);
        REQUIRE(left->keys.size() == 1);
        REQUIRE(keystore->erase({&ann, 1}));
        for (const auto& directory : {keys, std::filesystem::path(removed_files)})
            CHECK_FALSE(any_file_holds(directory, as_text(left->keys[0].key)));
    }
}
