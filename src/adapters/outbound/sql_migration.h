// A numbered change of a database's tables, compiled in from schema/sql/. Published ones never change: a database keeps
// the checksum of each that it was given.
#pragma once

#include <span>
#include <string_view>

namespace annal {

struct SqlMigration {
    int number = 0;  // From 1, gapless.
    std::string_view name;
    std::string_view up;    // SQL, with {prefix} and {vector} to be filled in.
    std::string_view down;  // Undoes it.
};

std::span<const SqlMigration> postgres_migrations();  // schema/sql/postgres

}  // namespace annal
