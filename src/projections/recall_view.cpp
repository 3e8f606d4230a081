#include "recall_view.h"

#include "events/bytes.h"
#include "memory_keys.h"
#include "row_digest.h"

#include "memory_event_generated.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <string>

namespace annal {
namespace {

constexpr char given = 'm', of_a_run = 'r';

// The rows of a memory or a run: their key without the seq.
std::string rows_of(std::string_view project, char letter, std::span<const std::uint8_t> id) {
    auto key = memory_keys::family(memory_keys::project(project), letter, id.size() + 8);
    key.append(as_text(id));
    return key;
}

std::string row_at(std::string rows, Seq seq) {
    memory_keys::append_u64(rows, seq.value);
    return rows;
}

class FrozenReader final : public RecallView::Reader {
 public:
    FrozenReader(Seq applied, std::shared_ptr<const ViewSnapshot> rows) : applied_(applied), rows_(std::move(rows)) {}

    Seq applied() const override { return applied_; }

    Status gave(std::string_view project, MemoryId memory, Seq before,
                const std::function<bool(Seq)>& visit) const override {
        if (before == Seq{0}) return Done{};
        const auto rows = rows_of(project, given, memory.bytes);
        const auto at = rows_->iterate();
        at->seek_for_prev(row_at(rows, Seq{before.value - 1}));
        while (is_of(*at, rows) && visit(seq_of(*at, rows))) at->prev();
        return at->status();
    }
    Status of_run(std::string_view project, MemoryId stream, Seq after,
                  const std::function<bool(Seq)>& visit) const override {
        if (after.value == std::numeric_limits<std::uint64_t>::max()) return Done{};
        const auto rows = rows_of(project, of_a_run, stream.bytes);
        const auto at = rows_->iterate();
        at->seek(row_at(rows, Seq{after.value + 1}));
        while (is_of(*at, rows) && visit(seq_of(*at, rows))) at->next();
        return at->status();
    }

 private:
    static bool is_of(const ViewIterator& at, std::string_view rows) {
        return at.valid() && at.key().size() == rows.size() + 8 && at.key().starts_with(rows);
    }
    static Seq seq_of(const ViewIterator& at, std::string_view rows) {
        return Seq{memory_keys::read_u64(at.key().substr(rows.size()))};
    }

    Seq applied_;
    std::shared_ptr<const ViewSnapshot> rows_;
};

class StoredRecallView final : public RecallView {
 public:
    std::string_view name() const override { return "recalls"; }
    std::uint32_t version() const override { return 1; }

    Status open(ViewSpace& space, Seq applied) override {
        space_ = &space;
        applied_ = staged_ = applied.value;
        return Done{};
    }
    Status reset() override {
        applied_ = staged_ = 0;
        return Done{};
    }
    Status apply(std::span<const EventView> events, ViewBatch& batch) override {
        if (events.empty()) return Done{};
        for (const auto& event : events) {
            if (event.type() != EventType::memory_recalled) continue;
            if (event.project().empty() || event.project().find('\0') != std::string_view::npos)
                return Error{ErrorCode::internal, "an event's project is empty or holds a zero byte", {}};
            batch.put(row_at(rows_of(event.project(), of_a_run, event.memory_id().bytes), event.seq()), {});
            if (event.payload() != Payload::plain) continue;
            if (const auto* memory = event.table().body_as_MemoryRecalled()->memory())
                batch.put(row_at(rows_of(event.project(), given, {memory->bytes()->data(), 16}), event.seq()), {});
        }
        staged_ = events.back().seq().value;
        return Done{};
    }
    void committed() override { applied_ = staged_; }
    void discard() override { staged_ = applied_; }
    Result<std::string> digest() const override { return digest_of_rows(*space_->iterate()); }

    std::unique_ptr<Reader> reader() const override {
        const Seq applied{applied_};  // Before the snapshot, which then holds at least this.
        return std::make_unique<FrozenReader>(applied, space_->snapshot());
    }

 private:
    ViewSpace* space_ = nullptr;
    std::atomic<std::uint64_t> applied_{0};
    std::uint64_t staged_ = 0;  // The projector's thread alone.
};

}  // namespace

std::unique_ptr<RecallView> RecallView::create() {
    return std::make_unique<StoredRecallView>();
}

}  // namespace annal
