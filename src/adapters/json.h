// The JSON shapes of the API, as the command line prints them and as imports read them.
// Ids are strings, seq and version numbers, times RFC 3339 UTC, hashes hex. A memory's typed fields stand flat beside
// the rest; its metadata is the value itself, not text.
#pragma once

#include <annal/engine.h>

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace annal {

using Json = nlohmann::ordered_json;

Json to_json(const Scope& scope);  // Only the fields that are set.
Json to_json(const Source& source);
Json to_json(const Memory& memory);
Json to_json(const Receipt& receipt);
Json to_json(const ErasureReceipt& receipt);
Json to_json(const SearchAnswer& answer);
Json to_json(const ListAnswer& answer);
Json to_json(const HistoryEntry& entry);
Json to_json(const Engine::LogEntry& entry);
Json to_json(const std::vector<HistoryEntry>& history);  // {"events": [...]}
Json to_json(const DiffEntry& entry);
Json to_json(const Recall& recall);
Json to_json(const RecallsAnswer& answer);
Json to_json(const RunAnswer& answer);
Json to_json(const EngineStatus& status);
Json to_json(const BackupInfo& backup);
Json to_json(const ArchiveReport& report);
Json to_json(const SegmentReport& segment);
Json to_json(const VerifyReport& report);
Json to_json(const Error& error);  // {"error": {...}}

// One line of text. Bytes that are not UTF-8 become U+FFFD.
std::string to_text(const Json& json);

// Strict: one value and nothing after it, nested at most 64 deep, no key twice in an object, no integer that 64 bits do
// not hold. invalid_argument names `what` and the byte where it goes wrong.
Result<Json> parse_json(std::string_view text, std::string_view what);

// A memory as `get` shows it, of which only `content` is required. The scope's fields default to those of `defaults`.
// What only a store can say (seq, created_seq, version, recorded_at, updated_at, verified_at, superseded_by,
// embedding_model, embedding_dimension) is taken and left aside, so that an export can be imported.
// invalid_argument: an unknown field, a wrong type, a forgotten memory; the field is named. Limits are the engine's.
Result<RecordRequest> record_request_from_json(const Json& json, const Scope& defaults);

// What to_json made of a memory that can be read. invalid_argument names the field that is missing or wrong.
Result<Memory> memory_from_json(const Json& json);

// {"model": "...", "values": [...]}
Result<Embedding> embedding_from_json(const Json& json, std::string_view field);

// Sets one typed field. invalid_argument: the kind has no field of that name, or `value` is not of its type.
Status set_field(KindFields& fields, std::string_view name, const Json& value);
// The same from the command line: numbers and truth values are spelled as in JSON, text as it is.
Status set_field_from_text(KindFields& fields, std::string_view name, const std::string& text);

}  // namespace annal
