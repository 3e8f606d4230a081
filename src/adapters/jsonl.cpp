#include "jsonl.h"

#include "json.h"
#include "line_reader.h"
#include "sink_record.h"

#include "events/hex.h"

#include <openssl/sha.h>
#include <nlohmann/json.hpp>

#include <array>

namespace annal {
namespace {

constexpr std::size_t page_memories = 500;

void put_us(Json& json, const char* name, const std::optional<Timestamp>& time) {
    if (time) json[name] = time->us;
}

// All that a request says, in one spelling: what its key is made of.
std::string canonical(const RecordRequest& request) {
    Json json{{"project", request.scope.project},
              {"agent", request.scope.agent},
              {"user", request.scope.user},
              {"session", request.scope.session},
              {"kind", to_string(kind_of(request.fields))},
              {"content", request.content}};
    std::visit(
        [&](const auto& typed) {
            visit_fields(typed, [&](const char* name, const auto& value) {
                if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, std::optional<std::int64_t>>)
                    json["fields"][name] = value ? Json(*value) : Json(nullptr);
                else
                    json["fields"][name] = value;
            });
        },
        request.fields);
    json["tags"] = request.tags;
    json["metadata"] = request.metadata;
    json["claim"] = to_string(request.claim);
    json["confidence"] = request.confidence;
    json["occurrence_count"] = request.occurrence_count;
    json["success_count"] = request.success_count;
    put_us(json, "occurred_at", request.occurred_at);
    put_us(json, "valid_from", request.valid_from);
    put_us(json, "valid_to", request.valid_to);
    put_us(json, "expires_at", request.expires_at);
    if (request.embedding) json["embedding"] = {request.embedding->model, request.embedding->values};
    if (request.memory_id) json["memory_id"] = to_string(*request.memory_id);
    const auto& context = request.context;
    json["context"] = {context.actor,  to_string(context.source.type), context.source.ref,
                       context.reason, context.correlation_id,         context.causation_id};
    return to_text(json);
}

std::string import_key(const RecordRequest& request) {
    const std::string text = canonical(request);
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> hash{};
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
    return "import:" + to_hex(hash);
}

// Whether a memory of the store says what the request says. What the request leaves open agrees with anything.
bool says_the_same(const Memory& memory, const RecordRequest& request) {
    const auto agrees = [](const auto& asked, const auto& is) { return !asked || asked == is; };
    const auto metadata = [](const std::string& text) { return Json::parse(text, nullptr, false); };
    return memory.scope == request.scope && memory.fields == request.fields && memory.content == request.content &&
           memory.tags == request.tags && metadata(memory.metadata) == metadata(request.metadata) &&
           memory.claim == request.claim && memory.confidence == request.confidence &&
           memory.occurrence_count == request.occurrence_count && memory.success_count == request.success_count &&
           agrees(request.occurred_at, std::optional(memory.occurred_at)) && memory.valid_from == request.valid_from &&
           memory.valid_to == request.valid_to && memory.expires_at == request.expires_at &&
           (request.context.actor.empty() || memory.actor == request.context.actor) &&
           memory.source == request.context.source;
}

// Errors that are about this one memory; any other is about the store, and the next would meet it again.
bool concerns_the_line(ErrorCode code) {
    using enum ErrorCode;
    return code == invalid_argument || code == not_found || code == conflict || code == already_exists ||
           code == permission_denied;
}

}  // namespace

Status Importer::add(std::uint64_t line, Result<RecordRequest> request) {
    const auto reject = [&](const Error& error) -> Status {
        report_.rejected.push_back({line, error});
        return Done{};
    };
    if (!request) return reject(request.error());
    if (request->context.idempotency_key.empty()) request->context.idempotency_key = import_key(*request);
    request->context.durability = Durability::buffered;

    const auto receipt = engine_.record(*request);
    if (receipt) {
        if (receipt->replayed) {
            ++report_.unchanged;
        } else {
            ++report_.accepted;
            last_ = std::move(*request);
            unsynced_ = true;
        }
        return Done{};
    }
    Error error = receipt.error();
    if (error.code == ErrorCode::already_exists && request->memory_id) {
        const auto memory = engine_.get(request->scope, *request->memory_id, {.min_seq = engine_.head()}, true);
        if (memory && says_the_same(*memory, *request)) {
            ++report_.unchanged;
            return Done{};
        }
    }
    if (concerns_the_line(error.code)) return reject(error);
    error.details["line"] = std::to_string(line);
    error.details["accepted"] = std::to_string(report_.accepted);
    return error;
}

Result<ImportReport> Importer::finish() {
    if (unsynced_) {
        // Asked again with its key, the last write is not repeated but synced, and with it all before it.
        last_.context.durability = Durability::synced;
        if (auto receipt = engine_.record(last_); !receipt) return receipt.error();
        unsynced_ = false;
    }
    report_.seq = engine_.head();
    return std::move(report_);
}

Result<ImportReport> import_jsonl(Engine& engine, std::istream& in, const Scope& defaults,
                                  const std::function<void(std::uint64_t)>& progress) {
    Importer importer(engine);
    LineReader reader(in);
    std::string line;
    bool too_long = false;
    for (std::uint64_t number = 1; reader.next(line, too_long); ++number) {
        if (progress && number % 64 == 0) progress(reader.bytes());
        if (number == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
        Status ok = Done{};
        if (too_long) {
            ok = importer.add(number,
                              Error{ErrorCode::invalid_argument,
                                    "the line is longer than " + std::to_string(import_line_bytes_max) + " bytes",
                                    {{"limit", std::to_string(import_line_bytes_max)}}});
        } else if (line.find_first_not_of(" \t\r") != std::string::npos) {
            auto json = parse_json(line, "the line");
            ok = importer.add(number, json ? record_request_from_json(*json, defaults) : json.error());
        }
        if (!ok) return ok.error();
    }
    if (in.bad()) return Error{ErrorCode::unavailable, "the file to import cannot be read to its end", {}};
    if (progress) progress(reader.bytes());
    return importer.finish();
}

Result<ExportReport> export_jsonl(Engine& engine, const Scope& scope, const ReadOptions& read,
                                  const std::function<Status(std::string_view)>& write,
                                  const std::function<void(std::uint64_t)>& progress) {
    ExportReport report;
    ManifestBuilder manifest;
    ListRequest request{.scope = scope,
                        .filter = {},
                        .order = ListOrder::oldest_first,
                        .limit = page_memories,
                        .cursor = {},
                        .include_forgotten = false,
                        .read = read};
    do {
        auto page = engine.list(request);
        if (!page) return page.error();
        if (report.exported == 0) report.seq = page->seq;
        for (const auto& memory : page->memories) {
            if (memory.payload != Payload::plain)
                return Error{ErrorCode::permission_denied,
                             "memories of users are sealed, and the store was opened without its root key",
                             {{"memory_id", to_string(memory.id)}}};
            SinkRecord record{memory, std::nullopt};
            if (!memory.embedding_model.empty()) {
                auto embedding = engine.embedding(scope, memory.id, read);
                if (!embedding && embedding.error().code == ErrorCode::not_found)
                    continue;  // Gone since it was listed.
                if (!embedding) return embedding.error();
                record.embedding = std::move(*embedding);
            }
            const auto line = to_line(record) + '\n';
            if (auto ok = write(line); !ok) return ok.error();
            manifest.add(memory.kind(), line);
            ++report.exported;
        }
        if (progress) progress(report.exported);
        request.cursor = std::move(page->next_cursor);
    } while (!request.cursor.empty());
    report.manifest = manifest.finish(report.seq);
    return report;
}

}  // namespace annal
