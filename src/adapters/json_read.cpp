// From JSON to requests: every field is known, of its type, and named when it is not.
#include "json.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cmath>
#include <set>

namespace annal {
namespace {

constexpr std::size_t depth_max = 64;

Error refuse(std::string_view field, const std::string& message) {
    return {ErrorCode::invalid_argument, std::string(field) + " " + message, {{"field", std::string(field)}}};
}

// Walks the text once before anything is built of it, so that no depth can hurt and nothing is rounded unnoticed.
class StrictChecker : public nlohmann::json_sax<Json> {
 public:
    std::string failure;

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t& written) override {
        return written.find_first_of(".eE") != std::string::npos ||
               fail("holds an integer of more than 64 bits; write it as a string");
    }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return open(); }
    bool start_array(std::size_t) override { return open(); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
        return keys_.back().insert(name).second || fail("has the key '" + name.substr(0, 64) + "' twice in one object");
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        return fail("is not JSON: it goes wrong at byte " + std::to_string(position));
    }

 private:
    bool open() {
        keys_.emplace_back();
        return keys_.size() <= depth_max || fail("is nested deeper than " + std::to_string(depth_max) + " levels");
    }
    bool close() {
        keys_.pop_back();
        return true;
    }
    bool fail(std::string why) {
        failure = std::move(why);
        return false;
    }

    std::vector<std::set<std::string>> keys_;
};

// Reads the fields of one object; the first thing wrong is kept, and what follows is skipped.
class ObjectReader {
 public:
    ObjectReader(const Json& json, std::string prefix) : prefix_(std::move(prefix)) {
        if (json.is_object())
            object_ = &json;
        else
            fail(refuse(prefix_.empty() ? "the memory" : prefix_, "must be an object"));
    }

    // Null stands for "not given".
    const Json* find(std::string_view name) {
        if (!status_) return nullptr;
        known_.insert(std::string(name));
        const auto at = object_->find(std::string(name));
        return at == object_->end() || at->is_null() ? nullptr : &*at;
    }
    void ignore(std::string_view name) { known_.insert(std::string(name)); }

    void read(std::string_view name, std::string& out) {
        if (const Json* value = find(name)) {
            if (!value->is_string()) return wrong(name, "text");
            out = value->get<std::string>();
        }
    }
    void read(std::string_view name, double& out) {
        if (const Json* value = find(name)) {
            if (!value->is_number()) return wrong(name, "a number");
            out = value->get<double>();
        }
    }
    void read(std::string_view name, std::uint64_t& out) {
        if (const Json* value = find(name)) {
            if (!value->is_number_unsigned()) return wrong(name, "a whole number from 0");
            out = value->get<std::uint64_t>();
        }
    }
    void read(std::string_view name, std::optional<Timestamp>& out) {
        std::string text;
        read(name, text);
        if (!status_ || text.empty()) {
            if (status_ && find(name))
                fail(refuse(full(name), "must be an RFC 3339 time such as 2026-11-20T17:23:26Z"));
            return;
        }
        auto time = parse_timestamp(text, full(name));
        if (!time) return fail(time.error());
        out = *time;
    }
    // A name of an enumeration, as `parse` knows them.
    template <class Parse, class Value>
    void read(std::string_view name, const Parse& parse, Value& out, std::string_view values) {
        std::string text;
        read(name, text);
        if (!status_ || !find(name)) return;
        const auto value = parse(text);
        if (!value) return fail(refuse(full(name), "must be one of " + std::string(values)));
        out = *value;
    }
    void read(std::string_view name, std::vector<std::string>& out) {
        const Json* value = find(name);
        if (!value) return;
        if (!value->is_array()) return wrong(name, "a list of texts");
        for (const auto& item : *value) {
            if (!item.is_string()) return wrong(name, "a list of texts");
            out.push_back(item.get<std::string>());
        }
    }

    std::string full(std::string_view name) const {
        return prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name);
    }
    void wrong(std::string_view name, std::string_view type) {
        fail(refuse(full(name), "must be " + std::string(type)));
    }
    void fail(Error error) {
        if (status_) status_ = std::move(error);
    }
    bool ok() const { return static_cast<bool>(status_); }

    // The first thing wrong, an unknown field being the last to be looked for.
    Status finish() {
        if (!status_) return status_;
        for (const auto& [name, value] : object_->items())
            if (!known_.contains(name)) return refuse(full(name.substr(0, 128)), "is not a field there");
        return Done{};
    }

 private:
    const Json* object_ = nullptr;
    std::string prefix_;
    std::set<std::string> known_;
    Status status_ = Done{};
};

template <class Names>
std::string join(const Names& names) {
    std::string text;
    for (const auto name : names) text += (text.empty() ? "" : ", ") + std::string(name);
    return text;
}

std::string kind_names() {
    std::array<std::string_view, kind_count> names;
    for (std::size_t i = 0; i < kind_count; ++i) names[i] = kind_table[i].name;
    return join(names);
}

Status read_value(std::string_view name, const Json& value, std::string& out) {
    if (!value.is_string()) return refuse(name, "must be text");
    out = value.get<std::string>();
    return Done{};
}
Status read_value(std::string_view name, const Json& value, bool& out) {
    if (!value.is_boolean()) return refuse(name, "must be true or false");
    out = value.get<bool>();
    return Done{};
}
Status read_value(std::string_view name, const Json& value, double& out) {
    if (!value.is_number()) return refuse(name, "must be a number");
    out = value.get<double>();
    return Done{};
}
Status read_value(std::string_view name, const Json& value, std::optional<std::int64_t>& out) {
    if (value.is_null()) {
        out.reset();
        return Done{};
    }
    if (!value.is_number_integer() ||
        (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)))
        return refuse(name, "must be a whole number of 63 bits");
    out = value.get<std::int64_t>();
    return Done{};
}

Scope read_scope(ObjectReader& reader, const Scope& defaults) {
    Scope scope = defaults;
    const Json* json = reader.find("scope");
    if (!json) return scope;
    ObjectReader fields(*json, "scope");
    fields.read("project", scope.project);
    fields.read("agent", scope.agent);
    fields.read("user", scope.user);
    fields.read("session", scope.session);
    if (auto ok = fields.finish(); !ok) reader.fail(ok.error());
    return scope;
}

Source read_source(ObjectReader& reader) {
    Source source;
    const Json* json = reader.find("source");
    if (!json) return source;
    ObjectReader fields(*json, "source");
    fields.read("type", parse_source_type, source.type, join(source_type_names));
    fields.read("ref", source.ref);
    if (auto ok = fields.finish(); !ok) reader.fail(ok.error());
    return source;
}

template <class Id, class Parse>
void read_id(ObjectReader& reader, std::string_view name, const Parse& parse, std::optional<Id>& out) {
    std::string text;
    reader.read(name, text);
    if (!reader.find(name)) return;
    auto id = parse(text);
    if (!id) return reader.fail(id.error());
    out = *id;
}

void read_fields(ObjectReader& reader, KindFields& fields) {
    Kind kind = Kind::note;
    reader.read("kind", parse_kind, kind, kind_names());
    fields = empty_fields(kind);
    std::visit(
        [&](auto& typed) {
            visit_fields(typed, [&](std::string_view name, auto& member) {
                if (const Json* value = reader.find(name))
                    if (auto ok = read_value(name, *value, member); !ok) reader.fail(ok.error());
            });
        },
        fields);
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view what) {
    StrictChecker checker;
    if (!Json::sax_parse(text, &checker)) return refuse(what, checker.failure);
    return Json::parse(text, nullptr, false);
}

Status set_field(KindFields& fields, std::string_view name, const Json& value) {
    Status result = refuse(name, "is not a field of a " + std::string(to_string(kind_of(fields))));
    std::visit(
        [&](auto& typed) {
            visit_fields(typed, [&](std::string_view field, auto& member) {
                if (field == name) result = read_value(name, value, member);
            });
        },
        fields);
    return result;
}

Status set_field_from_text(KindFields& fields, std::string_view name, const std::string& text) {
    bool is_text = true;
    std::visit(
        [&](auto& typed) {
            visit_fields(typed, [&](std::string_view field, auto& member) {
                if (field == name) is_text = std::is_same_v<std::remove_cvref_t<decltype(member)>, std::string>;
            });
        },
        fields);
    if (is_text) return set_field(fields, name, Json(text));
    auto value = parse_json(text, name);
    if (!value) return value.error();
    return set_field(fields, name, *value);
}

Result<Embedding> embedding_from_json(const Json& json, std::string_view field) {
    ObjectReader reader(json, std::string(field));
    Embedding embedding;
    reader.read("model", embedding.model);
    if (const Json* values = reader.find("values")) {
        if (!values->is_array()) {
            reader.wrong("values", "a list of numbers");
        } else {
            embedding.values.reserve(values->size());
            for (const auto& value : *values) {
                if (!value.is_number()) {
                    reader.wrong("values", "a list of numbers");
                    break;
                }
                embedding.values.push_back(static_cast<float>(value.get<double>()));
            }
        }
    }
    if (auto ok = reader.finish(); !ok) return ok.error();
    return embedding;
}

Result<RecordRequest> record_request_from_json(const Json& json, const Scope& defaults) {
    ObjectReader reader(json, "");
    RecordRequest request;
    if (reader.ok() && !reader.find("content")) reader.fail(refuse("content", "is required"));
    reader.read("content", request.content);

    read_fields(reader, request.fields);
    reader.read("tags", request.tags);
    if (const Json* metadata = reader.find("metadata")) request.metadata = to_text(*metadata);
    reader.read("claim", parse_claim, request.claim, join(claim_names));
    reader.read("confidence", request.confidence);
    reader.read("occurrence_count", request.occurrence_count);
    reader.read("success_count", request.success_count);
    reader.read("occurred_at", request.occurred_at);
    reader.read("valid_from", request.valid_from);
    reader.read("valid_to", request.valid_to);
    reader.read("expires_at", request.expires_at);
    if (const Json* given = reader.find("embedding")) {
        auto embedding = embedding_from_json(*given, "embedding");
        if (!embedding)
            reader.fail(embedding.error());
        else
            request.embedding = std::move(*embedding);
    }
    read_id(reader, "memory_id", parse_memory_id, request.memory_id);
    request.scope = read_scope(reader, defaults);
    request.context.source = read_source(reader);
    reader.read("actor", request.context.actor);
    reader.read("reason", request.context.reason);
    reader.read("correlation_id", request.context.correlation_id);
    reader.read("causation_id", request.context.causation_id);
    reader.read("idempotency_key", request.context.idempotency_key);

    if (const Json* forgotten = reader.find("forgotten")) {
        if (!forgotten->is_boolean())
            reader.wrong("forgotten", "true or false");
        else if (forgotten->get<bool>())
            reader.fail(refuse("forgotten", "may not be true: what was forgotten is not brought back"));
    }
    for (const auto name : {"seq", "created_seq", "version", "recorded_at", "updated_at", "verified_at",
                            "superseded_by", "embedding_model", "embedding_dimension"})
        reader.ignore(name);
    if (auto ok = reader.finish(); !ok) return ok.error();
    return request;
}

Result<Memory> memory_from_json(const Json& json) {
    ObjectReader reader(json, "");
    for (const auto* name : {"memory_id", "version", "seq", "created_seq", "kind", "content", "scope", "recorded_at",
                             "updated_at", "occurred_at"})
        if (reader.ok() && !reader.find(name)) reader.fail(refuse(name, "is required"));
    Memory memory;
    std::optional<MemoryId> id;
    read_id(reader, "memory_id", parse_memory_id, id);
    memory.id = id.value_or(MemoryId{});
    reader.read("version", memory.version.value);
    reader.read("seq", memory.seq.value);
    reader.read("created_seq", memory.created_seq.value);
    read_fields(reader, memory.fields);
    reader.read("content", memory.content);
    reader.read("tags", memory.tags);
    if (const Json* metadata = reader.find("metadata")) memory.metadata = to_text(*metadata);
    reader.read("claim", parse_claim, memory.claim, join(claim_names));
    reader.read("confidence", memory.confidence);
    reader.read("occurrence_count", memory.occurrence_count);
    reader.read("success_count", memory.success_count);
    memory.scope = read_scope(reader, {});
    reader.read("actor", memory.actor);
    memory.source = read_source(reader);
    const auto read_time = [&](std::string_view name, Timestamp& out) {
        std::optional<Timestamp> time;
        reader.read(name, time);
        if (time) out = *time;
    };
    read_time("recorded_at", memory.recorded_at);
    read_time("updated_at", memory.updated_at);
    read_time("occurred_at", memory.occurred_at);
    reader.read("valid_from", memory.valid_from);
    reader.read("valid_to", memory.valid_to);
    reader.read("expires_at", memory.expires_at);
    reader.read("verified_at", memory.verified_at);
    read_id(reader, "superseded_by", parse_memory_id, memory.superseded_by);
    if (const Json* forgotten = reader.find("forgotten")) {
        if (!forgotten->is_boolean())
            reader.wrong("forgotten", "true or false");
        else
            memory.forgotten = forgotten->get<bool>();
    }
    reader.read("embedding_model", memory.embedding_model);
    std::uint64_t dimension = 0;
    reader.read("embedding_dimension", dimension);
    memory.embedding_dimension = static_cast<std::uint32_t>(dimension);
    reader.ignore("embedding");  // Beside it, in an export.
    if (auto ok = reader.finish(); !ok) return ok.error();
    return memory;
}

}  // namespace annal
