// Where memories are searched that a sink keeps in a PostgreSQL. Text is ranked by the engine's own function
// (src/query/text_ranking.h) over candidates that the database picks by the same terms; vectors are picked by pgvector
// and compared again by the engine's own arithmetic.
// What differs from a store's own views: the gate of the context stays open, since nothing is known of how alike
// neighbours are; a forgotten memory leaves no place open in its session; of a term, no more than 255 are counted;
// among more than 150 candidates the database's order, which is within a few percent of BM25, decides which are ranked.
// Cost: a text reads the terms of all memories that hold one of its words; vectors up to `exact_scan_max` of a kind, or
// a filter that leaves few of more, are compared one by one.
#pragma once

#include "postgres_connection.h"
#include "postgres_query.h"
#include "postgres_tables.h"

#include "query/search_backend.h"

#include <memory>

namespace annal {

struct PostgresSearchOptions {       // Borrowed for as long as the backend lives.
    PostgresConnection& connection;  // In a transaction of one state.
    const PostgresTables& tables;
    const PostgresCheckpoint& checkpoint;  // As of it.
    const SearchRequest& request;          // Checked.
    Timestamp now;
    std::size_t exact_scan_max;
};

Result<std::unique_ptr<SearchBackend>> open_postgres_search(const PostgresSearchOptions& options);

// These memories in their order; nullopt for one that is not there.
Result<std::vector<std::optional<Memory>>> memories_from(PostgresConnection& connection, std::string_view project,
                                                         std::span<const std::pair<Kind, MemoryId>> which);

}  // namespace annal
