// A store whose root key is given, taken away or another, and short ways to write to it and read from it.
#pragma once

#include "events/event_log.h"
#include "events/keystore.h"
#include "support/keystore_fixture.h"
#include "support/stopped_clock.h"
#include "test_engine.h"

#include <rocksdb/file_system.h>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <mutex>

namespace annal::testing {

inline const std::string key_r(64, 'a'), key_x(64, 'b');  // Hex.

class SealedStore {
 public:
    struct Unsealed {};
    SealedStore() { open(key_r); }
    explicit SealedStore(Unsealed) { open(""); }

    std::filesystem::path path() const { return dir_.path() / "store"; }
    Engine* operator->() { return engine_.get(); }
    Engine& operator*() { return *engine_; }
    Engine* get() { return engine_.get(); }
    StoppedClock& clock() { return clock_; }
    void close() { engine_.reset(); }
    // What the engine told, of that level.
    std::size_t said(std::string_view start) {
        const std::lock_guard lock(mutex_);
        return static_cast<std::size_t>(
            std::ranges::count_if(said_, [&](const auto& line) { return line.starts_with(start); }));
    }

    Status try_open(const std::string& key, std::string variable = {}) {
        close();
        said_.clear();
        const auto file = dir_.path() / "root";
        if (!key.empty()) write_bytes(file, key);
        EngineOptions options{.directory = path(), .clock = &clock_};
        if (!key.empty()) options.root_key_file = file;
        options.root_key_variable = std::move(variable);
        options.on_message = [this](std::string_view level, std::string_view message) {
            const std::lock_guard lock(mutex_);
            said_.push_back(std::string(level) + ": " + std::string(message));
        };
        auto opened = Engine::open(std::move(options));
        if (!opened) return opened.error();
        engine_ = std::move(*opened);
        return Done{};
    }
    void open(const std::string& key) {
        const auto opened = try_open(key);
        if (!opened) FAIL(opened.error().message);
    }
    std::filesystem::path other_key(const std::string& key) {
        write_bytes(dir_.path() / "next", key);
        return dir_.path() / "next";
    }

    Receipt note(const Scope& scope, std::string content, std::string key = {}) {
        RecordRequest request{.scope = scope, .content = std::move(content)};
        request.context.idempotency_key = std::move(key);
        auto receipt = engine_->record(request);
        if (!receipt) FAIL(receipt.error().message);
        return *receipt;
    }
    ReadOptions all() { return {.min_seq = engine_->head(), .wait_max = std::chrono::seconds(60)}; }
    std::vector<std::string> contents() {
        auto page = engine_->list(
            {.scope = {.project = "shop"}, .order = ListOrder::oldest_first, .limit = 1000, .read = all()});
        if (!page) FAIL(page.error().message);
        std::vector<std::string> texts;
        for (const auto& memory : page->memories) texts.push_back(memory.content);
        return texts;
    }
    Result<SearchAnswer> search(std::size_t limit) {
        return engine_->search(
            {.scope = {.project = "shop"}, .text = "tea", .limit = limit, .min_seq = engine_->head()});
    }
    std::string digests() {
        REQUIRE(engine_->wait_for(engine_->head(), std::chrono::seconds(60)));
        const auto status = engine_->status(true);
        REQUIRE(status);
        std::string all;
        for (const auto& projection : status->projections) {
            all += projection.name + "=" + projection.digest + " ";
            CHECK(projection.quarantined == 0);
        }
        return all;
    }

    // Destroys a user's key, as an erasure does, behind the engine's back. Closes the store.
    void erase(const Subject& subject) {
        close();
        std::array<std::uint8_t, 16> id{};
        {
            auto log = *EventLog::open({.directory = path() / "log"});
            id = log->store_uuid();
        }
        auto keystore = Keystore::open({.files = *rocksdb::FileSystem::Default(),
                                        .directory = path() / "keys",
                                        .store = id,
                                        .root_key = *RootKey::read_file(dir_.path() / "root", path())});
        REQUIRE(keystore);
        REQUIRE((*keystore)->erase({&subject, 1})->size() == 1);
    }

 private:
    TempDir dir_;
    StoppedClock clock_;
    std::mutex mutex_;
    std::vector<std::string> said_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace annal::testing
