// Searches, and other reads, of what a sink keeps in a PostgreSQL: for hosts that do not own the store. The answers are
// those of the engine, of the state that the sink has reached, which their `seq` is; see postgres_search.h for what
// differs. What only a log knows is not here: `as_of`, forgotten memories and run ids are unimplemented.
// Errors, beside the engine's: as of PostgresConnection and postgres_tables.h. conflict: it is another store's;
// details: store_id. deadline_exceeded: the sink did not reach `min_seq` within `wait_max`; details: reached.
// resource_exhausted: all connections were in use for `lease_wait`. Threads: every method may be called from any
// thread; each takes a connection of its own while it reads.
#pragma once

#include "postgres_pool.h"
#include "postgres_tables.h"

#include <annal/engine.h>

#include <memory>
#include <mutex>
#include <string>

namespace annal {

struct PostgresMemoriesOptions {
    PostgresOptions postgres{};
    std::string store_id{};  // Whose it has to be; empty: anybody's.
    std::size_t connections_max = 4;
    std::chrono::milliseconds lease_wait{5000};
    std::size_t exact_scan_max = 10'000;   // Vectors of a kind that are compared without an index.
    std::shared_ptr<Embedder> embedder{};  // Of questions; null: a search needs a vector of its own.
    Clock* clock = nullptr;                // Decides expiry. Null: the system's.
};

class PostgresMemories {
 public:
    // Without connecting. invalid_argument: as of check(PostgresOptions).
    static Result<std::unique_ptr<PostgresMemories>> open(PostgresMemoriesOptions options);

    Result<SearchAnswer> search(const SearchRequest& request);
    Result<Memory> get(const Scope& scope, MemoryId id, const ReadOptions& read, bool include_forgotten = false);
    Result<ListAnswer> list(const ListRequest& request);

 private:
    struct Reading {  // In a transaction of one state.
        PostgresPool::Lease connection;
        PostgresTables tables;
        PostgresCheckpoint checkpoint;
    };
    explicit PostgresMemories(PostgresMemoriesOptions options);

    // Once the sink has reached `min_seq`.
    Result<Reading> begin(Seq min_seq, std::chrono::milliseconds wait_max);
    Result<Reading> begin();
    Result<Reading> begin_with(PostgresPool::Lease connection);
    Timestamp now() const;

    const PostgresMemoriesOptions options_;
    PostgresPool pool_;
    std::mutex mutex_;
    PostgresTables tables_;  // As the last new connection found them.
};

}  // namespace annal
