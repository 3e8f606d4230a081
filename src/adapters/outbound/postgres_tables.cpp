#include "postgres_tables.h"

#include "postgres_migrations.h"

#include <cstring>
#include <map>
#include <utility>

namespace annal {
namespace {

constexpr std::size_t hnsw_dimension_max = 2000;  // pgvector's limits for its types vector and halfvec.
constexpr std::size_t hnsw_halfvec_dimension_max = 4000;

}  // namespace

std::string table_of(const PostgresOptions& options, Kind kind) {
    return options.prefix + std::string(kind_table[static_cast<std::size_t>(kind)].table);
}

std::optional<std::string> hnsw_type(const PostgresTables& tables, std::size_t dimension) {
    if (!tables.hnsw) return std::nullopt;
    if (dimension <= hnsw_dimension_max) return "vector";
    if (tables.halfvec && dimension <= hnsw_halfvec_dimension_max) return "halfvec";
    return std::nullopt;
}

Result<PostgresTables> check_tables(PostgresConnection& connection) {
    const auto& options = connection.options();
    auto rows = connection.run(
        "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')",
        PostgresParams().text(options.schema));
    if (!rows) return rows.error();
    std::map<std::string, std::map<std::string, std::string>> found;
    for (std::size_t i = 0; i < rows->size(); ++i) {
        PostgresReader row(*rows, i);
        auto table = row.text();
        auto column = row.text();
        found[table][column] = row.text();
    }
    const auto changed = [](const std::string& what) {
        return Error{ErrorCode::data_loss, "PostgreSQL: " + what + "; the tables were changed by hand", {}};
    };
    const auto& vector_type = found[table_of(options, Kind::note)]["embedding"];
    PostgresTables tables;
    tables.vectors = vector_type == "real[]" ? VectorColumn::reals : VectorColumn::pgvector;
    for (const auto& [kind, name, table] : kind_table) {
        const auto& columns = found[table_of(options, kind)];
        if (columns.empty()) return changed("table " + std::string(table) + " is missing");
        for (const auto& expected : all_columns(kind)) {
            const auto place = std::string(table) + "." + expected.name;
            const auto column = columns.find(expected.name);
            if (column == columns.end()) return changed("column " + place + " is missing");
            const std::string type = expected.type != "vector"                  ? expected.type
                                     : tables.vectors == VectorColumn::pgvector ? "vector"
                                                                                : "real[]";
            if (column->second != type)
                return changed("column " + place + " is of type " + column->second + " instead of " + type);
        }
    }
    if (tables.vectors == VectorColumn::pgvector) {
        auto can = connection.run(
            "SELECT EXISTS (SELECT 1 FROM pg_am WHERE amname = 'hnsw'), to_regtype('halfvec') IS NOT NULL");
        if (!can) return can.error();
        PostgresReader row(*can, 0);
        tables.hnsw = row.boolean();
        tables.halfvec = row.boolean();
    }
    return tables;
}

Result<PostgresCheckpoint> checkpoint_from(const PostgresRows& rows) {
    if (rows.size() == 0)
        return Error{ErrorCode::data_loss, "PostgreSQL: the checkpoint's row is missing; it was deleted by hand", {}};
    PostgresCheckpoint checkpoint;
    PostgresReader row(rows, 0);
    checkpoint.fence = row.int64();
    const auto store_id = row.optional_text();
    if (!store_id && row.ok()) return checkpoint;
    SinkPosition position;
    position.store_id = store_id.value_or("");
    position.epoch = static_cast<std::uint64_t>(row.int64());
    position.seq = {static_cast<std::uint64_t>(row.int64())};
    const auto hash = row.text();
    checkpoint.analyzer = row.optional_text().value_or("");
    if (!row.ok() || hash.size() != position.hash.size())
        return Error{ErrorCode::data_loss, "PostgreSQL: the checkpoint is not whole; it was changed by hand", {}};
    std::memcpy(position.hash.data(), hash.data(), hash.size());
    checkpoint.position = std::move(position);
    return checkpoint;
}

Result<PostgresCheckpoint> read_checkpoint(PostgresConnection& connection) {
    auto rows = connection.run("SELECT " + std::string(checkpoint_columns) + " FROM " + connection.options().prefix +
                               "sync_checkpoint");
    if (!rows) return rows.error();
    return checkpoint_from(*rows);
}

Status check_version(PostgresConnection& connection) {
    auto states = postgres_migration_status(connection);
    if (!states) return states.error();
    if (!states->front().applied_at) return nothing_synced();
    if (states->back().applied_at) return Done{};
    return Error{ErrorCode::unavailable,
                 "PostgreSQL: the tables are of an older version; the next run of the sink brings them up to " +
                     std::to_string(states->size()),
                 {}};
}

Status begin_reading(PostgresConnection& connection) {
    return connection.run_script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
}

Error nothing_synced() {
    return {ErrorCode::not_found, "PostgreSQL: nothing was synced to this database yet", {}};
}

}  // namespace annal
