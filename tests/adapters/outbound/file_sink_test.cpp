#include "adapters/outbound/file_sink.h"
#include "../sink_conformance.h"
#include "adapters/jsonl.h"
#include "support/child_process.h"
#include "support/temp_dir.h"

#include <fstream>
#include <iterator>
#include <sstream>

using namespace annal;
using namespace annal::testing;

namespace {

std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
}
std::filesystem::path only_file(const std::filesystem::path& directory, std::string_view prefix) {
    std::filesystem::path found;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        if (!entry.path().filename().string().starts_with(prefix)) continue;
        REQUIRE(found.empty());
        found = entry.path();
    }
    return found;
}

class Directory final : public FarSide {
 public:
    explicit Directory(std::uint64_t journal_bytes_min) : journal_bytes_min_(journal_bytes_min) {}

    std::filesystem::path path() const { return dir_.path() / "sink"; }
    std::unique_ptr<Sink> open() override { return open({}); }
    std::unique_ptr<Sink> open(std::function<bool()> may_change) {
        return make_file_sink(
            {.directory = path(), .journal_bytes_min = journal_bytes_min_, .may_change = std::move(may_change)});
    }
    bool apply_and_die(const SinkBatch& batch, const std::string& store_id, std::uint64_t chance) override {
        bool counting = false;
        auto left = chance % 8;  // More changes than most batches make: some live.
        const auto sink = open([&] { return !counting || (left > 0 && left-- > 0); });
        REQUIRE(sink->take_over(store_id));
        counting = true;
        static_cast<void>(sink->apply(batch));
        return true;
    }

 private:
    TempDir dir_{TempDir::On::memory};
    std::uint64_t journal_bytes_min_;
};

SinkBatch two_notes() {
    auto batch = batch_between(0, 2);
    batch.upserts = {sink_record(1, "tea", Seq{1}), sink_record(2, "rain", Seq{2}, {"shop", "", "ann", ""})};
    return batch;
}

}  // namespace

TEST_CASE("FileSink keeps the sink contract", "[adapters][sink]") {
    check_sink_contract([] { return std::make_unique<Directory>(std::uint64_t{1} << 20); });
}

TEST_CASE("FileSink keeps the sink contract while it folds its journal all the time", "[adapters][sink]") {
    check_sink_contract([] { return std::make_unique<Directory>(0); });
}

TEST_CASE("a journal cut anywhere in its last batch is what it was before that", "[adapters][sink]") {
    Directory far(1 << 20);
    auto sink = far.open();
    REQUIRE(sink->take_over(sink_store_id));
    REQUIRE(sink->apply(two_notes()));
    const auto journal = only_file(far.path(), "journal-");
    const auto whole = read_file(journal);
    auto next = batch_between(2, 3);
    next.upserts = {sink_record(3, "snow", Seq{3})};
    REQUIRE(sink->apply(next));
    const auto longer = read_file(journal);
    sink.reset();
    for (auto size = whole.size(); size < longer.size(); ++size) {
        INFO(size << " of " << longer.size());
        std::ofstream(journal, std::ios::trunc) << longer.substr(0, size);
        auto walk = far.open()->walk();
        REQUIRE(walk);
        REQUIRE((*walk)->position() == position_at(2));
    }
    // Bytes that never reached the disk, before an end that did.
    auto holes = longer;
    holes.replace(whole.size() + 10, 20, 20, '\0');
    std::ofstream(journal, std::ios::trunc) << holes;
    sink = far.open();
    const auto taken = sink->take_over(sink_store_id);
    REQUIRE(taken);
    CHECK(*taken == position_at(2));
    CHECK(read_file(journal) == whole);
    REQUIRE(sink->apply(next));
    CHECK(read_file(journal) == longer);
}

TEST_CASE("a journal or a file of memories that was changed is refused", "[adapters][sink]") {
    Directory far(1 << 20);
    auto sink = far.open();
    REQUIRE(sink->take_over(sink_store_id));
    REQUIRE(sink->apply(two_notes()));
    auto next = batch_between(2, 3);
    SECTION("a batch before the last") {
        REQUIRE(sink->apply(next));
        const auto journal = only_file(far.path(), "journal-");
        auto text = read_file(journal);
        text.replace(text.find("tea"), 3, "oil");
        std::ofstream(journal, std::ios::trunc) << text;
    }
    SECTION("a memory") {
        next.erasures = {{"shop", "bob", Seq{3}}};
        REQUIRE(sink->apply(next));
        const auto memories = only_file(far.path(), "memories-");
        auto text = read_file(memories);
        text.replace(text.find("tea"), 3, "oil");
        std::ofstream(memories, std::ios::trunc) << text;
    }
    SECTION("a memory that is gone") {
        next.erasures = {{"shop", "bob", Seq{3}}};
        REQUIRE(sink->apply(next));
        std::filesystem::remove(only_file(far.path(), "memories-"));
    }
    const auto taken = far.open()->take_over(sink_store_id);
    REQUIRE_FALSE(taken);
    CHECK(taken.error().code == ErrorCode::data_loss);
    CHECK_FALSE(far.open()->walk());
}

TEST_CASE("a file sink goes on after a write that failed, unless it is another's by now", "[adapters][sink]") {
    Directory far(1 << 20);
    bool full = false;
    auto sink = far.open([&] { return !full; });
    REQUIRE(sink->take_over(sink_store_id));
    REQUIRE(sink->apply(two_notes()));
    auto next = batch_between(2, 3);
    next.upserts = {sink_record(3, "snow", Seq{3})};
    full = true;
    REQUIRE_FALSE(sink->apply(next));
    full = false;
    SECTION("it is his still") {
        REQUIRE(sink->apply(next));
        REQUIRE(sink->apply(batch_between(3, 4)));
    }
    SECTION("another has it") {
        REQUIRE(far.open()->take_over(sink_store_id));
        const auto applied = sink->apply(next);
        REQUIRE_FALSE(applied);
        CHECK(applied.error().details.contains("fenced"));
    }
}

TEST_CASE("no file has a word of who was erased", "[adapters][sink]") {
    Directory far(1 << 20);
    auto sink = far.open();
    REQUIRE(sink->take_over(sink_store_id));
    REQUIRE(sink->apply(two_notes()));
    auto next = batch_between(2, 3);
    next.erasures = {{"shop", "ann", Seq{3}}};
    REQUIRE(sink->apply(next));
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(far.path())) all += read_file(entry.path());
    CHECK(all.find("rain") == std::string::npos);
    CHECK(all.find("tea") != std::string::npos);
}

TEST_CASE("files are their owner's alone, and an import takes the memories", "[adapters][sink]") {
    Directory far(0);
    auto sink = far.open();
    REQUIRE(sink->take_over(sink_store_id));
    REQUIRE(sink->apply(two_notes()));
    for (const auto& entry : std::filesystem::directory_iterator(far.path()))
        CHECK((entry.status().permissions() & (std::filesystem::perms::group_all |
                                               std::filesystem::perms::others_all)) == std::filesystem::perms::none);
    TestEngine engine;
    std::istringstream lines(read_file(only_file(far.path(), "memories-")));
    const auto report = import_jsonl(*engine, lines, {});
    REQUIRE(report);
    CHECK(report->accepted == 2);
    CHECK(report->rejected.empty());
}

// A child applies batches as fast as it can, and is killed: what it said was applied is there, and at most one more.
TEST_CASE("FileSink child", "[.][sink_child]") {
    const auto sink =
        make_file_sink({.directory = std::getenv(ChildProcess::argument_name), .journal_bytes_min = 4096});
    const auto there = sink->take_over(sink_store_id);
    if (!there) std::_Exit(2);
    auto at = *there ? (*there)->seq.value : 0;
    for (;; ++at) {
        auto batch = batch_between(at, at + 1);
        const auto number = static_cast<std::uint8_t>(at % 100);
        batch.upserts = {sink_record(number, std::to_string(at + 1), Seq{at + 1}),
                         sink_record(static_cast<std::uint8_t>(100 + number), std::to_string(at + 1), Seq{at + 1})};
        if (!sink->apply(batch)) std::_Exit(3);
        if (write(ChildProcess::news_fd, "+", 1) != 1) std::_Exit(4);
    }
}

TEST_CASE("a file sink that is killed has every batch it said it had", "[adapters][sink][crash]") {
    const auto seed = test_seed();
    INFO("ANNAL_SEED=" << seed);
    std::mt19937_64 random(seed);
    const TempDir dir(TempDir::On::memory);
    const auto path = dir.path() / "sink";
    std::uint64_t least = 0;
    for (int kill = 0; kill < trials(50); ++kill) {
        ChildProcess child("FileSink child", path.string());
        for (auto news = 1 + random() % 40; news > 0 && child.next_news(); --news) ++least;
        child.kill_now();
        while (child.next_news()) ++least;
        auto walk = make_file_sink({.directory = path})->walk();
        REQUIRE(walk);
        const auto at = (*walk)->position().seq.value;
        REQUIRE((*walk)->position() == position_at(at));
        REQUIRE(at >= least);
        REQUIRE(at <= least + 1);
        least = at;
        SinkModel model(true);
        for (std::uint64_t seq = at < 100 ? 1 : at - 99; seq <= at; ++seq) {
            auto batch = batch_between(seq - 1, seq);
            const auto number = static_cast<std::uint8_t>((seq - 1) % 100);
            batch.upserts = {sink_record(number, std::to_string(seq), Seq{seq}),
                             sink_record(static_cast<std::uint8_t>(100 + number), std::to_string(seq), Seq{seq})};
            model.apply(batch);
        }
        REQUIRE(SinkModel::walked(**walk, 64) == model.text());
    }
}
