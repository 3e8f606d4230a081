// Damaged files are noticed: a graph is built anew, rows make open() fail so that the runtime replays.
#include "index_fixture.h"
#include "projections/vector_graph_file.h"
#include "sample_vectors.h"
#include "support/seed.h"

#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>

using namespace annal;
using namespace annal::testing;

namespace {

constexpr std::size_t logged_count = 4500;

std::filesystem::path file_with(const IndexFixture& fixture, const std::string& extension) {
    for (const auto& file : std::filesystem::directory_iterator(fixture.directory()))
        if (file.path().extension() == extension) return file.path();
    FAIL("no " << extension);
    return {};
}

std::string content(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}
void replace(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

SampleLog log_of(std::size_t memories, SampleVectors& samples) {
    SampleLog log;
    for (std::size_t i = 0; i < memories; ++i) log.record(i, samples.next());
    return log;
}

std::string damaged(std::string bytes, std::mt19937_64& random) {
    const auto at = random() % bytes.size();
    if (random() % 4 == 0) return bytes.substr(0, at);
    if (random() % 4 == 0) return bytes + "more";
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    return bytes;
}

// Vectors whose codes and rows are as an index keeps them, and where a graph of them may be saved.
struct StoredVectors {
    explicit StoredVectors(std::size_t count) : vectors(SampleVectors(8, 5, 1).take(count)) {
        auto made = VectorRows::create(directory.path() / "rows", "m", 8);
        REQUIRE((made && codes.reserve(count)));
        rows = *std::move(made);
        std::vector<std::byte> encoded;
        for (Slot slot = 0; slot < count; ++slot) {
            codes.set(slot, vectors[slot]);
            rows->encode(Seq{slot + 1U}, vectors[slot], encoded);
        }
        REQUIRE(rows->write(0, encoded));
    }
    void link(VectorGraph& graph, std::size_t count) const {
        WorkTeam team(1);
        while (graph.linked() < count) REQUIRE(graph.link_block(team));
    }

    TempDir directory;
    const std::filesystem::path path = directory.path() / "graph";
    const std::vector<std::vector<float>> vectors;
    VectorCodes codes{8};
    std::unique_ptr<VectorRows> rows;
};

}  // namespace

TEST_CASE("an index that was closed opens with its graph, and says nothing", "[vectors]") {
    SampleVectors samples(8, 20, 3);
    const auto log = log_of(logged_count, samples);
    IndexFixture fixture;
    fixture.follow(log);
    fixture.index().settle();
    CHECK(fixture.index().unlinked() == 0);
    fixture.reopen(true);
    CHECK(fixture.index().unlinked() == 0);
    CHECK(fixture.messages.empty());
}

TEST_CASE("a graph that lags behind the rows is completed, to the same links", "[vectors]") {
    SampleVectors samples(8, 20, 3);
    auto log = log_of(logged_count, samples);
    IndexFixture fixture;
    IndexFixture whole;
    fixture.follow(log);
    fixture.index().settle();
    fixture.reopen(true);
    for (std::size_t i = logged_count; i < logged_count + 1000; ++i) log.record(i, samples.next());
    fixture.follow(log);
    fixture.index().settle();
    fixture.reopen(false);  // The links of the last thousand were not saved.
    CHECK(fixture.messages.empty());
    fixture.index().settle();
    whole.follow(log, 5000);
    whole.index().settle();
    fixture.reopen(true);
    whole.reopen(true);
    CHECK(content(file_with(fixture, ".graph")) == content(file_with(whole, ".graph")));
}

TEST_CASE("a damaged graph is never loaded; it is built anew, searches answer meanwhile", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    SampleVectors samples(8, 20, 3);
    const auto log = log_of(logged_count, samples);
    IndexFixture fixture;
    fixture.follow(log);
    fixture.index().settle();
    fixture.reopen(true);
    const auto path = file_with(fixture, ".graph");
    const auto good = content(path);
    const auto query = samples.next();
    const auto expected = fixture.search(query, 10).hits;
    for (int trial = 0; trial < trials(12); ++trial) {
        // Every part of the header first, then anywhere.
        auto bad = trial < 13 ? good : damaged(good, random);
        if (trial < 13) bad[static_cast<std::size_t>(trial) * 4] ^= 1;
        INFO("trial " << trial);
        replace(path, bad);
        REQUIRE(fixture.try_reopen());
        REQUIRE(fixture.messages.size() == 1);
        const auto answer = fixture.search(query, 10);
        REQUIRE(answer.hits.size() == 10);
        CHECK(answer.hits.front().ordinal == expected.front().ordinal);
    }
    fixture.index().settle();
    fixture.reopen(true);
    CHECK(content(path) == good);
    std::filesystem::remove(path);
    REQUIRE(fixture.try_reopen());
    CHECK(fixture.messages.size() == 1);
    fixture.index().settle();
    fixture.reopen(true);
    CHECK(content(path) == good);
}

TEST_CASE("bytes of a graph file that were changed are always noticed", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    StoredVectors stored(256);
    VectorGraph graph(stored.codes);
    stored.link(graph, 256);
    const auto& path = stored.path;
    REQUIRE(write_graph(path, graph, *stored.rows, 8));
    const auto good = content(path);
    for (int trial = 0; trial < trials(200); ++trial) {
        replace(path, damaged(good, random));
        VectorGraph loaded(stored.codes);
        REQUIRE(read_graph(path, loaded, *stored.rows, 8, 256).error().code == ErrorCode::data_loss);
        REQUIRE(loaded.linked() == 0);
    }
    replace(path, good);
    VectorGraph short_of_rows(stored.codes);
    CHECK(read_graph(path, short_of_rows, *stored.rows, 8, 255).error().code == ErrorCode::data_loss);
    VectorGraph loaded(stored.codes);
    CHECK(read_graph(path, loaded, *stored.rows, 8, 256));
    std::vector<std::byte> encoded;
    stored.rows->encode(Seq{1}, stored.vectors[1], encoded);
    REQUIRE(stored.rows->write(0, encoded));  // Another row, rightly stored: these links are not its.
    VectorGraph of_others(stored.codes);
    CHECK(read_graph(path, of_others, *stored.rows, 8, 256).error().code == ErrorCode::data_loss);
}

TEST_CASE("a kill at any time of a save leaves a whole graph, of before or after", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    constexpr std::size_t slots = 512;
    StoredVectors stored(slots);
    VectorGraph half(stored.codes), whole(stored.codes);
    stored.link(half, slots / 2);
    stored.link(whole, slots);
    std::string links_of_half, links_of_whole;
    half.serialise(links_of_half);
    whole.serialise(links_of_whole);
    const auto& path = stored.path;
    REQUIRE(write_graph(path, half, *stored.rows, 8));
    int halves = 0;
    const int kills = trials(500);
    for (int trial = 0; trial < kills; ++trial) {
        INFO("kill " << trial);
        // The child tells of each save, and is killed in one after the first few: how long a save takes is not to
        // matter.
        int pipe_ends[2];
        REQUIRE(::pipe(pipe_ends) == 0);
        const auto child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0)
            for (unsigned save = 0;; ++save)
                if (!write_graph(path, save % 2 == 0 ? whole : half, *stored.rows, 8) ||
                    ::write(pipe_ends[1], "s", 1) != 1)
                    ::_exit(1);
        ::close(pipe_ends[1]);
        char told = 0;
        for (auto saves = random() % 4; saves > 0; --saves) REQUIRE(::read(pipe_ends[0], &told, 1) == 1);
        const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 2'000);
        while (std::chrono::steady_clock::now() < until) continue;
        REQUIRE(::kill(child, SIGKILL) == 0);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        ::close(pipe_ends[0]);

        VectorGraph loaded(stored.codes);
        REQUIRE(read_graph(path, loaded, *stored.rows, 8, slots));
        std::string links;
        loaded.serialise(links);
        if (loaded.linked() == slots / 2) ++halves;
        REQUIRE(links == (loaded.linked() == slots / 2 ? links_of_half : links_of_whole));
    }
    if (kills >= 50) CHECK((halves > 0 && halves < kills));
}

TEST_CASE("damaged rows are refused, and a replay makes the same index again", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    SampleVectors samples(8, 5, 3);
    const auto log = log_of(300, samples);
    for (int trial = 0; trial < trials(40); ++trial) {
        INFO("trial " << trial);
        IndexFixture fixture;
        fixture.follow(log);
        const auto digest = fixture.digest();
        fixture.reopen(true);
        const auto path = file_with(fixture, ".rows");
        auto bytes = content(path);
        if (random() % 4 == 0)
            bytes.resize(random() % bytes.size());
        else
            bytes[random() % bytes.size()] ^= 4;
        replace(path, bytes);
        const auto opened = fixture.try_reopen();
        if (opened) {  // What follows the floats of a row, up to 16 bytes, says nothing.
            REQUIRE(fixture.digest() == digest);
            continue;
        }
        REQUIRE(opened.error().code == ErrorCode::data_loss);
        fixture.reset();
        fixture.follow(log);
        REQUIRE(fixture.digest() == digest);
    }
}

TEST_CASE("a process that ends between the rows and the batch loses nothing and doubles nothing", "[vectors]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    SampleVectors samples(8, 5, 3);
    SampleLog log;
    for (std::size_t i = 0; i < 600; ++i) {
        log.record(i, samples.next(), static_cast<Kind>(i % 3));
        if (i % 3 == 0) log.revise(i / 2, "again", samples.next());
        if (i % 7 == 0) log.forget(i / 3);
    }
    IndexFixture undisturbed;
    undisturbed.follow(log);
    IndexFixture fixture;
    while (fixture.index().applied() < log.head()) {
        const auto batch = 1 + random() % 100;
        if (random() % 2 == 0) {
            fixture.apply_only(log, batch);
            if (random() % 2 == 0)
                fixture.index().discard();
            else
                fixture.reopen(false);
        }
        fixture.follow_once(log, batch);
    }
    CHECK(fixture.digest() == undisturbed.digest());
    CHECK(fixture.index().ordinals("shop") == undisturbed.index().ordinals("shop"));
}
