// The values of statements and of their answers, in PostgreSQL's binary format, so that times, floats and vectors keep
// their bits.
#pragma once

#include <annal/ids.h>
#include <annal/timestamp.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

}  // namespace annal
