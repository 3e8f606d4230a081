// A server on the far side of a network, called with patience: an HttpClient, a breaker, and repetitions of what is
// worth one.
// Repeated:  unavailable (no answer, 408, 425, 449, 5xx) and deadline_exceeded, after a random pause that grows; 429
//            when its window is over, in which nobody sends anything. Nothing else is.
// Windows:   retry-after-ms, x-ms-retry-after-ms, or retry-after (seconds or a date); a 503 may name one, too.
// Time:      of the clock and the pause that are given, but for the deadlines of HttpClient.
// Threads:   every method may be called from any thread.
#pragma once

#include "backoff.h"
#include "circuit_breaker.h"
#include "http_client.h"

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

namespace annal {

struct HttpServiceOptions {
    std::string name{};  // In errors: "the embedding server".
    HttpClientOptions client{};
    CircuitBreakerOptions breaker{};
    BackoffOptions backoff{};
    int attempts_max = 5;
    std::chrono::milliseconds patience{60'000};       // For all attempts and pauses of a call; the last may end later.
    std::chrono::milliseconds window_max{3'600'000};  // No server keeps us away for longer.
    Clock* clock = nullptr;                           // Null: the system's.
    std::function<void(std::chrono::milliseconds)> pause{};  // Empty: sleeps.
    std::uint64_t seed = 0;                                  // Of the pauses; 0: another each time.
};

// Of all calls since the start.
struct HttpServiceCounts {
    std::uint64_t requests = 0;
    std::uint64_t repeats = 0;     // Of them, those made again.
    std::uint64_t throttles = 0;   // 429
    std::uint64_t bytes_sent = 0;  // Of bodies.
};

// What may be done twice: whoever calls sees to that.
struct HttpCall {
    HttpRequest request{};
    int attempts_max = 0;  // 0: as the options say.
    // Called before each attempt to put the credentials in. `again`: the server did not accept the last ones, which
    // happens once a call; false then gives up. Empty: there are none.
    std::function<Result<bool>(HttpRequest& request, bool again)> authorize{};
    // Of a 2xx: whether it makes sense. An error is treated as if its status had said so: error_of_status for what
    // stands inside of it, unavailable for nonsense.
    std::function<Status(const HttpResponse& response)> read{};
    // Told of every answer, whatever its status. Empty: nobody is.
    std::function<void(const HttpResponse& response)> answered{};
    std::stop_token stop{};  // Ends the call soon after it is requested, pauses included, with `unavailable`.
};

class HttpService {
 public:
    static Result<std::unique_ptr<HttpService>> create(HttpServiceOptions options);

    // A 2xx, read. Else what error_of_status says of the last answer, or what HttpClient says. Of an open breaker:
    // unavailable; of a window longer than our patience: resource_exhausted; both with details `retry_after_ms`.
    Result<HttpResponse> call(const HttpCall& call);

    BreakerState breaker_state() const { return breaker_.state(); }
    HttpServiceCounts counts() const;
    const std::string& name() const { return options_.name; }
    Clock& clock() const { return *options_.clock; }

 private:
    HttpService(HttpServiceOptions options, std::unique_ptr<HttpClient> client);
    Result<HttpResponse> attempt(const HttpCall& call);
    std::chrono::milliseconds window_left();
    void note_window(const HttpResponse& response);
    void pause(std::chrono::milliseconds wait, const std::stop_token& stop);
    Error named(const Error& error) const;

    HttpServiceOptions options_;
    std::unique_ptr<HttpClient> client_;
    CircuitBreaker breaker_;
    mutable std::mutex mutex_;
    HttpServiceCounts counts_{};
    Timestamp not_before_{};
    std::string last_failure_;  // That the breaker was told of.
    Chance chance_;
};

// "Fri, 20 Nov 2026 17:23:26 GMT", as HTTP writes time.
std::string to_http_date(Timestamp time);

}  // namespace annal
