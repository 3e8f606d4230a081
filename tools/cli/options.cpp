#include "options.h"

#include "adapters/json.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <charconv>
#include <fstream>
#include <iterator>

namespace annal::cli {
namespace {

constexpr std::streamsize vector_file_bytes_max = std::streamsize{1} << 20;

Error refuse(const std::string& flag, const std::string& message) {
    return {ErrorCode::invalid_argument, flag + " " + message, {{"field", flag}}};
}

// "--where key", "key=value", "key>=3", "key<=4".
Result<Filter::Metadata> condition_of(const std::string& text) {
    Filter::Metadata condition;
    const std::size_t at = text.find_first_of("=<>");
    condition.path = text.substr(0, at);
    if (condition.path.empty()) return refuse("--where", "takes key, key=value, key>=number or key<=number");
    if (at == std::string::npos) return condition;
    const bool compares = text[at] != '=';
    if (compares && (at + 1 == text.size() || text[at + 1] != '='))
        return refuse("--where", "takes key, key=value, key>=number or key<=number");
    const std::string written = text.substr(at + (compares ? 2 : 1));
    auto value = parse_json(written, "--where");
    if (!compares) {
        condition.equals = to_text(value ? *value : Json(written));  // What is no JSON is text.
        return condition;
    }
    if (!value || !value->is_number()) return refuse("--where", "compares with a number");
    (text[at] == '>' ? condition.at_least : condition.at_most) = value->get<double>();
    return condition;
}

}  // namespace

CLI::Option* add_list(CLI::App& command, const std::string& names, std::vector<std::string>& values,
                      const std::string& help) {
    return command.add_option(names, values, help)->allow_extra_args(false);
}

Result<AsOf> moment_of(const std::string& flag, const std::string& text) {
    std::uint64_t seq = 0;
    const auto* end = text.data() + text.size();
    if (const auto [at, failed] = std::from_chars(text.data(), end, seq); failed == std::errc() && at == end)
        return AsOf(Seq{seq});
    const auto time = parse_timestamp(text, flag);
    if (!time) return refuse(flag, "must be a seq or an RFC 3339 time, such as 4711 or 2026-03-01T00:00:00Z");
    return AsOf(*time);
}

Result<std::optional<Timestamp>> time_of(const std::string& flag, const std::optional<std::string>& text) {
    if (!text) return std::optional<Timestamp>{};
    auto time = parse_timestamp(*text, flag);
    if (!time) return time.error();
    return std::optional(*time);
}

Result<Kind> kind_of_name(const std::string& name) {
    if (const auto kind = parse_kind(name)) return *kind;
    std::string names;
    for (const auto& row : kind_table) names += (names.empty() ? "" : ", ") + std::string(row.name);
    return refuse("--kind", "must be one of " + names);
}

Result<Claim> claim_of_name(const std::string& name) {
    if (const auto claim = parse_claim(name)) return *claim;
    return refuse("--claim", "must be one of observation, inference, verified, directive");
}

Result<Embedding> read_vector_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in)
        return Error{ErrorCode::not_found, "the file of --vector-file cannot be read", {{"field", "--vector-file"}}};
    std::string text(static_cast<std::size_t>(vector_file_bytes_max) + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (in.gcount() > vector_file_bytes_max)
        return refuse("--vector-file", "is larger than " + std::to_string(vector_file_bytes_max) + " bytes");
    text.resize(static_cast<std::size_t>(in.gcount()));
    auto json = parse_json(text, "--vector-file");
    if (!json) return json.error();
    return embedding_from_json(*json, "embedding");
}

Status set_fields(KindFields& fields, const std::vector<std::string>& assignments) {
    for (const auto& assignment : assignments) {
        const std::size_t at = assignment.find('=');
        if (at == std::string::npos) return refuse("--field", "takes NAME=VALUE");
        if (auto ok = set_field_from_text(fields, assignment.substr(0, at), assignment.substr(at + 1)); !ok) return ok;
    }
    return Done{};
}

void WriteFlags::add_to(CLI::App& command) {
    command.add_option("--actor", actor, "Who causes it; the scope's agent or user when left out");
    command.add_option("--source", source,
                       "The evidence, as TYPE:REF; types: message, file, tool_call, test_result, url, memory, other");
    command.add_option("--reason", reason, "Why, for the history");
    command.add_option("--correlation-id", correlation_id, "What it belongs to: a run, a request");
    command.add_option("--causation-id", causation_id, "What led to it");
    command.add_option("--idempotency-key", idempotency_key, "The same key with the same request writes once");
}

Result<WriteContext> WriteFlags::context() const {
    WriteContext context;
    context.actor = actor;
    context.reason = reason;
    context.correlation_id = correlation_id;
    context.causation_id = causation_id;
    context.idempotency_key = idempotency_key;
    if (!source.empty()) {
        const std::size_t at = source.find(':');
        const auto type = parse_source_type(source.substr(0, at));
        if (!type || at == std::string::npos)
            return refuse("--source",
                          "takes TYPE:REF; types: message, file, tool_call, test_result, url, memory, other");
        context.source = {*type, source.substr(at + 1)};
    }
    return context;
}

void TargetFlags::add_to(CLI::App& command) {
    command.add_option("ID", id, "The memory's id")->required();
    command.add_option("--expected-version", expected_version, "Only if the memory is at this version; or 'any'");
    write.add_to(command);
}

Result<Target> TargetFlags::target(const Scope& scope) const {
    Target target{.scope = scope, .memory_id = {}, .expected_version = {}, .context = {}};
    auto parsed = parse_memory_id(id);
    if (!parsed) return parsed.error();
    target.memory_id = *parsed;
    if (!expected_version.empty() && expected_version != "any") {
        auto version = parse_json(expected_version, "--expected-version");
        if (!version || !version->is_number_unsigned())
            return refuse("--expected-version", "must be 'any' or a whole number from 1");
        target.expected_version = ExpectedVersion::exactly({version->get<std::uint64_t>()});
    }
    auto context = write.context();
    if (!context) return context.error();
    target.context = std::move(*context);
    return target;
}

void MemoryFlags::add_to(CLI::App& command) {
    add_list(command, "--tag", tags, "A tag; may be repeated");
    add_list(command, "--field", fields, "A typed field of the kind, as NAME=VALUE; may be repeated");
    command.add_option("--metadata", metadata, "Any JSON value");
    command.add_option("--occurred-at", occurred_at, "When it was so, as RFC 3339; now when left out");
    command.add_option("--valid-from", valid_from, "True from then on");
    command.add_option("--valid-to", valid_to, "No longer true then");
    command.add_option("--expires-at", expires_at, "No search or list returns it from then on");
    command.add_option("--vector-file", vector_file, R"(Its vector: a file with {"model": "...", "values": [...]})");
}

void FilterFlags::add_to(CLI::App& command) {
    add_list(command, "--kind", kinds, "Only of this kind; repeated: any of them");
    add_list(command, "--tag", tags, "Only with this tag; repeated: all of them");
    add_list(command, "--claim", claims, "Only of this claim; repeated: any of them");
    add_list(command, "--where", where, "By metadata: key, key=value, key.inner=value, key>=number, key<=number");
    command.add_option("--min-confidence", confidence_min, "At least this confident, 0 to 1");
    command.add_option("--since", since, "Occurred at or after this RFC 3339 time");
    command.add_option("--until", until, "Occurred before it");
    command.add_option("--recorded-since", recorded_since, "Recorded at or after it");
    command.add_option("--recorded-until", recorded_until, "Recorded before it");
    command.add_option("--valid-at", valid_at, "True at that time");
}

Result<Filter> FilterFlags::filter() const {
    Filter filter;
    for (const auto& name : kinds) {
        auto kind = kind_of_name(name);
        if (!kind) return kind.error();
        filter.kinds.push_back(*kind);
    }
    for (const auto& name : claims) {
        auto claim = claim_of_name(name);
        if (!claim) return claim.error();
        filter.claims.push_back(*claim);
    }
    for (const auto& text : where) {
        auto condition = condition_of(text);
        if (!condition) return condition.error();
        filter.metadata.push_back(std::move(*condition));
    }
    filter.tags = tags;
    filter.confidence_min = confidence_min;
    const auto read = [](const char* flag, const std::string& text, std::optional<Timestamp>& out) -> Status {
        auto time = time_of(flag, text.empty() ? std::nullopt : std::optional(text));
        if (!time) return time.error();
        out = *time;
        return Done{};
    };
    if (auto ok = read("--since", since, filter.occurred_from); !ok) return ok.error();
    if (auto ok = read("--until", until, filter.occurred_to); !ok) return ok.error();
    if (auto ok = read("--recorded-since", recorded_since, filter.recorded_from); !ok) return ok.error();
    if (auto ok = read("--recorded-until", recorded_until, filter.recorded_to); !ok) return ok.error();
    if (auto ok = read("--valid-at", valid_at, filter.valid_at); !ok) return ok.error();
    return filter;
}

}  // namespace annal::cli
