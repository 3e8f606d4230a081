#include "sink_batch.h"

#include <utility>

namespace annal {
namespace {

class HeldWalk final : public SinkWalk {
 public:
    HeldWalk(SinkPosition position, std::vector<SinkRecord> records, std::vector<DeadLetter> dead_letters)
        : position_(std::move(position)), records_(std::move(records)), dead_letters_(std::move(dead_letters)) {}

    const SinkPosition& position() const override { return position_; }
    Result<std::vector<SinkRecord>> next(std::size_t max) override {
        std::vector<SinkRecord> page;
        for (; page.size() < max && at_ < records_.size(); ++at_) page.push_back(std::move(records_[at_]));
        return page;
    }
    Result<std::vector<DeadLetter>> dead_letters() override { return dead_letters_; }

 private:
    SinkPosition position_;
    std::vector<SinkRecord> records_;
    std::vector<DeadLetter> dead_letters_;
    std::size_t at_ = 0;
};

}  // namespace

SinkBatch to_batch(Changes&& changes, const SinkPosition& from, std::uint64_t epoch, const Sink& sink) {
    SinkBatch batch;
    batch.from = from;
    batch.to = {from.store_id, epoch, changes.to, changes.hash};
    for (auto& erased : changes.erased)
        batch.erasures.push_back({std::move(erased.project), std::move(erased.user), erased.requested_at});
    for (auto& [memory, embedding] : changes.memories) {
        if (memory.forgotten) {
            batch.removals.push_back({memory.scope.project, memory.kind(), memory.id});
            continue;
        }
        SinkRecord record{std::move(memory), std::move(embedding)};
        if (auto why = sink.refuses(record))
            batch.dead_letters.push_back(dead_letter(record.memory, *std::move(why)));
        else
            batch.upserts.push_back(std::move(record));
    }
    batch.events = std::move(changes.events);
    return batch;
}

DeadLetter dead_letter(const Memory& memory, std::string reason) {
    return {memory.scope.project, memory.kind(),     memory.id,         memory.seq,
            std::move(reason),    memory.scope.user, memory.created_seq};
}

Error fenced_error() {
    return {ErrorCode::conflict, "another process took the sink over", {{"fenced", "true"}}};
}

Status check_starts_at(const SinkBatch& batch, const std::optional<SinkPosition>& there) {
    if (there ? batch.from == *there : batch.from.seq == Seq{}) return Done{};
    return Error{ErrorCode::conflict,
                 "the batch does not start where the sink is",
                 {{"position", std::to_string(there ? there->seq.value : 0)}}};
}

Status check_is_of(const std::optional<SinkPosition>& there, std::string_view store_id) {
    if (!there || there->store_id == store_id) return Done{};
    return Error{ErrorCode::conflict, "what the sink holds is another store's", {{"store_id", there->store_id}}};
}

std::unique_ptr<SinkWalk> walk_of(SinkPosition position, std::vector<SinkRecord> records,
                                  std::vector<DeadLetter> dead_letters) {
    return std::make_unique<HeldWalk>(std::move(position), std::move(records), std::move(dead_letters));
}

}  // namespace annal
