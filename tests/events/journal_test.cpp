#include "events/journal.h"

#include "support/seed.h"
#include "support/temp_dir.h"

#include <rocksdb/file_system.h>
#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <iterator>
#include <random>
#include <vector>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;

namespace {

using Batches = std::vector<std::string>;

struct Opened {
    std::unique_ptr<Journal> journal;
    Batches given;
};

Result<Opened> open(const fs::path& directory, JournalPosition applied = {}, std::uint64_t bytes_max = 1 << 20) {
    Opened opened;
    auto journal =
        Journal::open(*rocksdb::FileSystem::Default(), directory, applied, bytes_max, [&](std::string_view batch) {
            opened.given.emplace_back(batch);
            return Status(Done{});
        });
    if (!journal) return journal.error();
    opened.journal = *std::move(journal);
    return opened;
}

std::unique_ptr<Journal> fresh(const fs::path& directory, std::uint64_t bytes_max = 1 << 20) {
    auto opened = open(directory, {}, bytes_max);
    REQUIRE(opened);
    return std::move(opened->journal);
}

// As whoever has `in_tables` in tables.
JournalPosition append(Journal& journal, std::string_view batch, std::uint64_t in_tables = 0) {
    if (journal.full(batch.size())) REQUIRE(journal.begin_next(in_tables));
    const auto at = journal.next();
    REQUIRE(journal.append(batch));
    journal.applied();
    return at;
}

std::vector<fs::path> files_of(const fs::path& directory) {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(directory)) paths.push_back(entry.path());
    std::ranges::sort(paths);
    return paths;
}

std::string content(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void replace(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace

TEST_CASE("a journal gives back what tables lack, in order, each once", "[events][journal]") {
    TempDir dir;
    {
        auto journal = fresh(dir.path());
        append(*journal, "one");
        append(*journal, "");
        append(*journal, "three");
        REQUIRE(journal->sync());
    }
    CHECK(open(dir.path())->given == Batches{"one", "", "three"});
    CHECK(open(dir.path(), {1, 1})->given == Batches{"", "three"});
    CHECK(open(dir.path(), {3, 1})->given.empty());
    CHECK(open(dir.path(), {7, 1})->given.empty());  // Tables may be ahead of what a power loss left of it.
    {
        auto opened = *open(dir.path(), {1, 1});
        CHECK(append(*opened.journal, "four", 0).frame == 4);  // The frames before are in no table: another file.
        CHECK(files_of(dir.path()).size() == 2);
    }
    CHECK(open(dir.path(), {1, 1})->given == Batches{"", "three", "four"});
}

TEST_CASE("a file is used again once its frames are in tables, and what it held before is not given",
          "[events][journal]") {
    TempDir dir;
    const std::string large(3000, 'x');
    JournalPosition last;
    {
        auto journal = fresh(dir.path(), 8192);
        for (int i = 0; i < 30; ++i) {
            const auto in_tables = last.frame > 4 ? last.frame - 4 : 0;
            last = append(*journal, std::to_string(i) + " " + large, in_tables);
        }
    }
    CHECK(last.frame == 30);
    CHECK(last.journal == 15);
    CHECK(files_of(dir.path()).size() == 3);
    auto opened = *open(dir.path(), {27, 14}, 8192);
    REQUIRE(opened.given.size() == 3);
    CHECK(opened.given[0].starts_with("27 "));
    CHECK(opened.given[2].starts_with("29 "));
    CHECK(append(*opened.journal, "next", 30).journal == 16);
    CHECK(files_of(dir.path()).size() == 3);
    REQUIRE(opened.journal->trim(30));
    CHECK(files_of(dir.path()).size() == 1);  // Frame 31 is in no table.
    REQUIRE(opened.journal->trim(31));
    CHECK(files_of(dir.path()).empty());
    CHECK(append(*opened.journal, "goes on", 31).frame == 32);
    CHECK(open(dir.path(), {31, 16}, 8192)->given == Batches{"goes on"});
}

TEST_CASE("a frame that could not be applied is void once another journal has begun", "[events][journal]") {
    TempDir dir;
    {
        auto journal = fresh(dir.path());
        append(*journal, "one");
        REQUIRE(journal->append("not applied"));
        journal->stop({ErrorCode::unavailable, "a test", {}});
        CHECK_FALSE(journal->append("refused"));
        CHECK_FALSE(journal->sync());
        CHECK(open(dir.path())->given == Batches{"one", "not applied"});  // A crash here: nobody was told either.
        journal->recover();
        CHECK(append(*journal, "two", 1).frame == 2);
        REQUIRE(journal->append("of a thread that never came back"));
        CHECK_FALSE(journal->append("of another"));
    }
    CHECK(open(dir.path(), {1, 1})->given == Batches{"two", "of a thread that never came back"});
}

TEST_CASE("a journal ends at damage, and a gap between journals is refused", "[events][journal]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    TempDir dir;
    {
        auto journal = fresh(dir.path(), 4096);
        for (int i = 0; i < 12; ++i) append(*journal, std::to_string(i) + std::string(900, 'x'));
        REQUIRE(files_of(dir.path()).size() == 3);
    }
    const auto paths = files_of(dir.path());
    for (int trial = 0; trial < trials(300); ++trial) {
        const std::size_t file = random() % paths.size();
        const auto good = content(paths[file]);
        const std::size_t used = 28 + 4 * (24 + 901);
        auto bad = good;
        bad[random() % used] ^= static_cast<char>(1 << random() % 8);
        replace(paths[file], bad);
        const auto opened = open(dir.path(), {}, 4096);
        INFO("trial " << trial << ", file " << file);
        if (file == paths.size() - 1) {
            REQUIRE(opened);
            CHECK(opened->given.size() >= 8);
            CHECK(opened->given.size() < 12);
            for (std::size_t i = 0; i < opened->given.size(); ++i)
                CHECK(opened->given[i].starts_with(std::to_string(i) + "x"));
        } else {
            REQUIRE_FALSE(opened);
            CHECK(opened.error().code == ErrorCode::data_loss);
        }
        replace(paths[file], good);
    }
    CHECK(open(dir.path(), {}, 4096)->given.size() == 12);
}

TEST_CASE("a file that is being made, or is no journal, says nothing", "[events][journal]") {
    TempDir dir;
    replace(dir.path() / "0.journal", "");
    replace(dir.path() / "1.journal", std::string(200, 'j'));
    auto opened = *open(dir.path());
    CHECK(opened.given.empty());
    append(*opened.journal, "one", 0);
    CHECK(files_of(dir.path()).size() == 2);
    CHECK(open(dir.path())->given == Batches{"one"});
}
