#include "events/root_key.h"

#include "support/keystore_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>

using namespace annal;
using namespace annal::testing;

namespace {

const std::string raw = "0123456789abcdefghijklmnopqrstuv";
const std::string hex = "303132333435363738396162636465666768696a6b6c6d6e6f70717273747576";
const std::string base64 = "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=";

bool is_raw(const Result<RootKey>& key) {
    return key && std::equal(raw.begin(), raw.end(), key->view().begin());
}

template <class T>
void check_refusal(const Result<T>& result, ErrorCode code, const std::string& reason) {
    REQUIRE_FALSE(result);
    CHECK(result.error().code == code);
    CHECK(result.error().details.at("reason") == reason);
}

struct KeyFolder {
    Result<RootKey> read(const std::string& content, mode_t mode = 0600) {
        write_bytes(file, content, mode);
        return RootKey::read_file(file, store);
    }
    TempDir dir;
    std::filesystem::path store = dir.path() / "store", file = dir.path() / "root";
};

}  // namespace

TEST_CASE("a root key is read in each of its spellings", "[events][keystore]") {
    KeyFolder folder;
    CHECK(is_raw(folder.read(raw)));
    std::string upper = hex;
    std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) { return static_cast<char>(toupper(c)); });
    for (const auto& text : {hex, hex + "\n", "  " + hex + "\r\n", upper, base64, base64 + "\n", base64.substr(0, 43)})
        CHECK(is_raw(folder.read(text)));
    for (const auto& text : {hex, base64}) {
        ::setenv("ANNAL_TEST_ROOT_KEY", text.c_str(), 1);
        CHECK(is_raw(RootKey::from_environment("ANNAL_TEST_ROOT_KEY")));
    }
    ::unsetenv("ANNAL_TEST_ROOT_KEY");
    check_refusal(RootKey::from_environment("ANNAL_TEST_ROOT_KEY"), ErrorCode::not_found, "missing");
}

TEST_CASE("what is no root key is refused, and nothing of it is told", "[events][keystore]") {
    KeyFolder folder;
    const std::string secret = "hunter2";
    for (const auto& text : {std::string(), secret, hex.substr(2), hex + "00", hex.substr(0, 63) + "g", raw + "\n",
                             base64.substr(4), base64 + "=", std::string(2000, 'a'), std::string(key_bytes, '\0'),
                             hex.substr(0, 32) + " " + hex.substr(32)}) {
        const auto key = folder.read(text);
        check_refusal(key, ErrorCode::invalid_argument, "malformed");
        CHECK(key.error().message.find(secret) == std::string::npos);
        CHECK(key.error().message.find("3031") == std::string::npos);
    }
    // 32 characters are a key in a file, made by a machine; in a variable they are a phrase.
    ::setenv("ANNAL_TEST_ROOT_KEY", raw.c_str(), 1);
    check_refusal(RootKey::from_environment("ANNAL_TEST_ROOT_KEY"), ErrorCode::invalid_argument, "malformed");
    ::unsetenv("ANNAL_TEST_ROOT_KEY");
}

TEST_CASE("a root key that others may read, or that lies in the store, is refused", "[events][keystore]") {
    KeyFolder folder;
    for (const mode_t mode : {0640U, 0604U, 0620U, 0601U})
        check_refusal(folder.read(hex, mode), ErrorCode::permission_denied, "readable_by_others");
    CHECK(is_raw(folder.read(hex, 0400)));
    check_refusal(RootKey::read_file(folder.dir.path() / "none", folder.store), ErrorCode::not_found, "missing");
    check_refusal(RootKey::read_file(folder.dir.path(), folder.store), ErrorCode::invalid_argument, "malformed");

    std::filesystem::create_directories(folder.store / "keys");
    write_bytes(folder.store / "keys" / "root", hex);
    std::filesystem::create_symlink(folder.store / "keys" / "root", folder.dir.path() / "link");
    std::filesystem::create_symlink(folder.store, folder.dir.path() / "same");
    for (const auto& file : {folder.store / "keys" / "root", folder.dir.path() / "link",
                             folder.store / "keys" / ".." / "keys" / "root", folder.dir.path() / "same/keys/root"}) {
        check_refusal(RootKey::read_file(file, folder.store), ErrorCode::invalid_argument, "inside_store");
        check_refusal(RootKey::read_file(file, folder.store / ""), ErrorCode::invalid_argument, "inside_store");
    }
    // Beside it, with a name that begins alike.
    write_bytes(folder.dir.path() / "store.key", hex);
    CHECK(is_raw(RootKey::read_file(folder.dir.path() / "store.key", folder.store)));
}

TEST_CASE("a new root key is another each time, is read back, and replaces no file", "[events][keystore]") {
    KeyFolder folder;
    const auto key = RootKey::random(), other = RootKey::random();
    REQUIRE((key && other));
    CHECK_FALSE(std::equal(key->view().begin(), key->view().end(), other->view().begin()));
    REQUIRE(key->write_file(folder.file, folder.store));
    CHECK(std::filesystem::status(folder.file).permissions() ==
          (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
    const auto read = RootKey::read_file(folder.file, folder.store);
    REQUIRE(read);
    CHECK(std::equal(key->view().begin(), key->view().end(), read->view().begin()));

    const auto written = bytes_of(folder.file);
    const auto again = other->write_file(folder.file, folder.store);
    REQUIRE_FALSE(again);
    CHECK(again.error().code == ErrorCode::already_exists);
    CHECK(bytes_of(folder.file) == written);
    std::filesystem::create_directories(folder.store);
    check_refusal(key->write_file(folder.store / "root", folder.store), ErrorCode::invalid_argument, "inside_store");
    CHECK(std::filesystem::is_empty(folder.store));
}
