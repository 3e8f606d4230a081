#include "postgres_query.h"

#include "postgres_tables.h"

#include "projections/memory_filter.h"

#include <algorithm>
#include <array>
#include <utility>

namespace annal {
namespace {

constexpr Timestamp earliest{-210'866'803'200'000'000};  // 4714 BC, the first day that PostgreSQL has.

bool holds_zero(std::string_view text) {
    return text.find('\0') != std::string_view::npos;
}

// The keys that an object must have one of for a path to find anything: the path itself, and its beginnings.
std::vector<std::string> first_keys(const std::string& path) {
    std::vector<std::string> keys{path};
    for (auto dot = path.find('.'); dot != std::string::npos; dot = path.find('.', dot + 1))
        keys.push_back(path.substr(0, dot));
    return keys;
}

}  // namespace

std::string PostgresQuery::bound(std::string_view type) {
    return "$" + std::to_string(++count_) + "::" + std::string(type);
}
std::string PostgresQuery::text(std::string_view value) {
    params.text(value);
    return bound("text");
}
std::string PostgresQuery::texts(std::span<const std::string> values) {
    params.texts(values);
    return bound("text[]");
}
std::string PostgresQuery::number(std::int64_t value) {
    params.int64(value);
    return bound("bigint");
}
std::string PostgresQuery::numbers(std::span<const std::int64_t> values) {
    params.int64s(values);
    return bound("bigint[]");
}
std::string PostgresQuery::real(double value) {
    params.float64(value);
    return bound("double precision");
}
std::string PostgresQuery::reals(std::span<const double> values) {
    params.float64s(values);
    return bound("double precision[]");
}
std::string PostgresQuery::time(Timestamp value) {
    params.time(std::max(value, earliest));
    return bound("timestamptz");
}
std::string PostgresQuery::uuids(std::span<const MemoryId> values) {
    params.uuids(values);
    return bound("uuid[]");
}

std::string PostgresQuery::vector(std::span<const float> values) {
    params.vector(values);
    return bound("vector");
}
std::string PostgresQuery::floats(std::span<const float> values) {
    params.reals(values);
    return bound("real[]");
}

std::string rows_of(const PostgresOptions& options, std::span<const Kind> kinds) {
    std::string all;
    for (const auto& row : kind_table) {
        if (!kinds.empty() && std::ranges::find(kinds, row.kind) == kinds.end()) continue;
        all += (all.empty() ? "" : " UNION ALL ") + ("SELECT '" + std::string(row.name)) +
               "'::text AS kind, project, agent, user_id, session, memory_id, created_seq, tags, metadata, claim, "
               "confidence, occurred_at, recorded_at, valid_from, valid_to, expires_at, superseded_by, forgotten, "
               "actor, source_type, terms, term_count, asks, asked, vector_model, embedding FROM " +
               table_of(options, row.kind);
    }
    return "(" + all + ") AS m";
}

std::string PostgresFilter::of_project(PostgresQuery& query) const {
    return "m.project = " + query.text(scope_.project);
}

std::string PostgresFilter::passes_but_metadata(PostgresQuery& query) const {
    auto sql = of_project(query);
    const auto require = [&](const std::string& condition) { sql += " AND " + condition; };
    if (!scope_.agent.empty()) require("m.agent = " + query.text(scope_.agent));
    if (!scope_.user.empty()) require("m.user_id = " + query.text(scope_.user));
    if (!scope_.session.empty()) require("m.session = " + query.text(scope_.session));
    require("NOT m.forgotten AND m.superseded_by IS NULL");
    require("(m.expires_at IS NULL OR m.expires_at > " + query.time(now_) + ")");
    if (!filter_.kinds.empty()) {
        std::vector<std::string> names;
        for (const auto kind : filter_.kinds) names.emplace_back(to_string(kind));
        require("m.kind = ANY (" + query.texts(names) + ")");
    }
    if (!filter_.tags.empty()) {
        if (std::ranges::any_of(filter_.tags, holds_zero)) return "false";  // No row can have it.
        require("m.tags @> " + query.texts(filter_.tags));
    }
    if (!filter_.claims.empty()) {
        std::vector<std::string> names;
        for (const auto claim : filter_.claims) names.emplace_back(to_string(claim));
        require("m.claim = ANY (" + query.texts(names) + ")");
    }
    if (filter_.confidence_min) require("m.confidence >= " + query.real(*filter_.confidence_min));
    if (filter_.occurred_from) require("m.occurred_at >= " + query.time(*filter_.occurred_from));
    if (filter_.occurred_to) require("m.occurred_at < " + query.time(*filter_.occurred_to));
    if (filter_.recorded_from) require("m.recorded_at >= " + query.time(*filter_.recorded_from));
    if (filter_.recorded_to) require("m.recorded_at < " + query.time(*filter_.recorded_to));
    if (filter_.valid_at) {
        require("(m.valid_from IS NULL OR m.valid_from <= " + query.time(*filter_.valid_at) + ")");
        require("(m.valid_to IS NULL OR m.valid_to > " + query.time(*filter_.valid_at) + ")");
    }
    return sql;
}

Status PostgresFilter::find_by_metadata(PostgresConnection& connection) {
    if (filter_.metadata.empty()) return Done{};
    const auto conditions = MetadataFilter::parse(filter_.metadata);
    if (!conditions) return conditions.error();
    found_.emplace();
    PostgresQuery query;
    query.sql = "SELECT m.created_seq, m.metadata FROM " + rows_of(connection.options(), filter_.kinds) + " WHERE " +
                passes_but_metadata(query);
    for (const auto& condition : filter_.metadata) {
        if (holds_zero(condition.path)) return Done{};  // No row can have it.
        query.sql += " AND m.metadata ?| " + query.texts(first_keys(condition.path));
    }
    const auto rows = query.run(connection);
    if (!rows) return rows.error();
    for (std::size_t i = 0; i < rows->size(); ++i) {
        PostgresReader row(*rows, i);
        const auto ordinal = row.int64();
        if (conditions->passes(row.json())) found_->push_back(ordinal);
    }
    return Done{};
}

std::string PostgresFilter::passes(PostgresQuery& query) const {
    auto sql = passes_but_metadata(query);
    if (found_) sql += " AND m.created_seq = ANY (" + query.numbers(*found_) + ")";
    return sql;
}

}  // namespace annal
