#include "vector_records.h"

#include "events/bytes.h"

#include <annal/limits.h>

namespace annal {
namespace {

void put_fixed(std::string& out, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift & 0xFF));
}
void put(std::string& out, std::uint64_t value) {
    for (; value >= 128; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
    out.push_back(static_cast<char>(value));
}
void put(std::string& out, std::string_view text) {
    put(out, text.size());
    out.append(text);
}

// Takes from the front; after a failure everything is 0 and ok() false.
class Reader {
 public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}
    std::uint32_t fixed() {
        std::uint32_t value = 0;
        for (const char byte : text(4)) value = value << 8 | static_cast<std::uint8_t>(byte);
        return value;
    }
    std::uint64_t number() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            if (bytes_.empty()) break;
            const auto byte = static_cast<std::uint8_t>(bytes_.front());
            bytes_.remove_prefix(1);
            value |= std::uint64_t{byte & 127U} << shift;
            if (byte < 128) return value;
        }
        ok_ = false;
        return 0;
    }
    std::uint32_t number_up_to(std::uint64_t max) {
        const auto value = number();
        ok_ = ok_ && value <= max;
        return ok_ ? static_cast<std::uint32_t>(value) : 0;
    }
    std::string_view text(std::size_t size) {
        ok_ = ok_ && size <= bytes_.size();
        if (!ok_) return {};
        const auto taken = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return taken;
    }
    bool whole() const { return ok_ && bytes_.empty(); }

 private:
    std::string_view bytes_;
    bool ok_ = true;
};

constexpr std::uint64_t any_32 = ~std::uint32_t{0};

}  // namespace

std::string memory_key(std::string_view project, MemoryId id) {
    std::string key("m");
    key.append(project).push_back('\0');
    return key.append(as_text(id.bytes));
}

std::string encode(const VectorMemory& memory) {
    std::string out;
    put(out, memory.ordinal.value);
    put(out, static_cast<std::uint64_t>(memory.kind));
    put(out, std::uint64_t{memory.forgotten});
    put(out, memory.partition);
    return out;
}

std::optional<VectorMemory> decode_memory(std::string_view value) {
    Reader reader(value);
    VectorMemory memory;
    memory.ordinal = Seq{reader.number()};
    memory.kind = static_cast<Kind>(reader.number_up_to(kind_count - 1));
    memory.forgotten = reader.number_up_to(1) == 1;
    memory.partition = reader.number_up_to(any_32);
    return reader.whole() ? std::optional(memory) : std::nullopt;
}

std::string partition_key(std::uint32_t number) {
    std::string key = "p";
    put_fixed(key, number);
    return key;
}

std::string encode(const PartitionRecord& record) {
    std::string out;
    put(out, record.key.project);
    put(out, static_cast<std::uint64_t>(record.key.kind));
    put(out, record.key.model);
    put(out, record.key.dimension);
    put(out, std::uint64_t{record.key.past});
    put(out, record.generation);
    put(out, record.count);
    put(out, record.made_at.value);
    return out;
}

std::optional<PartitionRecord> decode_partition(std::string_view key, std::string_view value) {
    Reader keys(key);
    Reader reader(value);
    PartitionRecord record;
    if (keys.text(1) != "p") return std::nullopt;
    record.number = keys.fixed();
    record.key.project = reader.text(reader.number());
    record.key.kind = static_cast<Kind>(reader.number_up_to(kind_count - 1));
    record.key.model = reader.text(reader.number());
    record.key.dimension = reader.number_up_to(limits::embedding_dimension_max);
    record.key.past = reader.number_up_to(1) == 1;
    record.generation = reader.number_up_to(any_32);
    record.count = reader.number_up_to(slots_max);
    record.made_at = Seq{reader.number()};
    return keys.whole() && reader.whole() && record.key.dimension > 0 ? std::optional(record) : std::nullopt;
}

std::string slot_key(const SlotKey& slot) {
    std::string key = "s";
    put_fixed(key, slot.partition);
    put_fixed(key, slot.generation);
    put_fixed(key, slot.slot);
    return key;
}

std::optional<SlotKey> decode_slot(std::string_view key) {
    Reader reader(key);
    if (reader.text(1) != "s") return std::nullopt;
    SlotKey slot;
    slot.partition = reader.fixed();
    slot.generation = reader.fixed();
    slot.slot = reader.fixed();
    return reader.whole() ? std::optional(slot) : std::nullopt;
}

std::string encode(const SlotRecord& slot) {
    std::string out;
    put(out, static_cast<std::uint64_t>(slot.state));
    put(out, slot.since.value);
    put(out, slot.until.value);
    return out;
}

std::optional<SlotRecord> decode_slot_record(std::string_view value) {
    Reader reader(value);
    SlotRecord slot;
    slot.state = static_cast<RowState>(reader.number_up_to(static_cast<std::uint64_t>(RowState::replaced)));
    slot.since = Seq{reader.number()};
    slot.until = Seq{reader.number()};
    return reader.whole() ? std::optional(slot) : std::nullopt;
}

}  // namespace annal
