// A scripted HTTP server on a port of the system's choice, over plain sockets and OpenSSL: nothing of what it tests.
#pragma once

#include "test_tls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace annal::testing {

struct FakeRequest {
    std::string method{};
    std::string target{};
    std::map<std::string, std::string> headers{};  // Names in lower case.
    std::string body{};
    int connection = 0;  // Counted from 1, in the order of their coming.

    std::string header(const std::string& name) const {
        const auto found = headers.find(name);
        return found == headers.end() ? std::string() : found->second;
    }
};

enum class Fault {
    none,
    drop,   // Closes in place of an answer.
    cut,    // Announces the whole body, sends half of it, closes.
    hang,   // Says nothing until the client leaves.
    drip,   // The body a byte at a time, each after `delay`.
    close,  // A whole answer, then closes without having said so.
};

struct FakeAnswer {
    int status = 200;
    std::string body{};
    std::string content_type = "application/json";
    std::vector<std::pair<std::string, std::string>> headers{};
    Fault fault = Fault::none;
    std::chrono::milliseconds delay{0};  // Before the answer, unless the client leaves sooner.
};

class HttpFake {
 public:
    using Handler = std::function<FakeAnswer(const FakeRequest&)>;
    enum class Over { plain, tls };

    // `handle` is called by one thread at a time.
    explicit HttpFake(Handler handle, Over over = Over::plain)
        : handle_(std::move(handle)), tls_(over == Over::tls ? std::make_unique<TestTls>() : nullptr) {
        stop_ = ::eventfd(0, EFD_CLOEXEC);
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* name = reinterpret_cast<sockaddr*>(&address);
        if (stop_ < 0 || listener_ < 0 || ::bind(listener_, name, size) != 0 || ::listen(listener_, 64) != 0 ||
            ::getsockname(listener_, name, &size) != 0)
            throw std::runtime_error("a fake server cannot listen");
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept(); });
    }
    ~HttpFake() {
        const std::uint64_t one = 1;
        (void)!::write(stop_, &one, sizeof one);  // Never read: every poll sees it from now on.
        acceptor_.join();
        for (auto& thread : threads_) thread.join();
        ::close(listener_);
        ::close(stop_);
    }
    HttpFake(const HttpFake&) = delete;
    HttpFake& operator=(const HttpFake&) = delete;

    std::uint16_t port() const { return port_; }
    std::string url(std::string_view host = "127.0.0.1") const {
        return (tls_ ? "https://" : "http://") + std::string(host) + ":" + std::to_string(port_);
    }
    const std::string& ca_file() const { return tls_->ca_file(); }

    std::vector<FakeRequest> requests() const {
        const std::scoped_lock lock(mutex_);
        return requests_;
    }
    std::size_t request_count() const {
        const std::scoped_lock lock(mutex_);
        return requests_.size();
    }
    int connection_count() const { return connections_; }
    int closed_count() const { return closed_; }
    // Every connection from now on is closed before anything of it is read.
    void refuse_connections(bool refuse) { refuse_ = refuse; }

 private:
    struct Channel {
        int socket;
        SSL* ssl;

        long read(char* into, std::size_t size) const {
            return ssl ? SSL_read(ssl, into, static_cast<int>(size)) : ::recv(socket, into, size, 0);
        }
        bool write(std::string_view bytes) const {
            while (!bytes.empty()) {
                const long sent = ssl ? SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size()))
                                      : ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
                if (sent <= 0) return false;
                bytes.remove_prefix(static_cast<std::size_t>(sent));
            }
            return true;
        }
        bool pending() const { return ssl && SSL_pending(ssl) > 0; }
    };

    // False: the test is over, or the time, if there is a limit.
    bool readable(int socket, int timeout_ms = -1) const {
        pollfd waits[] = {{socket, POLLIN, 0}, {stop_, POLLIN, 0}};
        return ::poll(waits, 2, timeout_ms) > 0 && waits[1].revents == 0;
    }

    void accept() {
        while (readable(listener_)) {
            const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (socket < 0) continue;
            const int one = 1;
            ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            const int number = ++connections_;
            threads_.emplace_back([this, socket, number] {
                if (!refuse_) serve(socket, number);
                ::close(socket);
                ++closed_;
            });
        }
    }

    void serve(int socket, int number) {
        Channel channel{socket, nullptr};
        if (tls_) {
            if (!readable(socket)) return;
            channel.ssl = tls_->accept(socket);
            if (!channel.ssl) return;
        }
        std::string bytes;
        FakeRequest request;
        while (read(channel, bytes, request)) {
            request.connection = number;
            FakeAnswer answer;
            {
                const std::scoped_lock lock(mutex_);
                requests_.push_back(request);
                answer = handle_(request);
            }
            if (!send(channel, answer)) break;
        }
        if (channel.ssl) SSL_free(channel.ssl);
    }

    bool more(const Channel& channel, std::string& bytes) const {
        if (!channel.pending() && !readable(channel.socket)) return false;
        char block[65536];
        const long got = channel.read(block, sizeof block);
        if (got <= 0) return false;
        bytes.append(block, static_cast<std::size_t>(got));
        return true;
    }

    bool read(const Channel& channel, std::string& bytes, FakeRequest& request) const {
        std::size_t end = 0;
        while ((end = bytes.find("\r\n\r\n")) == std::string::npos)
            if (!more(channel, bytes)) return false;
        request = {};
        std::string_view head = std::string_view(bytes).substr(0, end + 2);
        const auto line = [&head] {
            const auto stop = head.find("\r\n");
            const auto text = head.substr(0, stop);
            head.remove_prefix(stop + 2);
            return text;
        };
        const auto first = line();
        const auto space = first.find(' ');
        request.method = first.substr(0, space);
        request.target = first.substr(space + 1, first.rfind(' ') - space - 1);
        while (!head.empty()) {
            const auto text = line();
            const auto colon = text.find(':');
            std::string name(text.substr(0, colon));
            for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
            request.headers[name] = text.substr(std::min(text.find_first_not_of(' ', colon + 1), text.size()));
        }
        const auto length = request.header("content-length");
        const std::size_t size = length.empty() ? 0 : std::stoul(length);
        while (bytes.size() < end + 4 + size)
            if (!more(channel, bytes)) return false;
        request.body = bytes.substr(end + 4, size);
        bytes.erase(0, end + 4 + size);
        return true;
    }

    // False: the connection is to be closed.
    bool send(const Channel& channel, const FakeAnswer& answer) const {
        const auto wait = static_cast<int>(answer.delay.count());
        if (answer.fault == Fault::drop) return false;
        if (answer.fault == Fault::hang) return readable(channel.socket) && false;
        if (answer.fault != Fault::drip && wait > 0 && readable(channel.socket, wait)) return false;
        std::string head = "HTTP/1.1 " + std::to_string(answer.status) +
                           " Scripted\r\nContent-Type: " + answer.content_type +
                           "\r\nContent-Length: " + std::to_string(answer.body.size()) + "\r\n";
        for (const auto& [name, value] : answer.headers) head.append(name).append(": ").append(value).append("\r\n");
        head += "\r\n";
        if (answer.fault == Fault::cut)
            return channel.write(head + answer.body.substr(0, answer.body.size() / 2)) && false;
        if (answer.fault != Fault::drip) return channel.write(head + answer.body) && answer.fault == Fault::none;
        if (!channel.write(head)) return false;
        for (const char& byte : answer.body)
            if (readable(channel.socket, wait) || !channel.write({&byte, 1})) return false;
        return true;
    }

    Handler handle_;
    std::unique_ptr<TestTls> tls_;
    int stop_ = -1;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::atomic<int> connections_{0};
    std::atomic<int> closed_{0};
    std::atomic<bool> refuse_{false};
    mutable std::mutex mutex_;
    std::vector<FakeRequest> requests_;
    std::vector<std::thread> threads_;  // Of the acceptor, until it is joined.
    std::thread acceptor_;
};

// Takes connections from nobody: its queue is full, so that a further one waits for ever.
class BlackHole {
 public:
    BlackHole() {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* name = reinterpret_cast<sockaddr*>(&address);
        if (listener_ < 0 || ::bind(listener_, name, size) != 0 || ::listen(listener_, 0) != 0 ||
            ::getsockname(listener_, name, &size) != 0)
            throw std::runtime_error("a black hole cannot listen");
        port_ = ntohs(address.sin_port);
        for (bool full = false; !full;) {
            const int filler = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            (void)::connect(filler, name, size);
            pollfd wait{filler, POLLOUT, 0};
            full = ::poll(&wait, 1, 200) == 0;  // Loopback answers at once or not at all.
            fillers_.push_back(filler);
        }
    }
    ~BlackHole() {
        for (const int filler : fillers_) ::close(filler);
        ::close(listener_);
    }
    BlackHole(const BlackHole&) = delete;
    BlackHole& operator=(const BlackHole&) = delete;

    std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::vector<int> fillers_;
};

}  // namespace annal::testing
