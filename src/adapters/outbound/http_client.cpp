#include "http_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace annal {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using SteadyClock = std::chrono::steady_clock;
using TimePoint = SteadyClock::time_point;

constexpr std::uint32_t header_bytes_max = 64 << 10;

bool same_name(std::string_view one, std::string_view other) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; };
    return std::ranges::equal(one, other, {}, lower, lower);
}

Error refuse(const std::string& why) {
    return {ErrorCode::invalid_argument, why, {}};
}
Error given_up() {
    return {ErrorCode::unavailable, "the call was given up", {}};
}
Error unreachable() {
    return {ErrorCode::unavailable, "the server cannot be reached", {}};
}
Error late(std::chrono::milliseconds limit) {
    return {ErrorCode::deadline_exceeded,
            "no answer in " + std::to_string(limit.count()) + " ms",
            {{"limit_ms", std::to_string(limit.count())}}};
}

bool is_header_name(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F && c != ':'; });
}
bool is_header_value(std::string_view text) {
    return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}
bool is_target(std::string_view text) {
    return text.starts_with('/') && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
}

// Looks names up. A name service may take longer than any deadline, and cannot be interrupted: it is asked on a thread
// that nobody waits for, one at a time, which keeps what it needs alive.
class Lookup {
 public:
    explicit Lookup(const HttpEndpoint& endpoint) : endpoint_(endpoint), state_(std::make_shared<State>()) {
        error_code not_an_address;
        const auto address = asio::ip::make_address(endpoint.host, not_an_address);
        if (!not_an_address) fixed_.emplace_back(address, endpoint.port);
    }

    // Empty: not found, or not until then.
    std::vector<tcp::endpoint> addresses(TimePoint until, const std::stop_token& stop) {
        if (!fixed_.empty()) return fixed_;
        std::unique_lock lock(state_->mutex);
        if (!state_->running) {
            std::thread([state = state_, host = endpoint_.host, port = endpoint_.port] {
                asio::io_context io;
                error_code ec;
                std::vector<tcp::endpoint> found;
                for (const auto& entry : tcp::resolver(io).resolve(host, std::to_string(port), ec))
                    found.push_back(entry.endpoint());
                const std::scoped_lock done(state->mutex);
                state->found = std::move(found);
                state->running = false;
                ++state->round;
                state->changed.notify_all();
            }).detach();
            state_->running = true;
        }
        const auto round = state_->round;
        state_->changed.wait_until(lock, stop, until, [&] { return state_->round != round; });
        return state_->round != round ? state_->found : std::vector<tcp::endpoint>{};
    }

 private:
    struct State {
        std::mutex mutex;
        std::condition_variable_any changed;
        bool running = false;
        std::uint64_t round = 0;
        std::vector<tcp::endpoint> found;
    };
    HttpEndpoint endpoint_;
    std::vector<tcp::endpoint> fixed_;
    std::shared_ptr<State> state_;
};

// Asynchronous operations of one socket, run to their end or expiry on the thread that starts them.
class Connection {
 public:
    explicit Connection(asio::ssl::context* tls) : tcp_(io_) {
        if (tls) tls_.emplace(tcp_, *tls);
    }

    // Each address gets its share of what time is left, so that one black hole does not hide the others.
    Status connect(const HttpEndpoint& endpoint, const std::vector<tcp::endpoint>& addresses, TimePoint until) {
        error_code ec = asio::error::host_not_found;
        auto left = static_cast<int>(addresses.size());
        for (const auto& address : addresses) {
            const auto now = SteadyClock::now();
            tcp_.expires_at(now + (until - now) / left--);
            ec = run([&](auto done) { tcp_.async_connect(address, done); });
            if (!ec || ec == asio::error::operation_aborted) break;
            tcp_.close();
        }
        if (ec) return unreachable();
        error_code slower;  // Small requests wait for nothing.
        tcp_.socket().set_option(tcp::no_delay(true), slower);
        return tls_ ? shake_hands(endpoint, until) : Status(Done{});
    }

    // What is under way, or is begun next, ends with an error. From any thread.
    void give_up() {
        asio::post(io_, [this] { tcp_.close(); });
    }

    // Still open, and silent as it should be.
    bool usable() {
        char byte = 0;
        const auto got = ::recv(tcp_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }

    error_code exchange(http::request<http::string_body>& request, std::size_t bytes_max, TimePoint until,
                        HttpResponse& response, bool& keep) {
        return tls_ ? exchange_over(*tls_, request, bytes_max, until, response, keep)
                    : exchange_over(tcp_, request, bytes_max, until, response, keep);
    }

 private:
    template <class Start>
    error_code run(Start&& start) {
        error_code result = asio::error::would_block;
        start([&result](error_code ec, auto&&...) { result = ec; });
        io_.restart();
        io_.run();
        return result;
    }

    Status shake_hands(const HttpEndpoint& endpoint, TimePoint until) {
        error_code no_address;
        asio::ip::make_address(endpoint.host, no_address);
        if (no_address && SSL_set_tlsext_host_name(tls_->native_handle(), endpoint.host.c_str()) != 1)
            return unreachable();
        error_code ec;
        tls_->set_verify_callback(asio::ssl::host_name_verification(endpoint.host), ec);
        if (ec) return unreachable();
        tcp_.expires_at(until);
        ec = run([&](auto done) { tls_->async_handshake(asio::ssl::stream_base::client, done); });
        if (!ec) return Done{};
        if (SSL_get_verify_result(tls_->native_handle()) != X509_V_OK)
            return Error{ErrorCode::unauthenticated, "the server's certificate is not trusted for its name", {}};
        return unreachable();
    }

    template <class Stream>
    error_code exchange_over(Stream& stream, http::request<http::string_body>& request, std::size_t bytes_max,
                             TimePoint until, HttpResponse& response, bool& keep) {
        tcp_.expires_at(until);
        if (const auto ec = run([&](auto done) { http::async_write(stream, request, done); })) return ec;
        for (;;) {
            http::response_parser<http::string_body> parser;
            parser.header_limit(header_bytes_max);
            parser.body_limit(bytes_max);
            parser.skip(request.method() == http::verb::head);
            if (const auto ec = run([&](auto done) { http::async_read(stream, buffer_, parser, done); })) return ec;
            auto message = parser.release();
            if (message.result_int() < 200) continue;  // 100 and 103 announce the answer.
            response.status = static_cast<int>(message.result_int());
            for (const auto& field : message)
                response.headers.push_back({std::string(field.name_string()), std::string(field.value())});
            keep = message.keep_alive() && buffer_.size() == 0;
            response.body = std::move(message.body());
            return {};
        }
    }

    asio::io_context io_{1};
    beast::tcp_stream tcp_;
    std::optional<beast::ssl_stream<beast::tcp_stream&>> tls_;
    beast::flat_buffer buffer_;
};

}  // namespace

class HttpClient::Pool {
 public:
    Pool(const HttpClientOptions& options, std::unique_ptr<asio::ssl::context> tls)
        : options_(options), tls_(std::move(tls)), lookup_(options.endpoint) {}

    Result<HttpResponse> send(const HttpRequest& request, const std::stop_token& stop) {
        const auto until = SteadyClock::now() + options_.call_max;
        auto message = message_of(request);
        if (!message) return message.error();
        if (stop.stop_requested()) return given_up();
        Lease lease(*this);
        if (!lease.acquire(until, stop)) return stop.stop_requested() ? given_up() : late(options_.call_max);
        const bool connected = lease.connection != nullptr;
        if (!connected) lease.connection = std::make_unique<Connection>(tls_.get());
        HttpResponse response;
        error_code ec;
        {
            const std::stop_callback giving_up(stop, [&] { lease.connection->give_up(); });
            if (!connected)
                if (auto done = connect(*lease.connection, until, stop); !done)
                    return stop.stop_requested() ? given_up() : done.error();
            ec = lease.connection->exchange(*message, options_.response_bytes_max, until, response, lease.keep);
        }
        if (stop.stop_requested()) {
            lease.keep = false;  // Its closing may have come too late for this call: not for the next one.
            return given_up();
        }
        if (!ec) return response;
        if (ec == beast::error::timeout) return late(options_.call_max);
        if (ec == http::error::body_limit || ec == http::error::header_limit)
            return Error{ErrorCode::resource_exhausted,
                         "the answer is larger than " + std::to_string(options_.response_bytes_max) + " bytes",
                         {{"limit", std::to_string(options_.response_bytes_max)}}};
        return Error{ErrorCode::unavailable, "the connection broke before the whole answer was there", {}};
    }

 private:
    // One of the pool's connections, given back at the end of its scope: open when it may serve another call.
    struct Lease {
        explicit Lease(Pool& of) : pool(of) {}
        ~Lease() {
            if (!held) return;
            const std::scoped_lock lock(pool.mutex_);
            --pool.in_use_;
            if (keep) pool.idle_.push_back(std::move(connection));
            pool.freed_.notify_one();
        }
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;

        // False: none was free until then, or it was stopped. No connection: one may be made.
        bool acquire(TimePoint until, const std::stop_token& stop) {
            std::unique_lock lock(pool.mutex_);
            held =
                pool.freed_.wait_until(lock, stop, until, [&] { return pool.in_use_ < pool.options_.connections_max; });
            if (!held) return false;
            ++pool.in_use_;
            while (!connection && !pool.idle_.empty()) {
                connection = std::move(pool.idle_.back());
                pool.idle_.pop_back();
                if (!connection->usable()) connection.reset();
            }
            return true;
        }

        Pool& pool;
        std::unique_ptr<Connection> connection{};
        bool held = false;
        bool keep = false;
    };

    Status connect(Connection& connection, TimePoint call_until, const std::stop_token& stop) {
        const auto until = std::min(call_until, SteadyClock::now() + options_.connect_max);
        const auto addresses = lookup_.addresses(until, stop);
        if (stop.stop_requested()) return given_up();
        return connection.connect(options_.endpoint, addresses, until);
    }

    Result<http::request<http::string_body>> message_of(const HttpRequest& request) const {
        const auto& [tls, host, port, path] = options_.endpoint;
        http::request<http::string_body> message;
        const auto verb = http::string_to_verb(request.method);
        if (verb == http::verb::unknown) return refuse("an unknown HTTP method");
        if (!is_target(request.target)) return refuse("a target must begin with / and be escaped");
        message.method(verb);
        message.target(path + request.target);
        const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
        message.set(http::field::host, port == (tls ? 443 : 80) ? name : name + ":" + std::to_string(port));
        for (const auto& [header, value] : request.headers) {
            if (!is_header_name(header) || !is_header_value(value))
                return refuse("a header with a line break or another character that no header may have");
            message.set(header, value);
        }
        message.body() = request.body;
        message.prepare_payload();
        return message;
    }

    const HttpClientOptions options_;
    const std::unique_ptr<asio::ssl::context> tls_;
    Lookup lookup_;
    std::mutex mutex_;
    std::condition_variable_any freed_;
    std::size_t in_use_ = 0;
    std::vector<std::unique_ptr<Connection>> idle_;  // At most connections_max less in_use_, the last used at the back.
};

HttpClient::HttpClient(std::unique_ptr<Pool> pool) : pool_(std::move(pool)) {}
HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::create(const HttpClientOptions& options) {
    if (options.endpoint.host.empty()) return refuse("an endpoint without a host");
    std::unique_ptr<asio::ssl::context> tls;
    if (options.endpoint.tls) {
        error_code ec;
        tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
        if (SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION) != 1)
            return Error{ErrorCode::internal, "TLS 1.2 cannot be asked for", {}};
        tls->set_verify_mode(asio::ssl::verify_peer, ec);
        if (!ec && options.ca_file.empty()) tls->set_default_verify_paths(ec);
        if (!ec && !options.ca_file.empty()) tls->load_verify_file(options.ca_file, ec);
        if (ec) return refuse("the certificates of the CA file cannot be read");
    }
    return std::unique_ptr<HttpClient>(new HttpClient(std::make_unique<Pool>(options, std::move(tls))));
}

Result<HttpResponse> HttpClient::send(const HttpRequest& request, const std::stop_token& stop) {
    try {
        return pool_->send(request, stop);
    } catch (const std::exception&) {  // Of Asio: no more descriptors, threads or memory. Its text may hold a host.
        return Error{ErrorCode::unavailable, "the machine lacks what a connection needs", {}};
    }
}

const std::string* HttpResponse::header(std::string_view name) const {
    const auto found = std::ranges::find_if(headers, [&](const HttpHeader& one) { return same_name(one.name, name); });
    return found == headers.end() ? nullptr : &found->value;
}

Result<HttpEndpoint> parse_http_url(std::string_view url) {
    const auto wrong = refuse("the URL must be http:// or https://, a host, and if need be a port and a path");
    HttpEndpoint endpoint;
    if (url.starts_with("https://")) {
        endpoint.tls = true;
        url.remove_prefix(8);
    } else if (url.starts_with("http://")) {
        url.remove_prefix(7);
    } else {
        return wrong;
    }
    const auto slash = std::min(url.find('/'), url.size());
    std::string_view authority = url.substr(0, slash);
    std::string_view path = url.substr(slash);
    while (path.ends_with('/')) path.remove_suffix(1);
    if (!path.empty() && (!is_target(path) || path.find_first_of("?#") != std::string_view::npos)) return wrong;
    endpoint.path = path;
    endpoint.port = endpoint.tls ? 443 : 80;
    const auto bracket = authority.starts_with('[') ? authority.find(']') : 0;
    if (bracket == std::string_view::npos) return wrong;
    const auto colon = authority.find(':', bracket);
    if (colon != std::string_view::npos) {
        const auto digits = authority.substr(colon + 1);
        const auto [end, ec] = std::from_chars(digits.begin(), digits.end(), endpoint.port);
        if (ec != std::errc{} || end != digits.end() || endpoint.port == 0) return wrong;
        authority = authority.substr(0, colon);
    }
    if (bracket != 0) {
        if (authority.size() != bracket + 1) return wrong;
        authority = authority.substr(1, bracket - 1);
    }
    const auto in_host = [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_' || (bracket != 0 && c == ':');
    };
    if (authority.empty() || !std::ranges::all_of(authority, in_host)) return wrong;
    endpoint.host = authority;
    return endpoint;
}

Error error_of_status(int status, std::string_view server) {
    struct Meaning {
        int status;
        ErrorCode code;
        std::string_view says;
    };
    using enum ErrorCode;
    static constexpr Meaning meanings[] = {
        {400, invalid_argument, "refuses the request"},
        {401, unauthenticated, "does not accept the credentials"},
        {403, permission_denied, "does not allow it"},
        {404, not_found, "has no such thing"},
        {408, unavailable, "timed out"},
        {409, conflict, "has it already"},
        {412, conflict, "has another version of it"},
        {413, invalid_argument, "finds the request too large"},
        {422, invalid_argument, "refuses the request"},
        {425, unavailable, "is not ready"},
        {429, resource_exhausted, "is asked too often"},
        {449, unavailable, "asks for a repetition"},
        {501, unimplemented, "cannot do it"},
    };
    ErrorCode code = status >= 500 ? unavailable : status >= 400 ? invalid_argument : unimplemented;
    std::string_view says = status >= 500   ? "fails"
                            : status >= 400 ? "refuses the request"
                            : status >= 300 ? "redirects to another address, which is not followed"
                                            : "gives an answer that is not understood";
    const auto known = std::ranges::find(meanings, status, &Meaning::status);
    if (known != std::end(meanings)) {
        code = known->code;
        says = known->says;
    }
    return {code,
            std::string(server) + " " + std::string(says) + " (HTTP " + std::to_string(status) + ")",
            {{"http_status", std::to_string(status)}}};
}

}  // namespace annal
