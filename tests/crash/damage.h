// What may happen to the files of a log that nobody has open.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
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

// A journal of the log (events/journal.h), and how many of its bytes say something; those that follow are no loss.
struct JournalFile {
    std::filesystem::path path;
    std::size_t used = 0;
};

template <class T>
T number_at(const std::string& bytes, std::size_t at) {
    T value = 0;
    if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

// The one with the most; no path: there is none.
inline JournalFile journal_of(const std::filesystem::path& directory) {
    constexpr std::size_t header_bytes = 28, frame_header_bytes = 24;
    JournalFile found;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        if (entry.path().extension() != ".journal") continue;
        const auto bytes = read_file(entry.path());
        std::size_t used = header_bytes;
        const auto journal = number_at<std::uint64_t>(bytes, 8);
        for (auto frame = number_at<std::uint64_t>(bytes, 16); number_at<std::uint64_t>(bytes, used + 8) == frame &&
                                                               number_at<std::uint64_t>(bytes, used + 16) == journal;
             ++frame)
            used += frame_header_bytes + number_at<std::uint32_t>(bytes, used + 4);
        if (used > found.used) found = {entry.path(), used};
    }
    return found;
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

enum class JournalHarm { flip, zero_page, truncate, garbage_tail };

inline void damage(const JournalFile& journal, JournalHarm harm, std::mt19937_64& random) {
    std::string bytes = read_file(journal.path);
    switch (harm) {
        case JournalHarm::flip:
            bytes[random() % journal.used] ^= static_cast<char>(1 << random() % 8);
            break;
        case JournalHarm::zero_page: {
            const std::size_t page = random() % ((journal.used + 4095) / 4096) * 4096;
            std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(page),
                      bytes.begin() + static_cast<std::ptrdiff_t>(std::min(page + 4096, bytes.size())), '\0');
            break;
        }
        case JournalHarm::truncate:
            bytes.resize(random() % journal.used);
            break;
        case JournalHarm::garbage_tail:
            bytes.resize(std::max(bytes.size(), journal.used + 4000));
            for (std::uint64_t i = 1 + random() % 4000; i > 0; --i)
                bytes[journal.used + i - 1] = static_cast<char>(random());
            break;
    }
    write_file(journal.path, bytes);
}

}  // namespace annal::testing
