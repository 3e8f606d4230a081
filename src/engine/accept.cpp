#include "accept.h"

#include "uuid.h"

#include <annal/limits.h>

#include <unicode/utf8.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

namespace annal {
namespace {

Error refuse(std::string_view field, const std::string& message) {
    return {ErrorCode::invalid_argument, std::string(field) + " " + message, {{"field", std::string(field)}}};
}

Error over_limit(std::string_view field, std::size_t actual, std::string_view unit, std::size_t limit) {
    Error error = refuse(
        field, "has " + std::to_string(actual) + " " + std::string(unit) + "; the limit is " + std::to_string(limit));
    error.details["actual"] = std::to_string(actual);
    error.details["limit"] = std::to_string(limit);
    return error;
}

// Valid UTF-8 of at most `limit` code points.
Status check_text(std::string_view field, std::string_view text, std::size_t limit) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
    std::size_t count = 0;
    for (std::size_t at = 0; at < text.size(); ++count) {
        UChar32 character = 0;
        U8_NEXT(bytes, at, text.size(), character);
        if (character < 0) return refuse(field, "is not UTF-8");
    }
    if (count > limit) return over_limit(field, count, "characters", limit);
    return Done{};
}

Status check_name(std::string_view field, std::string_view text) {
    if (text.find('\0') != std::string_view::npos) return refuse(field, "may not hold a zero character");
    return check_text(field, text, limits::name_characters_max);
}

bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

Status check_content(std::string_view content) {
    if (is_blank(content)) return refuse("content", "is required: at least one character that is not white space");
    return check_text("content", content, limits::content_characters_max);
}

Result<std::vector<std::string>> check_tags(const std::vector<std::string>& tags) {
    std::vector<std::string> distinct;
    std::unordered_set<std::string_view> seen;
    for (const auto& tag : tags) {
        if (is_blank(tag)) return refuse("tags", "may not hold an empty tag");
        if (auto ok = check_text("tags", tag, limits::tag_characters_max); !ok) return ok.error();
        if (seen.insert(tag).second) distinct.push_back(tag);
    }
    if (distinct.size() > limits::tags_max) return over_limit("tags", distinct.size(), "tags", limits::tags_max);
    return distinct;
}

Status check_fields(const KindFields& fields) {
    Status result = Done{};
    std::visit(
        [&](const auto& typed) {
            visit_fields(typed, [&](std::string_view name, const auto& value) {
                if (!result) return;
                using Value = std::remove_cvref_t<decltype(value)>;
                if constexpr (std::is_same_v<Value, std::string>) {
                    result = check_text(name, value, limits::field_characters_max);
                } else if constexpr (std::is_same_v<Value, double>) {
                    if (!(value >= 0 && value <= 1)) result = refuse(name, "must be from 0 to 1");
                } else if constexpr (std::is_same_v<Value, std::optional<std::int64_t>>) {
                    if (value && *value < 0) result = refuse(name, "may not be negative");
                }
            });
        },
        fields);
    return result;
}

Status check_unit(std::string_view field, double value) {
    if (!(value >= 0 && value <= 1)) return refuse(field, "must be a number from 0 to 1");
    return Done{};
}

Status check_range(std::string_view from_name, const std::optional<Timestamp>& from,
                   const std::optional<Timestamp>& to) {
    if (from && to && *to < *from) return refuse(from_name, "is after its end");
    return Done{};
}

Status check_context(const WriteContext& context) {
    if (auto ok = check_name("actor", context.actor); !ok) return ok;
    if (auto ok = check_text("source.ref", context.source.ref, limits::source_ref_characters_max); !ok) return ok;
    if (context.source.type == SourceType::none && !context.source.ref.empty())
        return refuse("source.type", "is required when source.ref is given");
    if (auto ok = check_text("reason", context.reason, limits::field_characters_max); !ok) return ok;
    if (auto ok = check_name("correlation_id", context.correlation_id); !ok) return ok;
    if (auto ok = check_name("causation_id", context.causation_id); !ok) return ok;
    if (context.idempotency_key.size() > limits::idempotency_key_bytes_max)
        return over_limit("idempotency_key", context.idempotency_key.size(), "bytes",
                          limits::idempotency_key_bytes_max);
    return Done{};
}

std::string actor_of(const Scope& scope, const std::string& given) {
    return !given.empty() ? given : !scope.agent.empty() ? scope.agent : scope.user;
}

Status check_run_id(std::string_view run_id) {
    if (is_blank(run_id)) return refuse("run_id", "is required");
    return check_name("run_id", run_id);
}

MemoryEvent envelope(const Scope& scope, const WriteContext& context) {
    MemoryEvent event;
    event.scope = scope;
    event.actor = actor_of(scope, context.actor);
    event.source = context.source;
    event.reason = context.reason;
    event.causation_id = context.causation_id;
    event.correlation_id = context.correlation_id;
    return event;
}

}  // namespace

Result<Normalised> normalise(const Embedding& embedding, std::string_view field) {
    if (embedding.model.empty()) return refuse(field, "needs the name of its model");
    if (auto ok = check_name(std::string(field) + ".model", embedding.model); !ok) return ok.error();
    if (embedding.values.empty()) return refuse(field, "has no values");
    if (embedding.values.size() > limits::embedding_dimension_max)
        return over_limit(field, embedding.values.size(), "values", limits::embedding_dimension_max);
    // One order of addition, in double: the same bits on every machine.
    double squares = 0;
    for (const float value : embedding.values) {
        if (!std::isfinite(value)) return refuse(field, "holds a value that is not finite");
        squares += static_cast<double>(value) * static_cast<double>(value);
    }
    if (!(squares > 0)) return refuse(field, "is all zero: it has no direction");
    const double norm = std::sqrt(squares);
    Normalised result{embedding, static_cast<float>(norm)};
    // A vector that is of unit length but for rounding keeps its bits, so that what comes back is what was given.
    if (std::abs(norm - 1.0) <= 1e-6) return result;
    for (float& value : result.embedding.values) value = static_cast<float>(static_cast<double>(value) / norm);
    return result;
}

Result<MemoryEvent> accept(const RecordRequest& request) {
    if (auto ok = validate(request.scope); !ok) return ok.error();
    if (auto ok = check_context(request.context); !ok) return ok.error();
    if (auto ok = check_content(request.content); !ok) return ok.error();
    if (auto ok = check_fields(request.fields); !ok) return ok.error();
    if (auto ok = check_unit("confidence", request.confidence); !ok) return ok.error();
    if (auto ok = check_range("valid_from", request.valid_from, request.valid_to); !ok) return ok.error();
    if (request.success_count > request.occurrence_count)
        return refuse("success_count", "may not be more than occurrence_count");
    auto tags = check_tags(request.tags);
    if (!tags) return tags.error();
    auto metadata = check_metadata(request.metadata);
    if (!metadata) return metadata.error();

    MemoryRecorded body;
    body.content = request.content;
    body.fields = request.fields;
    body.tags = std::move(*tags);
    body.metadata = std::move(*metadata);
    body.claim = request.claim;
    body.confidence = request.confidence;
    body.occurrence_count = request.occurrence_count;
    body.success_count = request.success_count;
    body.valid_from = request.valid_from;
    body.valid_to = request.valid_to;
    body.expires_at = request.expires_at;
    if (request.embedding) {
        auto normalised = normalise(*request.embedding, "embedding");
        if (!normalised) return normalised.error();
        body.embedding = std::move(normalised->embedding);
        body.embedding_norm = normalised->norm;
    }
    MemoryEvent event = envelope(request.scope, request.context);
    event.occurred_at = request.occurred_at;
    if (request.memory_id) {
        if (is_uuid_v8(request.memory_id->bytes)) return refuse("memory_id", "is a UUID of version 8: give another");
        event.memory_id = *request.memory_id;
    }
    event.body = std::move(body);
    return event;
}

Result<MemoryEvent> accept(const ReviseRequest& request) {
    if (auto ok = check(request.target); !ok) return ok.error();
    const bool changes = request.content || request.fields || request.tags || request.metadata || request.occurred_at ||
                         request.valid_from || request.valid_to || request.expires_at || request.embedding;
    if (!changes) return refuse("revision", "changes nothing: set at least one field");
    if (request.content)
        if (auto ok = check_content(*request.content); !ok) return ok.error();
    if (request.fields)
        if (auto ok = check_fields(*request.fields); !ok) return ok.error();
    if (auto ok = check_range("valid_from", request.valid_from, request.valid_to); !ok) return ok.error();

    MemoryRevised body;
    body.content = request.content;
    body.fields = request.fields;
    if (request.tags) {
        auto tags = check_tags(*request.tags);
        if (!tags) return tags.error();
        body.tags = std::move(*tags);
    }
    if (request.metadata) {
        auto metadata = check_metadata(*request.metadata);
        if (!metadata) return metadata.error();
        body.metadata = std::move(*metadata);
    }
    body.occurred_at = request.occurred_at;
    if (request.valid_from) body.valid_from = request.valid_from;
    if (request.valid_to) body.valid_to = request.valid_to;
    if (request.expires_at) body.expires_at = request.expires_at;
    if (request.embedding) {
        auto normalised = normalise(*request.embedding, "embedding");
        if (!normalised) return normalised.error();
        body.embedding = std::move(normalised->embedding);
        body.embedding_norm = normalised->norm;
    }
    return accept(request.target, std::move(body));
}

Result<MemoryEvent> accept(const Target& target, EventBody body) {
    if (auto ok = check(target); !ok) return ok.error();
    MemoryEvent event = envelope(target.scope, target.context);
    event.memory_id = target.memory_id;
    event.body = std::move(body);
    return event;
}

Status check(const Target& target) {
    if (auto ok = validate(target.scope); !ok) return ok;
    if (target.memory_id.is_nil()) return refuse("memory_id", "is required");
    if (target.expected_version.is == ExpectedVersion::Is::absent)
        return refuse("expected_version", "'absent' is for new memories; give a number or 'any'");
    if (target.expected_version.is == ExpectedVersion::Is::exactly && target.expected_version.version.value == 0)
        return refuse("expected_version", "counts from 1");
    return check_context(target.context);
}

Status check(const Filter& filter) {
    if (filter.tags.size() > limits::tags_max)
        return over_limit("filter.tags", filter.tags.size(), "tags", limits::tags_max);
    for (const auto& tag : filter.tags)
        if (auto ok = check_text("filter.tags", tag, limits::tag_characters_max); !ok) return ok;
    if (filter.confidence_min)
        if (auto ok = check_unit("filter.confidence_min", *filter.confidence_min); !ok) return ok;
    if (auto ok = check_range("filter.occurred_from", filter.occurred_from, filter.occurred_to); !ok) return ok;
    if (auto ok = check_range("filter.recorded_from", filter.recorded_from, filter.recorded_to); !ok) return ok;
    for (const auto& condition : filter.metadata) {
        if (condition.path.empty()) return refuse("filter.metadata", "needs a path such as key or key.inner");
        if (auto ok = check_text("filter.metadata", condition.path, limits::metadata_string_characters_max); !ok)
            return ok;
        if (condition.equals)
            if (auto ok = check_metadata(*condition.equals); !ok)
                return refuse("filter.metadata", "compares with what is not JSON");
        if ((condition.at_least && !std::isfinite(*condition.at_least)) ||
            (condition.at_most && !std::isfinite(*condition.at_most)))
            return refuse("filter.metadata", "compares with a number that is not finite");
    }
    return Done{};
}

Status check(const SearchRequest& request) {
    if (auto ok = validate(request.scope); !ok) return ok;
    if (auto ok = check_text("text", request.text, limits::query_characters_max); !ok) return ok;
    if (request.limit == 0 || request.limit > limits::search_limit_max)
        return refuse("limit", "must be from 1 to " + std::to_string(limits::search_limit_max));
    if (is_blank(request.text) && !request.vector) return refuse("text", "is required, or a vector");
    if (request.mode == SearchMode::text && is_blank(request.text)) return refuse("text", "is required in mode text");
    if (!request.run_id.empty()) {
        if (auto ok = check_run_id(request.run_id); !ok) return ok;
        if (request.limit > limits::recall_memories_max)
            return refuse("limit",
                          "must be from 1 to " + std::to_string(limits::recall_memories_max) + " with a run_id");
    }
    return check(request.filter);
}

Status check(const ListRequest& request) {
    if (auto ok = validate(request.scope); !ok) return ok;
    if (request.limit == 0 || request.limit > limits::list_limit_max)
        return refuse("limit", "must be from 1 to " + std::to_string(limits::list_limit_max));
    return check(request.filter);
}

Status check(const RecallRequest& request) {
    if (auto ok = validate(request.scope); !ok) return ok;
    if (auto ok = check_run_id(request.run_id); !ok) return ok;
    if (auto ok = check_name("actor", request.actor); !ok) return ok;
    if (auto ok = check_text("query", request.query, limits::query_characters_max); !ok) return ok;
    if (request.memories.empty()) return refuse("memories", "is required: at least one");
    if (request.memories.size() > limits::recall_memories_max)
        return over_limit("memories", request.memories.size(), "memories", limits::recall_memories_max);
    std::unordered_set<MemoryId> seen;
    for (const auto& given : request.memories) {
        if (given.memory_id.is_nil()) return refuse("memory_id", "is required");
        if (!seen.insert(given.memory_id).second) return refuse("memories", "may not name a memory twice");
        if (given.rank == 0) return refuse("rank", "counts from 1");
        if (!std::isfinite(given.score)) return refuse("score", "must be a finite number");
    }
    return Done{};
}

Status check(const RecallsRequest& request) {
    if (auto ok = validate(request.scope); !ok) return ok;
    if (request.memory_id.is_nil()) return refuse("memory_id", "is required");
    if (request.limit == 0 || request.limit > limits::list_limit_max)
        return refuse("limit", "must be from 1 to " + std::to_string(limits::list_limit_max));
    return Done{};
}

Status check(const ExplainRequest& request) {
    if (auto ok = validate(request.scope); !ok) return ok;
    if (auto ok = check_run_id(request.run_id); !ok) return ok;
    if (request.not_given_max > limits::search_limit_max)
        return refuse("not_given_max", "must be from 0 to " + std::to_string(limits::search_limit_max));
    if (request.limit == 0 || request.limit > limits::run_contexts_max)
        return refuse("limit", "must be from 1 to " + std::to_string(limits::run_contexts_max));
    return Done{};
}

MemoryEvent recalled_event(const RecallRequest& request) {
    MemoryEvent event;
    event.scope = request.scope;
    event.actor = actor_of(request.scope, request.actor);
    MemoryRecalled body;
    body.run_id = request.run_id;
    body.query = request.query;
    body.mode = request.mode;
    body.by_vector = request.by_vector;
    body.of_any_user = request.scope.user.empty();
    event.body = std::move(body);
    return event;
}

}  // namespace annal
