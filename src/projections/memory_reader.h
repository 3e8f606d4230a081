// One frozen state of MemoryView, and the records its writer shares with it.
#pragma once

#include "memory_view.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace annal {

// Of a project or of the store: not forgotten memories. Stored as so many numbers of 8 bytes, big endian.
struct MemoryCounts {
    std::array<std::uint64_t, kind_count> live{};
    std::uint64_t expiring = 0;    // Live ones with an expiry.
    std::uint64_t superseded = 0;  // Live ones that were replaced.
    std::string encode() const;
    static Result<MemoryCounts> decode(std::string_view bytes);  // data_loss: not what encode made.
    bool operator==(const MemoryCounts&) const = default;
};

// `as_of`: at most `applied`.
std::unique_ptr<MemoryView::Reader> read_memories(std::shared_ptr<const ViewSnapshot> snapshot, Seq applied,
                                                  std::optional<Seq> as_of);

}  // namespace annal
