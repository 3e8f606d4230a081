#include "http_service.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <optional>
#include <random>
#include <utility>

namespace annal {
namespace {

using std::chrono::milliseconds;

constexpr std::array<const char*, 7> days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<const char*, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::optional<Timestamp> from_http_date(const std::string& text) {
    std::tm tm{};
    char month[4] = {};
    if (std::sscanf(text.c_str(), "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour,
                    &tm.tm_min, &tm.tm_sec) != 6)
        return std::nullopt;
    const auto found = std::ranges::find(months, std::string_view(month));
    if (found == months.end()) return std::nullopt;
    tm.tm_mon = static_cast<int>(found - months.begin());
    tm.tm_year -= 1900;
    return Timestamp{static_cast<std::int64_t>(::timegm(&tm)) * 1'000'000};
}

// Of "12" or "12.5", in units of `unit_ms`.
std::optional<milliseconds> duration_of(const std::string& text, double unit_ms, milliseconds longest) {
    double value = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec != std::errc{} || end != text.data() + text.size() || !(value >= 0)) return std::nullopt;
    return milliseconds(
        static_cast<std::int64_t>(std::min(value * unit_ms, static_cast<double>(longest.count())) + 0.999));
}

bool says_unwell(ErrorCode code) {
    return code == ErrorCode::unavailable || code == ErrorCode::deadline_exceeded;
}

}  // namespace

std::string to_http_date(Timestamp time) {
    const std::time_t seconds = time.us / 1'000'000;
    std::tm tm{};
    ::gmtime_r(&seconds, &tm);
    std::array<char, 64> text{};
    const int size = std::snprintf(
        text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[static_cast<std::size_t>(tm.tm_wday)],
        tm.tm_mday, months[static_cast<std::size_t>(tm.tm_mon)], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return {text.data(), static_cast<std::size_t>(size)};
}

Result<std::unique_ptr<HttpService>> HttpService::create(HttpServiceOptions options) {
    if (!options.clock) options.clock = &system_clock();
    if (options.seed == 0) options.seed = std::random_device{}();
    auto client = HttpClient::create(options.client);
    if (!client) return Error{client.error().code, options.name + ": " + client.error().message, {}};
    return std::unique_ptr<HttpService>(new HttpService(std::move(options), std::move(*client)));
}

HttpService::HttpService(HttpServiceOptions options, std::unique_ptr<HttpClient> client)
    : options_(std::move(options)),
      client_(std::move(client)),
      breaker_(*options_.clock, options_.breaker),
      chance_([random = chance_of(options_.seed), this]() mutable {
          const std::scoped_lock lock(mutex_);
          return random();
      }) {}

Error HttpService::named(const Error& error) const {
    return {error.code, options_.name + ": " + error.message, error.details};
}

milliseconds HttpService::window_left() {
    const std::scoped_lock lock(mutex_);
    const auto now = options_.clock->now();
    // A clock that was put back keeps nobody away for longer.
    not_before_.us = std::min(not_before_.us, now.us + options_.window_max.count() * 1000);
    return milliseconds(std::max<std::int64_t>(0, (not_before_.us - now.us + 999) / 1000));
}

void HttpService::note_window(const HttpResponse& response) {
    const auto now = options_.clock->now();
    std::optional<milliseconds> wait;
    for (const auto* name : {"retry-after-ms", "x-ms-retry-after-ms"})
        if (const auto* text = response.header(name); text && !wait) wait = duration_of(*text, 1, options_.window_max);
    if (const auto* text = response.header("retry-after"); text && !wait) {
        wait = duration_of(*text, 1000, options_.window_max);
        if (const auto until = from_http_date(*text); until && !wait)
            wait = milliseconds(std::max<std::int64_t>(0, (until->us - now.us + 999) / 1000));
    }
    if (!wait) return;
    const std::scoped_lock lock(mutex_);
    not_before_.us = std::max(not_before_.us, now.us + std::min(*wait, options_.window_max).count() * 1000);
}

HttpServiceCounts HttpService::counts() const {
    const std::scoped_lock lock(mutex_);
    return counts_;
}

// One request, two when the first credentials are not accepted.
Result<HttpResponse> HttpService::attempt(const HttpCall& call) {
    HttpRequest request = call.request;
    for (const bool again : {false, true}) {
        if (call.authorize) {
            const auto authorized = call.authorize(request, again);
            if (!authorized) return authorized.error();
            if (!*authorized) return error_of_status(401, options_.name);
        }
        auto response = client_->send(request, call.stop);
        {
            const std::scoped_lock lock(mutex_);
            ++counts_.requests;
            counts_.bytes_sent += request.body.size();
            if (response && response->status == 429) ++counts_.throttles;
        }
        if (!response) return named(response.error());
        if (call.answered) call.answered(*response);
        if (response->status == 401 && call.authorize && !again) continue;
        if (response->status == 429 || response->status == 503) note_window(*response);
        if (response->status < 200 || response->status > 299) return error_of_status(response->status, options_.name);
        if (call.read)
            if (auto sense = call.read(*response); !sense) {
                if (sense.error().code == ErrorCode::resource_exhausted) note_window(*response);
                return sense.error().details.contains("http_status") ? sense.error() : named(sense.error());
            }
        return response;
    }
    return error_of_status(401, options_.name);
}

void HttpService::pause(milliseconds wait, const std::stop_token& stop) {
    if (options_.pause) return options_.pause(wait);
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_for(lock, stop, wait, [] { return false; });
}

Result<HttpResponse> HttpService::call(const HttpCall& call) {
    const auto given_up = [&] { return Error{ErrorCode::unavailable, options_.name + ": the call was given up", {}}; };
    const auto start = options_.clock->now();
    const auto patience_left = [&] {
        return options_.patience - milliseconds((options_.clock->now().us - start.us) / 1000);
    };
    const int attempts_max = call.attempts_max > 0 ? call.attempts_max : options_.attempts_max;
    Backoff backoff(chance_, options_.backoff);
    for (int attempts = 1;; ++attempts) {
        if (attempts > 1) {
            const std::scoped_lock lock(mutex_);
            ++counts_.repeats;
        }
        while (const auto wait = window_left().count()) {
            if (milliseconds(wait) > patience_left())
                return Error{ErrorCode::resource_exhausted,
                             options_.name + " is asked too often, and wants to be left alone",
                             {{"retry_after_ms", std::to_string(wait)}}};
            pause(milliseconds(wait), call.stop);
            if (call.stop.stop_requested()) return given_up();
        }
        if (const auto wait = breaker_.ask(); wait.count() > 0) {
            const std::scoped_lock lock(mutex_);
            return Error{ErrorCode::unavailable,
                         options_.name + " has failed too often, and is left alone for a while; last: " + last_failure_,
                         {{"retry_after_ms", std::to_string((wait.count() + 999) / 1000)}}};
        }
        auto response = attempt(call);
        if (!response && call.stop.stop_requested()) {
            breaker_.withdrawn();  // What was given up says nothing of the server.
            return given_up();
        }
        if (response || !says_unwell(response.error().code)) {
            breaker_.succeeded();
            if (response || response.error().code != ErrorCode::resource_exhausted ||
                !response.error().details.contains("http_status"))
                return response;
        } else {
            {
                const std::scoped_lock lock(mutex_);
                last_failure_ = response.error().message;
            }
            breaker_.failed();
        }
        if (attempts == attempts_max) return response;
        // A 429 that names no window is a reason to pause, too.
        const auto wait = window_left().count() > 0 ? milliseconds{0} : backoff.next();
        if (wait > patience_left()) return response;
        if (wait.count() > 0) pause(wait, call.stop);
        if (call.stop.stop_requested()) return given_up();
    }
}

}  // namespace annal
