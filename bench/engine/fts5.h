// The peer of the text index: SQLite FTS5.
#pragma once

#include <span>
#include <string>

namespace annal::bench {

// Fills an FTS5 table in a new file with the texts, in one transaction.
void fill_fts5(const std::string& file, std::span<const std::string> texts);

}  // namespace annal::bench
