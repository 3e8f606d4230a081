// SQL over the tables of all kinds at once, and what a scope and a filter are in it. Values are bound as parameters,
// never written into the text; names of tables come from include/annal/kind.h, numbers of dimensions are numbers.
#pragma once

#include "postgres_connection.h"

#include <annal/engine.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace annal {

// A statement that is being written. Each of the calls binds a value, and gives what stands for it in the text.
class PostgresQuery {
 public:
    std::string sql;
    PostgresParams params;

    std::string text(std::string_view value);
    std::string texts(std::span<const std::string> values);
    std::string number(std::int64_t value);
    std::string numbers(std::span<const std::int64_t> values);
    std::string real(double value);
    std::string reals(std::span<const double> values);  // double precision[]
    std::string time(Timestamp value);
    std::string uuids(std::span<const MemoryId> values);
    std::string vector(std::span<const float> values);  // pgvector's
    std::string floats(std::span<const float> values);  // real[]

    Result<PostgresRows> run(PostgresConnection& connection) const { return connection.run(sql, params); }

 private:
    std::string bound(std::string_view type);
    int count_ = 0;
};

// The rows of these kinds' tables (empty: of all), as "m": their common columns, and `kind`.
std::string rows_of(const PostgresOptions& options, std::span<const Kind> kinds = {});

// What a request may find, as conditions on those rows.
class PostgresFilter {
 public:
    // `now` decides expiry. Borrows scope and filter.
    PostgresFilter(const Scope& scope, const Filter& filter, Timestamp now)
        : scope_(scope), filter_(filter), now_(now) {}

    // Conditions on metadata are checked here, not there: which memories meet them and all others is read once, and
    // held. Cost: the metadata of what meets the others and has the key.
    Status find_by_metadata(PostgresConnection& connection);

    std::string of_project(PostgresQuery& query) const;  // Nothing but the project.
    std::string passes(PostgresQuery& query) const;      // All of it.

 private:
    std::string passes_but_metadata(PostgresQuery& query) const;

    const Scope& scope_;
    const Filter& filter_;
    Timestamp now_;
    std::optional<std::vector<std::int64_t>> found_;  // By metadata: created_seq.
};

}  // namespace annal
