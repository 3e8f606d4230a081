// What the vector index keeps in its key space, beside the rows in its files:
//   "m" project '\0' memory id (16)            ordinal, kind, flags, partition: one for each memory
//   "p" partition (4)                          project, kind, model, dimension, past, generation, count of slots, made
//   at "s" partition (4) generation (4) slot (4)  SlotRecord of a slot that is not live from its memory's record on
// Numbers in keys are big endian, in values LEB128.
#pragma once

#include "vector_partition.h"

#include <annal/ids.h>

#include <optional>
#include <string>
#include <string_view>

namespace annal {

struct VectorMemory {
    Seq ordinal;
    Kind kind{};
    bool forgotten = false;
    std::uint32_t partition = 0;  // 0: it has no vector.
    bool operator==(const VectorMemory&) const = default;
};

struct PartitionRecord {
    std::uint32_t number = 0;
    std::uint32_t generation = 0;
    PartitionKey key;
    Slot count = 0;
    Seq made_at;  // By the event of that seq.
};

struct SlotKey {
    std::uint32_t partition = 0;
    std::uint32_t generation = 0;
    Slot slot = 0;
};

struct SlotRecord {
    RowState state{};
    Seq since;  // The event that brought the vector,
    Seq until;  // and that which took it away; Seq{0}: none yet.
    bool operator==(const SlotRecord&) const = default;
};

std::string memory_key(std::string_view project, MemoryId id);
std::string encode(const VectorMemory& memory);
std::optional<VectorMemory> decode_memory(std::string_view value);  // nullopt: damaged.

std::string partition_key(std::uint32_t number);
std::string encode(const PartitionRecord& record);
std::optional<PartitionRecord> decode_partition(std::string_view key, std::string_view value);

std::string slot_key(const SlotKey& slot);
std::optional<SlotKey> decode_slot(std::string_view key);
std::string encode(const SlotRecord& slot);
std::optional<SlotRecord> decode_slot_record(std::string_view value);

}  // namespace annal
