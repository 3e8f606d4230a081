// An engine in a directory of its own, and short ways to write to it.
#pragma once

#include "support/stopped_clock.h"
#include "support/temp_dir.h"

#include <annal/engine.h>

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <string>

namespace annal::testing {

class TestEngine {
 public:
    explicit TestEngine(std::shared_ptr<Embedder> embedder = nullptr) : embedder_(std::move(embedder)) { open(); }

    Engine* operator->() { return engine_.get(); }
    Engine& operator*() { return *engine_; }
    const std::filesystem::path& path() const { return dir_.path(); }
    StoppedClock& clock() { return clock_; }

    void close() { engine_.reset(); }
    void open() {
        auto opened = Engine::open({.directory = dir_.path(), .embedder = embedder_, .clock = &clock_});
        if (!opened) FAIL(opened.error().message);
        engine_ = std::move(*opened);
    }
    void reopen() {
        close();
        open();
    }

    Receipt record(const RecordRequest& request) {
        auto receipt = engine_->record(request);
        if (!receipt) FAIL(receipt.error().message);
        return *receipt;
    }
    Receipt note(const Scope& scope, std::string content) {
        return record({.scope = scope, .content = std::move(content)});
    }
    SearchAnswer search(SearchRequest request) {
        request.min_seq = engine_->head();
        auto answer = engine_->search(request);
        if (!answer) FAIL(answer.error().message);
        return *answer;
    }
    std::vector<Memory> list(ListRequest request) {
        request.read.min_seq = engine_->head();
        std::vector<Memory> all;
        do {
            auto page = engine_->list(request);
            if (!page) FAIL(page.error().message);
            all.insert(all.end(), page->memories.begin(), page->memories.end());
            request.cursor = page->next_cursor;
        } while (!request.cursor.empty());
        return all;
    }
    std::string digests() {
        REQUIRE(engine_->wait_for(engine_->head(), std::chrono::seconds(60)));
        auto status = engine_->status(true);
        if (!status) FAIL(status.error().message);
        std::string all;
        for (const auto& projection : status->projections) all += projection.name + "=" + projection.digest + " ";
        return all;
    }

 private:
    TempDir dir_{TempDir::On::memory};
    StoppedClock clock_;
    std::shared_ptr<Embedder> embedder_;
    std::unique_ptr<Engine> engine_;
};

inline Target target(const Scope& scope, MemoryId id, std::string reason = "a test") {
    Target result{.scope = scope, .memory_id = id, .expected_version = {}, .context = {}};
    result.context.reason = std::move(reason);
    return result;
}

}  // namespace annal::testing
