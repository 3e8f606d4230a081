// What may happen to the files of a log that nobody has open.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace annal::testing {

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// The largest write-ahead log; empty: there is none.
inline std::filesystem::path wal_of(const std::filesystem::path& directory) {
    std::filesystem::path wal;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
        if (entry.path().extension() == ".log" && (wal.empty() || entry.file_size() > std::filesystem::file_size(wal)))
            wal = entry.path();
    return wal;
}

inline std::vector<std::filesystem::path> tables_of(const std::filesystem::path& directory) {
    std::vector<std::filesystem::path> tables;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
        if (entry.path().extension() == ".sst") tables.push_back(entry.path());
    std::sort(tables.begin(), tables.end());
    return tables;
}

// Not in the last `spared` bytes.
inline void flip_bit(const std::filesystem::path& path, std::mt19937_64& random, std::uint64_t spared = 0) {
    std::string bytes = read_file(path);
    bytes[random() % (bytes.size() - spared)] ^= static_cast<char>(1 << random() % 8);
    write_file(path, bytes);
}

enum class WalHarm { flip, zero_page, truncate, garbage_tail };

// Of a file that is not empty.
inline void damage(const std::filesystem::path& wal, WalHarm harm, std::mt19937_64& random) {
    std::string bytes = read_file(wal);
    const std::size_t whole = bytes.size();
    switch (harm) {
        case WalHarm::flip:
            bytes[random() % whole] ^= static_cast<char>(1 << random() % 8);
            break;
        case WalHarm::zero_page: {
            const std::size_t page = random() % std::max<std::size_t>(whole / 4096, 1) * 4096;
            std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(page),
                      bytes.begin() + static_cast<std::ptrdiff_t>(std::min(page + 4096, whole)), '\0');
            break;
        }
        case WalHarm::truncate:
            bytes.resize(random() % whole);
            break;
        case WalHarm::garbage_tail:
            for (std::uint64_t i = 1 + random() % 4000; i > 0; --i) bytes += static_cast<char>(random());
            break;
    }
    write_file(wal, bytes);
}

}  // namespace annal::testing
