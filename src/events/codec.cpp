#include "codec.h"

#include "bytes.h"
#include "event_check.h"
#include "keystore.h"
#include "upcasters.h"

#include "memory_event_generated.h"

#include <annal/limits.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

namespace annal {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

constexpr std::uint8_t header_format = 1;
constexpr std::size_t builder_kept_bytes = std::size_t{64} << 10;  // By each thread that encodes.

static_assert(static_cast<std::size_t>(fbs::Body::MAX) == event_type_count);
static_assert(static_cast<std::size_t>(fbs::KindFields::MAX) + 1 == kind_count);

template <class T>
void put(std::span<std::uint8_t> header, std::size_t at, T value) {
    value = flatbuffers::EndianScalar(value);
    std::memcpy(header.data() + at, &value, sizeof value);
}
template <class T>
T get(std::string_view header, std::size_t at) {
    T value;
    std::memcpy(&value, header.data() + at, sizeof value);
    return flatbuffers::EndianScalar(value);
}

// ---- Encoding.

flatbuffers::Optional<std::int64_t> us(const std::optional<Timestamp>& time) {
    return time ? flatbuffers::Optional<std::int64_t>(time->us) : flatbuffers::nullopt;
}

// A change of an optional time, as a struct to point to.
class TimeChange {
 public:
    explicit TimeChange(const std::optional<std::optional<Timestamp>>& change) : given_(change.has_value()) {
        if (change) stored_ = fbs::OptionalTime(*change ? (*change)->us : 0, change->has_value());
    }
    const fbs::OptionalTime* get() const { return given_ ? &stored_ : nullptr; }

 private:
    bool given_;
    fbs::OptionalTime stored_;
};

// Writes the parts of one event. Once the texts alone are over the limit it copies no more of them.
class Writer {
 public:
    explicit Writer(FlatBufferBuilder& out) : out_(out) {}

    std::size_t payload_bytes() const { return payload_bytes_; }

    Offset<fbs::MemoryEvent> write(const MemoryEvent& event, const SealedPayload* payload) {
        Offset<fbs::Sealed> sealed;
        if (payload != nullptr) sealed = write(*payload);
        const auto body = std::visit([this](const auto& typed) { return write(typed).Union(); }, event.body);
        const auto correlation_id = unless_empty(event.correlation_id);
        const auto causation_id = unless_empty(event.causation_id);
        const auto reason = unless_empty(event.reason);
        Offset<fbs::Source> source;
        if (event.source != Source{})
            source =
                fbs::CreateSource(out_, static_cast<std::uint8_t>(event.source.type), unless_empty(event.source.ref));
        const auto actor = unless_empty(event.actor);
        const auto session = unless_empty(event.scope.session);
        const auto user = unless_empty(event.scope.user);
        const auto agent = unless_empty(event.scope.agent);
        const auto scope = fbs::CreateScope(out_, text(event.scope.project), agent, user, session);
        const auto memory_id = std::bit_cast<fbs::Id>(event.memory_id.bytes);
        const auto event_id = std::bit_cast<fbs::Id>(event.event_id.bytes);
        return fbs::CreateMemoryEvent(out_, &memory_id, &event_id, scope, us(event.occurred_at), actor, source, reason,
                                      causation_id, correlation_id, static_cast<fbs::Body>(event.type()), body, sealed);
    }

 private:
    bool fits(std::size_t bytes) {
        payload_bytes_ += bytes;
        return payload_bytes_ <= limits::event_bytes_max;
    }
    Offset<flatbuffers::String> text(std::string_view value) {
        return fits(value.size()) ? out_.CreateString(value.data(), value.size()) : out_.CreateString("", 0);
    }
    Offset<flatbuffers::String> unless_empty(std::string_view value) {
        return value.empty() ? Offset<flatbuffers::String>{} : text(value);
    }
    Offset<flatbuffers::String> if_given(const std::optional<std::string>& value) {
        return value ? text(*value) : Offset<flatbuffers::String>{};
    }

    Offset<flatbuffers::Vector<Offset<flatbuffers::String>>> list(const std::vector<std::string>& values) {
        if (!fits(values.size() * sizeof(flatbuffers::uoffset_t))) return {};
        std::vector<Offset<flatbuffers::String>> offsets;
        offsets.reserve(values.size());
        for (const auto& value : values) offsets.push_back(text(value));
        return out_.CreateVector(offsets.data(), offsets.size());
    }

    Offset<fbs::Embedding> write(const std::optional<Embedding>& embedding, float norm) {
        if (!embedding) return {};
        const std::size_t count = fits(embedding->values.size() * sizeof(float)) ? embedding->values.size() : 0;
        const auto values = out_.CreateVector(embedding->values.data(), count);
        return fbs::CreateEmbedding(out_, text(embedding->model), values, norm);
    }

    Offset<fbs::Sealed> write(const SealedPayload& sealed) {
        const auto* data = reinterpret_cast<const std::uint8_t*>(sealed.bytes.data());
        const auto bytes = out_.CreateVector(data, fits(sealed.bytes.size()) ? sealed.bytes.size() : 0);
        const auto key_id = std::bit_cast<fbs::Id>(sealed.key.bytes);
        const auto nonce = std::bit_cast<fbs::Nonce>(sealed.nonce);
        return fbs::CreateSealed(out_, &key_id, &nonce, bytes);
    }

    Offset<void> write(const KindFields& fields) {
        return std::visit([this](const auto& typed) { return write(typed); }, fields);
    }
    Offset<void> write(std::monostate) { return {}; }
    Offset<void> write(const HeuristicFields& f) {
        const auto condition = unless_empty(f.condition);
        return fbs::CreateHeuristicFields(out_, condition, unless_empty(f.strategy)).Union();
    }
    Offset<void> write(const OutcomeFields& f) {
        const auto task_type = unless_empty(f.task_type);
        const auto task_description = unless_empty(f.task_description);
        const auto strategy_used = unless_empty(f.strategy_used);
        const auto error_message = unless_empty(f.error_message);
        const auto user_feedback = unless_empty(f.user_feedback);
        const auto duration_ms =
            f.duration_ms ? flatbuffers::Optional<std::int64_t>(*f.duration_ms) : flatbuffers::nullopt;
        return fbs::CreateOutcomeFields(out_, task_type, task_description, strategy_used, f.success, duration_ms,
                                        error_message, user_feedback)
            .Union();
    }
    Offset<void> write(const PreferenceFields& f) {
        return fbs::CreatePreferenceFields(out_, unless_empty(f.category)).Union();
    }
    Offset<void> write(const DomainKnowledgeFields& f) {
        return fbs::CreateDomainKnowledgeFields(out_, unless_empty(f.domain)).Union();
    }
    Offset<void> write(const AntiPatternFields& f) {
        const auto why_bad = unless_empty(f.why_bad);
        return fbs::CreateAntiPatternFields(out_, why_bad, unless_empty(f.better_alternative)).Union();
    }
    Offset<void> write(const EntityFields& f) {
        const auto name = unless_empty(f.name);
        return fbs::CreateEntityFields(out_, name, unless_empty(f.entity_type)).Union();
    }
    Offset<void> write(const RelationFields& f) {
        const auto source_id = unless_empty(f.source_id);
        const auto target_id = unless_empty(f.target_id);
        const auto relation_type = unless_empty(f.relation_type);
        return fbs::CreateRelationFields(out_, source_id, target_id, relation_type, f.strength, f.bidirectional)
            .Union();
    }

    Offset<fbs::MemoryRecorded> write(const MemoryRecorded& b) {
        const auto embedding = write(b.embedding, b.embedding_norm);
        const auto metadata = b.metadata == "null" ? Offset<flatbuffers::String>{} : text(b.metadata);
        const auto tags = b.tags.empty() ? Offset<flatbuffers::Vector<Offset<flatbuffers::String>>>{} : list(b.tags);
        const auto fields = write(b.fields);
        const auto content = text(b.content);
        return fbs::CreateMemoryRecorded(out_, content, static_cast<fbs::KindFields>(b.fields.index()), fields, tags,
                                         metadata, static_cast<std::uint8_t>(b.claim), b.confidence, b.occurrence_count,
                                         b.success_count, us(b.valid_from), us(b.valid_to), us(b.expires_at),
                                         embedding);
    }
    Offset<fbs::MemoryRevised> write(const MemoryRevised& b) {
        const auto embedding = write(b.embedding, b.embedding_norm);
        const auto metadata = if_given(b.metadata);
        const auto tags = b.tags ? list(*b.tags) : Offset<flatbuffers::Vector<Offset<flatbuffers::String>>>{};
        const auto kind = b.fields ? static_cast<fbs::KindFields>(b.fields->index()) : fbs::KindFields::NONE;
        const auto fields = b.fields ? write(*b.fields) : Offset<void>{};
        const auto content = if_given(b.content);
        const TimeChange valid_from(b.valid_from);
        const TimeChange valid_to(b.valid_to);
        const TimeChange expires_at(b.expires_at);
        return fbs::CreateMemoryRevised(out_, content, kind, fields, tags, metadata, us(b.occurred_at),
                                        valid_from.get(), valid_to.get(), expires_at.get(), embedding);
    }
    Offset<fbs::MemoryReinforced> write(const MemoryReinforced& b) {
        return fbs::CreateMemoryReinforced(out_, b.success);
    }
    Offset<fbs::ClaimPromoted> write(const ClaimPromoted& b) {
        return fbs::CreateClaimPromoted(out_, static_cast<std::uint8_t>(b.from), static_cast<std::uint8_t>(b.to));
    }
    Offset<fbs::ConfidenceChanged> write(const ConfidenceChanged& b) {
        return fbs::CreateConfidenceChanged(out_, b.from, b.to);
    }
    Offset<fbs::MemoryVerified> write(const MemoryVerified& b) {
        const auto status = text(b.status);
        return fbs::CreateMemoryVerified(out_, status, unless_empty(b.method), b.confidence);
    }
    Offset<fbs::MemorySuperseded> write(const MemorySuperseded& b) {
        const auto by = std::bit_cast<fbs::Id>(b.by.bytes);
        return fbs::CreateMemorySuperseded(out_, &by);
    }
    Offset<fbs::MemoryForgotten> write(const MemoryForgotten& b) {
        return fbs::CreateMemoryForgotten(out_, b.for_good);
    }
    Offset<fbs::MemoryRestored> write(const MemoryRestored& b) {
        return fbs::CreateMemoryRestored(out_, b.forgotten_at.value);
    }
    Offset<fbs::ErasureRequested> write(const ErasureRequested& b) {
        return fbs::CreateErasureRequested(out_, text(b.subject), b.memories, b.events, b.unsealed_events);
    }
    Offset<fbs::ErasureCompleted> write(const ErasureCompleted& b) {
        return fbs::CreateErasureCompleted(out_, b.requested_at.value, b.memories, b.keystore_epoch);
    }
    Offset<fbs::MemoryRecalled> write(const MemoryRecalled& b) {
        const auto run_id = unless_empty(b.run_id);
        const auto query = unless_empty(b.query);
        const auto memory = std::bit_cast<fbs::Id>(b.memory.bytes);
        const auto mode = static_cast<std::uint8_t>(b.mode ? static_cast<unsigned>(*b.mode) + 1 : 0);
        return fbs::CreateMemoryRecalled(out_, run_id, query, b.rank, b.score, b.memory.is_nil() ? nullptr : &memory,
                                         b.place, b.as_of.value, mode, b.by_vector, b.of_any_user);
    }
    Offset<fbs::PolicyChanged> write(const PolicyChanged& b) {
        const auto name = text(b.name);
        const auto value = unless_empty(b.value);
        return fbs::CreatePolicyChanged(out_, name, value, unless_empty(b.previous));
    }

    FlatBufferBuilder& out_;
    std::size_t payload_bytes_ = 0;
};

Error too_big(std::size_t bytes) {
    return {
        ErrorCode::resource_exhausted,
        "the event has " + std::to_string(bytes) + " bytes; the limit is " + std::to_string(limits::event_bytes_max),
        {{"bytes", std::to_string(bytes)}, {"limit", std::to_string(limits::event_bytes_max)}}};
}

Result<EncodedEvent> encode(const MemoryEvent& event, const SealedPayload* sealed) {
    thread_local FlatBufferBuilder builder;
    builder.Clear();
    Writer writer(builder);
    fbs::FinishMemoryEventBuffer(builder, writer.write(event, sealed));
    const std::size_t table_bytes = builder.GetSize();

    const std::size_t bytes = event_header_bytes + std::max(table_bytes, writer.payload_bytes());
    const bool fits = bytes <= limits::event_bytes_max;
    std::vector<std::uint8_t> stored;
    Flaw flaw;
    if (fits) {
        flaw = check(*fbs::GetMemoryEvent(builder.GetBufferPointer()));
        std::array<std::uint8_t, event_header_bytes> header{};
        header[0] = header_format;
        put(header, 2, static_cast<std::uint16_t>(event.type()));
        put(header, 4, schema_version_current);
        stored.reserve(bytes);
        stored.insert(stored.end(), header.begin(), header.end());
        stored.insert(stored.end(), builder.GetBufferPointer(), builder.GetBufferPointer() + table_bytes);
    }
    if (table_bytes > builder_kept_bytes) builder.Reset();
    if (!fits) return too_big(bytes);
    if (flaw)
        return Error{ErrorCode::invalid_argument,
                     std::string(flaw.field) + " " + std::string(flaw.rule),
                     {{"field", std::string(flaw.field)}}};
    return EncodedEvent{event.memory_id, event.event_id, event.type(), std::move(stored)};
}

// ---- Decoding.

Error damaged(Seq seq, std::string_view what) {
    return {ErrorCode::data_loss,
            "event " + std::to_string(seq.value) + " is damaged: " + std::string(what),
            {{"seq", std::to_string(seq.value)}}};
}

Error newer(Seq seq, std::uint16_t version, std::uint16_t current) {
    return {ErrorCode::unimplemented,
            "event " + std::to_string(seq.value) + " has schema version " + std::to_string(version) +
                "; this build reads up to " + std::to_string(current),
            {{"seq", std::to_string(seq.value)},
             {"schema_version", std::to_string(version)},
             {"supported", std::to_string(current)}}};
}

bool verify(std::span<const std::uint8_t> table) {
    flatbuffers::Verifier::Options options;
    options.max_depth = 32;
    options.max_tables = 10'000;
    flatbuffers::Verifier verifier(table.data(), table.size(), options);
    return fbs::VerifyMemoryEventBuffer(verifier);
}

// The table of an event, lifted to the current schema version and verified.
Result<const fbs::MemoryEvent*> read_table(Seq seq, const EventHeader& header, std::span<const std::uint8_t> table,
                                           EventArena& arena, const Upcasters& lifts) {
    for (auto from = header.schema_version; from < lifts.current; ++from) {
        const Upcaster lift = lifts.find(header.type, from);
        if (lift == nullptr)
            return Error{ErrorCode::internal,
                         "there is no upcaster for " + std::string(to_string(header.type)) + " of schema version " +
                             std::to_string(from),
                         {{"seq", std::to_string(seq.value)}}};
        const auto lifted = lift(table);
        if (!lifted) return damaged(seq, lifted.error().message);
        table = arena.copy(as_text(*lifted));
    }
    if (!verify(table)) return damaged(seq, "its table does not verify");
    const auto* event = fbs::GetMemoryEvent(table.data());
    if (static_cast<std::uint16_t>(event->body_type()) != static_cast<std::uint16_t>(header.type))
        return damaged(seq, "header and body are of two types");
    if (const Flaw flaw = check(*event)) return damaged(seq, std::string(flaw.field) + " " + std::string(flaw.rule));
    return event;
}

}  // namespace

Result<EncodedEvent> encode(const MemoryEvent& event) {
    return encode(event, nullptr);
}

Result<EncodedEvent> encode(const MemoryEvent& shell, const SealedPayload& sealed) {
    return encode(shell, &sealed);
}

void stamp(std::span<std::uint8_t> stored, Version version, Timestamp recorded_at) {
    put(stored, 8, version.value);
    put(stored, 16, recorded_at.us);
}

Result<EventHeader> read_header(std::string_view stored) {
    const auto refuse = [](std::string_view what) {
        return Error{ErrorCode::data_loss, "the header of an event is damaged: " + std::string(what), {}};
    };
    if (stored.size() < event_header_bytes) return refuse("it is cut short");
    if (get<std::uint8_t>(stored, 0) != header_format) return refuse("it is of no known format");
    if (get<std::uint8_t>(stored, 1) != 0 || get<std::uint16_t>(stored, 6) != 0 || get<std::uint64_t>(stored, 24) != 0)
        return refuse("what must be zero is not");
    const auto type = get<std::uint16_t>(stored, 2);
    const auto schema_version = get<std::uint16_t>(stored, 4);
    // A newer schema may know more types; whoever needs its body is told so by decode().
    if (type == 0 || (type > event_type_count && schema_version <= schema_version_current))
        return refuse("there is no such event type");
    return EventHeader{static_cast<EventType>(type), schema_version, Version{get<std::uint64_t>(stored, 8)},
                       Timestamp{get<std::int64_t>(stored, 16)}};
}

Result<EventView> decode(Seq seq, std::string_view stored, EventArena& arena) {
    return decode(seq, stored, arena, upcasters());
}

Result<EventView> decode(Seq seq, std::string_view stored, EventArena& arena, const Upcasters& lifts) {
    const auto header = read_header(stored);
    if (!header) return damaged(seq, header.error().message);
    if (header->schema_version > lifts.current) return newer(seq, header->schema_version, lifts.current);
    if (header->schema_version < lifts.first) return damaged(seq, "there never was such a schema version");
    if (header->version == Version{}) return damaged(seq, "it has no version");
    if (!can_be_spelled(header->recorded_at)) return damaged(seq, "recorded_at is out of range");
    if (stored.size() - event_header_bytes >= FLATBUFFERS_MAX_BUFFER_SIZE) return damaged(seq, "it is too big");

    const std::span<const std::uint8_t> bytes = arena.copy(stored);
    const auto event = read_table(seq, *header, bytes.subspan(event_header_bytes), arena, lifts);
    if (!event) return event.error();
    const auto payload = (*event)->sealed() == nullptr ? Payload::plain : Payload::sealed;
    return EventView(seq, header->version, header->recorded_at, header->type, *event, bytes, payload);
}

Result<EventView> decode_sealed(const EventView& outer, std::string_view table, EventArena& arena) {
    const auto header = read_header(as_text(outer.stored()));
    if (!header) return header.error();
    const auto event = read_table(outer.seq(), *header, arena.copy(table), arena, upcasters());
    if (!event) return event.error();
    const EventView view(outer.seq(), outer.version(), outer.recorded_at(), outer.type(), *event, outer.stored(),
                         Payload::plain);
    const bool same = view.memory_id() == outer.memory_id() && view.event_id() == outer.event_id() &&
                      view.project() == outer.project() && view.agent() == outer.agent() &&
                      view.user() == outer.user() && view.session() == outer.session();
    if (!same || (*event)->sealed() != nullptr) return damaged(outer.seq(), "what was sealed in it is another event");
    return view;
}

}  // namespace annal
