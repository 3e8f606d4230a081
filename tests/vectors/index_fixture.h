// A VectorIndex on a key space in memory, fed as the runtime feeds it: apply, write the batch, committed.
#pragma once

#include "events/codec.h"
#include "projections/vector_index.h"
#include "support/memory_space.h"
#include "support/temp_dir.h"

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace annal::testing {

inline const std::string sample_model = "sample-1";

// The log: events in order, encoded once.
class SampleLog {
 public:
    explicit SampleLog(std::string project = "shop") : project_(std::move(project)) {}

    // Each returns the seq of its event.
    Seq record(std::uint64_t memory, std::optional<std::vector<float>> vector, Kind kind = Kind::note,
               const std::string& content = "text") {
        MemoryRecorded body;
        body.content = content;
        body.fields = empty_fields(kind);
        if (vector) body.embedding = Embedding{sample_model, std::move(*vector)};
        return add(memory, std::move(body));
    }
    Seq revise(std::uint64_t memory, std::optional<std::string> content, std::optional<std::vector<float>> vector,
               std::optional<Kind> kind = {}) {
        MemoryRevised body;
        body.content = std::move(content);
        if (vector) body.embedding = Embedding{sample_model, std::move(*vector)};
        if (kind) body.fields = empty_fields(*kind);
        return add(memory, std::move(body));
    }
    Seq forget(std::uint64_t memory) { return add(memory, MemoryForgotten{}); }
    Seq restore(std::uint64_t memory) { return add(memory, MemoryRestored{}); }
    Seq supersede(std::uint64_t memory) { return add(memory, MemorySuperseded{id(memory + 1)}); }
    Seq add(std::uint64_t memory, EventBody body) {
        MemoryEvent event;
        event.memory_id = id(memory);
        event.event_id.bytes[0] = 1;
        event.scope.project = project_;
        event.actor = "tester";
        event.body = std::move(body);
        auto encoded = encode(event);
        if (!encoded) FAIL(encoded.error().message);
        const Version version{++versions_[memory]};
        stamp(encoded->bytes, version, Timestamp{static_cast<std::int64_t>(stored_.size()) + 1});
        stored_.emplace_back(encoded->bytes.begin(), encoded->bytes.end());
        return Seq{stored_.size()};
    }

    Seq head() const { return Seq{stored_.size()}; }
    std::string_view stored(Seq seq) const { return stored_[seq.value - 1]; }

 private:
    static MemoryId id(std::uint64_t number) {
        MemoryId id;
        id.bytes[0] = 7;
        for (std::size_t i = 0; i < 8; ++i) id.bytes[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
        return id;
    }

    std::string project_;
    std::vector<std::string> stored_;
    std::map<std::uint64_t, std::uint64_t> versions_;
};

class IndexFixture {
 public:
    explicit IndexFixture(std::shared_ptr<VectorSource> source = nullptr) : source_(std::move(source)) { start(); }

    // As a process that ends and begins anew; `saved`: it was closed in order.
    void reopen(bool saved) {
        if (saved) REQUIRE(index_->save());
        REQUIRE(try_reopen());
    }
    Status try_reopen() {
        index_.reset();
        messages.clear();
        index_ = make();
        return index_->open(space_, applied_);
    }
    void reset() {  // As the runtime does when open() fails, or for a rebuild.
        REQUIRE(space_.clear());
        REQUIRE(index_->reset());
        applied_ = Seq{0};
        REQUIRE(index_->open(space_, applied_));
    }

    void follow(const SampleLog& log, std::size_t batch_max = 256) {
        while (applied_ < log.head()) follow_once(log, batch_max);
    }
    void follow_once(const SampleLog& log, std::size_t batch_max) {
        auto batch = space_.new_batch();
        apply(log, batch_max, *batch);
        REQUIRE(space_.write(*batch));
        index_->committed();
        applied_ = staged_;
    }
    // Applied, and then the process dies, or the write fails, before the batch is stored.
    void apply_only(const SampleLog& log, std::size_t batch_max) {
        auto batch = space_.new_batch();
        apply(log, batch_max, *batch);
    }

    VectorIndex& index() { return *index_; }
    MemorySpace& space() { return space_; }
    std::filesystem::path directory() const { return directory_.path() / "vectors"; }
    std::string digest() {
        auto digest = index_->digest();
        REQUIRE(digest);
        return *digest;
    }
    VectorAnswer search(std::span<const float> vector, std::size_t limit, const OrdinalSet* passing = nullptr,
                        std::span<const Kind> kinds = {}) {
        VectorQuery query{"shop", kinds, sample_model, vector, limit, passing};
        auto answer = index_->search(query);
        if (!answer) FAIL(answer.error().message);
        return std::move(*answer);
    }

    std::vector<std::string> messages;

 private:
    std::unique_ptr<VectorIndex> make() {
        return VectorIndex::create(directory(), source_, [this](std::string_view, std::string_view message) {
            messages.emplace_back(message);
        });
    }
    void start() {
        index_ = make();
        REQUIRE(index_->open(space_, applied_));
    }
    void apply(const SampleLog& log, std::size_t batch_max, ViewBatch& batch) {
        EventArena arena;
        std::vector<EventView> events;
        for (auto seq = applied_.value + 1; seq <= log.head().value && events.size() < batch_max; ++seq) {
            auto event = decode(Seq{seq}, log.stored(Seq{seq}), arena);
            if (!event) FAIL(event.error().message);
            events.push_back(*event);
            staged_ = Seq{seq};
        }
        const auto applied = index_->apply(events, batch);
        if (!applied) FAIL(applied.error().message);
    }

    TempDir directory_;
    MemorySpace space_;
    std::shared_ptr<VectorSource> source_;
    std::unique_ptr<VectorIndex> index_;
    Seq applied_;
    Seq staged_;
};

}  // namespace annal::testing
