#include "json.h"

#include "events/hex.h"

#include <nlohmann/json.hpp>

namespace annal {
namespace {

void put(Json& json, const char* name, const std::optional<Timestamp>& time) {
    if (time) json[name] = to_string(*time);
}

void put_fields(Json& json, const KindFields& fields) {
    std::visit(
        [&](const auto& typed) {
            visit_fields(typed, [&](const char* name, const auto& value) {
                if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::optional<std::int64_t>>)
                    json[name] = value ? Json(*value) : Json(nullptr);
                else
                    json[name] = value;
            });
        },
        fields);
}

// Text the engine checked when it took it; null if it is not JSON all the same.
Json stored(const std::string& text) {
    Json json = Json::parse(text, nullptr, false);
    return json.is_discarded() ? Json(nullptr) : json;
}

Json to_json(const HitParts& parts) {
    return {{"text_rank", parts.text_rank},
            {"vector_rank", parts.vector_rank},
            {"text", parts.text},
            {"own", parts.own},
            {"neighbours", parts.neighbours},
            {"session", parts.session},
            {"speaker", parts.speaker},
            {"question", parts.question},
            {"similarity", parts.similarity},
            {"matched_terms", parts.matched_terms}};
}

Json to_json(const std::vector<FieldChange>& differences) {
    Json json = Json::array();
    for (const auto& change : differences)
        json.push_back({{"field", change.field}, {"was", stored(change.was)}, {"is", stored(change.is)}});
    return json;
}

void put(Json& json, const std::optional<SearchMode>& mode) {
    if (mode) json["mode"] = search_mode_names[static_cast<std::size_t>(*mode)];
}

Json next(const std::optional<Seq>& seq) {
    return seq ? Json(seq->value) : Json(nullptr);
}

Json to_json(const std::vector<RunMemory>& memories) {
    Json json = Json::array();
    for (const auto& each : memories)
        json.push_back({{"memory_id", to_string(each.memory_id)},
                        {"rank", each.rank},
                        {"score", each.score},
                        {"since", since_then_names[static_cast<std::size_t>(each.since)]},
                        {"memory", each.memory ? to_json(*each.memory) : Json(nullptr)},
                        {"parts", to_json(each.parts)}});
    return json;
}

Json to_json(const EmbeddingStatus& embedding) {
    return {{"model", embedding.model},           {"dimension", embedding.dimension},
            {"projection", embedding.projection}, {"active", embedding.active},
            {"asked", embedding.asked},           {"memories", embedding.memories},
            {"vectors", embedding.vectors},       {"coverage_percent", embedding.coverage()},
            {"without", embedding.without},       {"made", embedding.made},
            {"lag_events", embedding.lag_events}, {"error", embedding.error}};
}

Json to_json(const ProjectionStatus& projection) {
    Json json{{"name", projection.name},
              {"version", projection.version},
              {"generation", projection.generation},
              {"applied_seq", projection.applied_seq.value},
              {"lag_events", projection.lag_events},
              {"lag_seconds", projection.lag_seconds},
              {"state", projection.state},
              {"error", projection.error},
              {"quarantined", projection.quarantined},
              {"digest", projection.digest}};
    if (!projection.note.empty()) json["note"] = projection.note;
    if (projection.building_generation != 0) {
        json["building_generation"] = projection.building_generation;
        json["building_seq"] = projection.building_seq.value;
    }
    return json;
}

}  // namespace

Json to_json(const Scope& scope) {
    Json json{{"project", scope.project}};
    if (!scope.agent.empty()) json["agent"] = scope.agent;
    if (!scope.user.empty()) json["user"] = scope.user;
    if (!scope.session.empty()) json["session"] = scope.session;
    return json;
}

Json to_json(const Source& source) {
    return {{"type", to_string(source.type)}, {"ref", source.ref}};
}

Json to_json(const Memory& memory) {
    Json json{{"memory_id", to_string(memory.id)}, {"version", memory.version.value},
              {"seq", memory.seq.value},           {"created_seq", memory.created_seq.value},
              {"kind", to_string(memory.kind())},  {"content", memory.content}};
    put_fields(json, memory.fields);
    json["tags"] = memory.tags;
    json["metadata"] = stored(memory.metadata);
    json["claim"] = to_string(memory.claim);
    json["confidence"] = memory.confidence;
    json["occurrence_count"] = memory.occurrence_count;
    json["success_count"] = memory.success_count;
    json["scope"] = to_json(memory.scope);
    json["actor"] = memory.actor;
    json["source"] = to_json(memory.source);
    json["recorded_at"] = to_string(memory.recorded_at);
    json["updated_at"] = to_string(memory.updated_at);
    json["occurred_at"] = to_string(memory.occurred_at);
    put(json, "valid_from", memory.valid_from);
    put(json, "valid_to", memory.valid_to);
    put(json, "expires_at", memory.expires_at);
    put(json, "verified_at", memory.verified_at);
    if (memory.superseded_by) json["superseded_by"] = to_string(*memory.superseded_by);
    json["forgotten"] = memory.forgotten;
    if (!memory.embedding_model.empty()) {
        json["embedding_model"] = memory.embedding_model;
        json["embedding_dimension"] = memory.embedding_dimension;
    }
    if (memory.payload != Payload::plain) json["payload"] = to_string(memory.payload);
    return json;
}

Json to_json(const Receipt& receipt) {
    return {{"memory_id", to_string(receipt.memory_id)},
            {"event_id", to_string(receipt.event_id)},
            {"seq", receipt.seq.value},
            {"version", receipt.version.value},
            {"hash", to_hex(receipt.hash)},
            {"replayed", receipt.replayed}};
}

Json to_json(const ErasureReceipt& receipt) {
    return {{"requested_at_seq", receipt.requested_at.value},
            {"completed_at_seq", receipt.completed_at.value},
            {"memories", receipt.memories},
            {"events", receipt.events},
            {"unsealed_events", receipt.unsealed_events},
            {"refused_values", receipt.refused_values},
            {"keystore_epoch", receipt.keystore_epoch},
            {"head", receipt.head}};
}

Json to_json(const BackupInfo& backup) {
    return {{"backup_id", backup.id},
            {"store_id", backup.store_id},
            {"epoch", backup.epoch},
            {"seq", backup.seq.value},
            {"root", to_hex(backup.root)},
            {"bytes", backup.bytes},
            {"created_at", to_string(backup.created_at)}};
}

Json to_json(const ArchiveReport& report) {
    Json segments = Json::array();
    for (const auto& segment : report.segments)
        segments.push_back({{"first_seq", segment.first.value},
                            {"last_seq", segment.last.value},
                            {"file", segment.file.string()},
                            {"bytes", segment.bytes},
                            {"root", to_hex(segment.root)},
                            {"was_there", segment.was_there}});
    return {{"segments", std::move(segments)}, {"archived_seq", report.archived_seq.value}};
}

Json to_json(const SegmentReport& segment) {
    return {{"file", segment.file},
            {"store_id", segment.store_id},
            {"epoch", segment.epoch},
            {"first_seq", segment.first.value},
            {"last_seq", segment.last.value},
            {"root", to_hex(segment.root)},
            {"head", segment.signed_head.empty() ? Json(nullptr) : Json(segment.signed_head)},
            {"verified", segment.verified}};
}

Json to_json(const SearchAnswer& answer) {
    Json hits = Json::array();
    for (const auto& hit : answer.hits)
        hits.push_back({{"memory", to_json(hit.memory)}, {"score", hit.score}, {"parts", to_json(hit.parts)}});
    Json json{{"hits", std::move(hits)}, {"seq", answer.seq.value}, {"degraded", answer.degraded}};
    if (answer.recalled_seq != Seq{0}) json["recalled_seq"] = answer.recalled_seq.value;
    return json;
}

Json to_json(const ListAnswer& answer) {
    Json memories = Json::array();
    for (const auto& memory : answer.memories) memories.push_back(to_json(memory));
    return {{"memories", std::move(memories)}, {"next_cursor", answer.next_cursor}, {"seq", answer.seq.value}};
}

Json to_json(const HistoryEntry& entry) {
    Json json{{"seq", entry.seq.value},
              {"version", entry.version.value},
              {"event_id", to_string(entry.event_id)},
              {"type", entry.type},
              {"recorded_at", to_string(entry.recorded_at)},
              {"actor", entry.actor},
              {"source", to_json(entry.source)},
              {"reason", entry.reason}};
    if (!entry.correlation_id.empty()) json["correlation_id"] = entry.correlation_id;
    if (!entry.causation_id.empty()) json["causation_id"] = entry.causation_id;
    json["changes"] = stored(entry.changes);
    if (!entry.differences.empty()) json["differences"] = to_json(entry.differences);
    return json;
}

Json to_json(const DiffEntry& entry) {
    return {{"change", diff_kind_names[static_cast<std::size_t>(entry.kind)]},
            {"memory_id", to_string(entry.memory.id)},
            {"from_version", entry.from_version.value},
            {"to_version", entry.memory.version.value},
            {"differences", to_json(entry.differences)},
            {"memory", to_json(entry.memory)}};
}

Json to_json(const Recall& recall) {
    Json json{
        {"seq", recall.seq.value}, {"recorded_at", to_string(recall.recorded_at)}, {"scope", to_json(recall.scope)}};
    if (recall.payload != Payload::plain) {
        json["payload"] = to_string(recall.payload);
        return json;
    }
    json["memory_id"] = to_string(recall.memory_id);
    json["together"] = recall.together.value;
    json["run_id"] = recall.run_id;
    json["actor"] = recall.actor;
    json["query"] = recall.query;
    json["rank"] = recall.rank;
    json["score"] = recall.score;
    json["as_of"] = recall.as_of.value;
    put(json, recall.mode);
    if (recall.by_vector) json["by_vector"] = true;
    return json;
}

Json to_json(const RecallsAnswer& answer) {
    Json recalls = Json::array();
    for (const auto& recall : answer.recalls) recalls.push_back(to_json(recall));
    return {{"recalls", std::move(recalls)}, {"next", next(answer.next)}, {"seq", answer.seq.value}};
}

Json to_json(const RunAnswer& answer) {
    Json contexts = Json::array();
    for (const auto& context : answer.contexts) {
        Json json{{"seq", context.seq.value},        {"recorded_at", to_string(context.recorded_at)},
                  {"scope", to_json(context.scope)}, {"actor", context.actor},
                  {"query", context.query},          {"as_of", context.as_of.value}};
        put(json, context.mode);
        if (context.by_vector) json["by_vector"] = true;
        json["given"] = to_json(context.given);
        json["not_given"] = to_json(context.not_given);
        json["degraded"] = context.degraded;
        contexts.push_back(std::move(json));
    }
    return {{"contexts", std::move(contexts)},
            {"erased", answer.erased},
            {"sealed", answer.sealed},
            {"next", next(answer.next)},
            {"seq", answer.seq.value}};
}

Json to_json(const Engine::LogEntry& entry) {
    Json json = to_json(static_cast<const HistoryEntry&>(entry));
    json["memory_id"] = to_string(entry.memory_id);
    json["scope"] = to_json(entry.scope);
    return json;
}

Json to_json(const std::vector<HistoryEntry>& history) {
    Json events = Json::array();
    for (const auto& entry : history) events.push_back(to_json(entry));
    return {{"events", std::move(events)}};
}

Json to_json(const EngineStatus& status) {
    Json embeddings = Json::array();
    for (const auto& embedding : status.embeddings) embeddings.push_back(to_json(embedding));
    Json projections = Json::array();
    for (const auto& projection : status.projections) projections.push_back(to_json(projection));
    Json counts = Json::object();
    for (const auto& [kind, count] : status.counts) counts[kind] = count;
    Json scrub{{"bytes_per_second", status.scrub.bytes_per_second},
               {"last_pass", nullptr},
               {"errors", status.scrub.errors},
               {"error", status.scrub.error}};
    if (status.scrub.last_pass) scrub["last_pass"] = to_string(*status.scrub.last_pass);
    Json archive{{"archived_seq", status.archive.archived_seq.value},
                 {"recorded_at", nullptr},
                 {"segments", status.archive.segments},
                 {"bytes", status.archive.bytes},
                 {"missing", status.archive.missing}};
    if (status.archive.segments > 0) archive["recorded_at"] = to_string(status.archive.recorded_at);
    return {{"head_seq", status.head_seq.value},
            {"store_id", status.store_id},
            {"epoch", status.epoch},
            {"log_bytes", status.log_bytes},
            {"views_bytes", status.views_bytes},
            {"archive", std::move(archive)},
            {"sealing", status.sealing},
            {"sealing_reason", status.sealing_reason},
            {"unfinished_erasures", status.unfinished_erasures},
            {"projections", std::move(projections)},
            {"embeddings", std::move(embeddings)},
            {"counts", std::move(counts)},
            {"scrub", std::move(scrub)}};
}

Json to_json(const VerifyReport& report) {
    Json checks = Json::array();
    for (const auto& check : report.checks)
        checks.push_back({{"name", check.name},
                          {"state", check_state_names[static_cast<std::size_t>(check.state)]},
                          {"found", check.found},
                          {"seq", check.seq.value},
                          {"count", check.count},
                          {"seconds", check.seconds}});
    return {{"ok", report.all_well()}, {"seq", report.seq.value}, {"checks", std::move(checks)}};
}

Json to_json(const Error& error) {
    return {{"error",
             {{"code", to_string(error.code)},
              {"message", error.message},
              {"details", error.details.empty() ? Json::object() : Json(error.details)}}}};
}

std::string to_text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace annal
