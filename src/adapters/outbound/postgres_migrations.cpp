#include "postgres_migrations.h"

#include "events/event_log_hash.h"
#include "events/hex.h"
#include "sql_migration.h"

#include <algorithm>

namespace annal {
namespace {

std::string checksum(const SqlMigration& migration) {
    return to_hex(sha256(std::string(migration.up) + '\0' + std::string(migration.down)));
}

std::string filled_in(std::string_view sql, std::string_view prefix, std::string_view vector) {
    std::string filled;
    for (std::size_t at = 0; at < sql.size();) {
        const auto rest = sql.substr(at);
        if (rest.starts_with("{prefix}")) {
            filled += prefix;
            at += 8;
        } else if (rest.starts_with("{vector}")) {
            filled += vector;
            at += 8;
        } else {
            filled += sql[at++];
        }
    }
    return filled;
}

std::string migrations_table(const PostgresOptions& options) {
    return options.prefix + "schema_migrations";
}

Result<bool> finds(PostgresConnection& connection, const std::string& sql, const PostgresParams& params) {
    auto rows = connection.run(sql, params);
    if (!rows) return rows.error();
    return rows->size() > 0;
}

// The type of vectors here. A server without pgvector is no error, nor is a user who may not install it.
Result<std::string> vector_type(PostgresConnection& connection) {
    auto available = finds(connection, "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'", {});
    if (!available) return available.error();
    if (*available) {
        if (auto saved = connection.run_script("SAVEPOINT extension"); !saved) return saved.error();
        if (!connection.run_script("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public"))
            if (auto undone = connection.run_script("ROLLBACK TO extension"); !undone) return undone.error();
    }
    if (auto set = connection.set_search_path(); !set) return set.error();
    auto installed = finds(connection, "SELECT 1 FROM pg_extension WHERE extname = 'vector'", {});
    if (!installed) return installed.error();
    return std::string(*installed ? "vector" : "real[]");
}

Status make_room(PostgresConnection& connection) {
    const auto& options = connection.options();
    // Not IF NOT EXISTS: it would ask for the right to make one even where it is there.
    auto schema =
        finds(connection, "SELECT 1 FROM pg_namespace WHERE nspname = $1", PostgresParams().text(options.schema));
    if (!schema) return schema.error();
    if (!*schema)
        if (auto made = connection.run_script("CREATE SCHEMA \"" + options.schema + "\""); !made) return made.error();
    return connection.run_script("CREATE TABLE IF NOT EXISTS " + migrations_table(options) +
                                 " (number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, "
                                 "applied_at timestamptz NOT NULL DEFAULT now())");
}

int applied_count(const std::vector<MigrationState>& states) {
    return static_cast<int>(std::count_if(states.begin(), states.end(), [](const auto& s) { return s.applied_at; }));
}

Result<std::vector<MigrationStep>> run_steps(PostgresConnection& connection, int to) {
    auto states = postgres_migration_status(connection);
    if (!states) return states.error();
    int at = applied_count(*states);
    std::vector<MigrationStep> steps;
    const auto& options = connection.options();
    const std::string table = migrations_table(options);
    if (at < to) {
        if (auto room = make_room(connection); !room) return room.error();
        auto vector = vector_type(connection);
        if (!vector) return vector.error();
        for (; at < to; ++at) {
            const auto& migration = postgres_migrations()[static_cast<std::size_t>(at)];
            if (auto done = connection.run_script(filled_in(migration.up, options.prefix, *vector)); !done)
                return done.error();
            auto noted =
                connection.run("INSERT INTO " + table + " (number, name, checksum) VALUES ($1, $2, $3)",
                               PostgresParams().int32(migration.number).text(migration.name).text(checksum(migration)));
            if (!noted) return noted.error();
            steps.push_back({migration.number, std::string(migration.name), true});
        }
        return steps;
    }
    for (; at > to; --at) {
        const auto& migration = postgres_migrations()[static_cast<std::size_t>(at - 1)];
        if (auto done = connection.run_script(filled_in(migration.down, options.prefix, {})); !done)
            return done.error();
        auto noted =
            connection.run("DELETE FROM " + table + " WHERE number = $1", PostgresParams().int32(migration.number));
        if (!noted) return noted.error();
        steps.push_back({migration.number, std::string(migration.name), false});
    }
    if (to == 0 && !steps.empty())
        if (auto dropped = connection.run_script("DROP TABLE " + table); !dropped) return dropped.error();
    return steps;
}

}  // namespace

Result<std::vector<MigrationState>> postgres_migration_status(PostgresConnection& connection) {
    std::vector<MigrationState> states;
    for (const auto& migration : postgres_migrations())
        states.push_back({migration.number, std::string(migration.name), std::nullopt});

    const auto table = migrations_table(connection.options());
    auto there = finds(connection, "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = $2",
                       PostgresParams().text(connection.options().schema).text(table));
    if (!there) return there.error();
    if (!*there) return states;
    auto rows = connection.run("SELECT number, checksum, applied_at FROM " + table + " ORDER BY number");
    if (!rows) return rows.error();
    if (rows->size() > states.size()) {
        return Error{ErrorCode::unimplemented,
                     "PostgreSQL: the tables are of version " + std::to_string(rows->size()) +
                         "; this build knows them up to version " + std::to_string(states.size()),
                     {{"schema_version", std::to_string(rows->size())}}};
    }
    for (std::size_t i = 0; i < rows->size(); ++i) {
        PostgresReader row(*rows, i);
        const auto number = row.int64();
        const auto sum = row.text();
        states[i].applied_at = row.optional_time();
        if (!row.ok() || number != states[i].number || sum != checksum(postgres_migrations()[i])) {
            return Error{ErrorCode::data_loss,
                         "PostgreSQL: migration " + std::to_string(number) +
                             " of the tables is not the one that this build knows by that number",
                         {}};
        }
    }
    return states;
}

Result<std::vector<MigrationStep>> migrate_postgres(PostgresConnection& connection, const MigrationRequest& request) {
    const int newest = static_cast<int>(postgres_migrations().size());
    const int to = request.to.value_or(newest);
    if (to < 0 || to > newest)
        return Error{ErrorCode::invalid_argument, "there is no migration " + std::to_string(to), {}};
    connection.start_call();
    // Without a transaction first: who only uses the tables needs no right to change them.
    auto states = postgres_migration_status(connection);
    if (!states) return states.error();
    if (applied_count(*states) == to) return std::vector<MigrationStep>{};

    if (auto begun = connection.run_script("BEGIN"); !begun) return begun.error();
    const auto& options = connection.options();
    auto locked = connection.run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
                                 PostgresParams().text("annal " + options.schema + "." + migrations_table(options)));
    Result<std::vector<MigrationStep>> steps = locked ? run_steps(connection, to) : locked.error();
    if (!steps || request.dry_run) {
        connection.roll_back();
        return steps;
    }
    if (auto committed = connection.run_script("COMMIT"); !committed) return committed.error();
    return steps;
}

}  // namespace annal
