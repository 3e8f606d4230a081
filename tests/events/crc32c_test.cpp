#include "events/crc32c.h"

#include "events/rocks_options.h"
#include "support/seed.h"

#include <rocksdb/file_checksum.h>

#include <catch2/catch_test_macros.hpp>

#include <random>
#include <string>

using namespace annal;
using namespace annal::testing;

TEST_CASE("crc32c is the standard's, in one go and in parts", "[crc32c]") {
    const std::string_view digits = "123456789";
    for (const auto& crc : {crc32c, crc32c_portable}) {
        CHECK(crc(digits.data(), digits.size(), 0) == 0xE3069283U);
        const auto begun = crc(digits.data(), 4, 0);
        CHECK(crc(digits.data() + 4, digits.size() - 4, begun) == 0xE3069283U);
    }
}

TEST_CASE("the checksum of a file is the one RocksDB computes", "[crc32c]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    for (int trial = 0; trial < trials(50); ++trial) {
        std::string bytes(random() % 5000, '\0');
        for (auto& byte : bytes) byte = static_cast<char>(random());
        const auto cut = random() % (bytes.size() + 1);
        const auto of = [&](rocksdb::FileChecksumGenFactory& factory) {
            const auto generator = factory.CreateFileChecksumGenerator({});
            generator->Update(bytes.data(), cut);
            generator->Update(bytes.data() + cut, bytes.size() - cut);
            generator->Finalize();
            return std::string(generator->Name()) + generator->GetChecksum();
        };
        CHECK(of(*file_checksums()) == of(*rocksdb::GetFileChecksumGenCrc32cFactory()));
    }
}
