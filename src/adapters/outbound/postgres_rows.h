// A memory as a row of its kind's table: the one list of columns, from which statements, parameters, rows read back and
// the check of the tables are made.
#pragma once

#include "adapters/sink.h"
#include "postgres_connection.h"

#include <annal/memory.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

enum class VectorColumn : std::uint8_t {
    pgvector,
    reals,  // real[], where pgvector is not.
};

struct PostgresColumn {
    std::string name;
    std::string type;  // As format_type() of PostgreSQL spells it; "vector" stands for what is there.
};

std::vector<PostgresColumn> memory_columns(Kind kind);
// Those too that are made of the others, for searches: no record has them.
std::vector<PostgresColumn> all_columns(Kind kind);
// Of so many rows, their parameters one row after the other. No memory may be in it twice.
std::string upsert_sql(const std::string& table, Kind kind, std::size_t rows, VectorColumn vectors);
std::string select_sql(const std::string& table, Kind kind);  // By project and memory id.
// Without its vector, as record_from_row reads it where vectors are reals; a condition is to follow.
std::string select_memory_sql(const std::string& table, Kind kind);

void append_params(PostgresParams& params, const SinkRecord& record, VectorColumn vectors);
// data_loss: the row holds what no memory can; details: project, memory_id, column. Metadata comes with its keys
// sorted, since jsonb does not keep their order, nor how numbers are spelled.
Result<SinkRecord> record_from_row(const PostgresRows& rows, std::size_t row, Kind kind, VectorColumn vectors);

// Why no table can take it; nullopt: it can.
std::optional<std::string> why_not_a_row(const SinkRecord& record);

}  // namespace annal
