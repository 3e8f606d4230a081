#include "store_engine.h"

#include "events/bytes.h"
#include "verify.h"

#include "events/event_seal.h"

namespace annal {

Status StoreEngine::read_stored(Seq after, Seq to, const std::function<bool(const StoredEvent&)>& visit) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto there = log_->root(to); !there) return there.error();
    return each_event(after, to, [&](const EventView& event) {
        const auto stored = event.stored();
        const std::string_view bytes(as_text(stored));
        return visit({event.seq(), event_hash(event.seq(), bytes), stored});
    });
}

Status StoreEngine::append_stored(std::span<const StoredEvent> events) {
    if (auto ok = check_process(); !ok) return ok.error();
    // All are checked before any is written.
    EventArena arena;
    std::vector<EncodedEvent> encoded;
    std::vector<std::string> projects;
    bool erased = false;
    for (const auto& event : events) {
        const std::string_view bytes(as_text(event.bytes));
        const Error refused{ErrorCode::invalid_argument,
                            "event " + std::to_string(event.seq.value) + " is not what its hash says",
                            {{"seq", std::to_string(event.seq.value)}}};
        auto view = decode(event.seq, bytes, arena);
        if (!view) return Error{ErrorCode::invalid_argument, view.error().message, view.error().details};
        if (auto opened = unseal(*keystore_, *view, arena); !opened)
            return Error{ErrorCode::invalid_argument, opened.error().message, opened.error().details};
        if (event_hash(event.seq, bytes) != event.hash) return refused;
        encoded.push_back(
            {view->memory_id(), view->event_id(), view->type(), {event.bytes.begin(), event.bytes.end()}});
        projects.emplace_back(view->project());
        erased |= view->type() == EventType::erasure_requested;
    }
    for (std::size_t begin = 0, end = 0; begin < events.size(); begin = end) {
        std::vector<AppendItem> items;
        for (; end < events.size() && projects[end] == projects[begin]; ++end)
            items.push_back({ExpectedVersion::any(), &encoded[end]});
        AppendBatch batch;
        batch.project = projects[begin];
        batch.items = items;
        batch.stamped_from = events[begin].seq;
        batch.durability = end == events.size() ? Durability::synced : Durability::buffered;
        if (auto receipts = log_->append(batch); !receipts) return receipts.error();
    }
    return erased ? purge_views({}) : Done{};
}

Result<ArchiveReport> StoreEngine::archive(const AsOf& before, const std::filesystem::path& directory,
                                           const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
    if (auto ok = check_process(); !ok) return ok.error();
    Seq up_to;
    if (const auto* seq = std::get_if<Seq>(&before)) {
        if (*seq == Seq{} || seq->value > head().value + 1)
            return Error{ErrorCode::invalid_argument,
                         "before must be a seq from 1 to " + std::to_string(head().value + 1),
                         {{"field", "before"}, {"head", std::to_string(head().value)}}};
        up_to = Seq{seq->value - 1};
    } else {
        const auto last = last_recorded(Timestamp{std::get<Timestamp>(before).us - 1});
        if (!last) return last.error();
        up_to = *last;
    }
    return log_->archive(up_to, directory, progress);
}

Status StoreEngine::rebuild(std::string_view projection, const std::function<void(Seq, Seq)>& progress) {
    if (auto ok = check_process(); !ok) return ok;
    const auto rebuild_one = [&](std::string_view name) {
        return runtime_->rebuild(
            name, progress ? progress : [](Seq, Seq) {});
    };
    if (!projection.empty()) return rebuild_one(projection);
    for (const auto& each : runtime_->status())
        if (auto ok = rebuild_one(each.name); !ok) return ok;
    return Done{};
}

Result<VerifyReport> StoreEngine::verify(
    const VerifyOptions& options, const std::function<void(std::string_view, std::uint64_t, std::uint64_t)>& progress) {
    if (auto ok = check_process(); !ok) return ok.error();
    return annal::verify(*log_, *views_, embeddings_.get(), *runtime_, options, progress);
}

Status StoreEngine::change_root_key(const std::filesystem::path& file) {
    if (auto ok = check_process(); !ok) return ok;
    auto next = RootKey::read_file(file, options_.directory);
    if (!next) return next.error();
    return keystore_->change_root_key(*std::move(next));
}

}  // namespace annal
