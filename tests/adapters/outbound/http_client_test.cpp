#include "adapters/outbound/http_client.h"

#include "support/http_fake.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <future>
#include <thread>

namespace annal {
namespace {

using namespace std::chrono_literals;
using testing::BlackHole;
using testing::FakeAnswer;
using testing::FakeRequest;
using testing::Fault;
using testing::HttpFake;

std::unique_ptr<HttpClient> client_of(const std::string& url, HttpClientOptions options = {}) {
    auto endpoint = parse_http_url(url);
    REQUIRE(endpoint);
    options.endpoint = std::move(*endpoint);
    auto client = HttpClient::create(options);
    REQUIRE(client);
    return std::move(*client);
}

FakeAnswer echo(const FakeRequest& request) {
    return {.body = request.method + " " + request.target + " " + request.body};
}

HttpFake::Handler always(FakeAnswer answer) {
    return [answer = std::move(answer)](const FakeRequest&) { return answer; };
}

struct Timed {
    Result<HttpResponse> answer;
    std::chrono::steady_clock::duration took;
};
Timed timed(HttpClient& client) {
    const auto start = std::chrono::steady_clock::now();
    auto answer = client.send({});
    return {std::move(answer), std::chrono::steady_clock::now() - start};
}

TEST_CASE("a request arrives as it was given, and its answer comes back", "[http]") {
    HttpFake server([](const FakeRequest& request) {
        FakeAnswer answer = echo(request);
        answer.status = 418;
        answer.headers = {{"X-Charge", "2.5"}};
        return answer;
    });
    auto client = client_of(server.url() + "/base/");

    const auto answer = client->send(
        {.method = "PUT", .target = "/things?n=1", .headers = {{"X-Name", "some value"}}, .body = "{\"a\":1}"});

    REQUIRE(answer);
    CHECK(answer->status == 418);
    CHECK(answer->body == "PUT /base/things?n=1 {\"a\":1}");
    REQUIRE(answer->header("x-CHARGE"));
    CHECK(*answer->header("x-CHARGE") == "2.5");
    CHECK_FALSE(answer->header("x-other"));
    const auto seen = server.requests().at(0);
    CHECK(seen.header("x-name") == "some value");
    CHECK(seen.header("host") == "127.0.0.1:" + std::to_string(server.port()));
}

TEST_CASE("connections are kept alive, and no more are open than were allowed", "[http]") {
    HttpFake server([](const FakeRequest& request) { return echo(request); });
    auto client = client_of(server.url(), {.connections_max = 2});
    for (int i = 0; i < 5; ++i) REQUIRE(client->send({}));
    CHECK(server.connection_count() == 1);

    std::vector<std::thread> callers;
    std::atomic<int> answered{0};
    for (int i = 0; i < 8; ++i)
        callers.emplace_back([&] {
            for (int n = 0; n < 10; ++n)
                if (client->send({})) ++answered;
        });
    for (auto& caller : callers) caller.join();

    CHECK(answered == 80);
    CHECK(server.connection_count() <= 2);
}

TEST_CASE("a connection that the server closed meanwhile is not used again", "[http]") {
    HttpFake server(always({.body = "yes", .fault = Fault::close}));
    auto client = client_of(server.url());
    for (int i = 1; i <= 5; ++i) {
        REQUIRE(client->send({}));
        while (server.closed_count() < i) std::this_thread::yield();
    }
    CHECK(server.connection_count() == 5);
}

TEST_CASE("a server that takes no connection costs the connect deadline, not more", "[http]") {
    BlackHole hole;
    auto client = client_of(hole.url(), {.connect_max = 150ms});
    const auto [answer, took] = timed(*client);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::unavailable);
    CHECK(took >= 140ms);
    CHECK(took < 5s);
}

TEST_CASE("a server that is silent, or drips, costs the call's deadline, not more", "[http]") {
    const auto fault = GENERATE(Fault::hang, Fault::drip);
    HttpFake server(always({.body = std::string(100'000, 'x'), .fault = fault, .delay = 5ms}));
    auto client = client_of(server.url(), {.call_max = 200ms});
    const auto [answer, took] = timed(*client);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::deadline_exceeded);
    CHECK(took >= 190ms);
    CHECK(took < 5s);
}

TEST_CASE("a call waits for a connection within its deadline", "[http]") {
    HttpFake server(always({.fault = Fault::hang}));
    auto client = client_of(server.url(), {.connections_max = 1, .call_max = 200ms});
    auto other = std::async(std::launch::async, [&] { return timed(*client); });
    const auto [answer, took] = timed(*client);
    CHECK(took < 5s);
    CHECK(answer.error().code == ErrorCode::deadline_exceeded);
    CHECK(other.get().answer.error().code == ErrorCode::deadline_exceeded);
}

TEST_CASE("a call that is given up ends at once, wherever it is, and its connection serves no other", "[http]") {
    HttpFake server([](const FakeRequest& request) {
        return request.target == "/well" ? echo(request) : FakeAnswer{.fault = Fault::hang};
    });
    BlackHole hole;
    const HttpClientOptions patient{.connections_max = 1, .connect_max = 20s, .call_max = 20s};
    auto client = client_of(server.url(), patient);
    auto nowhere = client_of(hole.url(), patient);
    std::stop_source stop;
    const auto begin = [&](HttpClient& with) {
        return std::async(std::launch::async, [&] { return with.send({}, stop.get_token()); });
    };
    auto answering = begin(*client);
    while (server.request_count() == 0) std::this_thread::yield();
    auto waiting = begin(*client);  // For the only connection there may be.
    auto connecting = begin(*nowhere);
    const auto start = std::chrono::steady_clock::now();
    stop.request_stop();
    for (auto* call : {&answering, &waiting, &connecting}) {
        const auto answer = call->get();
        REQUIRE_FALSE(answer);
        CHECK(answer.error().code == ErrorCode::unavailable);
        CHECK(answer.error().message.find("given up") != std::string::npos);
    }
    CHECK(std::chrono::steady_clock::now() - start < 10s);

    CHECK_FALSE(client->send({.target = "/well"}, stop.get_token()));  // What is given up is not begun.
    CHECK(client->send({.target = "/well"}));
    CHECK(server.connection_count() == 2);
    CHECK(server.request_count() == 2);
}

TEST_CASE("an answer that is cut, dropped or refused is unavailable, and the next one is well", "[http]") {
    FakeAnswer answer;
    HttpFake server([&](const FakeRequest&) { return answer; });
    auto client = client_of(server.url());
    SECTION("in the middle of its body") {
        answer = {.body = "half of this", .fault = Fault::cut};
    }
    SECTION("before it began") {
        answer = {.fault = Fault::drop};
    }
    SECTION("before the request was read") {
        server.refuse_connections(true);
    }

    const auto broken = client->send({});
    REQUIRE_FALSE(broken);
    CHECK(broken.error().code == ErrorCode::unavailable);

    server.refuse_connections(false);
    answer = {.body = "whole"};
    const auto whole = client->send({});
    REQUIRE(whole);
    CHECK(whole->body == "whole");
}

TEST_CASE("a request is never sent twice", "[http]") {
    HttpFake server(always({.fault = Fault::drop}));
    auto client = client_of(server.url());
    CHECK_FALSE(client->send({.method = "POST", .body = "once"}));
    CHECK(server.request_count() == 1);
}

TEST_CASE("an answer larger than allowed is refused", "[http]") {
    HttpFake server(always({.body = std::string(1001, 'x')}));
    CHECK(client_of(server.url(), {.response_bytes_max = 1001})->send({}));
    const auto large = client_of(server.url(), {.response_bytes_max = 1000})->send({});
    REQUIRE_FALSE(large);
    CHECK(large.error().code == ErrorCode::resource_exhausted);
}

TEST_CASE("a redirect is an answer: nothing follows it", "[http]") {
    HttpFake other(always({.body = "stolen"}));
    HttpFake server(always({.status = 307, .headers = {{"Location", other.url() + "/"}}}));
    const auto answer = client_of(server.url())->send({.headers = {{"Authorization", "Bearer secret"}}});
    REQUIRE(answer);
    CHECK(answer->status == 307);
    CHECK(other.request_count() == 0);
    CHECK(error_of_status(307, "it").code == ErrorCode::unimplemented);
}

TEST_CASE("no header or target can smuggle a line in", "[http]") {
    HttpFake server(always({}));
    auto client = client_of(server.url());
    for (const auto& request :
         {HttpRequest{.headers = {{"X", "a\r\nY: b"}}}, HttpRequest{.headers = {{"X\r\nY", "a"}}},
          HttpRequest{.headers = {{"", "a"}}}, HttpRequest{.target = "/a b"}, HttpRequest{.target = "/\r\nX: y"},
          HttpRequest{.target = "a"}, HttpRequest{.method = "GET /"}}) {
        const auto answer = client->send(request);
        REQUIRE_FALSE(answer);
        CHECK(answer.error().code == ErrorCode::invalid_argument);
    }
    CHECK(server.request_count() == 0);
}

TEST_CASE("no error holds a secret, a target or a host", "[http]") {
    const HttpRequest request{
        .method = "POST", .target = "/canary", .headers = {{"Authorization", "Bearer canary"}}, .body = "canary"};
    std::vector<Error> errors;
    {
        HttpFake server(always({.body = "canary canary", .fault = Fault::cut}));
        errors.push_back(client_of(server.url())->send(request).error());
    }
    errors.push_back(client_of("http://canary.invalid:1")->send(request).error());
    errors.push_back(parse_http_url("https://user:canary@host/").error());
    errors.push_back(parse_http_url("https://host/?key=canary").error());
    errors.push_back(HttpClient::create({.endpoint = {.tls = true, .host = "h"}, .ca_file = "/canary"}).error());
    for (const auto& error : errors) {
        CHECK(error.message.find("canary") == std::string::npos);
        for (const auto& [name, value] : error.details) CHECK(value.find("canary") == std::string::npos);
    }
}

TEST_CASE("over TLS the certificate must be trusted and name the host", "[http][tls]") {
    HttpFake server([](const FakeRequest& request) { return echo(request); }, HttpFake::Over::tls);

    auto client = client_of(server.url("localhost"), {.ca_file = server.ca_file()});
    for (int i = 0; i < 3; ++i) {
        const auto answer = client->send({.body = "sealed"});
        REQUIRE(answer);
        CHECK(answer->body == "GET / sealed");
    }
    CHECK(server.connection_count() == 1);

    const auto unknown = client_of(server.url("localhost"))->send({});
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().code == ErrorCode::unauthenticated);

    const auto misnamed = client_of(server.url("127.0.0.1"), {.ca_file = server.ca_file()})->send({});
    REQUIRE_FALSE(misnamed);
    CHECK(misnamed.error().code == ErrorCode::unauthenticated);

    CHECK(server.request_count() == 3);
}

TEST_CASE("over TLS a server that shakes no hands costs the connect deadline", "[http][tls]") {
    HttpFake plain(always({}));  // Waits for a request line that never comes.
    auto client = client_of("https://localhost:" + std::to_string(plain.port()), {.connect_max = 150ms});
    const auto [answer, took] = timed(*client);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::unavailable);
    CHECK(took < 5s);
}

TEST_CASE("over TLS an answer that is cut is no answer", "[http][tls]") {
    HttpFake server(always({.body = "half of this", .fault = Fault::cut}), HttpFake::Over::tls);
    const auto answer = client_of(server.url("localhost"), {.ca_file = server.ca_file()})->send({});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::unavailable);
}

TEST_CASE("a URL is a scheme, a host, a port and a path", "[http]") {
    const auto plain = parse_http_url("http://localhost:11434");
    REQUIRE(plain);
    CHECK_FALSE(plain->tls);
    CHECK(plain->host == "localhost");
    CHECK(plain->port == 11434);
    CHECK(plain->path.empty());

    const auto secure = parse_http_url("https://api.example.com/v1//");
    REQUIRE(secure);
    CHECK(secure->tls);
    CHECK(secure->port == 443);
    CHECK(secure->path == "/v1");

    const auto six = parse_http_url("http://[::1]:80/x");
    REQUIRE(six);
    CHECK(six->host == "::1");
    CHECK(six->port == 80);

    for (const auto* wrong : {"", "localhost", "ftp://h", "http://", "http://:80", "http://h:", "http://h:0",
                              "http://h:65536", "http://h:8x", "http://u:p@h", "http://h/?q", "http://h/a b",
                              "http://[::1", "http://[::1]x", "http://a:b:80", "http://[]/"}) {
        INFO(wrong);
        CHECK_FALSE(parse_http_url(wrong));
    }
}

TEST_CASE("what is worth a repetition is told by the error's code", "[http]") {
    using enum ErrorCode;
    for (const int status : {408, 425, 449, 500, 502, 503, 504})
        CHECK(error_of_status(status, "it").code == unavailable);
    CHECK(error_of_status(429, "it").code == resource_exhausted);
    for (const int status :
         {300, 301, 302, 307, 308, 400, 401, 402, 403, 404, 405, 409, 410, 412, 413, 415, 418, 422, 431, 451, 501}) {
        const auto code = error_of_status(status, "it").code;
        CHECK(code != unavailable);
        CHECK(code != resource_exhausted);
        CHECK(code != deadline_exceeded);
    }
    CHECK(error_of_status(401, "it").code == unauthenticated);
    CHECK(error_of_status(403, "it").code == permission_denied);
    CHECK(error_of_status(404, "it").code == not_found);
    CHECK(error_of_status(412, "it").code == conflict);
    CHECK(error_of_status(412, "it").details.at("http_status") == "412");
}

}  // namespace
}  // namespace annal
