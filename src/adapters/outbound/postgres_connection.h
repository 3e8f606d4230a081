// One connection to a PostgreSQL, with deadlines: what sinks, migrations and walks speak through.
// Errors: an answer's SQLSTATE is translated in one place, to_error() in the .cpp. A message has our own words and the
// SQLSTATE, never a server's text, which may quote data; details: sqlstate, and `refused` when it is a value or a row
// that is not taken. After unavailable and deadline_exceeded the connection may be closed: see alive().
// Threads: used by one at a time.
#pragma once

#include "postgres_options.h"
#include "postgres_values.h"

#include <annal/result.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

struct pg_conn;

namespace annal {

// Without connecting. invalid_argument: as of PostgresConnection::open.
Status check(const PostgresOptions& options);

class PostgresConnection {
 public:
    // Sets the session up: UTF-8, the schema as search path (and that of pgvector, when it is there), timeouts.
    // invalid_argument: the connection string, schema or prefix cannot be read.
    static Result<std::unique_ptr<PostgresConnection>> open(const PostgresOptions& options);
    ~PostgresConnection();
    PostgresConnection(const PostgresConnection&) = delete;
    PostgresConnection& operator=(const PostgresConnection&) = delete;

    const PostgresOptions& options() const { return options_; }
    bool alive() const;
    std::uint64_t bytes_sent() const { return bytes_sent_; }  // Of parameters.
    // From now the call_timeout counts for all that follows, until the next.
    void start_call();

    Result<PostgresRows> run(const std::string& sql, const PostgresParams& params = {});
    // Several statements without parameters, in one transaction unless one is open.
    Status run_script(const std::string& sql);
    // To our schema and, when it is there, pgvector's.
    Status set_search_path();
    Status prepare(const std::string& name, const std::string& sql);

    // Statements that go out together: queue them, then send. The first error ends them all, and is what send() says;
    // else the answer to the last of them.
    void queue(const std::string& sql, const PostgresParams& params = {});
    void queue_prepared(const std::string& name, const PostgresParams& params);
    Result<PostgresRows> send();

    // Ends an open transaction without its effects; closes the connection if that cannot be said.
    void roll_back();

 private:
    struct Close {
        void operator()(pg_conn* connection) const;
    };
    PostgresConnection(const PostgresOptions& options, pg_conn* connection)
        : options_(options), connection_(connection) {}
    Status finish_connecting();
    Status set_up();
    Status wait(bool for_writing);
    Status flush();
    Result<pg_result*> next_result();  // nullptr: no more of this statement.
    Result<PostgresRows> collect();
    bool enter_pipeline();
    Error lost();
    Error timed_out();

    PostgresOptions options_;
    std::unique_ptr<pg_conn, Close> connection_;
    std::chrono::steady_clock::time_point deadline_{};
    std::size_t queued_ = 0;
    std::uint64_t bytes_sent_ = 0;
    bool refused_ = false;  // A statement could not even be queued.
};

}  // namespace annal
