// Any bytes as a keystore's file, as they are and with the checksums they would need: refused, or what is written of it
// anew is read as the same.
#include "events/crc32c.h"
#include "events/keystore_file.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

void expect(bool held) {
    if (!held) std::abort();
}

void check(const std::string& bytes) {
    const auto content = annal::decode_keystore(bytes);
    if (!content) {
        expect(content.error().code == annal::ErrorCode::data_loss);
        return;
    }
    expect(content->header.count <= content->keys.size());
    const std::string again = annal::encode_keystore(*content);
    const auto read = annal::decode_keystore(again);
    expect(read && *read == *content);
}

// keystore_file.h has the layout.
void correct_checksums(std::string& bytes) {
    constexpr std::size_t block = 512, record = 84, crc_size = 4;
    if (bytes.size() < block) return;
    std::memcpy(bytes.data(), "ANNLKEY1", 8);
    auto crc = annal::crc32c(bytes.data(), block - crc_size);
    std::memcpy(&bytes[block - crc_size], &crc, crc_size);
    for (std::size_t at = block; at + record <= bytes.size();
         at += at % block == 5 * record ? block - 5 * record : record) {
        const auto* stored = &bytes[at + record - crc_size];
        if (std::memcmp(stored, "torn", crc_size) == 0) break;
        crc = annal::crc32c(&bytes[at], record - crc_size, crc);
        std::memcpy(&bytes[at + record - crc_size], &crc, crc_size);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string bytes(reinterpret_cast<const char*>(data), size);
    check(bytes);
    correct_checksums(bytes);
    check(bytes);
    return 0;
}
