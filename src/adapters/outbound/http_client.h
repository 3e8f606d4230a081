// A blocking HTTP/1.1 client for one server: plain or TLS, with a bounded pool of connections that are kept alive.
// Time:      a call ends within its deadline, whatever the server and the name service do; connecting (name, TCP and
//            TLS together) has a shorter one of its own.
// Trust:     TLS 1.2 or later; the certificate must be trusted and name the host.
// Redirects: never followed, so no credential goes where it was not meant to: a 3xx is an answer like another.
// Secrets:   an error never holds a header, a body, a target or a host.
// Threads:   every method may be called from any thread; a call runs on the thread that makes it.
#pragma once

#include <annal/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct HttpEndpoint {
    bool tls = false;
    std::string host{};  // A name, or an address without brackets.
    std::uint16_t port = 0;
    std::string path{};  // What targets begin with; no slash at its end.
};

// "https://host[:port][/path]". invalid_argument: anything else, a user or a query among it.
Result<HttpEndpoint> parse_http_url(std::string_view url);

struct HttpHeader {
    std::string name{};
    std::string value{};
};

struct HttpRequest {
    std::string method = "GET";
    std::string target = "/";  // Put behind the endpoint's path; escaped already.
    std::vector<HttpHeader> headers{};
    std::string body{};
};

struct HttpResponse {
    int status = 0;
    std::vector<HttpHeader> headers{};
    std::string body{};

    // The first of that name, whatever its case; nullptr: there is none.
    const std::string* header(std::string_view name) const;
};

struct HttpClientOptions {
    HttpEndpoint endpoint{};
    std::string ca_file{};                         // PEM, instead of the system's certificates.
    std::size_t connections_max = 8;               // A call waits for one, within its deadline.
    std::chrono::milliseconds connect_max{2'000};  // A name, a connection and a handshake.
    std::chrono::milliseconds call_max{30'000};    // All of a call, waiting included.
    std::size_t response_bytes_max = std::size_t{32} << 20;
};

class HttpClient {
 public:
    // Does not connect. invalid_argument: no host, or a CA file that cannot be read.
    static Result<std::unique_ptr<HttpClient>> create(const HttpClientOptions& options);
    ~HttpClient();  // No call may be under way.
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;

    // Whatever the server answers, 4xx and 5xx too. Never sends twice: after an error the server may have done what it
    // was asked, unless it could not be reached.
    // unavailable: not reached, or no whole answer. deadline_exceeded: no answer in time. unauthenticated: its
    // certificate is not trusted. resource_exhausted: the answer is too large. invalid_argument: a line break or the
    // like in a header or target.
    // `stop`: ends the call at once when it is requested, with `unavailable`.
    Result<HttpResponse> send(const HttpRequest& request, const std::stop_token& stop = {});

 private:
    class Pool;
    explicit HttpClient(std::unique_ptr<Pool> pool);
    std::unique_ptr<Pool> pool_;
};

// What a status that is not 2xx means to the caller. unavailable (408, 425, 449, 5xx) and resource_exhausted (429): try
// again later. Of all others a repetition gives the same.
Error error_of_status(int status, std::string_view server);

}  // namespace annal
