// Brings the tables of a database from one version of schema/sql/postgres to another, and says which one they are of.
// Recorded in the database: number, name, checksum and time of each migration, in the table <prefix>schema_migrations.
// Errors: unimplemented: the tables are of a version that is newer than this build knows; details: schema_version.
// data_loss: a migration was applied whose text is not ours. Others: as of PostgresConnection.
#pragma once

#include "postgres_connection.h"

#include <annal/result.h>
#include <annal/timestamp.h>

#include <optional>
#include <string>
#include <vector>

namespace annal {

struct MigrationState {
    int number = 0;
    std::string name{};
    std::optional<Timestamp> applied_at{};  // Unset: not yet.
};

// All there are, by number.
Result<std::vector<MigrationState>> postgres_migration_status(PostgresConnection& connection);

struct MigrationRequest {
    std::optional<int> to{};  // The last that is to be applied, 0: none; unset: the newest.
    bool dry_run = false;     // Runs all of it, and rolls it back.
};
struct MigrationStep {
    int number = 0;
    std::string name{};
    bool up = true;  // Else it was undone.
};

// In one transaction, and alone: others that migrate wait. Gives the steps in their order; none: nothing was to do.
// Going up makes the schema, and pgvector if the server has it and the user may; without it vectors are kept as real[],
// for good. invalid_argument: there is no such migration.
Result<std::vector<MigrationStep>> migrate_postgres(PostgresConnection& connection,
                                                    const MigrationRequest& request = {});

}  // namespace annal
