// One connection to a PostgreSQL, with deadlines: what sinks, migrations and walks speak through. All values go in
// binary, so that times, floats and vectors keep their bits.
// Errors: an answer's SQLSTATE is translated in one place, to_error() in the .cpp. A message has our own words and the
// SQLSTATE, never a server's text, which may quote data; details: sqlstate, and `refused` when it is a value or a row
// that is not taken. After unavailable and deadline_exceeded the connection may be
// closed: see alive().
// Threads: used by one at a time.
#pragma once

#include "postgres_options.h"

#include <annal/ids.h>
#include <annal/result.h>
#include <annal/timestamp.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct pg_conn;
struct pg_result;

namespace annal {

// The parameters of one statement, $1 first.
class PostgresParams {
 public:
    PostgresParams& null();
    PostgresParams& text(std::string_view value);  // Also bytea.
    PostgresParams& json(std::string_view value);  // jsonb
    PostgresParams& boolean(bool value);
    PostgresParams& int16(std::int16_t value);
    PostgresParams& int32(std::int32_t value);
    PostgresParams& int64(std::int64_t value);
    PostgresParams& float64(double value);
    PostgresParams& time(Timestamp value);
    PostgresParams& time(const std::optional<Timestamp>& value);
    PostgresParams& uuid(const std::array<std::uint8_t, 16>& value);
    PostgresParams& texts(std::span<const std::string> values);    // text[]
    PostgresParams& uuids(std::span<const MemoryId> values);       // uuid[]
    PostgresParams& int64s(std::span<const std::int64_t> values);  // bigint[]
    PostgresParams& float64s(std::span<const double> values);      // double precision[]
    // tsvector: each as often as it says, at most 255 times.
    PostgresParams& lexemes(const std::map<std::string, std::uint32_t>& counts);
    PostgresParams& vector(std::span<const float> values);  // pgvector's
    PostgresParams& reals(std::span<const float> values);   // real[]

 private:
    friend class PostgresConnection;
    struct Value {
        std::size_t at;
        int size;  // -1: NULL
    };
    struct Bound {  // As libpq takes them; valid as long as the parameters are.
        std::vector<const char*> values;
        std::vector<int> sizes;
        std::vector<int> formats;
    };
    Bound bound() const;
    void array_head(std::size_t count, std::uint32_t element_oid);
    void end(std::size_t at);
    std::string bytes_;
    std::vector<Value> values_;
};

// A statement's answer.
class PostgresRows {
 public:
    explicit PostgresRows(pg_result* result) : result_(result) {}
    std::size_t size() const;
    std::int64_t affected() const;  // By an INSERT, UPDATE or DELETE.

 private:
    friend class PostgresReader;
    struct Clear {
        void operator()(pg_result* result) const;
    };
    std::unique_ptr<pg_result, Clear> result_;
};

// Reads the columns of one row, one after the other. What is not of the type asked for, or NULL and not optional, makes
// ok() false and reads as empty.
class PostgresReader {
 public:
    PostgresReader(const PostgresRows& rows, std::size_t row) : rows_(rows), row_(static_cast<int>(row)) {}
    bool ok() const { return ok_; }
    int column() const { return column_; }  // The next one's number.

    std::string text();
    std::string json();
    bool boolean();
    std::int64_t int64();  // Of any integer type.
    double float64();
    Timestamp time();
    std::optional<Timestamp> optional_time();
    std::optional<std::int64_t> optional_int64();
    std::optional<std::string> optional_text();
    std::array<std::uint8_t, 16> uuid();
    std::optional<std::array<std::uint8_t, 16>> optional_uuid();
    std::vector<std::string> texts();
    std::vector<std::pair<std::string, std::uint32_t>> lexemes();  // Of a tsvector, with how often; empty: NULL.
    std::vector<float> vector();                                   // Empty: NULL.
    std::vector<float> reals();                                    // Likewise.

 private:
    std::optional<std::string_view> next();
    std::string_view next_present();
    const PostgresRows& rows_;
    int row_;
    int column_ = 0;
    bool ok_ = true;
};

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
