// What the log is measured against: RocksDB alone, with the log's own buffers, codec and block size, a write-ahead log
// and sync = true. It keeps no streams, no idempotency, no hashes and no order that a reader could rely on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace annal::bench {

class RawRocks {
 public:
    explicit RawRocks(const std::filesystem::path& directory);
    ~RawRocks();

    void put_synced(std::uint64_t key, std::string_view value);
    void put_batch(std::uint64_t first, const std::vector<std::string_view>& values, bool sync);
    void flush();
    // The number of events; each is verified by FlatBuffers from an aligned copy.
    std::uint64_t scan_and_verify() const;

 private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace annal::bench
