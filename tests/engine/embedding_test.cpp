// Embedders as projections: what a model made is kept, a replay never asks it, and nothing waits for one that is down.
#include "raw_database.h"
#include "sealed_store.h"
#include "support/child_process.h"
#include "support/scripted_model.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

using namespace annal;
using namespace annal::testing;
using namespace std::chrono_literals;

namespace {

const Scope shop{"shop", "qa", "", ""}, ann{"shop", "qa", "ann", ""}, bob{"shop", "qa", "bob", ""};

class EmbeddingStoreFixture {
 public:
    std::shared_ptr<ScriptedModel> model = std::make_shared<ScriptedModel>();
    std::shared_ptr<Embedder> embedder = model;
    std::vector<std::shared_ptr<Embedder>> others;
    bool with_root_key = false;

    std::filesystem::path path() const { return dir_.path() / "store"; }
    Engine* operator->() { return engine_.get(); }
    void open() {
        engine_.reset();
        EngineOptions options;
        options.directory = path();
        options.clock = &clock_;
        options.embedder = embedder;
        options.other_embedders = others;
        options.embed_retry_max = 20ms;
        if (with_root_key) {
            write_bytes(dir_.path() / "root", key_r);
            options.root_key_file = dir_.path() / "root";
        }
        auto opened = Engine::open(std::move(options));
        if (!opened) FAIL(opened.error().message);
        engine_ = std::move(*opened);
    }
    void close() { engine_.reset(); }
    Receipt note(const Scope& scope, std::string content) {
        auto receipt = engine_->record({.scope = scope, .content = std::move(content)});
        if (!receipt) FAIL(receipt.error().message);
        return *receipt;
    }
    void catch_up() {
        const auto done = engine_->wait_for(engine_->head(), 60s);
        if (!done) FAIL(done.error().message);
    }
    // Also while the model is down: until that is known.
    void until_it_waits() {
        while (engine_->wait_for(engine_->head(), 60s).error().code != ErrorCode::unavailable) {
        }
    }
    EmbeddingStatus status(std::string_view name = "scripted") {
        const auto status = engine_->status();
        REQUIRE(status);
        const auto found = std::ranges::find(status->embeddings, name, &EmbeddingStatus::model);
        REQUIRE(found != status->embeddings.end());
        return *found;
    }
    std::string digests() {
        const auto status = engine_->status(true);
        REQUIRE(status);
        std::string all;
        for (const auto& projection : status->projections) {
            CHECK(projection.quarantined == 0);
            all += projection.name + "=" + projection.digest + " ";
        }
        return all;
    }
    SearchAnswer search(std::string text, SearchMode mode = SearchMode::vector, std::string model_name = {}) {
        auto answer = engine_->search({.scope = {.project = "shop"},
                                       .text = std::move(text),
                                       .model = std::move(model_name),
                                       .mode = mode,
                                       .limit = 5,
                                       .min_seq = engine_->head(),
                                       .wait_max = 60s});
        if (!answer) FAIL(answer.error().message);
        return *answer;
    }
    void require_well() {
        const auto report = engine_->verify();
        REQUIRE(report);
        for (const auto& check : report->checks) {
            INFO(check.name << ": " << check.found);
            CHECK(check.state == Check::State::ok);
        }
    }

 private:
    TempDir dir_;
    StoppedClock clock_;
    std::unique_ptr<Engine> engine_;
};

std::string text_of(int number) {
    return "memory number " + std::to_string(number);
}

std::string bytes_of(const std::vector<float>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

TEST_CASE("each text is embedded in the background, once, and found by its vector", "[engine][embedding]") {
    EmbeddingStoreFixture store;
    store.open();
    for (int i = 0; i < 300; ++i) store.note(shop, text_of(i % 250));  // Fifty are said twice.
    store.catch_up();

    CHECK(store.model->asked().size() == 250);
    CHECK(store.model->asked_in_all() == 250);
    const auto status = store.status();
    CHECK(status.memories == 300);
    CHECK(status.vectors == 300);
    CHECK(status.coverage() == 100.0);
    CHECK(status.lag_events == 0);
    CHECK(status.active);
    const auto answer = store.search(text_of(200));
    CHECK(answer.degraded.empty());
    REQUIRE_FALSE(answer.hits.empty());
    CHECK(answer.hits[0].memory.content == text_of(200));
    CHECK(answer.hits[0].parts.similarity > 0.999);
    store.require_well();
}

TEST_CASE("a vector that was given with its memory is not asked for, and is searched with the others",
          "[engine][embedding]") {
    EmbeddingStoreFixture store;
    store.open();
    RecordRequest given{.scope = shop, .content = "came with a vector"};
    given.embedding = Embedding{"scripted", store.model->vector_of("the query")};
    REQUIRE(store->record(given));
    given.content = "came with one of another model";
    given.embedding = Embedding{"other", {1, 0}};
    const auto other = store->record(given);
    REQUIRE(other);
    store.note(shop, "came with none");
    store.catch_up();
    CHECK(store.model->asked().size() == 2);
    CHECK(store.model->asked().count("came with a vector") == 0);
    CHECK(store.status().coverage() == 100.0);
    const auto answer = store.search("the query");
    REQUIRE(answer.hits.size() == 3);
    CHECK(answer.hits[0].memory.content == "came with a vector");

    // A revision is embedded anew; a forgotten memory is not found.
    ReviseRequest revise;
    revise.target = target(shop, other->memory_id);
    revise.content = "the query";
    REQUIRE(store->revise(revise));
    store.catch_up();
    CHECK(store.search("the query").hits[1].memory.content == "the query");
    REQUIRE(store->forget(target(shop, other->memory_id)));
    CHECK(store.search("the query").hits.size() == 2);
    store.require_well();
}

TEST_CASE("a model that is down hinders nobody: writes go on, search is by text and says so, and all is made up for",
          "[engine][embedding]") {
    EmbeddingStoreFixture store;
    store.model->down(true);
    store.open();
    for (int i = 0; i < 100; ++i) store.note(shop, text_of(i));
    store.until_it_waits();

    const auto down = store.status();
    CHECK(down.coverage() == 0.0);
    CHECK(down.lag_events == 100);
    CHECK(down.error == "the model is down");
    const auto projections = store->status()->projections;
    const auto index = std::ranges::find(projections, down.projection, &ProjectionStatus::name);
    REQUIRE(index != projections.end());
    CHECK(index->state == "embedding");
    CHECK(index->lag_events == 100);
    CHECK(index->error == "the model is down");
    const auto by_text = store.search("memory number 7", SearchMode::hybrid);
    REQUIRE(by_text.hits.size() == 5);
    CHECK(by_text.hits[0].memory.content == "memory number 7");
    CHECK(by_text.degraded.size() == 2);  // The query has no vector, and the memories have none.
    REQUIRE(store->rebuild("", {}));      // As far as vectors go.

    store.close();  // A crash of the host changes nothing either.
    store.open();
    store.until_it_waits();
    store.model->down(false);
    while (!store->wait_for(store->head(), 60s)) {
    }
    CHECK(store.status().coverage() == 100.0);
    CHECK(store.model->asked_in_all() == 100);
    CHECK(store.search("memory number 7", SearchMode::hybrid).degraded.empty());
    store.require_well();
}

TEST_CASE("a text that the model does not take has no vector, and the others have theirs", "[engine][embedding]") {
    const auto is_bad = [](std::string_view text) { return text == "bad"; };
    for (const bool says_so : {true, false}) {
        EmbeddingStoreFixture store;
        if (says_so)
            store.model->refuses(is_bad);
        else
            store.model->chokes_on(is_bad);
        store.open();
        for (int i = 0; i < 20; ++i) store.note(shop, i == 5 ? "bad" : text_of(i));
        while (!store->wait_for(store->head(), 60s)) {
        }
        const auto status = store.status();
        CHECK(status.without == 1);
        CHECK(status.vectors == 19);
        CHECK(status.lag_events == 0);
        CHECK(store.search("memory number 19").hits[0].memory.content == "memory number 19");
        store.require_well();
    }
}

TEST_CASE("a rebuild, a loss of the views and a check ask the model nothing, and give the same",
          "[engine][embedding]") {
    EmbeddingStoreFixture store;
    store.open();
    std::vector<Receipt> receipts;
    for (int i = 0; i < 60; ++i) receipts.push_back(store.note(i % 2 == 0 ? shop : ann, text_of(i)));
    for (int i = 0; i < 60; i += 3) {
        ReviseRequest revise;
        revise.target = target({.project = "shop"}, receipts[static_cast<std::size_t>(i)].memory_id);
        revise.content = "revised " + text_of(i);
        REQUIRE(store->revise(revise));
    }
    REQUIRE(store->forget(target(shop, receipts[2].memory_id)));
    store.catch_up();
    const auto digests = store.digests();
    const auto asked = store.model->asked_in_all();
    CHECK(asked == 80);

    REQUIRE(store->rebuild("", {}));
    CHECK(store.digests() == digests);
    store.require_well();
    store.close();
    std::filesystem::remove_all(store.path() / "views");
    store.model->down(true);  // Nobody is asked, so nobody is missed.
    store.open();
    store.catch_up();
    CHECK(store.digests() == digests);
    // Nor without an embedder.
    store.close();
    std::filesystem::remove_all(store.path() / "views");
    store.embedder = nullptr;
    store.open();
    while (store.status().lag_events != 0) {
    }
    CHECK(store.digests() == digests);
    store.require_well();
    CHECK(store.model->asked_in_all() == asked);
}

TEST_CASE("embeddings that were lost are asked for again, and only those", "[engine][embedding]") {
    EmbeddingStoreFixture store;
    store.open();
    for (int i = 0; i < 10; ++i) store.note(shop, text_of(i));
    store.catch_up();
    const auto digests = store.digests();
    store.close();
    std::filesystem::remove_all(store.path() / "embeddings");
    std::filesystem::remove_all(store.path() / "views");
    store.open();
    store.catch_up();
    CHECK(store.model->asked_in_all() == 20);
    CHECK(store.digests() == digests);
}

TEST_CASE("a check reads all that models said, and names what is not whole", "[engine][embedding]") {
    EmbeddingStoreFixture store;
    store.with_root_key = true;
    store.model->refuses([](std::string_view text) { return text == text_of(3); });
    store.open();
    for (int i = 0; i < 20; ++i) store.note(i % 2 == 0 ? ann : shop, text_of(i));
    while (!store->wait_for(store->head(), 60s)) {
    }
    store.close();
    const auto damage = [&](const std::function<bool(std::string_view, std::string_view)>& wanted, const auto& change) {
        std::pair<std::string, std::string> row, changed;
        std::string space;
        {
            Raw raw(store.path() / "embeddings" / "keys");
            space = raw.name_of([](std::string_view name) { return name.starts_with("m-"); });
            row = raw.find(space, wanted);
            changed = row;
            change(changed.second);
            raw.put(space, changed.first, changed.second);
        }
        store.open();
        const auto report = store->verify({.projections = false});
        REQUIRE(report);
        std::string found;
        for (const auto& check : report->checks)
            if (check.state != Check::State::ok) found += check.name + ": " + check.found;
        store.close();
        Raw(store.path() / "embeddings" / "keys").put(space, row.first, row.second);
        CHECK(found.find("memory number") == std::string::npos);
        CHECK(found.find("ann") == std::string::npos);
        return found;
    };
    const auto plain = [](std::string_view key, std::string_view value) {
        return key.starts_with('e') && value[1] == 0;
    };
    const auto none = [](std::string_view key, std::string_view value) {
        return key.starts_with('e') && value[1] == 1;
    };
    const auto sealed = [](std::string_view key, std::string_view value) {
        return key.starts_with('e') && value[1] == 2;
    };
    const auto named = [](const std::string& what) {
        return "embeddings.rows: of the vectors of a model: " + what + ", model scripted";
    };

    CHECK(damage(plain, [](std::string&) {}) == "");
    CHECK(damage(plain, [](std::string& row) { row.pop_back(); }) == named("a vector of another length"));
    CHECK(damage(plain, [](std::string& row) { row.replace(2, 4, "\xFF\xFF\xFF\xFF"); }) ==
          named("a vector holds what is not a number"));
    CHECK(damage(plain, [](std::string& row) { row[0] = 9; }) == named("a row of another format"));
    CHECK(damage(none, [](std::string& row) { row += 'x'; }) == named("a vector of another length"));
    CHECK(damage(sealed, [](std::string& row) { row.back() ^= 1; }) == named("a sealed row does not open"));
    CHECK(damage(sealed, [](std::string& row) { row.resize(20); }) == named("a sealed row is cut off"));

    store.open();
    store.require_well();
    for (const auto& entry : std::filesystem::directory_iterator(store.path() / "embeddings" / "keys")) {
        if (entry.path().extension() != ".sst" || std::filesystem::file_size(entry.path()) < 200) continue;
        std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(100);
        const auto byte = static_cast<char>(file.get() ^ 1);
        file.seekp(100);
        file.put(byte);
    }
    const auto report = store->verify({.projections = false});
    REQUIRE(report);
    const auto check = std::ranges::find(report->checks, "embeddings.files", &Check::name);
    REQUIRE(check != report->checks.end());
    CHECK(check->state == Check::State::failed);
}

TEST_CASE("an erased user's vectors are in no file, and others' are asked for no more",
          "[engine][embedding][erasure]") {
    for (const bool sealed_from_the_start : {true, false}) {
        EmbeddingStoreFixture store;
        store.with_root_key = sealed_from_the_start;
        store.model = std::make_shared<ScriptedModel>("scripted", 64);
        store.embedder = store.model;
        store.open();
        for (int i = 0; i < 20; ++i) store.note(ann, "ann " + text_of(i));
        store.note(bob, "bob's");
        store.note(shop, "nobody's");
        store.catch_up();
        const auto of_ann = bytes_of(store.model->vector_of("ann " + text_of(3)));
        store.close();  // Everything is on disk.
        CHECK(any_file_holds(store.path(), of_ann));
        CHECK(any_file_holds(store.path() / "embeddings", of_ann) == !sealed_from_the_start);
        store.with_root_key = true;
        store.open();
        store.catch_up();
        const auto asked = store.model->asked_in_all();

        const auto erased = store->erase({.project = "shop", .user = "ann", .actor = "operator", .reason = "asked"});
        if (!erased) FAIL(erased.error().message);
        store.catch_up();
        for (int i = 0; i < 20; ++i)
            CHECK_FALSE(any_file_holds(store.path(), bytes_of(store.model->vector_of("ann " + text_of(i)))));
        CHECK(store.search("ann " + text_of(3)).hits.size() == 2);
        CHECK(store.status().vectors == 2);
        store.require_well();
        store.close();
        std::filesystem::remove_all(store.path() / "views");
        store.open();
        store.catch_up();
        CHECK(store.search("bob's").hits.size() == 2);
        CHECK(store.model->asked_in_all() == asked + 2);  // The two queries.
    }
}

TEST_CASE("a new model is filled beside the one that answers, compared, switched to, and left again",
          "[engine][embedding]") {
    EmbeddingStoreFixture store;
    store.open();
    for (int i = 0; i < 50; ++i) store.note(shop, text_of(i));
    store.catch_up();
    store.close();

    const auto next = std::make_shared<ScriptedModel>("next", 16);
    next->down(true);
    store.others = {next};
    store.open();
    store.until_it_waits();
    CHECK(store.status("next").coverage() == 0.0);
    CHECK_FALSE(store.status("next").active);
    CHECK(store.search(text_of(7)).degraded.empty());  // The other one answers.
    next->down(false);
    while (!store->wait_for(store->head(), 60s)) {
    }
    CHECK(store.status("next").coverage() == 100.0);
    CHECK(next->asked_in_all() == 50);
    CHECK(store.model->asked_in_all() == 51);
    CHECK(store.search(text_of(7), SearchMode::vector, "next").hits[0].memory.content == text_of(7));
    CHECK(next->asked_in_all() == 51);

    REQUIRE(store->use_model("next"));
    CHECK(store.status("next").active);
    CHECK(store.search(text_of(8)).hits[0].memory.content == text_of(8));
    CHECK(next->asked_in_all() == 52);
    store.note(shop, "said after");  // Both go on, so that there is a way back.
    store.catch_up();
    REQUIRE(store->use_model("scripted"));
    CHECK(store.search("said after").hits[0].memory.content == "said after");
    CHECK(store->use_model("oracle").error().code == ErrorCode::not_found);
    store.require_well();
}

namespace {

constexpr int texts_in_all = 400;

// What the models of all lives were asked for: a line each.
std::filesystem::path asked_file(const std::filesystem::path& store) {
    return store.parent_path() / "asked";
}

}  // namespace

TEST_CASE("writes and embeds until it is killed", "[.child]") {
    const char* argument = std::getenv(ChildProcess::argument_name);
    if (argument == nullptr) SKIP("run by another test");
    const std::filesystem::path directory = argument;
    const auto tell = [] { static_cast<void>(!write(ChildProcess::news_fd, "x", 1)); };
    const auto model = std::make_shared<ScriptedModel>();
    std::ofstream file(asked_file(directory), std::ios::app);
    model->when_asked([&](std::span<const std::string_view> texts) {
        for (const auto text : texts) file << text << '\n';
        file.flush();
        tell();
    });
    EngineOptions options;
    options.directory = directory;
    options.embedder = model;
    auto engine = Engine::open(std::move(options));
    REQUIRE(engine);
    for (auto next = (*engine)->head().value; next < texts_in_all; ++next) {
        REQUIRE((*engine)->record({.scope = shop, .content = text_of(static_cast<int>(next))}));
        tell();
    }
    REQUIRE((*engine)->wait_for((*engine)->head(), 60s));
}

TEST_CASE("killed at any point, all is embedded in the end, and only what was under way is asked for again",
          "[engine][embedding][crash]") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    EmbeddingStoreFixture store;
    const auto path = store.path().string();
    std::filesystem::create_directories(path);
    constexpr std::size_t kills = 6, under_way_max = 256;
    for (std::size_t i = 0; i < kills; ++i) {
        ChildProcess child("writes and embeds until it is killed", path);
        for (auto news = random() % 90; news > 0 && child.next_news(); --news) continue;
        child.kill_now();
    }
    ChildProcess last("writes and embeds until it is killed", path);
    while (last.next_news()) continue;
    REQUIRE(last.wait() == 0);

    store.model->down(true);  // Nothing is left to ask for.
    store.open();
    store.catch_up();
    CHECK(store.status().memories == texts_in_all);
    CHECK(store.status().coverage() == 100.0);
    store.require_well();
    const auto digests = store.digests();
    REQUIRE(store->rebuild("", {}));
    CHECK(store.digests() == digests);
    std::ifstream file(asked_file(path));
    std::map<std::string, std::size_t> asked;
    std::size_t in_all = 0;
    for (std::string line; std::getline(file, line); ++in_all) ++asked[line];
    CHECK(asked.size() == texts_in_all);
    CHECK(in_all <= texts_in_all + kills * under_way_max);
}
