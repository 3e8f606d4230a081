// An engine that embeds by a server that fails: nothing is lost, the status says why it waits, and all is made up for.
#include "adapters/outbound/ollama_embedder.h"
#include "adapters/outbound/openai_embedder.h"

#include "support/embedding_fake.h"
#include "support/patient_caller.h"
#include "support/temp_dir.h"

#include <annal/engine.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <thread>

namespace annal {
namespace {

using namespace std::chrono_literals;
using testing::EmbeddingFake;
using testing::FakeAnswer;
using testing::Fault;
using testing::PatientCaller;
using testing::Speaks;
using testing::TempDir;
using Lie = EmbeddingFake::Lie;

const std::string token = "token-of-the-test", canary = "canary";

class Store {
 public:
    explicit Store(Speaks speaks) : fake(speaks) { fake.accept_token(token); }

    PatientCaller caller{};
    EmbeddingFake fake;
    std::chrono::milliseconds call_max{30'000};

    Engine* operator->() { return engine_.get(); }
    void open() {
        HttpEmbedderOptions embedder;
        embedder.url = fake.url();
        embedder.model = "tiny";
        embedder.dimension = EmbeddingFake::dimension;
        embedder.token = [](bool) { return Result<std::string>(token); };
        embedder.service = caller.options();
        embedder.service.attempts_max = 1;
        embedder.service.client.call_max = call_max;
        auto made = fake.speaks() == Speaks::ollama ? make_ollama_embedder(std::move(embedder))
                                                    : make_openai_embedder(std::move(embedder));
        REQUIRE(made);
        EngineOptions options;
        options.directory = dir_.path() / "store";
        options.embedder = std::move(*made);
        options.embed_retry_max = 20ms;
        options.on_message = [this](std::string_view, std::string_view message) {
            const std::scoped_lock lock(mutex_);
            messages_ += std::string(message) + "\n";
        };
        auto opened = Engine::open(std::move(options));
        if (!opened) FAIL(opened.error().message);
        engine_ = std::move(*opened);
    }
    void close() { engine_.reset(); }
    void write(int first, int count) {
        for (int i = first; i < first + count; ++i)
            REQUIRE(engine_->record({.scope = {.project = "shop"}, .content = text_of(i)}));
    }
    static std::string text_of(int number) { return canary + " number " + std::to_string(number); }
    SearchAnswer search(const std::string& text, SearchMode mode) {
        auto answer =
            engine_->search({.scope = {.project = "shop"}, .text = text, .mode = mode, .min_seq = engine_->head()});
        if (!answer) FAIL(answer.error().message);
        return *answer;
    }
    EmbeddingStatus status() {
        const auto status = engine_->status();
        REQUIRE(status);
        REQUIRE(status->embeddings.size() == 1);
        return status->embeddings[0];
    }
    // With what is left of breakers and windows waited for.
    void catch_up() {
        while (!engine_->wait_for(engine_->head(), 60s)) caller.clock.advance(60'000'000);
    }
    std::string messages() {
        const std::scoped_lock lock(mutex_);
        return messages_;
    }

 private:
    TempDir dir_;
    std::mutex mutex_;
    std::string messages_;
    std::unique_ptr<Engine> engine_;
};

struct Trouble {
    std::string name;
    FakeAnswer answer;
    Lie lie;
    std::string said;  // In the status.
};

const Trouble troubles[] = {
    {"silent", {.fault = Fault::hang}, Lie::none, "no answer in 500 ms"},
    {"too many", {.status = 429, .headers = {{"retry-after", "7"}}}, Lie::none, "asked too often"},
    {"too many for long", {.status = 429, .headers = {{"retry-after", "900"}}}, Lie::none, "asked too often"},
    {"failing", {.status = 500, .body = R"({"error":"canary"})"}, Lie::none, "fails (HTTP 500)"},
    {"gone", {.fault = Fault::drop}, Lie::none, "broke before the whole answer"},
    {"cut", {.body = R"({"embeddings":[[1,2,3,4]]})", .fault = Fault::cut}, Lie::none, "broke before the whole answer"},
    {"not letting in", {.status = 401, .body = token}, Lie::none, "does not accept the credentials (HTTP 401)"},
    {"a page", {}, Lie::html, "the answer is not JSON"},
    {"cut and called whole", {}, Lie::not_json, "the answer is not JSON"},
    {"another shape", {}, Lie::no_vectors, "holds no vectors where they belong"},
    {"one less", {}, Lie::one_less, "vectors came back for"},
    {"one more", {}, Lie::one_more, "vectors came back for"},
    {"not a number", {}, Lie::not_finite, "is not "},
    {"another dimension", {}, Lie::other_dimension, "vectors of 9 numbers, not of 8"},
};

TEST_CASE("whatever an embedding server does wrong, nothing is lost, and all is embedded once it is well",
          "[embedder][engine]") {
    const auto& trouble = GENERATE(from_range(std::begin(troubles), std::end(troubles)));
    CAPTURE(trouble.name);
    Store store(GENERATE(Speaks::ollama, Speaks::openai_base64));
    if (trouble.answer.fault == Fault::hang) store.call_max = 500ms;
    if (trouble.lie == Lie::none)
        store.fake.fail_with(std::deque<FakeAnswer>(100'000, trouble.answer));
    else
        store.fake.lie(trouble.lie, 1'000'000);
    store.open();
    store.write(0, 100);
    while (store->wait_for(store->head(), 60s).error().code != ErrorCode::unavailable) {
    }
    store.write(100, 50);

    const auto down = store.status();
    CHECK(down.vectors == 0);
    CHECK(down.without == 0);
    CHECK(down.lag_events == 150);
    INFO(down.error);
    CHECK(down.error.find("the embedding server") != std::string::npos);
    CHECK(down.error.find(trouble.said) != std::string::npos);
    const auto by_text = store.search(Store::text_of(149), SearchMode::hybrid);
    REQUIRE_FALSE(by_text.hits.empty());
    CHECK(by_text.hits[0].memory.content == Store::text_of(149));
    REQUIRE_FALSE(by_text.degraded.empty());
    std::string told = down.error + store.messages();
    for (const auto& line : by_text.degraded) told += line;
    CHECK(told.find(canary) == std::string::npos);
    CHECK(told.find(token) == std::string::npos);

    store.fake.fail_with({});
    store.fake.lie(Lie::none, 0);
    store.catch_up();
    const auto well = store.status();
    CHECK(well.vectors == 150);
    CHECK(well.without == 0);
    CHECK(well.lag_events == 0);
    CHECK(well.error.empty());
    const auto by_vector = store.search(Store::text_of(77), SearchMode::vector);
    REQUIRE_FALSE(by_vector.hits.empty());
    CHECK(by_vector.hits[0].memory.content == Store::text_of(77));
    CHECK(by_vector.degraded.empty());
}

TEST_CASE("a store is closed at once while its embedding server is silent, and goes on with the next open",
          "[embedder][engine]") {
    Store store(GENERATE(Speaks::ollama, Speaks::openai_base64));
    store.call_max = 1h;  // A close that waits for the call does not end.
    store.fake.fail_with(std::deque<FakeAnswer>(4, {.fault = Fault::hang}));
    store.open();
    store.write(0, 10);
    while (store.fake.request_count() == 0) std::this_thread::yield();
    store.close();
    CHECK(store.messages().find("waits for vectors") == std::string::npos);  // To be closed is no failure.

    store.fake.fail_with({});
    store.open();
    store.catch_up();
    CHECK(store.status().vectors == 10);
    CHECK(store.status().without == 0);
}

}  // namespace
}  // namespace annal
