#include "event_seal.h"

#include "bytes.h"
#include "memory_event_generated.h"

#include <algorithm>

namespace annal {
namespace {

template <std::size_t... i>
EventBody empty_body(EventType type, std::index_sequence<i...>) {
    EventBody body;
    static_cast<void>(((static_cast<std::size_t>(type) == i + 1 && (body.emplace<i>(), true)) || ...));
    return body;
}

std::string bound_to(const EventId& event, EventType type, std::uint16_t schema_version) {
    std::string bound(as_text(event.bytes));
    for (const auto number : {static_cast<std::uint16_t>(type), schema_version}) {  // Little endian.
        bound += static_cast<char>(number);
        bound += static_cast<char>(number >> 8);
    }
    return bound;
}

std::string text(const flatbuffers::String* value) {
    return value == nullptr ? std::string() : value->str();
}

Scope scope_of(const fbs::MemoryEvent& table) {
    const auto& scope = *table.scope();
    return {text(scope.project()), text(scope.agent()), text(scope.user()), text(scope.session())};
}

MemoryEvent shell_of(const MemoryId& memory, const EventId& event, EventType type, const fbs::MemoryEvent& table) {
    MemoryEvent shell;
    shell.memory_id = memory;
    shell.event_id = event;
    shell.scope = scope_of(table);
    shell.body = empty_body(type, std::make_index_sequence<event_type_count>());
    return shell;
}

EventView with(const EventView& event, const fbs::MemoryEvent& table, Payload payload) {
    return {event.seq(), event.version(), event.recorded_at(), event.type(), &table, event.stored(), payload};
}

}  // namespace

bool is_personal(EventType type) {
    return type != EventType::erasure_requested && type != EventType::erasure_completed &&
           type != EventType::policy_changed;
}

Status seal(Keystore& keystore, EncodedEvent& event) {
    if (keystore.state() == KeystoreState::off) return Done{};
    const auto& table = *fbs::GetMemoryEvent(event.bytes.data() + event_header_bytes);
    const auto& scope = *table.scope();
    if (!is_personal(event.type) || scope.user() == nullptr || scope.user()->size() == 0 || table.sealed() != nullptr)
        return Done{};
    const auto shell = shell_of(event.memory_id, event.event_id, event.type, table);
    const std::string_view payload(reinterpret_cast<const char*>(event.bytes.data()) + event_header_bytes,
                                   event.bytes.size() - event_header_bytes);
    const auto sealed = keystore.seal({shell.scope.project, shell.scope.user},
                                      bound_to(event.event_id, event.type, schema_version_current), payload);
    if (!sealed) return sealed.error();
    auto outer = encode(shell, *sealed);
    if (!outer) return outer.error();
    event = *std::move(outer);
    return Done{};
}

Status unseal(const Keystore& keystore, EventView& event, EventArena& arena) {
    if (event.payload() != Payload::sealed || keystore.state() == KeystoreState::locked) return Done{};
    const auto erased = with(event, event.table(), Payload::erased);
    if (keystore.state() == KeystoreState::off) {  // This store never had a keystore: sealed in another one.
        event = erased;
        return Done{};
    }
    const auto& stored = *event.table().sealed();
    const std::string_view head(reinterpret_cast<const char*>(event.stored().data()), event_header_bytes);
    const auto header = read_header(head);
    if (!header) return header.error();
    SealedPayload sealed;
    std::copy(stored.key_id()->bytes()->begin(), stored.key_id()->bytes()->end(), sealed.key.bytes.begin());
    std::copy(stored.nonce()->bytes()->begin(), stored.nonce()->bytes()->end(), sealed.nonce.begin());
    sealed.bytes.assign(reinterpret_cast<const char*>(stored.bytes()->data()), stored.bytes()->size());
    const auto unsealed = keystore.unseal(sealed, bound_to(event.event_id(), event.type(), header->schema_version));
    if (!unsealed)
        return Error{unsealed.error().code,
                     "event " + std::to_string(event.seq().value) + ": " + unsealed.error().message,
                     {{"seq", std::to_string(event.seq().value)}}};
    if (unsealed->state == Payload::erased) {
        event = erased;
        return Done{};
    }
    const auto opened = decode_sealed(event, unsealed->payload, arena);
    if (!opened) return opened.error();
    event = *opened;
    return Done{};
}

Status make_erased(EventView& event, EventArena& arena) {
    if (event.payload() != Payload::plain) {
        event = with(event, event.table(), Payload::erased);
        return Done{};
    }
    // Stored in the clear: a shell without its content stands for it.
    auto shell = encode(shell_of(event.memory_id(), event.event_id(), event.type(), event.table()), SealedPayload{});
    if (!shell) return shell.error();
    const auto bytes = arena.copy(as_text(shell->bytes).substr(event_header_bytes));
    event = with(event, *fbs::GetMemoryEvent(bytes.data()), Payload::erased);
    return Done{};
}

}  // namespace annal
