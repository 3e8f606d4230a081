// The tables of a sink as they are found: whether the migrations made them, and how far they are.
// Errors, beside those of PostgresConnection. data_loss: something was changed by hand; the message names it.
// not_found: nothing was synced yet. unavailable: the tables are of an older version, which the next run of the sink
// changes. unimplemented: of a newer one.
#pragma once

#include "adapters/sink.h"
#include "postgres_connection.h"
#include "postgres_rows.h"

#include <optional>
#include <string>

namespace annal {

std::string table_of(const PostgresOptions& options, Kind kind);

struct PostgresTables {
    VectorColumn vectors = VectorColumn::pgvector;
    bool hnsw = false;     // The server can index vectors,
    bool halfvec = false;  // and those of more than 2000 dimensions as halves.
};
// How an index holds vectors of that dimension: "vector", "halfvec", or nullopt: none can.
std::optional<std::string> hnsw_type(const PostgresTables& tables, std::size_t dimension);

Result<PostgresTables> check_tables(PostgresConnection& connection);

struct PostgresCheckpoint {
    std::int64_t fence = 0;
    std::optional<SinkPosition> position{};  // Unset: nothing is there.
    std::string analyzer{};                  // That made the terms; empty: an older one.
};
inline constexpr std::string_view checkpoint_columns = "fence, store_id, epoch, seq, hash, analyzer";
Result<PostgresCheckpoint> checkpoint_from(const PostgresRows& rows);
Result<PostgresCheckpoint> read_checkpoint(PostgresConnection& connection);

// Whether there are tables of this build's version.
Status check_version(PostgresConnection& connection);
// Begins a transaction of one state, which only reads.
Status begin_reading(PostgresConnection& connection);
Error nothing_synced();

}  // namespace annal
