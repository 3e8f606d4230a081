#include "adapters/outbound/http_service.h"

#include "support/http_fake.h"
#include "support/patient_caller.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <deque>
#include <future>
#include <thread>

namespace annal {
namespace {

using namespace std::chrono_literals;
using testing::FakeAnswer;
using testing::FakeRequest;
using testing::Fault;
using testing::HttpFake;
using testing::PatientCaller;

// Answers as scripted, then with 200; notes when each request came.
struct ScriptedServer {
    PatientCaller caller{};
    std::deque<FakeAnswer> script{};
    std::vector<Timestamp> times{};
    HttpFake server{[this](const FakeRequest&) {
        times.push_back(caller.clock.now());
        if (script.empty()) return FakeAnswer{.body = "well"};
        auto answer = script.front();
        script.pop_front();
        return answer;
    }};
    std::unique_ptr<HttpService> service = open();

    std::unique_ptr<HttpService> open() {
        auto options = caller.options();
        options.name = "the server";
        options.client.endpoint = *parse_http_url(server.url());
        options.client.call_max = 5s;
        auto opened = HttpService::create(options);
        REQUIRE(opened);
        return std::move(*opened);
    }
    std::chrono::milliseconds between(std::size_t first, std::size_t second) const {
        return std::chrono::milliseconds((times.at(second).us - times.at(first).us) / 1000);
    }
};

TEST_CASE("what is worth a repetition is repeated, with pauses that are drawn", "[http]") {
    const auto fault = GENERATE(FakeAnswer{.status = 503}, FakeAnswer{.status = 500}, FakeAnswer{.status = 408},
                                FakeAnswer{.status = 425}, FakeAnswer{.status = 449}, FakeAnswer{.fault = Fault::drop},
                                FakeAnswer{.body = "half", .fault = Fault::cut});
    ScriptedServer it;
    it.script = {fault, fault, fault};

    const auto answer = it.service->call({});

    REQUIRE(answer);
    CHECK(answer->body == "well");
    CHECK(it.times.size() == 4);
    CHECK(it.caller.pauses.size() == 3);
}

TEST_CASE("what a repetition cannot mend is asked once", "[http]") {
    const auto status = GENERATE(302, 400, 401, 403, 404, 409, 412, 413, 422, 501);
    ScriptedServer it;
    it.script.push_back({.status = status});
    const auto answer = it.service->call({});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().details.at("http_status") == std::to_string(status));
    CHECK(it.times.size() == 1);
    CHECK(it.service->breaker_state() == BreakerState::closed);
}

TEST_CASE("attempts have an end, and the last error is told", "[http]") {
    ScriptedServer it;
    it.script.assign(4, {.status = 503});
    const auto answer = it.service->call({.attempts_max = 4});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::unavailable);
    CHECK(it.times.size() == 4);
}

TEST_CASE("nobody asks within the window that a 429 names", "[http]") {
    const auto [header, value, wait] =
        GENERATE(table<std::string, std::string, std::chrono::milliseconds>({{"retry-after", "7", 7'000ms},
                                                                             {"retry-after-ms", "1234", 1'234ms},
                                                                             {"x-ms-retry-after-ms", "90.5", 91ms},
                                                                             {"retry-after", "DATE", 20'000ms}}));
    ScriptedServer it;
    const auto date = to_http_date({it.caller.clock.now().us + 20'000'000});
    it.script.push_back({.status = 429, .headers = {{header, value == "DATE" ? date : value}}});

    REQUIRE(it.service->call({}));

    CHECK(it.times.size() == 2);
    CHECK(it.between(0, 1) >= wait);
    CHECK(it.between(0, 1) < wait + 10ms);
}

TEST_CASE("a window longer than our patience is an error at once, for every caller, until it is over", "[http]") {
    ScriptedServer it;
    it.script.push_back({.status = 429, .headers = {{"retry-after", "120"}}});
    for (int i = 0; i < 3; ++i) {
        const auto answer = it.service->call({});
        REQUIRE_FALSE(answer);
        CHECK(answer.error().code == ErrorCode::resource_exhausted);
        CHECK(std::stoi(answer.error().details.at("retry_after_ms")) > 110'000);
    }
    CHECK(it.times.size() == 1);
    it.caller.clock.advance(119'000'000);
    CHECK(it.service->call({}));
    CHECK(it.between(0, 1) >= 120'000ms);
}

TEST_CASE("a 429 without a window is a reason to pause", "[http]") {
    ScriptedServer it;
    it.script.assign(3, {.status = 429});
    CHECK(it.service->call({}));
    CHECK(it.caller.pauses.size() == 3);
    CHECK(it.service->breaker_state() == BreakerState::closed);
}

TEST_CASE("a pause ends when the call is given up, and the server is not blamed for it", "[http]") {
    HttpFake server([](const FakeRequest&) { return FakeAnswer{.status = 429, .headers = {{"retry-after", "20"}}}; });
    HttpServiceOptions options;
    options.name = "the server";
    options.client.endpoint = *parse_http_url(server.url());
    options.patience = 600s;
    options.breaker.failures_max = 1;
    const auto service = HttpService::create(options);
    REQUIRE(service);
    std::stop_source stop;
    const auto start = std::chrono::steady_clock::now();
    auto call = std::async(std::launch::async, [&] { return (*service)->call({.stop = stop.get_token()}); });
    while (server.request_count() == 0) std::this_thread::yield();
    stop.request_stop();
    const auto answer = call.get();
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::unavailable);
    CHECK(std::chrono::steady_clock::now() - start < 10s);
    CHECK((*service)->breaker_state() == BreakerState::closed);
}

TEST_CASE("what keeps a server from being asked says what it last did", "[http]") {
    ScriptedServer it;
    it.script.assign(5, {.status = 503});
    for (int i = 0; i < 5; ++i) CHECK_FALSE(it.service->call({.attempts_max = 1}));
    const auto kept_away = it.service->call({});
    REQUIRE_FALSE(kept_away);
    CHECK(kept_away.error().message.find("HTTP 503") != std::string::npos);
}

TEST_CASE("five failures in a row open the breaker, and 30 s later one call tries", "[http]") {
    ScriptedServer it;
    it.script.assign(6, {.status = 500});
    for (int i = 0; i < 5; ++i) CHECK_FALSE(it.service->call({.attempts_max = 1}));
    CHECK(it.service->breaker_state() == BreakerState::open);

    const auto kept_away = it.service->call({});
    REQUIRE_FALSE(kept_away);
    CHECK(kept_away.error().code == ErrorCode::unavailable);
    CHECK(kept_away.error().details.at("retry_after_ms") == "30000");
    CHECK(it.times.size() == 5);

    it.caller.clock.advance(30'000'000);
    CHECK_FALSE(it.service->call({.attempts_max = 1}));
    CHECK(it.times.size() == 6);
    CHECK_FALSE(it.service->call({}));
    CHECK(it.times.size() == 6);

    it.caller.clock.advance(30'000'000);
    CHECK(it.service->call({}));
    CHECK(it.service->breaker_state() == BreakerState::closed);
}

TEST_CASE("credentials that are not accepted are asked for once more", "[http]") {
    ScriptedServer it;
    const auto refusals = GENERATE(1U, 2U);
    it.script.assign(refusals, {.status = 401});
    std::vector<bool> asked;
    const auto answer = it.service->call({.authorize = [&](HttpRequest&, bool again) -> Result<bool> {
        asked.push_back(again);
        return true;
    }});
    CHECK(asked == std::vector<bool>{false, true});
    CHECK(static_cast<bool>(answer) == (refusals == 1));
    if (!answer) CHECK(answer.error().code == ErrorCode::unauthenticated);
}

TEST_CASE("an answer that makes no sense counts as no answer", "[http]") {
    ScriptedServer it;
    int read = 0;
    const auto answer = it.service->call({.read = [&](const HttpResponse&) -> Status {
        if (++read < 3) return Error{ErrorCode::unavailable, "nonsense", {}};
        return Done{};
    }});
    CHECK(answer);
    CHECK(it.times.size() == 3);
}

TEST_CASE("HTTP's dates", "[http]") {
    CHECK(to_http_date({1'795'195'406'000'000}) == "Fri, 20 Nov 2026 17:23:26 GMT");
}

}  // namespace
}  // namespace annal
