#include "postgres_memories.h"

#include "postgres_query.h"
#include "postgres_search.h"

#include "engine/accept.h"
#include "projections/memory_blocks.h"
#include "projections/memory_cursor.h"
#include "query/search.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace annal {
namespace {

constexpr std::chrono::milliseconds poll_interval{20};

Error not_in_a_sink(std::string_view field, const std::string& what) {
    return {ErrorCode::unimplemented,
            "PostgreSQL has the memories as they are now: " + what + " takes the store itself",
            {{"field", std::string(field)}}};
}

Status check_now(const std::optional<AsOf>& as_of) {
    if (as_of) return not_in_a_sink("as_of", "a read as of another moment");
    return Done{};
}

}  // namespace

Result<std::unique_ptr<PostgresMemories>> PostgresMemories::open(PostgresMemoriesOptions options) {
    if (auto ok = check(options.postgres); !ok) return ok.error();
    return std::unique_ptr<PostgresMemories>(new PostgresMemories(std::move(options)));
}

PostgresMemories::PostgresMemories(PostgresMemoriesOptions options)
    : options_(std::move(options)), pool_(options_.postgres, options_.connections_max) {}

Timestamp PostgresMemories::now() const {
    return (options_.clock != nullptr ? *options_.clock : system_clock()).now();
}

Result<PostgresMemories::Reading> PostgresMemories::begin(Seq min_seq, std::chrono::milliseconds wait_max) {
    const auto until = std::chrono::steady_clock::now() + wait_max;
    for (;;) {
        Seq reached{};
        {
            auto reading = begin();
            const bool nothing = !reading && reading.error().code == ErrorCode::not_found && min_seq > Seq{};
            if (!reading && !nothing) return reading;
            if (reading) reached = reading->checkpoint.position->seq;
            if (reading && reached >= min_seq) return reading;
        }
        const auto left = until - std::chrono::steady_clock::now();
        if (left <= std::chrono::milliseconds(0))
            return Error{ErrorCode::deadline_exceeded,
                         "PostgreSQL: the sink is at event " + std::to_string(reached.value) + ", and not yet at " +
                             std::to_string(min_seq.value),
                         {{"reached", std::to_string(reached.value)}}};
        std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(left, poll_interval));
    }
}

Result<PostgresMemories::Reading> PostgresMemories::begin() {
    auto connection = pool_.lease(options_.lease_wait);
    if (!connection) return connection.error();
    const bool fresh = connection->fresh();
    auto reading = begin_with(std::move(*connection));
    if (reading || fresh || reading.error().code != ErrorCode::unavailable) return reading;
    pool_.close_idle();  // The server was started anew since, or somebody cut what was idle.
    auto another = pool_.lease(options_.lease_wait);
    if (!another) return another.error();
    return begin_with(std::move(*another));
}

Result<PostgresMemories::Reading> PostgresMemories::begin_with(PostgresPool::Lease connection) {
    if (connection.fresh()) {
        if (auto known = check_version(*connection); !known) return known.error();
        auto tables = check_tables(*connection);
        if (!tables) return tables.error();
        const std::lock_guard hold(mutex_);
        tables_ = *tables;
    }
    if (auto begun = begin_reading(*connection); !begun) return begun.error();
    auto checkpoint = read_checkpoint(*connection);
    if (!checkpoint) return checkpoint.error();
    if (!checkpoint->position) return nothing_synced();
    if (!options_.store_id.empty() && checkpoint->position->store_id != options_.store_id)
        return Error{ErrorCode::conflict,
                     "PostgreSQL: what is there was synced from another store",
                     {{"store_id", checkpoint->position->store_id}}};
    const std::lock_guard hold(mutex_);
    return Reading{std::move(connection), tables_, std::move(*checkpoint)};
}

Result<SearchAnswer> PostgresMemories::search(const SearchRequest& request) {
    if (auto ok = check(request); !ok) return ok.error();
    if (auto ok = check_now(request.as_of); !ok) return ok.error();
    if (!request.run_id.empty()) return not_in_a_sink("run_id", "to put down what a run was given");
    std::optional<Normalised> vector;
    if (request.vector) {
        auto normalised = normalise(*request.vector, "vector");
        if (!normalised) return normalised.error();
        vector = std::move(*normalised);
    }
    auto reading = begin(request.min_seq, request.wait_max);
    if (!reading) return reading.error();
    const auto backend = open_postgres_search({.connection = *reading->connection,
                                               .tables = reading->tables,
                                               .checkpoint = reading->checkpoint,
                                               .request = request,
                                               .now = now(),
                                               .exact_scan_max = options_.exact_scan_max});
    if (!backend) return backend.error();
    return annal::search(**backend, request, vector ? &vector->embedding : nullptr, options_.embedder.get());
}

Result<Memory> PostgresMemories::get(const Scope& scope, MemoryId id, const ReadOptions& read, bool include_forgotten) {
    if (auto ok = validate(scope); !ok) return ok.error();
    if (auto ok = check_now(read.as_of); !ok) return ok.error();
    if (include_forgotten) return not_in_a_sink("include_forgotten", "a forgotten memory");
    auto reading = begin(read.min_seq, read.wait_max);
    if (!reading) return reading.error();
    std::vector<std::pair<Kind, MemoryId>> places;
    for (const auto& row : kind_table) places.emplace_back(row.kind, id);
    auto found = memories_from(*reading->connection, scope.project, places);
    if (!found) return found.error();
    for (auto& memory : *found)
        if (memory && scope.contains(memory->scope) && !memory->forgotten) return std::move(*memory);
    return Error{ErrorCode::not_found,
                 "there is no such memory in this scope, or it is forgotten",
                 {{"memory_id", to_string(id)}}};
}

Result<ListAnswer> PostgresMemories::list(const ListRequest& request) {
    if (auto ok = check(request); !ok) return ok.error();
    if (auto ok = check_now(request.read.as_of); !ok) return ok.error();
    if (request.include_forgotten) return not_in_a_sink("include_forgotten", "a list of forgotten memories");
    const auto print = fingerprint(request, std::nullopt);
    std::optional<ListPosition> after;
    if (!request.cursor.empty()) {
        const auto position = decode_cursor(print, request.cursor);
        if (!position) return position.error();
        after = *position;
    }
    auto reading = begin(request.read.min_seq, request.read.wait_max);
    if (!reading) return reading.error();
    auto& connection = *reading->connection;
    PostgresFilter filter(request.scope, request.filter, now());
    if (auto found = filter.find_by_metadata(connection); !found) return found.error();

    PostgresQuery query;
    query.sql = "SELECT m.kind, m.memory_id FROM " + rows_of(connection.options(), request.filter.kinds) + " WHERE " +
                filter.passes(query);
    const auto number = [&] { return query.number(static_cast<std::int64_t>(after->ordinal.value)); };
    switch (request.order) {  // Times of record grow with the ordinal, and have an index.
        case ListOrder::newest_first:
            if (after) query.sql += " AND m.created_seq < " + number();
            query.sql += " ORDER BY m.recorded_at DESC, m.created_seq DESC";
            break;
        case ListOrder::oldest_first:
            if (after) query.sql += " AND m.created_seq > " + number();
            query.sql += " ORDER BY m.recorded_at, m.created_seq";
            break;
        case ListOrder::confidence:
            if (after)
                query.sql += " AND (m.confidence, m.created_seq) < (" + query.real(from_sortable(after->confidence)) +
                             ", " + number() + ")";
            query.sql += " ORDER BY m.confidence DESC, m.created_seq DESC";
            break;
    }
    query.sql += " LIMIT " + query.number(static_cast<std::int64_t>(request.limit) + 1);
    const auto rows = query.run(connection);
    if (!rows) return rows.error();
    std::vector<std::pair<Kind, MemoryId>> places;
    for (std::size_t i = 0; i < rows->size(); ++i) {
        PostgresReader row(*rows, i);
        const auto kind = parse_kind(row.text()).value_or(Kind::note);  // A literal of ours.
        places.emplace_back(kind, MemoryId{row.uuid()});
    }
    const bool is_more = places.size() > request.limit;
    if (is_more) places.pop_back();
    auto found = memories_from(connection, request.scope.project, places);
    if (!found) return found.error();

    ListAnswer answer;
    answer.seq = reading->checkpoint.position->seq;
    answer.keys_scanned = rows->size();
    for (auto& memory : *found)
        if (memory) answer.memories.push_back(std::move(*memory));
    if (is_more && !answer.memories.empty()) {
        const auto& last = answer.memories.back();
        answer.next_cursor = encode_cursor(print, {last.created_seq, sortable(last.confidence)});
    }
    return answer;
}

}  // namespace annal
