// The float rows of one partition, stored once: an append-only file, mapped for reading. A row is found by its slot.
//   offset  size  field                       (little endian)
//        0     8  "ANNLROWS"
//        8     4  format, 1
//       12     4  dimension
//       16     4  bytes of a row
//       20     4  bytes of the model's name, m
//       24     m  model
//     4092     4  crc32c of the 4092 bytes before
//     4096  then the rows, each: ordinal u64, crc32c u32 of ordinal and floats, zero u32, floats; padded to 16 bytes
// Threads: one writer; rows that were written may be read from any thread, also while others are appended.
#pragma once

#include "vector_slots.h"

#include <annal/ids.h>

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

class VectorRows {
 public:
    static constexpr std::size_t header_bytes = 4096;
    static constexpr std::size_t row_head_bytes = 16;
    static constexpr std::size_t row_bytes(std::size_t dimension) {
        return (row_head_bytes + dimension * sizeof(float) + 15) / 16 * 16;
    }

    // A new file; one that is there already is replaced.
    static Result<std::unique_ptr<VectorRows>> create(const std::filesystem::path& path, std::string_view model,
                                                      std::size_t dimension);
    // Cuts what lies behind `count` rows. data_loss: another header, or fewer rows. The rows themselves: intact().
    static Result<std::unique_ptr<VectorRows>> open(const std::filesystem::path& path, std::string_view model,
                                                    std::size_t dimension, std::size_t count);
    ~VectorRows();
    VectorRows(const VectorRows&) = delete;
    VectorRows& operator=(const VectorRows&) = delete;

    void encode(Seq ordinal, std::span<const float> vector, std::vector<std::byte>& out) const;  // Appends one row.
    Status write(Slot first, std::span<const std::byte> rows);  // Encoded ones; makes them readable.
    Status sync();

    Seq ordinal(Slot slot) const;
    std::span<const float> floats(Slot slot) const;
    std::uint32_t checksum(Slot slot) const;
    bool intact(Slot slot) const;
    void read_ahead(std::size_t count) const;  // A hint: the first `count` rows are needed soon.
    const std::filesystem::path& path() const { return path_; }

 private:
    VectorRows(std::filesystem::path path, std::size_t dimension);
    Status map(std::size_t slots);
    const std::byte* at(Slot slot) const {
        return reinterpret_cast<const std::byte*>(origin_[chunk_of(slot)] + slot * row_bytes_);
    }

    struct Mapping {
        void* begin = nullptr;
        std::size_t bytes = 0;
    };
    std::filesystem::path path_;
    std::size_t dimension_;
    std::size_t row_bytes_;
    std::size_t chunks_ = 0;
    std::array<Mapping, chunks_max + 1> mapped_{};
    std::array<std::uintptr_t, chunks_max + 1> origin_{};
};

}  // namespace annal
