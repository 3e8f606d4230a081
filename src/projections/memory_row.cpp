#include "memory_row.h"

#include "events/bytes.h"

#include <bit>
#include <concepts>
#include <cstring>
#include <type_traits>
#include <utility>

namespace annal {
namespace {

constexpr char row_format = 1;
constexpr std::size_t fixed_bytes = 9;  // Format and recorded_at.

enum Set : std::uint16_t {  // What a state has beyond the usual. Stored: never change one.
    occurred_set = 1 << 0,
    confidence_set = 1 << 1,
    valid_from_set = 1 << 2,
    valid_to_set = 1 << 3,
    expires_set = 1 << 4,
    verified_set = 1 << 5,
    superseded_set = 1 << 6,
    forgotten_set = 1 << 7,
    embedding_set = 1 << 8,
};

// Wraps instead of overflowing, so that any two times have a difference and it leads back.
std::int64_t difference(Timestamp a, Timestamp b) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a.us) - static_cast<std::uint64_t>(b.us));
}
Timestamp sum(Timestamp a, std::int64_t difference) {
    return {static_cast<std::int64_t>(static_cast<std::uint64_t>(a.us) + static_cast<std::uint64_t>(difference))};
}

class Writer {
 public:
    explicit Writer(std::size_t expected) { bytes_.reserve(expected); }
    void byte(unsigned value) { bytes_.push_back(static_cast<char>(value)); }
    void fixed64(std::uint64_t value) {
        for (int i = 0; i < 8; ++i) byte(static_cast<unsigned>((value >> (8 * i)) & 0xff));
    }
    void number(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7) byte(static_cast<unsigned>(value & 0x7f) | 0x80);
        byte(static_cast<unsigned>(value));
    }
    void signed_number(std::int64_t value) {
        number((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
    }
    void text(std::string_view value) {
        number(value.size());
        bytes_.append(value);
    }
    void id(const MemoryId& id) { bytes_.append(as_text(id.bytes)); }
    std::string take() { return std::move(bytes_); }

 private:
    std::string bytes_;
};

// Reads past the end give zeros, and ok() is false from then on.
class Reader {
 public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}
    bool ok() const { return ok_; }
    bool ended() const { return ok_ && bytes_.empty(); }
    std::string_view take(std::size_t size) {
        if (size > bytes_.size()) {
            ok_ = false;
            bytes_ = {};
            return {};
        }
        const auto taken = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return taken;
    }
    std::uint8_t byte() {
        const auto taken = take(1);
        return taken.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(taken[0]);
    }
    std::uint64_t fixed64() {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < 8; ++i) value |= std::uint64_t{byte()} << (8 * i);
        return value;
    }
    std::uint64_t number() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const auto next = byte();
            value |= std::uint64_t{next & 0x7fu} << shift;
            if ((next & 0x80) == 0) return value;
        }
        ok_ = false;
        return 0;
    }
    std::int64_t signed_number() {
        const auto value = number();
        return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
    }
    std::string text() { return std::string(take(number())); }
    MemoryId id() {
        MemoryId id;
        if (const auto taken = take(id.bytes.size()); !taken.empty())
            std::memcpy(id.bytes.data(), taken.data(), taken.size());
        return id;
    }
    void fail() { ok_ = false; }

 private:
    std::string_view bytes_;
    bool ok_ = true;
};

Error damaged_memory(std::string_view what) {
    return {ErrorCode::data_loss, "a stored memory " + std::string(what) + " is damaged", {}};
}

void write_state(Writer& out, const Memory& memory) {
    unsigned set = 0;
    if (memory.occurred_at != memory.recorded_at) set |= occurred_set;
    if (memory.confidence != 1.0) set |= confidence_set;
    if (memory.valid_from) set |= valid_from_set;
    if (memory.valid_to) set |= valid_to_set;
    if (memory.expires_at) set |= expires_set;
    if (memory.verified_at) set |= verified_set;
    if (memory.superseded_by) set |= superseded_set;
    if (memory.forgotten) set |= forgotten_set;
    if (memory.embedding_dimension != 0 || !memory.embedding_model.empty()) set |= embedding_set;

    const auto time = [&](Timestamp value) { out.signed_number(difference(value, memory.recorded_at)); };
    out.number(memory.version.value);
    out.number(memory.seq.value);
    out.byte(set & 0xff);
    out.byte(set >> 8);
    out.byte(static_cast<unsigned>(memory.claim));
    time(memory.updated_at);
    out.number(memory.occurrence_count);
    out.number(memory.success_count);
    if (set & occurred_set) time(memory.occurred_at);
    if (set & confidence_set) out.fixed64(std::bit_cast<std::uint64_t>(memory.confidence));
    if (memory.valid_from) time(*memory.valid_from);
    if (memory.valid_to) time(*memory.valid_to);
    if (memory.expires_at) time(*memory.expires_at);
    if (memory.verified_at) time(*memory.verified_at);
    if (memory.superseded_by) out.id(*memory.superseded_by);
    if (set & embedding_set) {
        out.text(memory.embedding_model);
        out.number(memory.embedding_dimension);
    }
}

void read_state(Reader& in, Memory& memory) {
    const auto time = [&] { return sum(memory.recorded_at, in.signed_number()); };
    memory.version = {in.number()};
    memory.seq = {in.number()};
    const unsigned low = in.byte();
    const unsigned set = low | static_cast<unsigned>(in.byte()) << 8;
    const auto claim = in.byte();
    if (claim >= claim_names.size()) in.fail();
    memory.claim = static_cast<Claim>(claim < claim_names.size() ? claim : 0);
    memory.updated_at = time();
    memory.occurrence_count = in.number();
    memory.success_count = in.number();
    memory.occurred_at = set & occurred_set ? time() : memory.recorded_at;
    memory.confidence = set & confidence_set ? std::bit_cast<double>(in.fixed64()) : 1.0;
    const auto optional_time = [&](Set bit) { return set & bit ? std::optional(time()) : std::nullopt; };
    memory.valid_from = optional_time(valid_from_set);
    memory.valid_to = optional_time(valid_to_set);
    memory.expires_at = optional_time(expires_set);
    memory.verified_at = optional_time(verified_set);
    memory.superseded_by = set & superseded_set ? std::optional(in.id()) : std::nullopt;
    memory.forgotten = (set & forgotten_set) != 0;
    memory.embedding_model = set & embedding_set ? in.text() : std::string();
    memory.embedding_dimension = set & embedding_set ? static_cast<std::uint32_t>(in.number()) : 0;
}

struct FieldWriter {
    Writer& out;
    void operator()(const char*, const std::string& value) { out.text(value); }
    void operator()(const char*, bool value) { out.byte(value ? 1 : 0); }
    void operator()(const char*, double value) { out.fixed64(std::bit_cast<std::uint64_t>(value)); }
    void operator()(const char*, const std::optional<std::int64_t>& value) {
        out.byte(value ? 1 : 0);
        if (value) out.signed_number(*value);
    }
};

struct FieldReader {
    Reader& in;
    void operator()(const char*, std::string& value) { value = in.text(); }
    void operator()(const char*, bool& value) { value = in.byte() != 0; }
    void operator()(const char*, double& value) { value = std::bit_cast<double>(in.fixed64()); }
    void operator()(const char*, std::optional<std::int64_t>& value) {
        value = in.byte() != 0 ? std::optional(in.signed_number()) : std::nullopt;
    }
};

void write_body(Writer& out, const Memory& memory) {
    out.text(memory.content);
    out.number(memory.tags.size());
    for (const auto& tag : memory.tags) out.text(tag);
    out.text(memory.metadata == "null" ? std::string_view() : memory.metadata);
    std::visit([&](const auto& fields) { visit_fields(fields, FieldWriter{out}); }, memory.fields);
}

void read_body(Reader& in, Memory& memory) {
    memory.content = in.text();
    memory.tags.clear();
    for (auto left = in.number(); left > 0 && in.ok(); --left) memory.tags.push_back(in.text());
    memory.metadata = in.text();
    if (memory.metadata.empty()) memory.metadata = "null";
    std::visit([&](auto& fields) { visit_fields(fields, FieldReader{in}); }, memory.fields);
}

template <std::size_t... numbers>
KindFields fields_of(std::size_t kind, std::index_sequence<numbers...>) {
    KindFields fields;
    ((numbers == kind ? void(fields.emplace<numbers>()) : void()), ...);
    return fields;
}

}  // namespace

std::string encode_row(const Memory& memory, Version body_version) {
    Writer out(160 + memory.content.size() + memory.metadata.size());
    out.byte(row_format);
    out.fixed64(static_cast<std::uint64_t>(memory.recorded_at.us));
    out.number(body_version.value);
    out.id(memory.id);
    out.byte(static_cast<unsigned>(memory.kind()));
    out.text(memory.scope.agent);
    out.text(memory.scope.user);
    out.text(memory.scope.session);
    out.text(memory.actor);
    out.byte(static_cast<unsigned>(memory.source.type));
    out.text(memory.source.ref);
    write_state(out, memory);
    write_body(out, memory);
    return out.take();
}

Result<MemoryRow> decode_row(std::string_view project, Seq ordinal, std::string_view bytes) {
    Reader in(bytes);
    MemoryRow row;
    auto& memory = row.memory;
    if (in.byte() != row_format) return damaged_memory("row");
    memory.recorded_at = {static_cast<std::int64_t>(in.fixed64())};
    row.body_version = {in.number()};
    memory.id = in.id();
    const auto kind = in.byte();
    if (kind >= kind_count) return damaged_memory("row");
    memory.fields = fields_of(kind, std::make_index_sequence<kind_count>());
    memory.created_seq = ordinal;
    memory.scope.project = project;
    memory.scope.agent = in.text();
    memory.scope.user = in.text();
    memory.scope.session = in.text();
    memory.actor = in.text();
    const auto source = in.byte();
    if (source >= source_type_names.size()) return damaged_memory("row");
    memory.source.type = static_cast<SourceType>(source);
    memory.source.ref = in.text();
    read_state(in, memory);
    read_body(in, memory);
    if (!in.ended()) return damaged_memory("row");
    return row;
}

Result<Timestamp> row_recorded_at(std::string_view bytes) {
    if (bytes.size() < fixed_bytes || bytes[0] != row_format) return damaged_memory("row");
    return Timestamp{static_cast<std::int64_t>(Reader(bytes.substr(1)).fixed64())};
}

std::string encode_version(const Memory& memory, Version body_version, bool with_body) {
    Writer out(with_body ? 96 + memory.content.size() + memory.metadata.size() : 64);
    out.byte(row_format);
    out.number(body_version.value);
    write_state(out, memory);
    out.byte(with_body ? 1 : 0);
    if (with_body) write_body(out, memory);
    return out.take();
}

Result<MemoryVersion> decode_version(std::string_view bytes, Memory& memory) {
    Reader in(bytes);
    if (in.byte() != row_format) return damaged_memory("version");
    MemoryVersion version;
    version.body_version = {in.number()};
    read_state(in, memory);
    version.with_body = in.byte() != 0;
    if (version.with_body) read_body(in, memory);
    if (!in.ended()) return damaged_memory("version");
    return version;
}

std::string encode_body(const Memory& memory) {
    Writer out(32 + memory.content.size() + memory.metadata.size());
    out.byte(row_format);
    write_body(out, memory);
    return out.take();
}

Status decode_body(std::string_view bytes, Memory& memory) {
    Reader in(bytes);
    if (in.byte() != row_format) return damaged_memory("body");
    read_body(in, memory);
    if (!in.ended()) return damaged_memory("body");
    return Done{};
}

}  // namespace annal
