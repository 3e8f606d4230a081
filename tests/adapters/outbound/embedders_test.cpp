#include "adapters/outbound/embedder_chain.h"
#include "adapters/outbound/embedding_cache.h"
#include "adapters/outbound/ollama_embedder.h"
#include "adapters/outbound/openai_embedder.h"

#include "support/embedding_fake.h"
#include "support/patient_caller.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <cmath>

namespace annal {
namespace {

using namespace std::chrono_literals;
using testing::EmbeddingFake;
using testing::Fault;
using testing::PatientCaller;
using testing::Speaks;

struct Setup {
    explicit Setup(Speaks speaks) : fake(speaks) {}

    HttpEmbedderOptions options() {
        HttpEmbedderOptions options;
        options.url = fake.url();
        options.model = "tiny";
        options.dimension = EmbeddingFake::dimension;
        options.service = caller.options();
        options.service.client.call_max = 5s;
        return options;
    }
    std::unique_ptr<HttpEmbedder> open(HttpEmbedderOptions options) const {
        auto made = fake.speaks() == Speaks::ollama ? make_ollama_embedder(std::move(options))
                                                    : make_openai_embedder(std::move(options));
        REQUIRE(made);
        return std::move(*made);
    }
    std::unique_ptr<HttpEmbedder> open() { return open(options()); }

    PatientCaller caller{};
    EmbeddingFake fake;
};

double norm_of(const std::vector<float>& vector) {
    double squares = 0;
    for (const float value : vector) squares += static_cast<double>(value) * static_cast<double>(value);
    return std::sqrt(squares);
}

std::vector<std::string_view> views_of(const std::vector<std::string>& texts) {
    return {texts.begin(), texts.end()};
}

TEST_CASE("an embedder gives each text its vector, in order and of unit length", "[embedder]") {
    Setup it(GENERATE(Speaks::ollama, Speaks::openai_base64, Speaks::openai_numbers));
    const auto embedder = it.open();
    CHECK(embedder->semantic());
    CHECK(embedder->model() == "tiny");
    std::vector<std::string> texts;
    for (int i = 0; i < 150; ++i) texts.push_back("text \"" + std::to_string(i) + "\" \xC3\xA9");

    const auto vectors = embedder->embed_many(views_of(texts));

    REQUIRE(vectors);
    REQUIRE(vectors->size() == texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
        CHECK((*vectors)[i] == EmbeddingFake::unit_vector_of(texts[i]));
        CHECK(std::abs(norm_of((*vectors)[i]) - 1) < 1e-6);
    }
    CHECK(it.fake.batch_sizes() == std::vector<std::size_t>{64, 64, 22});
    const auto one = embedder->embed(texts[7]);
    REQUIRE(one);
    CHECK(*one == (*vectors)[7]);
}

TEST_CASE("batches are bounded in bytes, and a long text goes alone", "[embedder]") {
    Setup it(Speaks::ollama);
    auto options = it.options();
    options.batch_bytes_max = 100;
    const std::vector<std::string> texts{std::string(60, 'a'), std::string(40, 'b'), std::string(200, 'c'),
                                         std::string(1, 'd')};
    REQUIRE(it.open(options)->embed_many(views_of(texts)));
    CHECK(it.fake.batch_sizes() == std::vector<std::size_t>{2, 1, 1});
}

TEST_CASE("text with nothing in it is not sent, and its vector is zero", "[embedder]") {
    Setup it(Speaks::openai_base64);
    const auto embedder = it.open();
    const auto blank = embedder->embed(" \n\t");
    REQUIRE(blank);
    CHECK(*blank == std::vector<float>(EmbeddingFake::dimension, 0.0F));
    CHECK(it.fake.batch_sizes().empty());
    const auto mixed = embedder->embed_many(std::vector<std::string_view>{"", "a", " "});
    REQUIRE(mixed);
    CHECK(norm_of((*mixed)[0]) == 0);
    CHECK((*mixed)[1] == EmbeddingFake::unit_vector_of("a"));
}

TEST_CASE("an answer that makes no sense is never taken, and the next good one is", "[embedder]") {
    Setup it(GENERATE(Speaks::ollama, Speaks::openai_base64, Speaks::openai_numbers));
    using enum EmbeddingFake::Lie;
    const auto lie = GENERATE(html, not_json, no_vectors, one_less, one_more, not_finite, zeros, words);
    CAPTURE(static_cast<int>(lie));
    const auto embedder = it.open();
    it.fake.lie(lie, 2);

    const auto vector = embedder->embed("canary");
    REQUIRE(vector);
    CHECK(*vector == EmbeddingFake::unit_vector_of("canary"));
    CHECK(it.fake.batch_sizes().size() == 3);

    it.fake.lie(lie, 100);
    const auto never = embedder->embed("canary");
    REQUIRE_FALSE(never);
    CHECK(never.error().code == ErrorCode::unavailable);
    CHECK(never.error().message.find("canary") == std::string::npos);
    CHECK(embedder->breaker_state() == BreakerState::open);
}

TEST_CASE("indexes that repeat or lie outside are nonsense", "[embedder]") {
    Setup it(Speaks::openai_base64);
    it.fake.lie(GENERATE(EmbeddingFake::Lie::index_twice, EmbeddingFake::Lie::index_outside), 1);
    const auto vectors = it.open()->embed_many(std::vector<std::string_view>{"a", "b"});
    REQUIRE(vectors);
    CHECK(it.fake.batch_sizes().size() == 2);
}

TEST_CASE("vectors of another dimension are refused at once, and both are named", "[embedder]") {
    Setup it(GENERATE(Speaks::ollama, Speaks::openai_base64));
    auto options = it.options();
    options.dimension = EmbeddingFake::dimension + 1;
    const auto vector = it.open(options)->embed("a");
    REQUIRE_FALSE(vector);
    CHECK(vector.error().code == ErrorCode::unimplemented);
    CHECK(vector.error().details.at("expected") == std::to_string(EmbeddingFake::dimension + 1));
    CHECK(vector.error().details.at("actual") == std::to_string(EmbeddingFake::dimension));
    CHECK(it.fake.batch_sizes().size() == 1);
}

TEST_CASE("a provider that throttles, drops, cuts or is slow is asked again in time", "[embedder]") {
    Setup it(GENERATE(Speaks::ollama, Speaks::openai_base64));
    testing::FakeAnswer fault;
    SECTION("429") {
        fault = {.status = 429, .headers = {{"retry-after-ms", "2500"}}};
    }
    SECTION("503") {
        fault = {.status = 503};
    }
    SECTION("drop") {
        fault = {.fault = Fault::drop};
    }
    SECTION("cut") {
        fault = {.body = "{\"half\": \"of it\"}", .fault = Fault::cut};
    }
    SECTION("slow") {
        fault = {.fault = Fault::hang};
    }
    it.fake.fail_with({fault});
    auto options = it.options();
    if (fault.fault == Fault::hang) options.service.client.call_max = 150ms;
    const auto before = it.caller.clock.now();

    REQUIRE(it.open(options)->embed("a"));

    if (fault.status == 429) CHECK(it.caller.clock.now().us - before.us >= 2'500'000);
    CHECK(it.fake.request_count() == 2);
}

TEST_CASE("a refused request is not repeated, and its text stays out of the error", "[embedder]") {
    Setup it(GENERATE(Speaks::ollama, Speaks::openai_base64));
    it.fake.fail_with({{.status = 400, .body = "{\"error\":\"canary is too long\"}"}});
    const auto vector = it.open()->embed("canary");
    REQUIRE_FALSE(vector);
    CHECK(vector.error().code == ErrorCode::invalid_argument);
    CHECK(vector.error().message.find("canary") == std::string::npos);
    CHECK(it.fake.request_count() == 1);
}

TEST_CASE("a token is sent with each request, and got anew when it is not accepted", "[embedder]") {
    Setup it(Speaks::openai_base64);
    it.fake.accept_token("second");
    std::string token = "first";
    int renewed = 0;
    auto options = it.options();
    options.token = [&](bool again) -> Result<std::string> {
        if (again) ++renewed, token = "second";
        return token;
    };
    const auto embedder = it.open(options);
    CHECK(embedder->embed("a"));
    CHECK(embedder->embed("b"));
    CHECK(renewed == 1);
    CHECK(it.fake.request_count() == 3);

    it.fake.accept_token("third");
    const auto refused = embedder->embed("c");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::unauthenticated);
    CHECK(refused.error().message.find("second") == std::string::npos);
    CHECK(it.fake.request_count() == 5);
}

TEST_CASE("a probe finds out without embedding, and is believed for a while", "[embedder]") {
    Setup it(GENERATE(Speaks::ollama, Speaks::openai_base64));
    const auto embedder = it.open();
    CHECK(embedder->probe());
    CHECK(embedder->probe());
    CHECK(it.fake.request_count() == 1);
    CHECK(it.fake.batch_sizes().empty());

    it.fake.fail_with({{.status = 503}});
    CHECK(embedder->probe());
    it.caller.clock.advance(30'000'000);
    CHECK_FALSE(embedder->probe());
    CHECK_FALSE(embedder->probe());
    it.caller.clock.advance(30'000'000);
    CHECK(embedder->probe());
}

TEST_CASE("a probe of Ollama tells that the model is not there", "[embedder]") {
    Setup it(Speaks::ollama);
    auto options = it.options();
    options.model = "absent";
    const auto found = it.open(options)->probe();
    REQUIRE_FALSE(found);
    CHECK(found.error().code == ErrorCode::not_found);
}

TEST_CASE("what an embedder is made of is checked", "[embedder]") {
    for (const auto& wrong : {HttpEmbedderOptions{.url = "http://h", .model = "", .dimension = 4},
                              HttpEmbedderOptions{.url = "http://h", .model = "m", .dimension = 0},
                              HttpEmbedderOptions{.url = "http://h", .model = "m", .dimension = 4097},
                              HttpEmbedderOptions{.url = "h", .model = "m", .dimension = 4}}) {
        const auto made = make_openai_embedder(wrong);
        REQUIRE_FALSE(made);
        CHECK(made.error().code == ErrorCode::invalid_argument);
    }
}

// Counts what it is asked.
class CountingEmbedder final : public Embedder {
 public:
    explicit CountingEmbedder(std::string model = "m", std::size_t dimension = 2)
        : model_(std::move(model)), dimension_(dimension) {}
    std::string_view model() const override { return model_; }
    std::size_t dimension() const override { return dimension_; }
    bool semantic() const override { return true; }
    Result<std::vector<float>> embed(std::string_view text) override {
        asked.emplace_back(text);
        if (error) return *error;
        return std::vector<float>{1, static_cast<float>(text.size())};
    }
    Status probe() override { return error ? Status(*error) : Status(Done{}); }

    std::vector<std::string> asked{};
    std::optional<Error> error{};

 private:
    std::string model_;
    std::size_t dimension_;
};

TEST_CASE("a cached text is not embedded twice, and equal texts of a batch are one", "[embedder]") {
    auto inner = std::make_shared<CountingEmbedder>();
    auto cache = std::make_shared<EmbeddingCache>();
    const auto embedder = make_caching_embedder(inner, cache);

    const auto one = embedder->embed("a");
    const auto many = embedder->embed_many(std::vector<std::string_view>{"bbb", "a", "bbb", "cc", "a"});

    REQUIRE(one);
    REQUIRE(many);
    CHECK(inner->asked == std::vector<std::string>{"a", "bbb", "cc"});
    std::vector<float> sizes;
    for (const auto& vector : *many) sizes.push_back(vector[1]);
    CHECK(sizes == std::vector<float>{3, 1, 3, 2, 1});

    const auto other_model = make_caching_embedder(std::make_shared<CountingEmbedder>("n"), cache);
    REQUIRE(other_model->embed("a"));
    CHECK(cache->counts().entries == 4);
}

TEST_CASE("the cache is bounded, and what was used longest ago goes first", "[embedder]") {
    EmbeddingCache cache(4000);
    const std::vector<float> vector(100, 1.0F);  // About 500 bytes with its key.
    for (int i = 0; i < 100; ++i) {
        cache.put("m", std::to_string(i), vector);
        CHECK(cache.get("m", "0"));
        CHECK(cache.counts().bytes <= 4000);
    }
    CHECK(cache.counts().entries >= 5);
    CHECK_FALSE(cache.get("m", "1"));
    CHECK(cache.get("m", "99"));
}

TEST_CASE("an error is not cached", "[embedder]") {
    auto inner = std::make_shared<CountingEmbedder>();
    const auto embedder = make_caching_embedder(inner, std::make_shared<EmbeddingCache>());
    inner->error = Error{ErrorCode::unavailable, "down", {}};
    CHECK_FALSE(embedder->embed("a"));
    inner->error.reset();
    CHECK(embedder->embed("a"));
}

TEST_CASE("a chain asks in order, keeps to who answers, and goes on when he fails", "[embedder]") {
    std::vector<std::shared_ptr<CountingEmbedder>> links;
    for (int i = 0; i < 3; ++i) links.push_back(std::make_shared<CountingEmbedder>());
    auto made = EmbedderChain::create({links.begin(), links.end()});
    REQUIRE(made);
    auto& chain = **made;
    const Error down{ErrorCode::unavailable, "down", {}};

    CHECK(chain.embed("a"));
    CHECK(links[1]->asked.empty());

    links[0]->error = down;
    CHECK(chain.embed("b"));
    CHECK(chain.embed("c"));
    CHECK(chain.current() == 1);
    CHECK(links[0]->asked == std::vector<std::string>{"a", "b"});
    CHECK(links[1]->asked == std::vector<std::string>{"b", "c"});

    links[0]->error.reset();
    links[1]->error = down;
    CHECK(chain.embed("d"));
    CHECK(chain.current() == 0);
    CHECK(chain.probe());
    const auto available = chain.availability();
    CHECK(available[0]);
    CHECK_FALSE(available[1]);
    CHECK(available[2]);

    links[0]->error = links[2]->error = down;
    const auto none = chain.embed("e");
    REQUIRE_FALSE(none);
    CHECK(none.error().code == ErrorCode::unavailable);
    CHECK(none.error().details.size() == 3);
    CHECK_FALSE(chain.probe());
}

TEST_CASE("a chain asks nobody else about a text that is refused", "[embedder]") {
    auto first = std::make_shared<CountingEmbedder>();
    auto second = std::make_shared<CountingEmbedder>();
    auto chain = EmbedderChain::create({first, second});
    REQUIRE(chain);
    first->error = Error{ErrorCode::invalid_argument, "too long", {}};
    CHECK((*chain)->embed("a").error().code == ErrorCode::invalid_argument);
    CHECK(second->asked.empty());
}

TEST_CASE("a chain mixes neither models nor dimensions", "[embedder]") {
    const auto of = [](std::string model, std::size_t dimension) {
        return std::make_shared<CountingEmbedder>(std::move(model), dimension);
    };
    CHECK(EmbedderChain::create({of("m", 2), of("m", 2)}));
    CHECK(EmbedderChain::create({of("m", 2), of("n", 2)}).error().code == ErrorCode::invalid_argument);
    CHECK(EmbedderChain::create({of("m", 2), of("m", 3)}).error().code == ErrorCode::invalid_argument);
    CHECK(EmbedderChain::create({}).error().code == ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace annal
