// Keystores in tests, their root keys, and what their files hold.
#pragma once

#include "events/bytes.h"
#include "events/keystore.h"
#include "support/temp_dir.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

namespace annal::testing {

inline std::string bytes_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_bytes(const std::filesystem::path& file, const std::string& bytes, mode_t mode = 0600) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    ::chmod(file.c_str(), mode);
}

inline RootKey root_key(char each_byte) {
    TempDir dir;
    write_bytes(dir.path() / "root", std::string(key_bytes, each_byte));
    return *RootKey::read_file(dir.path() / "root", dir.path() / "store");
}

inline constexpr std::array<std::uint8_t, 16> a_store{1, 2, 3}, another_store{3, 2, 1};

inline Result<std::unique_ptr<Keystore>> open_keystore(const std::filesystem::path& directory,
                                                       std::optional<RootKey> root,
                                                       rocksdb::FileSystem* files = nullptr) {
    return Keystore::open({.files = files ? *files : *rocksdb::FileSystem::Default(),
                           .directory = directory,
                           .store = a_store,
                           .root_key = std::move(root)});
}

// Every file below the directory.
inline std::map<std::string, std::string> files_in(const std::filesystem::path& directory) {
    std::map<std::string, std::string> files;
    if (!std::filesystem::exists(directory)) return files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
        if (entry.is_regular_file()) files[entry.path().string()] = bytes_of(entry.path());
    return files;
}

inline bool any_file_holds(const std::filesystem::path& directory, std::string_view bytes) {
    for (const auto& [name, content] : files_in(directory))
        if (content.find(bytes) != std::string::npos) return true;
    return false;
}

// What is in force.
inline KeystoreContent stored_keys(const std::filesystem::path& directory) {
    return **KeystoreFile::read(*rocksdb::FileSystem::Default(), directory);
}

inline std::optional<KeyRecord> stored_key(const std::filesystem::path& directory, const SubjectKeyId& id) {
    for (const auto& record : stored_keys(directory).keys)
        if (record.id == id) return record;
    return std::nullopt;
}

}  // namespace annal::testing
