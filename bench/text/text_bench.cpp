// The text index alone, on one thread, against SQLite FTS5 filled with the same rows; then searches of what was
// indexed. annal_bench_text [memories] [rounds]
#include "engine/fts5.h"
#include "query/text_ranking.h"
#include "support/generated.h"
#include "support/projector_feed.h"
#include "support/report.h"
#include "support/temp_dir.h"

#include <CLI/CLI.hpp>

#include <cstdlib>

using namespace annal;

namespace {

constexpr std::size_t batch_events = 2048;

void check(const Status& status) {
    if (status) return;
    std::fprintf(stderr, "%s\n", status.error().message.c_str());
    std::exit(1);
}

testing::EventTape tape_of(const std::vector<std::string>& texts, bool spoken) {
    testing::EventTape tape;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        MemoryEvent event;
        event.memory_id = testing::numbered_id(i + 1);
        event.scope = {"bench", "", "", spoken ? "session " + std::to_string(i / 20) : ""};
        event.actor = i % 2 == 0 ? "Caroline" : "Melanie";
        if (spoken) event.source.type = SourceType::message;
        MemoryRecorded body;
        body.content = texts[i];
        event.body = std::move(body);
        tape.append(std::move(event));
    }
    return tape;
}

struct Store {
    explicit Store(const testing::EventTape& tape) {
        auto opened = ViewStore::open({.directory = directory.path() / "views", .on_message = {}});
        if (!opened) check(opened.error());
        views = std::move(*opened);
        auto made = views->space("text");
        if (!made) check(made.error());
        space = std::move(*made);
        check(index->open(*space, applied));
        while (applied < tape.head())
            check(testing::follow(tape, *index, *space, applied,
                                  Seq{std::min(tape.head().value, applied.value + batch_events)}));
    }

    testing::TempDir directory;
    std::unique_ptr<ViewStore> views;
    std::unique_ptr<ViewSpace> space;
    std::unique_ptr<TextIndex> index = TextIndex::create();
    Seq applied;
};

double search_ms(const Store& store, std::size_t words, const OrdinalSet* passing) {
    bench::TextMaker maker(99);
    std::vector<double> times;
    for (int i = 0; i < 200; ++i) {
        std::string query;
        for (std::size_t w = 0; w < words; ++w) query += maker.word() + " ";
        times.push_back(bench::seconds_of([&] {
            const auto reader = store.index->reader("bench");
            if (const auto hits = rank_text(*reader, {.text = query, .passing = passing, .limit = 10}); !hits)
                check(hits.error());
        }));
    }
    return bench::median(times) * 1e3;
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t count = 100'000;
    int rounds = 3;
    CLI::App app("The text index alone, against SQLite FTS5 filled with the same rows");
    app.add_option("memories", count)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("rounds", rounds)->capture_default_str()->check(CLI::PositiveNumber);
    CLI11_PARSE(app, argc, argv);
    std::vector<std::string> texts;
    bench::TextMaker maker(42);
    for (std::size_t i = 0; i < count; ++i) texts.push_back(maker.text(250));
    const auto notes = tape_of(texts, false);
    const auto turns = tape_of(texts, true);
    const auto rate = [&](double seconds) { return static_cast<double>(count) / seconds; };

    std::vector<double> ours;
    std::vector<double> ours_spoken;
    std::vector<double> theirs;
    for (int round = 0; round < rounds; ++round) {
        ours.push_back(rate(bench::seconds_of([&] { Store store(notes); })));
        testing::TempDir directory;
        theirs.push_back(
            rate(bench::seconds_of([&] { bench::fill_fts5((directory.path() / "fts5").string(), texts); })));
        ours_spoken.push_back(rate(bench::seconds_of([&] { Store store(turns); })));
    }
    const auto fts5 = bench::median(theirs);
    bench::print({{"indexing notes", bench::median(ours), fts5, "rows/s", bench::median(ours) / fts5, 1.5, true},
                  {"indexing turns of conversations", bench::median(ours_spoken), fts5, "rows/s",
                   bench::median(ours_spoken) / fts5, 1.5, true}});

    Store store(turns);
    const auto size = static_cast<double>(store.space->bytes_on_disk()) / static_cast<double>(count);
    auto index = TextIndex::create();
    const auto open_ms = 1e3 * bench::seconds_of([&] {
                             check(index->open(*store.space, store.applied));
                             (void)index->reader("bench");
                         });
    std::printf("on disk: %.0f bytes a memory; open to the first reader: %.1f ms\n", size, open_ms);
    OrdinalSet one_percent;
    for (std::uint64_t i = 1; i <= count; i += 100) one_percent.insert(Seq{i});
    for (const std::size_t words : {2, 5, 12})
        std::printf("search, %2zu words: p50 %.2f ms, of one per cent %.2f ms\n", words,
                    search_ms(store, words, nullptr), search_ms(store, words, &one_percent));
    return 0;
}
