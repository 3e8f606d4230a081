// Changes the store of a closed log, as no version of ours would.
#pragma once

#include "events/rocks_options.h"

#include <rocksdb/db.h>
#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace annal::testing {

// Calls change(DB&, family) with each of the families named.
template <class Change, class... Names>
void tamper(rocksdb::Env& env, const std::filesystem::path& directory, const Change& change, const Names&... names) {
    std::vector<rocksdb::ColumnFamilyHandle*> families;
    rocksdb::DB* opened = nullptr;
    rocksdb::DBOptions options;
    options.env = &env;
    REQUIRE(rocksdb::DB::Open(options, directory.string(), rocks_families(), &families, &opened).ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    const auto family = [&](std::string_view name) -> rocksdb::ColumnFamilyHandle& {
        for (auto* each : families)
            if (each->GetName() == name) return *each;
        FAIL("no such family");
        return *families[0];
    };
    change(*db, family(names)...);
    CHECK(db->Flush({}, families).ok());
    for (auto* each : families) CHECK(db->DestroyColumnFamilyHandle(each).ok());
    CHECK(db->Close().ok());
}

template <class Change, class... Names>
void tamper(const std::filesystem::path& directory, const Change& change, const Names&... names) {
    tamper(*rocksdb::Env::Default(), directory, change, names...);
}

inline std::vector<std::string> keys_of(rocksdb::DB& db, rocksdb::ColumnFamilyHandle& family) {
    std::vector<std::string> keys;
    const std::unique_ptr<rocksdb::Iterator> rows(db.NewIterator({}, &family));
    for (rows->SeekToFirst(); rows->Valid(); rows->Next()) keys.push_back(rows->key().ToString());
    CHECK(rows->status().ok());
    return keys;
}

inline std::string number_key(std::uint64_t number) {  // 8 bytes, big endian: an event's key.
    std::string key;
    for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>(number >> shift);
    return key;
}

inline const std::string indexed_key("\0indexed", 8);  // In streams: how far the index goes.

}  // namespace annal::testing
