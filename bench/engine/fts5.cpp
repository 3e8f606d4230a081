#include "fts5.h"

#include <sqlite3.h>

#include <cstdio>
#include <cstdlib>

namespace annal::bench {
namespace {

void check(sqlite3* db, int result) {
    if (result == SQLITE_OK || result == SQLITE_DONE) return;
    std::fprintf(stderr, "SQLite: %s\n", sqlite3_errmsg(db));
    std::exit(1);
}

}  // namespace

void fill_fts5(const std::string& file, std::span<const std::string> texts) {
    sqlite3* db = nullptr;
    check(db, sqlite3_open(file.c_str(), &db));
    check(db, sqlite3_exec(db, "create virtual table memories using fts5(content, tokenize='porter unicode61'); begin",
                           nullptr, nullptr, nullptr));
    sqlite3_stmt* insert = nullptr;
    check(db, sqlite3_prepare_v2(db, "insert into memories(content) values (?)", -1, &insert, nullptr));
    for (const auto& text : texts) {
        check(db, sqlite3_bind_text(insert, 1, text.data(), static_cast<int>(text.size()), SQLITE_STATIC));
        check(db, sqlite3_step(insert));
        check(db, sqlite3_reset(insert));
    }
    sqlite3_finalize(insert);
    check(db, sqlite3_exec(db, "commit", nullptr, nullptr, nullptr));
    check(db, sqlite3_close(db));
}

}  // namespace annal::bench
