// Events to bytes and back. Stored bytes are verified before anything reads them.
//
// A stored event is a 32-byte header and a FlatBuffers MemoryEvent, identifier "ANNL" (schema/memory_event.fbs):
//   offset  size  field                 (little endian)
//        0     1  header format, 1
//        1     1  flags, 0
//        2     2  event type
//        4     2  schema version
//        6     2  zero
//        8     8  version within the stream
//       16     8  recorded_at, us
//       24     8  zero
//       32     n  FlatBuffer
// The seq is the key it is stored under. The header can be read without FlatBuffers, so a replay can pass over types it
// does not need; version and recorded_at are put there at the commit, so that the rest is encoded and hashed on the
// caller's thread.
#pragma once

#include "event.h"

#include <cstddef>
#include <memory>
#include <vector>

namespace annal {

struct SealedPayload;  // keystore.h
struct Upcasters;      // upcasters.h

inline constexpr std::size_t event_header_bytes = 32;
inline constexpr std::uint16_t schema_version_current = 1;

// What an append takes: header (version and recorded_at still zero) and table.
struct EncodedEvent {
    MemoryId memory_id;
    EventId event_id;
    EventType type{};
    std::vector<std::uint8_t> bytes;
};

// resource_exhausted: more than limits::event_bytes_max, header included; details: bytes, limit.
// invalid_argument: a value that decode would not take back; details: field. The engine checks commands long before
// this.
Result<EncodedEvent> encode(const MemoryEvent& event);
// An event whose table was sealed: `shell` has its ids and scope, and an empty body of its type.
Result<EncodedEvent> encode(const MemoryEvent& shell, const SealedPayload& sealed);

// Writes version (from 1) and recorded_at into the header of encoded bytes. decode takes no event without them.
void stamp(std::span<std::uint8_t> stored, Version version, Timestamp recorded_at);

// Memory that decoded events live in: 16-byte aligned, freed together. RocksDB's own value pointers are not aligned,
// and FlatBuffers reads typed.
class EventArena {
 public:
    std::span<std::uint8_t> copy(std::string_view bytes);  // Valid until clear().
    void clear();                                          // Keeps the memory for the next round.
    std::size_t bytes() const { return used_total_; }      // In use.

 private:
    struct Block {
        std::unique_ptr<std::byte[]> memory;
        std::size_t size = 0;
    };
    std::vector<Block> blocks_;
    std::size_t block_ = 0;
    std::size_t used_ = 0;
    std::size_t used_total_ = 0;
};

// Copies `stored` to the arena, lifts an older schema version to the current one, and verifies it. What comes back can
// be read without further checks: whatever the schema requires is there, every enumerator (kind, claim, source type) is
// a known one, fractions are 0..1, times are of the years 1970 to 9999, numbers are finite, an embedding has values. It
// is not checked that text is UTF-8 or that metadata is JSON. data_loss: header, table or one of these is broken;
// details: seq. unimplemented: a schema version newer than this build; details: seq, schema_version, supported.
// A sealed event comes back as such: Payload::sealed.
Result<EventView> decode(Seq seq, std::string_view stored, EventArena& arena);
Result<EventView> decode(Seq seq, std::string_view stored, EventArena& arena, const Upcasters& lifts);
// The event of a table that was sealed in `outer`: as decode would have it, in outer's place and with its stored bytes.
// data_loss: also when it is not the same event of the same memory and scope.
Result<EventView> decode_sealed(const EventView& outer, std::string_view table, EventArena& arena);

// The header alone. data_loss: shorter than a header, or not one. A type that this build does not know is possible when
// the schema version is newer than its own.
struct EventHeader {
    EventType type{};
    std::uint16_t schema_version = 0;
    Version version;
    Timestamp recorded_at;
};
Result<EventHeader> read_header(std::string_view stored);

}  // namespace annal
