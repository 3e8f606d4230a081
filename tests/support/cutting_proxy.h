// Stands between a client and a Unix socket, passes bytes on both ways, and after a number of them does what the test
// wants: lets the connection drop, or kills the server. So a connection is lost at any byte of a conversation, before
// the request is whole or after the answer to it was on its way.
#pragma once

#include "support/temp_dir.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace annal::testing {

class CuttingProxy {
 public:
    explicit CuttingProxy(std::filesystem::path server) : server_(std::move(server)) {
        listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const auto address = address_of(folder_.path() / ".s.PGSQL.5432");
        if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
            listen(listener_, 16) != 0)
            throw std::runtime_error("cannot listen");
        stop_ = eventfd(0, EFD_CLOEXEC);
        thread_ = std::thread([this] { run(); });
    }
    ~CuttingProxy() {
        const std::uint64_t one = 1;
        if (write(stop_, &one, sizeof one) != sizeof one) std::abort();
        thread_.join();
        close(listener_);
        close(stop_);
    }
    CuttingProxy(const CuttingProxy&) = delete;
    CuttingProxy& operator=(const CuttingProxy&) = delete;

    const std::filesystem::path& folder() const { return folder_.path(); }  // The "host" for libpq.

    // After so many more bytes, of both ways together, `then` is called and all connections are dropped.
    void cut_after(std::uint64_t bytes, std::function<void()> then = {}) {
        const std::lock_guard lock(mutex_);
        left_ = bytes;
        then_ = std::move(then);
    }
    void never_cut() { cut_after(std::numeric_limits<std::uint64_t>::max()); }
    std::uint64_t passed() {
        const std::lock_guard lock(mutex_);
        return passed_;
    }

 private:
    static sockaddr_un address_of(const std::filesystem::path& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        return address;
    }

    void run() {
        std::vector<pollfd> sockets{{listener_, POLLIN, 0}, {stop_, POLLIN, 0}};  // Then pairs: client, server.
        const auto drop = [&](std::size_t pair) {
            close(sockets[pair].fd);
            close(sockets[pair + 1].fd);
            sockets.erase(sockets.begin() + static_cast<std::ptrdiff_t>(pair),
                          sockets.begin() + static_cast<std::ptrdiff_t>(pair) + 2);
        };
        while (true) {
            if (poll(sockets.data(), sockets.size(), -1) < 0) continue;
            if (sockets[1].revents != 0) break;
            for (std::size_t pair = 2; pair < sockets.size();) {
                const bool open = pass(sockets[pair], sockets[pair + 1]) && pass(sockets[pair + 1], sockets[pair]);
                if (!open) {
                    drop(pair);
                    continue;
                }
                pair += 2;
            }
            if (cut_) {
                while (sockets.size() > 2) drop(2);
                cut_ = false;
            }
            if (sockets[0].revents != 0) {
                const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
                const int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                const auto address = address_of(server_);
                if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
                    sockets.push_back({client, POLLIN, 0});
                    sockets.push_back({server, POLLIN, 0});
                } else {
                    close(client);
                    close(server);
                }
            }
        }
        while (sockets.size() > 2) drop(2);
    }

    // False: the connection is over.
    bool pass(pollfd& from, const pollfd& to) {
        if (from.revents == 0) return true;
        char piece[4096];
        const ssize_t size = read(from.fd, piece, sizeof piece);
        if (size <= 0) return false;
        std::function<void()> then;
        std::size_t allowed = static_cast<std::size_t>(size);
        {
            const std::lock_guard lock(mutex_);
            if (left_ <= allowed) {
                allowed = static_cast<std::size_t>(left_);
                left_ = std::numeric_limits<std::uint64_t>::max();
                then = std::exchange(then_, {});
                cut_ = true;
            } else if (left_ != std::numeric_limits<std::uint64_t>::max()) {
                left_ -= allowed;
            }
            passed_ += allowed;
        }
        if (then) then();  // First: who has got the last byte can rely on it.
        for (std::size_t sent = 0; sent < allowed;) {
            const ssize_t more = send(to.fd, piece + sent, allowed - sent, MSG_NOSIGNAL);
            if (more <= 0) return false;
            sent += static_cast<std::size_t>(more);
        }
        return !cut_;
    }

    std::filesystem::path server_;
    TempDir folder_;
    int listener_ = -1;
    int stop_ = -1;
    std::mutex mutex_;
    std::uint64_t left_ = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t passed_ = 0;
    std::function<void()> then_;
    bool cut_ = false;  // Of the thread alone.
    std::thread thread_;
};

}  // namespace annal::testing
