#include "postgres_search.h"

#include "projections/analyzer.h"
#include "projections/vector_kernels.h"
#include "query/ranking_constants.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace annal {
namespace {

// Candidates beside those that the ranking takes: what the database's order and BM25's may differ in.
constexpr std::size_t candidates_spare = 50;
// A candidate's neighbours are candidates, two places away, and have neighbours themselves.
constexpr std::size_t window_places = 4;
constexpr std::size_t vectors_spare = 16;  // Whose distances may differ in the last bits only.
constexpr std::size_t ef_search_min = 100;
constexpr std::size_t ef_search_max = 1000;  // pgvector's.

// As tsquery reads it: any of the terms.
std::string any_of(std::span<const std::string> terms) {
    std::string query;
    for (const auto& term : terms) {
        query += query.empty() ? "'" : " | '";
        for (const char c : term) {
            if (c == '\'' || c == '\\') query += c;
            query += c;
        }
        query += '\'';
    }
    return query;
}

struct Row {  // Of a memory that is ranked, or helps to rank others.
    Kind kind{};
    MemoryId id{};
    Seq ordinal{};
    std::string agent, user, session;
    bool spoken = false;
    std::string actor;
    std::uint32_t length = 0;
    bool asks = false;
    std::uint8_t asked = 0;
    bool passes = false;
    std::vector<std::pair<std::string, std::uint32_t>> terms;
};

Error changed_by_hand() {
    return {ErrorCode::data_loss, "PostgreSQL: a row holds what no memory can; it was changed by hand", {}};
}

Kind read_kind(PostgresReader& row) {
    return parse_kind(row.text()).value_or(Kind::note);  // A literal of ours.
}
Seq read_seq(PostgresReader& row) {
    return Seq{static_cast<std::uint64_t>(row.int64())};
}

class PostgresSearch final : public SearchBackend {
 public:
    PostgresSearch(const PostgresSearchOptions& options, PostgresFilter filter)
        : options_(options), connection_(options.connection), filter_(std::move(filter)) {}

    Seq applied(bool, bool) const override { return options_.checkpoint.position->seq; }

    Result<std::vector<TextHit>> by_text(std::string_view text, std::size_t depth) override {
        degraded_.clear();
        if (options_.checkpoint.analyzer != Analyzer::description())
            degraded_.push_back(
                "text: what is there was made by another version of the analyzer, and may not be found; `annal sync "
                "resync` mends it");
        auto terms = count(text);
        if (!terms) return terms.error();
        if (terms->empty()) return std::vector<TextHit>{};
        auto candidates = pick(*terms, std::max(depth, ranking::candidates) + candidates_spare);
        if (!candidates) return candidates.error();
        auto windows = place(*candidates);
        if (!windows) return windows.error();
        if (auto added = add_holders(*terms, *candidates); !added) return added.error();
        auto rows = read_rows(*candidates);
        if (!rows) return rows.error();
        return rank(text, depth, std::move(*terms), *rows, *windows);
    }

    Result<VectorAnswer> by_vector(const Embedding& vector, std::size_t depth) override {
        degraded_.clear();
        const auto counts = count_vectors(vector.model);
        if (!counts) return counts.error();
        if (counts->empty()) return no_such_model();
        std::vector<Kind> indexed, scanned;
        const auto index = hnsw_type(options_.tables, vector.values.size());
        const auto& kinds = options_.request.filter.kinds;
        for (const auto& [kind, of_kind] : *counts) {
            if (!kinds.empty() && std::ranges::find(kinds, kind) == kinds.end()) continue;
            (index && of_kind > options_.exact_scan_max ? indexed : scanned).push_back(kind);
        }
        const auto wanted = depth + vectors_spare;
        VectorAnswer answer;
        if (!indexed.empty()) {
            const auto ef_search = std::clamp(2 * wanted, ef_search_min, ef_search_max);
            if (auto set = connection_.run_script("SET LOCAL hnsw.ef_search = " + std::to_string(ef_search)); !set)
                return set.error();
            auto found = nearest(vector, indexed, *index, wanted);
            if (!found) return found.error();
            // A filter, or other projects of the same index, left too few of what it had: those are compared.
            for (const auto kind : indexed) {
                const auto of_kind = std::ranges::count(*found, kind, &Near::kind);
                if (static_cast<std::size_t>(of_kind) < wanted) scanned.push_back(kind);
            }
            take(*found, answer.hits);
        }
        if (!scanned.empty()) {
            auto found = nearest(vector, scanned, "", wanted);
            if (!found) return found.error();
            take(*found, answer.hits);
        }
        std::ranges::sort(answer.hits, nearer);
        const auto same = [](const VectorHit& a, const VectorHit& b) { return a.ordinal == b.ordinal; };
        answer.hits.erase(std::unique(answer.hits.begin(), answer.hits.end(), same), answer.hits.end());
        if (answer.hits.size() > depth) answer.hits.resize(depth);
        if (answer.hits.empty())
            if (auto known = check_dimension(vector); !known) return known.error();
        if (options_.tables.vectors == VectorColumn::reals)
            answer.degraded.push_back("vector: this database has no pgvector: vectors are compared one by one");
        else if (!index)
            answer.degraded.push_back(
                "vector: this pgvector cannot index vectors of this dimension: they are compared one by one");
        return answer;
    }

    Result<std::vector<std::optional<Memory>>> memories(std::span<const Seq> ordinals) override {
        degraded_.clear();
        std::vector<std::pair<Kind, MemoryId>> which;
        for (const auto ordinal : ordinals) which.push_back(known_.at(ordinal.value));
        return memories_from(connection_, options_.request.scope.project, which);
    }

    std::vector<std::string> degraded() const override { return degraded_; }

 private:
    struct Near {
        Kind kind{};
        VectorHit hit{};
    };
    struct Window {                 // A candidate with its session's memories around it, ascending.
        std::vector<Seq> ordinals;  // Each next to the one before.
    };
    using Which = std::map<std::uint64_t, MemoryId>;  // By ordinal.
    struct Candidates {
        Which all;
        std::vector<Row> in_sessions;  // Their places alone; those without a session are not here.
    };

    std::string rows(std::span<const Kind> kinds = {}) const { return rows_of(connection_.options(), kinds); }

    // --- Text.

    // The terms of the text that the project has, and its statistics. No posting yet.
    Result<std::vector<QueryTerm>> count(std::string_view text) {
        std::vector<QueryTerm> terms;
        const auto texts = query_terms(text);
        if (texts.empty()) return terms;
        PostgresQuery query;
        query.sql = "SELECT count(*), COALESCE(sum(m.term_count), 0)::bigint FROM " + rows() + " WHERE " +
                    filter_.of_project(query);
        const auto sums = query.run(connection_);
        if (!sums) return sums.error();
        PostgresReader sum(*sums, 0);
        statistics_.memories = static_cast<std::uint64_t>(sum.int64());
        statistics_.length_total = static_cast<std::uint64_t>(sum.int64());

        query = {};
        std::string counts;
        for (const auto& term : texts)
            counts += (counts.empty() ? "" : ", ") +
                      ("count(*) FILTER (WHERE m.terms @@ " + query.text(any_of({&term, 1})) + "::tsquery)");
        query.sql = "SELECT " + counts + " FROM " + rows() + " WHERE " + filter_.of_project(query) +
                    " AND m.terms @@ " + query.text(any_of(texts)) + "::tsquery";
        const auto found = query.run(connection_);
        if (!found) return found.error();
        PostgresReader row(*found, 0);
        for (const auto& term : texts)
            if (const auto holding = static_cast<std::uint64_t>(row.int64()); holding > 0)
                terms.push_back({term, holding, {}});
        if (!row.ok() || !sum.ok()) return changed_by_hand();
        return terms;
    }

    // The best by BM25, as far as the database can tell. By rare terms before common ones, as the ranking does.
    Result<Candidates> pick(const std::vector<QueryTerm>& terms, std::size_t wanted) {
        std::vector<QueryTerm> rare;
        for (const auto& term : terms)
            if (!is_common(statistics_.memories, term.memories)) rare.push_back(term);
        Candidates candidates;
        if (!rare.empty()) {
            if (auto picked = pick_by(rare, wanted, candidates); !picked) return picked.error();
            if (candidates.all.size() == wanted || rare.size() == terms.size()) return candidates;
        }
        if (auto picked = pick_by(terms, wanted, candidates); !picked) return picked.error();
        return candidates;
    }

    // ts_rank of one term with equal weights is v = (1 + 1/4 + 1/9 + ... of its tf) * 6 / pi^2, and v / (1 - v) within
    // 3 % of 1.6 tf: so tf (k1 + 1) / (tf + k1 L) with L = 1 - b + b length / mean is what stands here.
    Status pick_by(const std::vector<QueryTerm>& terms, std::size_t wanted, Candidates& candidates) {
        std::vector<std::string> texts, each;
        std::vector<double> worth;
        for (const auto& term : terms) {
            texts.push_back(term.text);
            each.push_back(any_of({&term.text, 1}));
            worth.push_back(inverse_frequency(statistics_.memories, term.memories));
        }
        const auto mean = static_cast<double>(statistics_.length_total) / static_cast<double>(statistics_.memories);
        PostgresQuery query;
        query.sql = "WITH term AS MATERIALIZED (SELECT t.q::tsquery AS q, t.worth FROM unnest(" + query.texts(each) +
                    ", " + query.reals(worth) +
                    ") AS t(q, worth)) SELECT m.kind, m.memory_id, m.created_seq, m.agent, m.user_id, m.session FROM " +
                    rows(options_.request.filter.kinds) + " WHERE " + filter_.passes(query) + " AND m.terms @@ " +
                    query.text(any_of(texts)) + "::tsquery ORDER BY (SELECT sum(term.worth * v / (v + " +
                    query.real(1.6 * ranking::k1) + " * (1 - v) * (" + query.real(1 - ranking::b) +
                    " + m.term_count * " + query.real(ranking::b / mean) +
                    "))) FROM term, LATERAL (SELECT ts_rank('{1,1,1,1}', m.terms, term.q)::float8 AS v) AS ranked) "
                    "DESC, m.created_seq LIMIT " +
                    query.number(static_cast<std::int64_t>(wanted));
        const auto found = query.run(connection_);
        if (!found) return found.error();
        for (std::size_t i = 0; i < found->size(); ++i) {
            PostgresReader row(*found, i);
            Row candidate;
            candidate.kind = read_kind(row);
            candidate.id = MemoryId{row.uuid()};
            candidate.ordinal = read_seq(row);
            candidate.agent = row.text();
            candidate.user = row.text();
            candidate.session = row.text();
            if (!row.ok()) return changed_by_hand();
            const bool is_new = candidates.all.try_emplace(candidate.ordinal.value, candidate.id).second;
            if (is_new && !candidate.session.empty()) candidates.in_sessions.push_back(std::move(candidate));
        }
        return Done{};
    }

    // What is around each candidate in its session, passing or not; makes them candidates, too.
    Result<std::vector<Window>> place(Candidates& candidates) {
        std::vector<Window> windows;
        if (candidates.in_sessions.empty()) return windows;
        std::vector<std::int64_t> ordinals;
        std::vector<std::string> agents, users, sessions;
        for (const auto& candidate : candidates.in_sessions) {
            ordinals.push_back(static_cast<std::int64_t>(candidate.ordinal.value));
            agents.push_back(candidate.agent);
            users.push_back(candidate.user);
            sessions.push_back(candidate.session);
        }
        PostgresQuery query;
        const auto beside = [&](const char* side, const char* order) {
            return "(SELECT m.memory_id, m.created_seq FROM " + rows() + " WHERE " + filter_.of_project(query) +
                   " AND m.session = c.session AND m.agent = c.agent AND m.user_id = c.user_id AND m.created_seq " +
                   side + " c.seq ORDER BY m.created_seq " + order + " LIMIT " + std::to_string(window_places) + ")";
        };
        const auto of_candidates = "unnest(" + query.numbers(ordinals) + ", " + query.texts(agents) + ", " +
                                   query.texts(users) + ", " + query.texts(sessions) +
                                   ") WITH ORDINALITY AS c(seq, agent, user_id, session, number)";
        query.sql = "SELECT c.number, n.memory_id, n.created_seq FROM " + of_candidates + " CROSS JOIN LATERAL (" +
                    beside("<", "DESC") + " UNION ALL " + beside(">", "ASC") +
                    ") AS n ORDER BY c.number, n.created_seq";
        const auto found = query.run(connection_);
        if (!found) return found.error();
        windows.resize(candidates.in_sessions.size());
        for (std::size_t i = 0; i < found->size(); ++i) {
            PostgresReader row(*found, i);
            const auto number = static_cast<std::size_t>(row.int64());
            const MemoryId id{row.uuid()};
            const auto ordinal = read_seq(row);
            if (!row.ok() || number < 1 || number > windows.size()) return changed_by_hand();
            candidates.all[ordinal.value] = id;
            windows[number - 1].ordinals.push_back(ordinal);
        }
        for (std::size_t i = 0; i < windows.size(); ++i) {
            windows[i].ordinals.push_back(candidates.in_sessions[i].ordinal);
            std::ranges::sort(windows[i].ordinals);
        }
        return windows;
    }

    // Of each session of a candidate two memories that hold a term, for each term: whether another than the candidate
    // holds it is asked.
    Status add_holders(const std::vector<QueryTerm>& terms, Candidates& candidates) {
        if (candidates.in_sessions.empty()) return Done{};
        std::set<std::string> sessions;
        for (const auto& candidate : candidates.in_sessions) sessions.insert(candidate.session);
        std::vector<std::string> texts;
        PostgresQuery query;
        std::string holders;
        for (const auto& term : terms) {
            texts.push_back(term.text);
            const auto holds = " FILTER (WHERE m.terms @@ " + query.text(any_of({&term.text, 1})) + "::tsquery)";
            for (const auto* which : {"min", "max"})
                holders += (holders.empty() ? "" : ", ") + (which + std::string("(m.created_seq)")) + holds;
        }
        query.sql =
            "SELECT k.memory_id, k.created_seq FROM (SELECT ARRAY[" + holders + "] AS held FROM " +
            rows(options_.request.filter.kinds) + " WHERE " + filter_.passes(query) + " AND m.session = ANY (" +
            query.texts(std::vector<std::string>(sessions.begin(), sessions.end())) + ") AND m.terms @@ " +
            query.text(any_of(texts)) +
            "::tsquery GROUP BY m.session, m.agent, m.user_id) AS s CROSS JOIN LATERAL unnest(s.held) AS h(seq) "
            "JOIN (SELECT m.memory_id, m.created_seq FROM " +
            rows(options_.request.filter.kinds) + " WHERE " + filter_.of_project(query) + " AND m.session = ANY (" +
            query.texts(std::vector<std::string>(sessions.begin(), sessions.end())) +
            ")) AS k ON k.created_seq = h.seq";
        const auto found = query.run(connection_);
        if (!found) return found.error();
        for (std::size_t i = 0; i < found->size(); ++i) {
            PostgresReader row(*found, i);
            const MemoryId id{row.uuid()};
            candidates.all[read_seq(row).value] = id;
            if (!row.ok()) return changed_by_hand();
        }
        return Done{};
    }

    Result<std::map<std::uint64_t, Row>> read_rows(const Candidates& candidates) {
        std::map<std::uint64_t, Row> read;
        std::vector<MemoryId> ids;
        for (const auto& [ordinal, id] : candidates.all) ids.push_back(id);
        PostgresQuery query;
        query.sql =
            "SELECT m.kind, m.memory_id, m.created_seq, m.agent, m.user_id, m.session, m.source_type, m.actor, "
            "COALESCE(m.term_count, 0), COALESCE(m.asks, false), COALESCE(m.asked, 0::smallint), (" +
            filter_.passes(query) + "), m.terms FROM " + rows() + " WHERE " + filter_.of_project(query) +
            " AND m.memory_id = ANY (" + query.uuids(ids) + ")";
        const auto found = query.run(connection_);
        if (!found) return found.error();
        for (std::size_t i = 0; i < found->size(); ++i) {
            PostgresReader row(*found, i);
            Row one;
            one.kind = read_kind(row);
            one.id = MemoryId{row.uuid()};
            one.ordinal = read_seq(row);
            one.agent = row.text();
            one.user = row.text();
            one.session = row.text();
            one.spoken = row.text() == to_string(SourceType::message);
            one.actor = row.text();
            one.length = static_cast<std::uint32_t>(row.int64());
            one.asks = row.boolean();
            one.asked = static_cast<std::uint8_t>(row.int64());
            one.passes = row.boolean();
            one.terms = row.lexemes();
            if (!row.ok()) return changed_by_hand();
            known_[one.ordinal.value] = {one.kind, one.id};
            read[one.ordinal.value] = std::move(one);
        }
        return read;
    }

    // A table of these alone, and the ranking over it.
    std::vector<TextHit> rank(std::string_view text, std::size_t depth, std::vector<QueryTerm> terms,
                              const std::map<std::uint64_t, Row>& rows, const std::vector<Window>& windows) {
        thread_local Analyzer analyzer;
        std::unordered_map<std::uint64_t, std::uint64_t> previous;  // Of ordinals that are next to each other.
        for (const auto& window : windows)
            for (std::size_t i = 1; i < window.ordinals.size(); ++i)
                previous[window.ordinals[i].value] = window.ordinals[i - 1].value;
        std::unordered_map<std::string_view, std::size_t> term_at;
        for (std::size_t i = 0; i < terms.size(); ++i) term_at[terms[i].text] = i;

        TextTableEdit table{TextTable{}};
        table.statistics() = statistics_;
        OrdinalSet passing;
        std::unordered_map<std::uint64_t, std::uint32_t> slots;
        std::map<std::tuple<std::string, std::string, std::string>, std::uint32_t> sessions;
        std::map<std::vector<std::string>, std::uint32_t> speakers;
        for (const auto& [ordinal, row] : rows) {
            TextEntry entry;
            entry.ordinal = row.ordinal;
            entry.spoken = row.spoken;
            entry.live = true;
            entry.length = row.length;
            entry.asks = row.asks;
            entry.asked = row.asked;
            if (!row.session.empty()) {
                const auto number = static_cast<std::uint32_t>(sessions.size() + 1);
                entry.session = sessions.try_emplace({row.agent, row.user, row.session}, number).first->second;
            }
            if (const auto before = previous.find(ordinal); before != previous.end())
                if (const auto slot = slots.find(before->second); slot != slots.end()) entry.previous = slot->second;
            if (row.spoken) {
                std::vector<std::string> words;
                analyzer.words(row.actor, words);
                if (!words.empty()) {
                    const auto number = static_cast<std::uint32_t>(speakers.size() + 1);
                    const auto [at, added] = speakers.try_emplace(words, number);
                    entry.speaker = at->second;
                    if (added) table.set_speaker(number, std::move(words));
                }
            }
            const auto slot = table.append(entry);
            slots[ordinal] = slot;
            if (row.passes) passing.insert(row.ordinal);
            for (const auto& [term, tf] : row.terms)
                if (const auto at = term_at.find(term); at != term_at.end())
                    terms[at->second].postings.push_back({slot, tf});
        }
        return rank_text(table.table(), std::move(terms), {.text = text, .passing = &passing, .limit = depth});
    }

    // --- Vectors.

    // How many the project has of a model, by kind, up to one more than are compared one by one.
    Result<std::map<Kind, std::size_t>> count_vectors(const std::string& model) {
        PostgresQuery query;
        for (const auto& row : kind_table) {
            query.sql += (query.sql.empty() ? "" : " UNION ALL ") + ("SELECT '" + std::string(row.name)) +
                         "'::text, (SELECT count(*) FROM (SELECT 1 FROM " + table_of(connection_.options(), row.kind) +
                         " AS m WHERE " + filter_.of_project(query) + " AND m.vector_model = " + query.text(model) +
                         " LIMIT " + query.number(static_cast<std::int64_t>(options_.exact_scan_max) + 1) +
                         ") AS counted)";
        }
        const auto found = query.run(connection_);
        if (!found) return found.error();
        std::map<Kind, std::size_t> counts;
        for (std::size_t i = 0; i < found->size(); ++i) {
            PostgresReader row(*found, i);
            const auto kind = read_kind(row);
            if (const auto count = row.int64(); count > 0) counts[kind] = static_cast<std::size_t>(count);
        }
        return counts;
    }

    Error no_such_model() {
        PostgresQuery query;
        query.sql = "SELECT DISTINCT m.vector_model FROM " + rows() + " WHERE " + filter_.of_project(query) +
                    " AND m.vector_model IS NOT NULL ORDER BY m.vector_model";
        const auto found = query.run(connection_);
        if (!found) return found.error();
        std::string models;
        for (std::size_t i = 0; i < found->size(); ++i)
            models += (models.empty() ? "" : ", ") + PostgresReader(*found, i).text();
        return {ErrorCode::not_found, "no vectors of this model", {{"models", models}}};
    }

    std::string dimension_sql() const {
        return options_.tables.vectors == VectorColumn::pgvector ? "vector_dims(m.embedding)"
                                                                 : "cardinality(m.embedding)";
    }

    Status check_dimension(const Embedding& vector) {
        PostgresQuery query;
        query.sql = "SELECT DISTINCT " + dimension_sql() + " FROM " + rows() + " WHERE " + filter_.of_project(query) +
                    " AND m.vector_model = " + query.text(vector.model);
        const auto found = query.run(connection_);
        if (!found) return found.error();
        std::int64_t other = 0;
        for (std::size_t i = 0; i < found->size(); ++i) {
            other = PostgresReader(*found, i).int64();
            if (static_cast<std::size_t>(other) == vector.values.size()) return Done{};
        }
        if (other == 0) return Done{};
        return Error{ErrorCode::invalid_argument,
                     "the vector has another dimension than those of its model",
                     {{"field", "vector"},
                      {"expected", std::to_string(other)},
                      {"actual", std::to_string(vector.values.size())}}};
    }

    // `wanted` of each kind. `index`: the type that the kind's index has; empty: all are compared.
    Result<std::vector<Near>> nearest(const Embedding& vector, std::span<const Kind> kinds, const std::string& index,
                                      std::size_t wanted) {
        const auto size = std::to_string(vector.values.size());
        const bool pgvector = options_.tables.vectors == VectorColumn::pgvector;
        PostgresQuery query;
        for (const auto kind : kinds) {
            const auto passes = filter_.passes(query);
            const auto model = query.text(vector.model);
            const auto given = bind(query, vector);
            const auto distance =
                !pgvector ? "(SELECT -sum(t.a::float8 * t.b) FROM unnest(m.embedding, " + given + ") AS t(a, b))"
                : index.empty()
                    ? "m.embedding <=> " + given
                    : "m.embedding::" + index + "(" + size + ") <=> " + given + "::" + index + "(" + size + ")";
            query.sql += (query.sql.empty() ? "(" : " UNION ALL (") +
                         ("SELECT m.kind, m.memory_id, m.created_seq, m.embedding FROM " + rows({&kind, 1})) +
                         " WHERE " + passes + " AND m.vector_model = " + model + " AND " + dimension_sql() + " = " +
                         size + " ORDER BY " + distance + (index.empty() ? ", m.created_seq" : "") + " LIMIT " +
                         query.number(static_cast<std::int64_t>(wanted)) + ")";
        }
        const auto found = query.run(connection_);
        if (!found) return found.error();
        std::vector<Near> all;
        for (std::size_t i = 0; i < found->size(); ++i) {
            PostgresReader row(*found, i);
            Near near;
            near.kind = read_kind(row);
            const MemoryId id{row.uuid()};
            near.hit.ordinal = read_seq(row);
            const auto values = pgvector ? row.vector() : row.reals();
            if (!row.ok() || values.size() != vector.values.size()) return changed_by_hand();
            near.hit.similarity = vector_kernels().float_dot(vector.values.data(), values.data(), vector.values.size());
            known_[near.hit.ordinal.value] = {near.kind, id};
            all.push_back(near);
        }
        return all;
    }

    std::string bind(PostgresQuery& query, const Embedding& vector) const {
        return options_.tables.vectors == VectorColumn::pgvector ? query.vector(vector.values)
                                                                 : query.floats(vector.values);
    }

    static void take(const std::vector<Near>& found, std::vector<VectorHit>& hits) {
        for (const auto& near : found) hits.push_back(near.hit);
    }

    const PostgresSearchOptions options_;
    PostgresConnection& connection_;
    PostgresFilter filter_;
    TextStatistics statistics_;                                           // Without pairs: the gate is open.
    std::unordered_map<std::uint64_t, std::pair<Kind, MemoryId>> known_;  // By ordinal.
    std::vector<std::string> degraded_;
};

}  // namespace

Result<std::unique_ptr<SearchBackend>> open_postgres_search(const PostgresSearchOptions& options) {
    PostgresFilter filter(options.request.scope, options.request.filter, options.now);
    if (auto found = filter.find_by_metadata(options.connection); !found) return found.error();
    return std::unique_ptr<SearchBackend>(std::make_unique<PostgresSearch>(options, std::move(filter)));
}

Result<std::vector<std::optional<Memory>>> memories_from(PostgresConnection& connection, std::string_view project,
                                                         std::span<const std::pair<Kind, MemoryId>> which) {
    std::map<MemoryId, Memory> read;
    for (const auto& row : kind_table) {
        std::vector<MemoryId> ids;
        for (const auto& [kind, id] : which)
            if (kind == row.kind) ids.push_back(id);
        if (ids.empty()) continue;
        PostgresQuery query;
        query.sql = select_memory_sql(table_of(connection.options(), row.kind), row.kind) +
                    " WHERE project = " + query.text(project) + " AND memory_id = ANY (" + query.uuids(ids) + ")";
        const auto found = query.run(connection);
        if (!found) return found.error();
        for (std::size_t i = 0; i < found->size(); ++i) {
            auto record = record_from_row(*found, i, row.kind, VectorColumn::reals);
            if (!record) return record.error();
            read[record->memory.id] = std::move(record->memory);
        }
    }
    std::vector<std::optional<Memory>> memories;
    for (const auto& [kind, id] : which) {
        const auto at = read.find(id);
        memories.push_back(at == read.end() ? std::nullopt : std::optional(at->second));
    }
    return memories;
}

}  // namespace annal
