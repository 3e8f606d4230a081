#include "history.h"

#include <nlohmann/json.hpp>

namespace annal {
namespace {

using Json = nlohmann::ordered_json;

void put(Json& json, const char* name, const std::optional<Timestamp>& time) {
    if (time) json[name] = to_string(*time);
}

// A value that may have been set, or removed.
void put_change(Json& json, const char* name, const std::optional<std::optional<Timestamp>>& change) {
    if (change) json[name] = *change ? Json(to_string(**change)) : Json(nullptr);
}

void put_fields(Json& json, const KindFields& fields) {
    std::visit(
        [&](const auto& typed) {
            visit_fields(typed, [&](const char* name, const auto& value) {
                using Value = std::remove_cvref_t<decltype(value)>;
                if constexpr (std::is_same_v<Value, std::string>) {
                    if (!value.empty()) json[name] = value;
                } else if constexpr (std::is_same_v<Value, std::optional<std::int64_t>>) {
                    if (value) json[name] = *value;
                } else {
                    json[name] = value;
                }
            });
        },
        fields);
}

void put_embedding(Json& json, const std::optional<Embedding>& embedding) {
    if (embedding) json["embedding"] = {{"model", embedding->model}, {"dimension", embedding->values.size()}};
}

// Stored metadata was checked when it was accepted.
Json parsed(const std::string& metadata) {
    return Json::parse(metadata, nullptr, false);
}

struct CarriedFields {
    Json operator()(const MemoryRecorded& body) const {
        Json json{{"kind", to_string(kind_of(body.fields))}, {"content", body.content}};
        put_fields(json, body.fields);
        if (!body.tags.empty()) json["tags"] = body.tags;
        if (body.metadata != "null") json["metadata"] = parsed(body.metadata);
        json["claim"] = to_string(body.claim);
        json["confidence"] = body.confidence;
        if (body.occurrence_count != 0) json["occurrence_count"] = body.occurrence_count;
        if (body.success_count != 0) json["success_count"] = body.success_count;
        put(json, "valid_from", body.valid_from);
        put(json, "valid_to", body.valid_to);
        put(json, "expires_at", body.expires_at);
        put_embedding(json, body.embedding);
        return json;
    }
    Json operator()(const MemoryRevised& body) const {
        Json json = Json::object();
        if (body.content) json["content"] = *body.content;
        if (body.fields) put_fields(json, *body.fields);
        if (body.tags) json["tags"] = *body.tags;
        if (body.metadata) json["metadata"] = parsed(*body.metadata);
        put(json, "occurred_at", body.occurred_at);
        put_change(json, "valid_from", body.valid_from);
        put_change(json, "valid_to", body.valid_to);
        put_change(json, "expires_at", body.expires_at);
        put_embedding(json, body.embedding);
        return json;
    }
    Json operator()(const MemoryReinforced& body) const { return {{"success", body.success}}; }
    Json operator()(const ClaimPromoted& body) const {
        return {{"claim", {{"from", to_string(body.from)}, {"to", to_string(body.to)}}}};
    }
    Json operator()(const ConfidenceChanged& body) const {
        return {{"confidence", {{"from", body.from}, {"to", body.to}}}};
    }
    Json operator()(const MemoryVerified& body) const {
        return {{"status", body.status}, {"method", body.method}, {"confidence", body.confidence}};
    }
    Json operator()(const MemorySuperseded& body) const { return {{"superseded_by", to_string(body.by)}}; }
    Json operator()(const MemoryForgotten& body) const { return {{"forgotten", true}, {"for_good", body.for_good}}; }
    Json operator()(const MemoryRestored& body) const {
        return {{"forgotten", false}, {"forgotten_at_seq", body.forgotten_at.value}};
    }
    Json operator()(const ErasureRequested& body) const {  // The subject is the scope's user.
        return {{"memories", body.memories}, {"events", body.events}, {"unsealed_events", body.unsealed_events}};
    }
    Json operator()(const ErasureCompleted& body) const {
        return {{"requested_at_seq", body.requested_at.value},
                {"memories", body.memories},
                {"keystore_epoch", body.keystore_epoch}};
    }
    Json operator()(const MemoryRecalled& body) const {
        Json json{{"run_id", body.run_id}, {"query", body.query}, {"rank", body.rank}, {"score", body.score}};
        if (!body.memory.is_nil()) json["memory_id"] = to_string(body.memory);
        return json;
    }
    Json operator()(const PolicyChanged& body) const {
        return {{"name", body.name}, {"value", parsed(body.value)}, {"previous", parsed(body.previous)}};
    }
};

Json described(const Memory& memory) {
    Json json{{"content", memory.content}};
    const auto put_field = [&](const char* name, const auto& value) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::optional<std::int64_t>>)
            json[name] = value ? Json(*value) : Json(nullptr);
        else
            json[name] = value;
    };
    std::visit([&](const auto& typed) { visit_fields(typed, put_field); }, memory.fields);
    const auto put_time = [&](const char* name, const std::optional<Timestamp>& time) {
        json[name] = time ? Json(to_string(*time)) : Json(nullptr);
    };
    json["tags"] = memory.tags;
    json["metadata"] = parsed(memory.metadata);
    json["claim"] = to_string(memory.claim);
    json["confidence"] = memory.confidence;
    json["occurrence_count"] = memory.occurrence_count;
    json["success_count"] = memory.success_count;
    put_time("occurred_at", memory.occurred_at);
    put_time("valid_from", memory.valid_from);
    put_time("valid_to", memory.valid_to);
    put_time("expires_at", memory.expires_at);
    put_time("verified_at", memory.verified_at);
    json["superseded_by"] = memory.superseded_by ? Json(to_string(*memory.superseded_by)) : Json(nullptr);
    json["forgotten"] = memory.forgotten;
    const bool has_vector = !memory.embedding_model.empty();
    json["embedding_model"] = has_vector ? Json(memory.embedding_model) : Json(nullptr);
    json["embedding_dimension"] = has_vector ? Json(memory.embedding_dimension) : Json(nullptr);
    return json;
}

}  // namespace

std::vector<FieldChange> differences(const Memory& was, const Memory& is) {
    const auto before = described(was);
    const auto after = described(is);
    std::vector<FieldChange> all;
    for (const auto& [name, value] : after.items())  // A memory's kind is for good, so both have the same fields.
        if (before[name] != value) all.push_back({name, before[name].dump(), value.dump()});
    return all;
}

std::optional<DiffEntry> difference(const std::optional<Memory>& was, Memory is) {
    DiffEntry entry;
    if (was) {
        entry.from_version = was->version;
        entry.differences = differences(*was, is);
        if (entry.differences.empty()) return std::nullopt;
    }
    const bool was_forgotten = was && was->forgotten;
    const bool was_superseded = was && was->superseded_by.has_value();
    entry.kind = is.forgotten && !was_forgotten        ? DiffKind::forgotten
                 : is.superseded_by && !was_superseded ? DiffKind::superseded
                 : !was                                ? DiffKind::added
                 : was_forgotten && !is.forgotten      ? DiffKind::restored
                                                       : DiffKind::changed;
    entry.memory = std::move(is);
    return entry;
}

HistoryEntry to_history_entry(const EventView& event) {
    MemoryEvent unpacked = event.unpack();
    HistoryEntry entry;
    entry.seq = event.seq();
    entry.version = event.version();
    entry.event_id = event.event_id();
    entry.type = to_string(event.type());
    entry.recorded_at = event.recorded_at();
    entry.changes = event.payload() == Payload::plain ? std::visit(CarriedFields{}, unpacked.body).dump()
                                                      : Json{{to_string(event.payload()), true}}.dump();
    entry.actor = std::move(unpacked.actor);
    entry.source = std::move(unpacked.source);
    entry.reason = std::move(unpacked.reason);
    entry.correlation_id = std::move(unpacked.correlation_id);
    entry.causation_id = std::move(unpacked.causation_id);
    return entry;
}

void mask(HistoryEntry& entry) {
    entry.actor.clear();
    entry.source = {};
    entry.reason.clear();
    entry.correlation_id.clear();
    entry.causation_id.clear();
    entry.changes = R"({"sealed":true})";
}

void mask(Memory& memory) {
    memory.content.clear();
    memory.tags.clear();
    memory.metadata = "null";
    memory.fields = empty_fields(memory.kind());
    memory.actor.clear();
    memory.source = {};
    memory.payload = Payload::sealed;
}

}  // namespace annal
