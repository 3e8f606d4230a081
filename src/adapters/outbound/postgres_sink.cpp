#include "postgres_sink.h"

#include "events/bytes.h"
#include "events/event_log_hash.h"
#include "events/hex.h"
#include "postgres_connection.h"
#include "postgres_migrations.h"
#include "postgres_rows.h"
#include "postgres_tables.h"

#include "projections/analyzer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <set>
#include <tuple>
#include <utility>

namespace annal {
namespace {

constexpr std::size_t walk_rows = 256;  // Of one kind, fetched together.

std::int64_t number(Seq seq) {
    return static_cast<std::int64_t>(seq.value);
}

class PostgresWalk final : public SinkWalk {
 public:
    static Result<std::unique_ptr<SinkWalk>> open(const PostgresOptions& options) {
        auto connection = PostgresConnection::open(options);
        if (!connection) return connection.error();
        std::unique_ptr<PostgresWalk> walk(new PostgresWalk(std::move(*connection)));
        if (auto begun = walk->begin(); !begun) return begun.error();
        return std::unique_ptr<SinkWalk>(std::move(walk));
    }

    const SinkPosition& position() const override { return position_; }

    Result<std::vector<SinkRecord>> next(std::size_t max) override {
        connection_->start_call();
        std::vector<SinkRecord> records;
        while (records.size() < max) {
            Part* first = nullptr;
            for (auto& part : parts_) {
                if (auto filled = fill(part); !filled) return filled.error();
                if (!part.rows.empty() && (first == nullptr || comes_before(part.rows.front(), first->rows.front())))
                    first = &part;
            }
            if (first == nullptr) break;
            records.push_back(std::move(first->rows.front()));
            first->rows.pop_front();
        }
        return records;
    }

    Result<std::vector<DeadLetter>> dead_letters() override {
        connection_->start_call();
        auto rows = connection_->run("SELECT project, memory_id, kind, seq, reason, user_id, created_seq FROM " +
                                     connection_->options().prefix + "dead_letters ORDER BY project, memory_id");
        if (!rows) return rows.error();
        std::vector<DeadLetter> letters;
        for (std::size_t i = 0; i < rows->size(); ++i) {
            PostgresReader row(*rows, i);
            DeadLetter letter;
            letter.project = row.text();
            letter.memory_id.bytes = row.uuid();
            const auto kind = parse_kind(row.text());
            letter.seq = {static_cast<std::uint64_t>(row.int64())};
            letter.reason = row.text();
            letter.user = row.text();
            letter.created_seq = {static_cast<std::uint64_t>(row.int64())};
            if (!row.ok() || !kind)
                return Error{ErrorCode::data_loss, "PostgreSQL: a dead letter was changed by hand", {}};
            letter.kind = *kind;
            letters.push_back(std::move(letter));
        }
        return letters;
    }

 private:
    struct Part {
        Kind kind{};
        std::deque<SinkRecord> rows{};
        bool at_end = false;
    };
    explicit PostgresWalk(std::unique_ptr<PostgresConnection> connection) : connection_(std::move(connection)) {}

    static bool comes_before(const SinkRecord& a, const SinkRecord& b) {
        return std::tie(a.memory.scope.project, a.memory.id) < std::tie(b.memory.scope.project, b.memory.id);
    }

    Status begin() {
        if (auto known = check_version(*connection_); !known) return known;
        if (auto begun = begin_reading(*connection_); !begun) return begun;
        auto tables = check_tables(*connection_);
        if (!tables) return tables.error();
        vectors_ = tables->vectors;
        auto checkpoint = read_checkpoint(*connection_);
        if (!checkpoint) return checkpoint.error();
        if (!checkpoint->position) return nothing_synced();
        position_ = *checkpoint->position;
        for (const auto& row : kind_table) {
            const auto table = table_of(connection_->options(), row.kind);
            connection_->queue("DECLARE walk_" + table + " NO SCROLL CURSOR FOR " + select_sql(table, row.kind));
            parts_.push_back({.kind = row.kind});
        }
        if (auto declared = connection_->send(); !declared) return declared.error();
        return Done{};
    }

    Status fill(Part& part) {
        if (part.at_end || !part.rows.empty()) return Done{};
        auto rows = connection_->run("FETCH FORWARD " + std::to_string(walk_rows) + " FROM walk_" +
                                     table_of(connection_->options(), part.kind));
        if (!rows) return rows.error();
        part.at_end = rows->size() < walk_rows;
        for (std::size_t i = 0; i < rows->size(); ++i) {
            auto record = record_from_row(*rows, i, part.kind, vectors_);
            if (!record) return record.error();
            part.rows.push_back(std::move(*record));
        }
        return Done{};
    }

    std::unique_ptr<PostgresConnection> connection_;
    SinkPosition position_;
    VectorColumn vectors_ = VectorColumn::pgvector;
    std::vector<Part> parts_;
};

class PostgresSink final : public Sink {
 public:
    explicit PostgresSink(const PostgresOptions& options) : options_(options) {}

    std::string_view type() const override { return "postgres"; }
    SinkCapabilities capabilities() const override { return {.keeps_events = options_.keep_events}; }

    Result<std::optional<SinkPosition>> take_over(std::string_view store_id) override {
        if (auto connected = connect(); !connected) return connected.error();
        if (auto migrated = migrate_postgres(*connection_); !migrated) return migrated.error();
        auto tables = check_tables(*connection_);
        if (!tables) return tables.error();
        tables_ = *tables;
        warn_of_vectors();
        auto rows = connection_->run("UPDATE " + checkpoint() +
                                         " SET fence = fence + 1 WHERE store_id IS NULL OR store_id = $1 RETURNING " +
                                         std::string(checkpoint_columns),
                                     PostgresParams().text(store_id));
        if (!rows) return rows.error();
        if (rows->size() == 0) return belongs_to_another();
        auto taken = checkpoint_from(*rows);
        if (!taken) return taken.error();
        fence_ = taken->fence;
        return std::move(taken->position);
    }

    std::optional<std::string> refuses(const SinkRecord& record) const override { return why_not_a_row(record); }

    Status apply(const SinkBatch& batch) override {
        if (auto connected = connect(); !connected) return connected.error();
        if (auto prepared = prepare(batch); !prepared) return prepared.error();
        auto applied = transact(take_checkpoint(batch), [&] { queue(batch); });
        if (!applied) return applied.error();
        for (const auto& record : batch.upserts)
            if (record.embedding) indexed_.insert(space_of(record));
        return Done{};
    }

    Status clear() override {
        if (auto connected = connect(); !connected) return connected.error();
        const std::string empty =
            " SET store_id = NULL, epoch = NULL, seq = NULL, hash = NULL, analyzer = NULL, updated_at = now() "
            "WHERE fence = $1";
        return transact({"UPDATE " + checkpoint() + empty, PostgresParams().int64(fence_)}, [&] {
            std::string tables = options_.prefix + "events, " + options_.prefix + "dead_letters";
            for (const auto& row : kind_table) tables += ", " + table_of(options_, row.kind);
            connection_->queue("TRUNCATE " + tables);
        });
    }

    Result<std::unique_ptr<SinkWalk>> walk() override { return PostgresWalk::open(options_); }
    SinkUsage usage() const override {
        return {.bytes_sent = bytes_sent_ + (connection_ ? connection_->bytes_sent() : 0)};
    }

 private:
    // Vectors that share an index.
    using Space = std::tuple<Kind, std::string, std::size_t>;  // Kind, model, dimension
    static Space space_of(const SinkRecord& record) {
        return {record.memory.kind(), record.embedding->model, record.embedding->values.size()};
    }
    struct Statement {
        std::string sql;
        PostgresParams params;
    };

    std::string checkpoint() const { return options_.prefix + "sync_checkpoint"; }
    std::string dead_letters() const { return options_.prefix + "dead_letters"; }

    Status connect() {
        if (!connection_ || !connection_->alive()) {
            prepared_.clear();
            bytes_sent_ += connection_ ? connection_->bytes_sent() : 0;
            connection_.reset();
            auto connection = PostgresConnection::open(options_);
            if (!connection) return connection.error();
            connection_ = std::move(*connection);
        }
        connection_->start_call();
        return Done{};
    }

    void warn_of_vectors() const {
        if (!options_.on_message) return;
        if (tables_.vectors == VectorColumn::reals)
            options_.on_message("warning",
                                "PostgreSQL: pgvector was not there when the tables were made: vectors are kept as "
                                "real[], without an index; install it and migrate down and up to change that");
        else if (!tables_.hnsw)
            options_.on_message("warning", "PostgreSQL: this pgvector is too old for HNSW: vectors have no index");
    }

    Error belongs_to_another() {
        auto found = read_checkpoint(*connection_);
        if (!found) return found.error();
        return {ErrorCode::conflict,
                "PostgreSQL: what is there was synced from another store",
                {{"store_id", found->position ? found->position->store_id : ""}}};
    }

    // Begins, takes the checkpoint's row, which keeps others out until the end, and commits what `queue_effects` asks
    // for.
    template <class QueueEffects>
    Status transact(const Statement& take, QueueEffects&& queue_effects) {
        connection_->queue("BEGIN");
        connection_->queue(take.sql, take.params);
        auto taken = connection_->send();
        if (taken && taken->affected() == 1) {
            queue_effects();
            connection_->queue("COMMIT");
            auto committed = connection_->send();
            if (committed) return Done{};
            connection_->roll_back();
            return committed.error();
        }
        connection_->roll_back();
        if (!taken) return taken.error();
        return refused();
    }

    // Somebody else took the sink over, or its position is another one.
    Error refused() {
        auto found = read_checkpoint(*connection_);
        if (!found) return found.error();
        if (found->fence != fence_)
            return {ErrorCode::conflict,
                    "PostgreSQL: another engine took the sink over",
                    {{"fenced", std::to_string(found->fence)}}};
        const auto seq = found->position ? found->position->seq.value : 0;
        return {ErrorCode::conflict,
                "PostgreSQL: what is there is not where the batch starts",
                {{"position", std::to_string(seq)}}};
    }

    Statement take_checkpoint(const SinkBatch& batch) const {
        Statement take{"UPDATE " + checkpoint() +
                           " SET store_id = $1, epoch = $2, seq = $3, hash = $4, updated_at = now(), "
                           "analyzer = CASE WHEN $8 = 0 THEN $10 ELSE analyzer END WHERE fence = $5 AND "
                           "COALESCE(seq, 0) = $8 AND ($8 = 0 OR (store_id = $6 AND epoch = $7 AND hash = $9))",
                       {}};
        take.params.text(batch.to.store_id)
            .int64(static_cast<std::int64_t>(batch.to.epoch))
            .int64(number(batch.to.seq))
            .text(as_text(batch.to.hash))
            .int64(fence_)
            .text(batch.from.store_id)
            .int64(static_cast<std::int64_t>(batch.from.epoch))
            .int64(number(batch.from.seq))
            .text(as_text(batch.from.hash))
            .text(Analyzer::description());
        return take;
    }

    // What is sent often is planned once.
    Status prepare(const SinkBatch& batch) {
        std::array<std::size_t, kind_count> upserts{}, deletes{};
        for (const auto& record : batch.upserts) ++upserts[static_cast<std::size_t>(record.memory.kind())];
        for (const auto& removal : batch.removals) ++deletes[static_cast<std::size_t>(removal.kind)];
        for (const auto& letter : batch.dead_letters) ++deletes[static_cast<std::size_t>(letter.kind)];
        for (const auto& row : kind_table) {
            const auto table = table_of(options_, row.kind);
            for (auto left = upserts[static_cast<std::size_t>(row.kind)]; left > 0;) {
                const auto rows = rows_together(left);
                left -= rows;
                if (auto made =
                        prepare_once(upsert_name(table, rows), upsert_sql(table, row.kind, rows, tables_.vectors));
                    !made)
                    return made.error();
            }
            if (deletes[static_cast<std::size_t>(row.kind)] == 0) continue;
            if (auto made =
                    prepare_once("delete " + table, "DELETE FROM " + table + " WHERE project = $1 AND memory_id = $2");
                !made)
                return made.error();
        }
        if (batch.events.empty()) return Done{};
        return prepare_once(
            "insert event",
            "INSERT INTO " + options_.prefix +
                "events (seq, project, memory_id, version, event_id, type, recorded_at, agent, user_id, "
                "session, actor, source_type, source_ref, reason, correlation_id, causation_id, changes) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)");
    }
    // How many of those that are left go into one statement: a row of its own costs the server about as much again.
    static std::size_t rows_together(std::size_t left) { return left >= 64 ? 64 : left >= 8 ? 8 : 1; }
    static std::string upsert_name(const std::string& table, std::size_t rows) {
        return "upsert " + std::to_string(rows) + " " + table;
    }
    Status prepare_once(const std::string& name, const std::string& sql) {
        if (prepared_.contains(name)) return Done{};
        if (auto made = connection_->prepare(name, sql); !made) return made.error();
        prepared_.insert(name);
        return Done{};
    }

    void queue(const SinkBatch& batch) {
        queue_indexes(batch);
        for (const auto& erasure : batch.erasures) queue(erasure);
        for (const auto& removal : batch.removals) queue_delete(removal.project, removal.kind, removal.memory_id);
        queue_settled_letters(batch);
        queue_upserts(batch);
        for (const auto& letter : batch.dead_letters) {
            queue_delete(letter.project, letter.kind, letter.memory_id);
            queue(letter);
        }
        for (const auto& event : batch.events) queue(event);
    }

    void queue_upserts(const SinkBatch& batch) {
        std::array<std::vector<const SinkRecord*>, kind_count> by_kind;
        for (const auto& record : batch.upserts)
            by_kind[static_cast<std::size_t>(record.memory.kind())].push_back(&record);
        for (const auto& row : kind_table) {
            const auto& records = by_kind[static_cast<std::size_t>(row.kind)];
            for (std::size_t at = 0; at < records.size();) {
                const auto rows = rows_together(records.size() - at);
                PostgresParams params;
                for (const auto end = at + rows; at < end; ++at) append_params(params, *records[at], tables_.vectors);
                connection_->queue_prepared(upsert_name(table_of(options_, row.kind), rows), params);
            }
        }
    }

    void queue_delete(const std::string& project, Kind kind, const MemoryId& id) {
        connection_->queue_prepared("delete " + table_of(options_, kind),
                                    PostgresParams().text(project).uuid(id.bytes));
    }

    void queue(const SinkErasure& erasure) {
        const auto params =
            PostgresParams().text(erasure.project).text(erasure.user).int64(number(erasure.requested_at));
        const std::string whose = " WHERE project = $1 AND user_id = $2 AND created_seq < $3";
        for (const auto& row : kind_table)
            connection_->queue("DELETE FROM " + table_of(options_, row.kind) + whose, params);
        connection_->queue("DELETE FROM " + dead_letters() + whose, params);
        // As the log itself shows them from now on: envelopes only.
        connection_->queue("UPDATE " + options_.prefix +
                               "events SET actor = '', source_type = 'none', source_ref = '', reason = '', "
                               "correlation_id = '', causation_id = '', changes = '{\"erased\": true}' "
                               "WHERE project = $1 AND user_id = $2 AND seq < $3 AND type NOT IN "
                               "('ErasureRequested', 'ErasureCompleted', 'PolicyChanged')",
                           params);
    }

    // The dead letters of memories that are there again, or gone for good.
    void queue_settled_letters(const SinkBatch& batch) {
        std::vector<std::string> projects;
        std::vector<MemoryId> ids;
        for (const auto& removal : batch.removals) {
            projects.push_back(removal.project);
            ids.push_back(removal.memory_id);
        }
        for (const auto& record : batch.upserts) {
            projects.push_back(record.memory.scope.project);
            ids.push_back(record.memory.id);
        }
        if (ids.empty()) return;
        connection_->queue("DELETE FROM " + dead_letters() +
                               " d USING unnest($1::text[], $2::uuid[]) AS settled(project, id) "
                               "WHERE d.project = settled.project AND d.memory_id = settled.id",
                           PostgresParams().texts(projects).uuids(ids));
    }

    void queue(const DeadLetter& letter) {
        connection_->queue("INSERT INTO " + dead_letters() +
                               " (project, memory_id, kind, seq, reason, user_id, created_seq) "
                               "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project, memory_id) DO UPDATE SET "
                               "kind = $3, seq = $4, reason = $5, user_id = $6, created_seq = $7",
                           PostgresParams()
                               .text(letter.project)
                               .uuid(letter.memory_id.bytes)
                               .text(to_string(letter.kind))
                               .int64(number(letter.seq))
                               .text(letter.reason)
                               .text(letter.user)
                               .int64(number(letter.created_seq)));
    }

    void queue(const Engine::LogEntry& event) {
        PostgresParams params;
        params.int64(number(event.seq))
            .text(event.scope.project)
            .uuid(event.memory_id.bytes)
            .int64(static_cast<std::int64_t>(event.version.value))
            .uuid(event.event_id.bytes)
            .text(event.type)
            .time(event.recorded_at)
            .text(event.scope.agent)
            .text(event.scope.user)
            .text(event.scope.session)
            .text(event.actor)
            .text(to_string(event.source.type))
            .text(event.source.ref)
            .text(event.reason)
            .text(event.correlation_id)
            .text(event.causation_id)
            .json(event.changes);
        connection_->queue_prepared("insert event", params);
    }

    void queue_indexes(const SinkBatch& batch) {
        if (!tables_.hnsw) return;
        std::set<Space> unseen;
        for (const auto& record : batch.upserts)
            if (record.embedding && !indexed_.contains(space_of(record))) unseen.insert(space_of(record));
        for (const auto& [kind, model, dimension] : unseen) {
            const auto type = hnsw_type(tables_, dimension);
            if (!type) continue;
            const auto table = table_of(options_, kind);
            const auto size = std::to_string(dimension);
            connection_->queue("CREATE INDEX IF NOT EXISTS " + table + "_hnsw_" + size + "_" +
                               to_hex(sha256(model)).substr(0, 16) + " ON " + table +
                               " USING hnsw ((embedding::" + *type + "(" + size + ")) " + *type +
                               "_cosine_ops) WITH (m = 16, ef_construction = 64) " +
                               "WHERE vector_model = " + quoted(model) + " AND vector_dims(embedding) = " + size);
        }
    }

    // A literal: a statement that makes an index takes no parameters.
    static std::string quoted(const std::string& text) {
        std::string literal = "E'";
        for (const char c : text) {
            if (c == '\'' || c == '\\') literal += c;
            literal += c;
        }
        return literal + "'";
    }

    PostgresOptions options_;
    std::unique_ptr<PostgresConnection> connection_;
    PostgresTables tables_;
    std::int64_t fence_ = 0;
    std::uint64_t bytes_sent_ = 0;  // Over connections before this one.
    std::set<std::string> prepared_;
    std::set<Space> indexed_;  // Those whose index is there.
};

}  // namespace

std::unique_ptr<Sink> make_postgres_sink(const PostgresOptions& options) {
    return std::make_unique<PostgresSink>(options);
}

}  // namespace annal
