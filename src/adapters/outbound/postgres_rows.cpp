#include "postgres_rows.h"

#include "projections/text_document.h"

#include <unicode/utf8.h>
#include <nlohmann/json.hpp>

#include <limits>
#include <utility>

namespace annal {
namespace {

// Calls visit(column, member) for each column but those of the vector, in the order of statements.
template <class SomeMemory, class Visit>
void visit_columns(SomeMemory& memory, Visit&& visit) {
    visit("project", memory.scope.project);
    visit("memory_id", memory.id);
    visit("version", memory.version.value);
    visit("seq", memory.seq.value);
    visit("created_seq", memory.created_seq.value);
    visit("agent", memory.scope.agent);
    visit("user_id", memory.scope.user);
    visit("session", memory.scope.session);
    visit("content", memory.content);
    visit("tags", memory.tags);
    visit.json("metadata", memory.metadata);
    visit("claim", memory.claim);
    visit("confidence", memory.confidence);
    visit("occurrence_count", memory.occurrence_count);
    visit("success_count", memory.success_count);
    visit("actor", memory.actor);
    visit("source_type", memory.source.type);
    visit("source_ref", memory.source.ref);
    visit("recorded_at", memory.recorded_at);
    visit("updated_at", memory.updated_at);
    visit("occurred_at", memory.occurred_at);
    visit("valid_from", memory.valid_from);
    visit("valid_to", memory.valid_to);
    visit("expires_at", memory.expires_at);
    visit("verified_at", memory.verified_at);
    visit("superseded_by", memory.superseded_by);
    visit("forgotten", memory.forgotten);
    visit("payload", memory.payload);
    visit("embedding_model", memory.embedding_model);
    visit("embedding_dimension", memory.embedding_dimension);
    std::visit([&](auto& fields) { visit_fields(fields, visit); }, memory.fields);
}

using PlainJson = nlohmann::json;  // Its objects are sorted.

bool holds_zero(const PlainJson& json) {
    if (json.is_string()) return json.get_ref<const std::string&>().find('\0') != std::string::npos;
    if (!json.is_structured()) return false;
    for (const auto& [key, value] : json.items())
        if (key.find('\0') != std::string::npos || holds_zero(value)) return true;
    return false;
}

// Numbers of the text may be spelled in ways that PostgreSQL refuses, 1e-999999 say.
std::string canonical(const std::string& text) {
    const auto json = PlainJson::parse(text, nullptr, false);
    return json.is_discarded() ? "null" : json.dump(-1, ' ', false, PlainJson::error_handler_t::replace);
}

bool is_utf8(std::string_view text) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
    for (std::size_t at = 0; at < text.size();) {
        UChar32 character = 0;
        U8_NEXT(bytes, at, text.size(), character);
        if (character < 0) return false;
    }
    return true;
}

struct ColumnLister {
    std::vector<PostgresColumn>& columns;
    void json(const char* name, const std::string&) { columns.push_back({name, "jsonb"}); }
    void operator()(const char* name, const std::string&) { columns.push_back({name, "text"}); }
    void operator()(const char* name, const MemoryId&) { columns.push_back({name, "uuid"}); }
    void operator()(const char* name, const std::optional<MemoryId>&) { columns.push_back({name, "uuid"}); }
    void operator()(const char* name, std::uint64_t) { columns.push_back({name, "bigint"}); }
    void operator()(const char* name, std::uint32_t) { columns.push_back({name, "integer"}); }
    void operator()(const char* name, const std::optional<std::int64_t>&) { columns.push_back({name, "bigint"}); }
    void operator()(const char* name, bool) { columns.push_back({name, "boolean"}); }
    void operator()(const char* name, double) { columns.push_back({name, "double precision"}); }
    void operator()(const char* name, Claim) { columns.push_back({name, "text"}); }
    void operator()(const char* name, SourceType) { columns.push_back({name, "text"}); }
    void operator()(const char* name, Payload) { columns.push_back({name, "text"}); }
    void operator()(const char* name, Timestamp) { columns.push_back({name, "timestamp with time zone"}); }
    void operator()(const char* name, const std::optional<Timestamp>&) {
        columns.push_back({name, "timestamp with time zone"});
    }
    void operator()(const char* name, const std::vector<std::string>&) { columns.push_back({name, "text[]"}); }
};

struct Encoder {
    PostgresParams& params;
    void json(const char*, const std::string& value) { params.json(canonical(value)); }
    void operator()(const char*, const std::string& value) { params.text(value); }
    void operator()(const char*, const MemoryId& value) { params.uuid(value.bytes); }
    void operator()(const char*, const std::optional<MemoryId>& value) {
        value ? params.uuid(value->bytes) : params.null();
    }
    void operator()(const char*, std::uint64_t value) { params.int64(static_cast<std::int64_t>(value)); }
    void operator()(const char*, std::uint32_t value) { params.int32(static_cast<std::int32_t>(value)); }
    void operator()(const char*, const std::optional<std::int64_t>& value) {
        value ? params.int64(*value) : params.null();
    }
    void operator()(const char*, bool value) { params.boolean(value); }
    void operator()(const char*, double value) { params.float64(value); }
    void operator()(const char*, Claim value) { params.text(to_string(value)); }
    void operator()(const char*, SourceType value) { params.text(to_string(value)); }
    void operator()(const char*, Payload value) { params.text(to_string(value)); }
    void operator()(const char*, Timestamp value) { params.time(value); }
    void operator()(const char*, const std::optional<Timestamp>& value) { params.time(value); }
    void operator()(const char*, const std::vector<std::string>& value) { params.texts(value); }
};

struct Decoder {
    PostgresReader& row;
    const char* bad = nullptr;  // The first column that cannot be read.

    void check(const char* name, bool ok) {
        if (!ok && bad == nullptr) bad = name;
    }
    template <class Number>
    void unsigned_number(const char* name, Number& value) {
        const auto read = row.int64();
        check(name, row.ok() && std::in_range<Number>(read));
        value = static_cast<Number>(read);
    }
    template <class Enum>
    void named(const char* name, Enum& value, std::optional<Enum> (*parse)(std::string_view)) {
        const auto parsed = parse(row.text());
        check(name, row.ok() && parsed);
        value = parsed.value_or(Enum{});
    }
    static std::optional<Payload> parse_payload(std::string_view text) {
        for (std::size_t i = 0; i < payload_names.size(); ++i)
            if (payload_names[i] == text) return static_cast<Payload>(i);
        return std::nullopt;
    }

    void json(const char* name, std::string& value) {
        value = canonical(row.json());
        check(name, row.ok());
    }
    void operator()(const char* name, std::string& value) {
        value = row.text();
        check(name, row.ok());
    }
    void operator()(const char* name, MemoryId& value) {
        value.bytes = row.uuid();
        check(name, row.ok());
    }
    void operator()(const char* name, std::optional<MemoryId>& value) {
        if (const auto bytes = row.optional_uuid()) value = MemoryId{*bytes};
        check(name, row.ok());
    }
    void operator()(const char* name, std::uint64_t& value) { unsigned_number(name, value); }
    void operator()(const char* name, std::uint32_t& value) { unsigned_number(name, value); }
    void operator()(const char* name, std::optional<std::int64_t>& value) {
        value = row.optional_int64();
        check(name, row.ok());
    }
    void operator()(const char* name, bool& value) {
        value = row.boolean();
        check(name, row.ok());
    }
    void operator()(const char* name, double& value) {
        value = row.float64();
        check(name, row.ok());
    }
    void operator()(const char* name, Claim& value) { named(name, value, parse_claim); }
    void operator()(const char* name, SourceType& value) { named(name, value, parse_source_type); }
    void operator()(const char* name, Payload& value) { named(name, value, parse_payload); }
    void operator()(const char* name, Timestamp& value) {
        value = row.time();
        check(name, row.ok());
    }
    void operator()(const char* name, std::optional<Timestamp>& value) {
        value = row.optional_time();
        check(name, row.ok());
    }
    void operator()(const char* name, std::vector<std::string>& value) {
        value = row.texts();
        check(name, row.ok());
    }
};

struct Refuser {
    std::optional<std::string> reason;

    void refuse(const char* name, const char* why) {
        if (!reason) reason = std::string(name) + " " + why;
    }
    void json(const char* name, const std::string& value) {
        const auto json = PlainJson::parse(value, nullptr, false);
        if (json.is_discarded()) return refuse(name, "is not JSON");
        if (holds_zero(json)) refuse(name, "holds U+0000, which PostgreSQL cannot store");
    }
    void operator()(const char* name, const std::string& value) {
        if (value.find('\0') != std::string::npos) return refuse(name, "holds U+0000, which PostgreSQL cannot store");
        if (!is_utf8(value)) refuse(name, "is not UTF-8");
    }
    void operator()(const char* name, const std::vector<std::string>& values) {
        for (const auto& value : values) (*this)(name, value);
    }
    void operator()(const char* name, std::uint64_t value) {
        if (!std::in_range<std::int64_t>(value)) refuse(name, "is over 2^63 - 1, the most that PostgreSQL can store");
    }
    template <class Other>
    void operator()(const char*, const Other&) {}
};

}  // namespace

std::vector<PostgresColumn> memory_columns(Kind kind) {
    Memory memory;
    memory.fields = empty_fields(kind);
    std::vector<PostgresColumn> columns;
    visit_columns(std::as_const(memory), ColumnLister{columns});
    columns.push_back({"vector_model", "text"});
    columns.push_back({"embedding", "vector"});
    return columns;
}

std::vector<PostgresColumn> all_columns(Kind kind) {
    auto columns = memory_columns(kind);
    for (const auto& [name, type] :
         {std::pair{"terms", "tsvector"}, {"term_count", "integer"}, {"asks", "boolean"}, {"asked", "smallint"}})
        columns.push_back({name, type});
    return columns;
}

std::string upsert_sql(const std::string& table, Kind kind, std::size_t rows, VectorColumn vectors) {
    std::string names;
    std::string changes;
    const auto columns = all_columns(kind);
    for (const auto& [name, type] : columns) {
        names += (names.empty() ? "" : ", ") + name;
        if (name == "project" || name == "memory_id") continue;
        changes += (changes.empty() ? "" : ", ") + name + " = EXCLUDED." + name;
    }
    std::string values;
    std::size_t parameter = 0;
    for (std::size_t row = 0; row < rows; ++row) {
        values += row == 0 ? "(" : "), (";
        for (std::size_t i = 0; i < columns.size(); ++i) {
            values.append(i == 0 ? "$" : ", $").append(std::to_string(++parameter));
            // Among several rows a parameter does not take its type from its column.
            const bool is_reals = columns[i].type == "vector" && vectors == VectorColumn::reals;
            if (rows > 1) values.append("::").append(is_reals ? "real[]" : columns[i].type);
        }
    }
    return "INSERT INTO " + table + " (" + names + ") VALUES " + values +
           ") ON CONFLICT (project, memory_id) DO UPDATE SET " + changes;
}

std::string select_sql(const std::string& table, Kind kind) {
    std::string names;
    for (const auto& column : memory_columns(kind)) names += (names.empty() ? "" : ", ") + column.name;
    return "SELECT " + names + " FROM " + table + " ORDER BY project, memory_id";
}

std::string select_memory_sql(const std::string& table, Kind kind) {
    std::string names;
    for (const auto& column : memory_columns(kind))
        if (column.name != "vector_model" && column.name != "embedding") names += column.name + ", ";
    return "SELECT " + names + "NULL::text, NULL::real[] FROM " + table;
}

void append_params(PostgresParams& params, const SinkRecord& record, VectorColumn vectors) {
    thread_local Analyzer analyzer;
    visit_columns(record.memory, Encoder{params});
    if (!record.embedding)
        params.null().null();
    else if (vectors == VectorColumn::pgvector)
        params.text(record.embedding->model).vector(record.embedding->values);
    else
        params.text(record.embedding->model).reals(record.embedding->values);
    const auto text = text_of(record.memory, analyzer);
    params.lexemes(text.terms).int32(static_cast<std::int32_t>(text.length)).boolean(text.asks).int16(text.asked);
}

Result<SinkRecord> record_from_row(const PostgresRows& rows, std::size_t row, Kind kind, VectorColumn vectors) {
    SinkRecord record;
    record.memory.fields = empty_fields(kind);
    PostgresReader reader(rows, row);
    Decoder decoder{reader};
    visit_columns(record.memory, decoder);
    const auto model = reader.optional_text();
    auto values = vectors == VectorColumn::pgvector ? reader.vector() : reader.reals();
    decoder.check("embedding", reader.ok() && values.empty() == !model);
    if (decoder.bad != nullptr) {
        return Error{ErrorCode::data_loss,
                     "PostgreSQL: a row holds what no memory can; it was changed by hand",
                     {{"project", record.memory.scope.project},
                      {"memory_id", to_string(record.memory.id)},
                      {"column", decoder.bad}}};
    }
    if (model) record.embedding = Embedding{*model, std::move(values)};
    return record;
}

std::optional<std::string> why_not_a_row(const SinkRecord& record) {
    Refuser refuser;
    visit_columns(record.memory, refuser);
    if (record.embedding) refuser("embedding_model", record.embedding->model);
    return refuser.reason;
}

}  // namespace annal
