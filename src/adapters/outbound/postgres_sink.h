// A sink (sink.h) that is a schema of somebody's PostgreSQL: one table per kind, `events` if it keeps them,
// `dead_letters`, and the one row of `sync_checkpoint` with position and fence (schema/sql/postgres). A batch is one
// transaction, whose first statement takes the checkpoint: who comes from another position or with an old fence is
// turned away there.
// Vectors: of type vector with an HNSW index (cosine; m 16, ef_construction 64) for each kind, model and dimension,
// made when the first one comes; up to 2000 dimensions of floats, up to 4000 of halves, beyond that no index. Without
// pgvector: real[], and a warning.
#pragma once

#include "adapters/sink.h"
#include "postgres_options.h"

#include <memory>

namespace annal {

// Connects with the first call that needs it, and again after a connection was lost.
std::unique_ptr<Sink> make_postgres_sink(const PostgresOptions& options);

}  // namespace annal
