// A file that is open for one call: a store may have more partitions than a process may have files.
#pragma once

#include <annal/result.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace annal {

class VectorFile {
 public:
    VectorFile(const std::filesystem::path& path, int flags);  // open(2)'s; what it makes, the owner may write.
    ~VectorFile();
    VectorFile(const VectorFile&) = delete;
    VectorFile& operator=(const VectorFile&) = delete;

    bool is_open() const { return descriptor_ >= 0; }  // When not: errno says why.
    int descriptor() const { return descriptor_; }
    Status write_at(std::size_t offset, std::span<const std::byte> bytes) const;
    bool read_at(std::size_t offset, std::span<std::byte> bytes) const;  // All of them, or false.
    Status sync() const;

    // resource_exhausted: the disk is full. unavailable: another failure.
    static Error error(std::string_view doing, int code);

 private:
    int descriptor_;
};

}  // namespace annal
