// A few connections to one PostgreSQL, for whoever asks for one: made when they are needed, kept when they are given
// back, and never more than so many at a time.
// Threads: every method may be called from any thread; a lease is used by one, and ends before its pool.
#pragma once

#include "postgres_connection.h"

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace annal {

class PostgresPool {
 public:
    // Gives its connection back when it ends: without an open transaction, or not at all.
    class Lease {
     public:
        Lease(PostgresPool& pool, std::unique_ptr<PostgresConnection> connection, bool fresh)
            : pool_(&pool), connection_(std::move(connection)), fresh_(fresh) {}
        Lease(Lease&& other) noexcept;
        Lease& operator=(Lease&&) = delete;
        ~Lease();
        PostgresConnection& operator*() { return *connection_; }
        PostgresConnection* operator->() { return connection_.get(); }
        bool fresh() const { return fresh_; }  // Made for this lease: it may have been cut since, if not.

     private:
        PostgresPool* pool_;  // Null: moved from.
        std::unique_ptr<PostgresConnection> connection_;
        bool fresh_;
    };

    PostgresPool(const PostgresOptions& options, std::size_t connections_max)
        : options_(options), connections_max_(connections_max) {}

    // Waits at most so long for one that others have: then resource_exhausted. Others: as of PostgresConnection::open.
    // The connection's call_timeout starts with it.
    Result<Lease> lease(std::chrono::milliseconds wait_max);
    // Of those that nobody has: closes them, since one of them was found to be cut.
    void close_idle();

 private:
    void give_back(std::unique_ptr<PostgresConnection> connection);

    const PostgresOptions options_;
    const std::size_t connections_max_;
    std::mutex mutex_;
    std::condition_variable returned_;
    std::vector<std::unique_ptr<PostgresConnection>> idle_;  // The last one given back is the next.
    std::size_t leased_ = 0;
};

}  // namespace annal
