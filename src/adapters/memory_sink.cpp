#include "memory_sink.h"

#include "sink_batch.h"

#include <algorithm>

namespace annal {
namespace {

class MemorySink final : public Sink {
 public:
    MemorySink(std::shared_ptr<MemoryFarSide> far, MemorySinkOptions options)
        : far_(std::move(far)), options_(options) {}

    std::string_view type() const override { return "memory"; }
    SinkCapabilities capabilities() const override { return options_.capabilities; }
    std::optional<std::string> refuses(const SinkRecord& record) const override {
        if (record.memory.content.size() <= options_.content_bytes_max) return std::nullopt;
        return "its content is larger than " + std::to_string(options_.content_bytes_max) + " bytes";
    }

    Result<std::optional<SinkPosition>> take_over(std::string_view store_id) override {
        const std::lock_guard hold(far_->mutex);
        if (auto error = fault("take_over", false)) return *error;
        if (auto ok = check_is_of(far_->position, store_id); !ok) return ok.error();
        fence_ = ++far_->fence;
        if (auto error = fault("take_over", true)) return *error;
        return far_->position;
    }

    Status apply(const SinkBatch& batch) override {
        const std::lock_guard hold(far_->mutex);
        if (auto error = fault("apply", false)) return *error;
        if (far_->fence != fence_) return fenced_error();
        if (auto ok = check_starts_at(batch, far_->position); !ok) return ok;
        auto& rows = far_->rows;
        for (const auto& erasure : batch.erasures) {
            const auto gone = [&](const std::string& project, const std::string& user, Seq created) {
                return project == erasure.project && user == erasure.user && created < erasure.requested_at;
            };
            std::erase_if(rows, [&](const auto& row) {
                const auto& [record, letter] = row.second;
                if (letter) return gone(letter->project, letter->user, letter->created_seq);
                return gone(record->memory.scope.project, record->memory.scope.user, record->memory.created_seq);
            });
            std::erase_if(far_->events, [&](const Engine::LogEntry& event) {
                return event.scope.project == erasure.project && event.scope.user == erasure.user &&
                       event.seq < erasure.requested_at;
            });
        }
        for (const auto& removal : batch.removals) rows.erase({removal.project, removal.memory_id});
        for (const auto& record : batch.upserts) {
            auto kept = record;
            if (!options_.capabilities.keeps_vectors) kept.embedding.reset();
            rows[{record.memory.scope.project, record.memory.id}] = {std::move(kept), std::nullopt};
        }
        for (const auto& letter : batch.dead_letters) rows[{letter.project, letter.memory_id}] = {std::nullopt, letter};
        far_->events.insert(far_->events.end(), batch.events.begin(), batch.events.end());
        far_->position = batch.to;
        if (auto error = fault("apply", true)) return *error;
        return Done{};
    }

    Status clear() override {
        const std::lock_guard hold(far_->mutex);
        if (auto error = fault("clear", false)) return *error;
        if (far_->fence != fence_) return fenced_error();
        far_->rows.clear();
        far_->events.clear();
        far_->position.reset();
        if (auto error = fault("clear", true)) return *error;
        return Done{};
    }

    Result<std::unique_ptr<SinkWalk>> walk() override {
        const std::lock_guard hold(far_->mutex);
        if (auto error = fault("walk", false)) return *error;
        if (!far_->position) return Error{ErrorCode::not_found, "nothing is there", {}};
        std::vector<SinkRecord> records;
        std::vector<DeadLetter> dead_letters;
        for (const auto& [key, row] : far_->rows) {
            if (row.record) records.push_back(*row.record);
            if (row.dead_letter) dead_letters.push_back(*row.dead_letter);
        }
        return walk_of(*far_->position, std::move(records), std::move(dead_letters));
    }

 private:
    std::optional<Error> fault(std::string_view call, bool done) const {
        return far_->fault ? far_->fault(call, done) : std::nullopt;
    }

    std::shared_ptr<MemoryFarSide> far_;
    MemorySinkOptions options_;
    std::uint64_t fence_ = 0;
};

}  // namespace

std::unique_ptr<Sink> make_memory_sink(std::shared_ptr<MemoryFarSide> far, MemorySinkOptions options) {
    return std::make_unique<MemorySink>(std::move(far), options);
}

}  // namespace annal
