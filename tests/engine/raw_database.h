// A database of a closed store, to read and change what no API does.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <rocksdb/db.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal::testing {

class Raw {
 public:
    explicit Raw(const std::filesystem::path& directory) {
        std::vector<std::string> names;
        REQUIRE(rocksdb::DB::ListColumnFamilies({}, directory.string(), &names).ok());
        std::vector<rocksdb::ColumnFamilyDescriptor> families;
        for (const auto& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
        rocksdb::DB* db = nullptr;
        REQUIRE(rocksdb::DB::Open({}, directory.string(), families, &handles_, &db).ok());
        db_.reset(db);
    }
    ~Raw() {
        for (auto* handle : handles_) db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
        db_->Close().PermitUncheckedError();
    }
    rocksdb::ColumnFamilyHandle* family(std::string_view name) const {
        for (auto* handle : handles_)
            if (handle->GetName() == name) return handle;
        FAIL("no such family: " << name);
        return nullptr;
    }
    std::string name_of(const std::function<bool(std::string_view name)>& wanted) const {
        for (const auto* handle : handles_)
            if (wanted(handle->GetName())) return handle->GetName();
        FAIL("no such family");
        return {};
    }
    // The first row that `wanted` takes: its key and value.
    std::pair<std::string, std::string> find(
        std::string_view name, const std::function<bool(std::string_view key, std::string_view value)>& wanted) const {
        const std::unique_ptr<rocksdb::Iterator> rows(db_->NewIterator({}, family(name)));
        for (rows->SeekToFirst(); rows->Valid(); rows->Next())
            if (wanted(rows->key().ToStringView(), rows->value().ToStringView()))
                return {rows->key().ToString(), rows->value().ToString()};
        FAIL("no such row in " << name);
        return {};
    }
    void put(std::string_view name, const std::string& key, const std::string& value) {
        REQUIRE(db_->Put({}, family(name), key, value).ok());
    }
    void erase(std::string_view name, const std::string& key) { REQUIRE(db_->Delete({}, family(name), key).ok()); }

 private:
    std::unique_ptr<rocksdb::DB> db_;
    std::vector<rocksdb::ColumnFamilyHandle*> handles_;
};

}  // namespace annal::testing
