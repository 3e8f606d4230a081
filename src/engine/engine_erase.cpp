#include "store_engine.h"

#include "accept.h"
#include "events/bytes.h"
#include "uuid.h"
#include "value_tombstone.h"

#include "events/event_seal.h"
#include "memory_event_generated.h"

#include <annal/limits.h>

#include <algorithm>
#include <set>
#include <unordered_set>

namespace annal {
namespace {

std::string_view content_of(const EventView& event) {
    const flatbuffers::String* content = nullptr;
    if (const auto* recorded = event.table().body_as_MemoryRecorded()) content = recorded->content();
    if (const auto* revised = event.table().body_as_MemoryRevised()) content = revised->content();
    return content == nullptr ? std::string_view() : content->string_view();
}

bool is_stored_sealed(const EventView& event) {
    return fbs::GetMemoryEvent(event.stored().data() + event_header_bytes)->sealed() != nullptr;
}

constexpr std::string_view hash_use = "value";

// What is hashed: whose it is, and what it says.
std::string named_value(std::string_view user, std::string_view value) {
    std::string named(hash_use);
    named += '\0';
    named += user;
    named += '\0';
    named += value;
    return named;
}

TombstoneHash shortened(const Hash& hash) {
    TombstoneHash front{};
    std::copy_n(hash.begin(), front.size(), front.begin());
    return front;
}

}  // namespace

// What the log has of one, up to the last event looked at.
struct StoreEngine::Subjects {
    std::unordered_set<MemoryId> memories;
    std::uint64_t events = 0;
    std::uint64_t unsealed_events = 0;
    std::vector<ValueTombstone> refused;
    std::set<TombstoneHash> seen;
};

Result<std::vector<TombstoneHash>> StoreEngine::value_hashes(std::string_view project, std::string_view user,
                                                             std::string_view value) const {
    const auto named = named_value(user, value);
    std::vector<TombstoneHash> hashes;
    if (keystore_->state() == KeystoreState::unlocked) {
        const auto keyed = keystore_->tombstone(project, named);
        if (!keyed) return keyed.error();
        hashes.push_back(shortened(*keyed));
    }
    // Without a keystore the log itself holds in the clear what the hash is of. Kept apart from other stores' hashes.
    const auto store = log_->store_uuid();
    std::string open(as_text(store));
    open += project;
    open += '\0';
    hashes.push_back(shortened(annal::sha256(open + named)));
    return hashes;
}

Status StoreEngine::add_tombstones(const Scope& scope, std::string_view content, TombstoneReason reason,
                                   std::vector<ValueTombstone>& to) const {
    const auto value = normalised_value(content);
    std::vector<std::string_view> users{{}};
    if (!scope.user.empty()) users.push_back(scope.user);
    for (const auto user : users) {
        const auto hashes = value_hashes(scope.project, user, value);
        if (!hashes) return hashes.error();
        to.push_back({hashes->front(), reason});
    }
    return Done{};
}

Status StoreEngine::check_not_refused(const MemoryEvent& event) const {
    if (!log_->has_tombstones()) return Done{};
    const std::string* content = nullptr;
    if (const auto* recorded = std::get_if<MemoryRecorded>(&event.body)) content = &recorded->content;
    if (const auto* revised = std::get_if<MemoryRevised>(&event.body); revised && revised->content)
        content = &*revised->content;
    if (content == nullptr) return Done{};
    if (locked())
        return Error{ErrorCode::permission_denied,
                     "whether this content was erased cannot be told: " + sealing_reason_,
                     {{"field", "content"}}};
    const auto hashes = value_hashes(event.scope.project, event.scope.user, normalised_value(*content));
    if (!hashes) return hashes.error();
    for (const auto& hash : *hashes) {
        const auto reason = log_->find_tombstone(hash);
        if (!reason) return reason.error();
        if (!*reason) continue;
        const bool erased = **reason == TombstoneReason::erased;
        return Error{ErrorCode::permission_denied,
                     erased ? "this content was erased; it is not taken again"
                            : "this content was forgotten for good; it is not taken again",
                     {{"field", "content"}, {"reason", erased ? "erased" : "forgotten_for_good"}}};
    }
    return Done{};
}

Status StoreEngine::each_content(const Memory& memory, const std::function<Status(std::string_view)>& visit) const {
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read_stream(memory.scope.project, memory.id, arena, events); !ok) return ok;
    for (const auto& event : events)
        if (const auto content = content_of(event); !content.empty())
            if (auto ok = visit(content); !ok) return ok;
    return Done{};
}

Status StoreEngine::check_may_be_restored(const Memory& forgotten) const {
    EventArena arena;
    std::vector<EventView> last;  // A forgotten memory takes nothing but being restored.
    if (auto ok = log_->read(Seq{forgotten.seq.value - 1}, {.events_max = 1, .bytes_max = 1}, arena, last); !ok)
        return ok;
    const auto* body = last.front().table().body_as_MemoryForgotten();
    if (body == nullptr || !body->for_good()) return Done{};
    return Error{ErrorCode::permission_denied,
                 "the memory was forgotten for good",
                 {{"memory_id", to_string(forgotten.id)}, {"reason", "forgotten_for_good"}}};
}

bool StoreEngine::is_gone(const Memory& memory) const {
    const std::shared_lock hold(unfinished_mutex_);
    return std::ranges::any_of(unfinished_, [&](const Erasure& erasure) {
        return memory.created_seq <= erasure.requested_at && memory.scope.user == erasure.user &&
               memory.scope.project == erasure.project;
    });
}

void StoreEngine::load_unfinished() {
    auto all = log_->erasures();
    std::erase_if(all, [](const Erasure& erasure) { return erasure.state == ErasureState::completed; });
    const std::lock_guard changing(unfinished_mutex_);
    unfinished_ = std::move(all);
}

Status StoreEngine::check_not_being_erased(const Scope& scope) const {
    if (scope.user.empty()) return Done{};
    const auto erasure = log_->erasure(scope.project, scope.user);
    if (!erasure || erasure->state != ErasureState::requested) return Done{};
    return Error{ErrorCode::unavailable,
                 "the erasure of this user is not finished; erase again, or reopen the store",
                 {{"field", "scope.user"}}};
}

Status StoreEngine::find_subject(const EraseRequest& request, Seq after, Seq up_to, Subjects& found) const {
    const Scope scope{.project = request.project, .agent = {}, .user = request.user, .session = {}};
    Status hashed = Done{};
    auto read = each_event(after, up_to, [&](const EventView& event) {
        if (event.project() != request.project || event.user() != request.user || !is_personal(event.type()) ||
            event.payload() == Payload::erased)
            return true;
        ++found.events;
        if (!is_stored_sealed(event)) ++found.unsealed_events;
        if (event.type() == EventType::memory_recorded) found.memories.insert(event.memory_id());
        const auto content = content_of(event);
        if (content.empty()) return true;
        std::vector<ValueTombstone> refused;
        hashed = add_tombstones(scope, content, TombstoneReason::erased, refused);
        for (const auto& tombstone : refused)
            if (found.seen.insert(tombstone.hash).second) found.refused.push_back(tombstone);
        return bool(hashed);
    });
    return read ? hashed : read;
}

Result<ErasureReceipt> StoreEngine::erase(const EraseRequest& request,
                                          const std::function<void(std::string_view, Seq, Seq)>& progress) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (request.user.empty())
        return Error{ErrorCode::invalid_argument, "user is required: whose memories are to go", {{"field", "user"}}};
    if (auto ok = validate({.project = request.project, .agent = {}, .user = request.user, .session = {}}); !ok)
        return ok.error();
    if (keystore_->state() != KeystoreState::unlocked)
        return Error{ErrorCode::permission_denied,
                     "erasing is destroying a key, and the store is not unlocked: " + sealing_reason_,
                     {{"sealing", locked() ? "locked" : "off"}}};
    const std::lock_guard one(erasing_mutex_);
    Subjects found;
    const auto head = log_->head();
    if (auto ok = find_subject(request, Seq{0}, head, found); !ok) return ok.error();
    ErasureReceipt receipt;
    Erasure erasure;
    {
        const std::lock_guard alone(writes_mutex_);
        if (auto ok = find_subject(request, head, log_->head(), found); !ok) return ok.error();
        const auto asked = ask_to_erase(request, found);
        load_unfinished();
        if (!asked) return asked.error();
        erasure = *asked;
        if (auto destroyed = destroy_keys(std::span(&erasure, 1)); !destroyed) return destroyed.error();
        erasure.keystore_epoch = keystore_->epoch();
    }
    receipt.requested_at = erasure.requested_at;
    receipt.keystore_epoch = erasure.keystore_epoch;
    receipt.memories = found.memories.size();
    receipt.events = found.events;
    receipt.unsealed_events = found.unsealed_events;
    receipt.refused_values = found.refused.size() / 2;
    if (auto purged = purge_views(progress); !purged) return purged.error();
    const auto completed = complete(erasure);
    if (!completed) return completed.error();
    receipt.completed_at = *completed;
    if (auto others = complete_erasures(); !others) return others.error();
    auto signed_head = log_->signed_head();
    if (!signed_head) return signed_head.error();
    receipt.head = *std::move(signed_head);
    return receipt;
}

Result<Erasure> StoreEngine::ask_to_erase(const EraseRequest& request, const Subjects& found) {
    MemoryEvent event;
    event.scope = {.project = request.project, .agent = {}, .user = request.user, .session = {}};
    event.actor = request.actor.empty() ? request.user : request.actor;
    event.reason = request.reason;
    event.body = ErasureRequested{request.user, found.memories.size(), found.events, found.unsealed_events};
    std::vector<MemoryEvent> events{std::move(event)};
    const auto receipts =
        append(events, ExpectedVersion::absent(), {.durability = Durability::synced}, {}, found.refused);
    if (!receipts) return receipts.error();
    return Erasure{request.project, request.user, receipts->front().seq, 0, ErasureState::requested};
}

Status StoreEngine::destroy_keys(std::span<const Erasure> erasures) {
    std::vector<Subject> subjects;
    for (const auto& erasure : erasures) subjects.push_back({erasure.project, erasure.user});
    const auto destroyed = keystore_->erase(subjects);
    if (!destroyed)
        return Error{destroyed.error().code,
                     destroyed.error().message + "; the erasure is recorded and not finished: erase again",
                     destroyed.error().details};
    for (const auto& erasure : erasures)
        if (auto kept = log_->keep_that_keys_are_gone(erasure, keystore_->epoch()); !kept) return kept;
    return Done{};
}

Status StoreEngine::purge_views(const std::function<void(std::string_view, Seq, Seq)>& progress) {
    if (auto purged = runtime_->purge(progress); !purged) return purged;
    std::error_code failed;
    for (const auto* name : {"views.damaged", "embeddings.damaged"})
        if (std::filesystem::remove_all(options_.directory / name, failed); failed)
            return Error{ErrorCode::unavailable, "a damaged view store was not removed: " + failed.message(), {}};
    return Done{};
}

Status StoreEngine::complete_erasures() {
    if (keystore_->state() != KeystoreState::unlocked) return Done{};  // Nor were the views purged.
    for (const auto& erasure : log_->erasures()) {
        if (erasure.state != ErasureState::keys_gone) continue;
        if (auto completed = complete(erasure); !completed) return completed.error();
    }
    load_unfinished();
    return Done{};
}

Result<Seq> StoreEngine::complete(const Erasure& erasure) {
    if (embeddings_ != nullptr)
        if (auto gone = embeddings_->erase(erasure.project, erasure.user); !gone) return gone.error();
    EventArena arena;
    std::vector<EventView> asked;
    auto read = log_->read(Seq{erasure.requested_at.value - 1}, {.events_max = 1, .bytes_max = 1}, arena, asked);
    if (!read) return read.error();
    auto event = asked.front().unpack();
    const auto memories = std::get<ErasureRequested>(event.body).memories;
    event.causation_id = to_string(event.event_id);
    event.body = ErasureCompleted{erasure.requested_at, memories, erasure.keystore_epoch};
    std::vector<MemoryEvent> events{std::move(event)};
    const auto receipts = append(events, ExpectedVersion::any(), {.durability = Durability::synced}, {});
    if (!receipts) return receipts.error();
    return receipts->front().seq;
}

Status StoreEngine::resume_erasures() {
    load_unfinished();
    if (keystore_->state() != KeystoreState::unlocked) return Done{};
    std::vector<Erasure> again;
    bool views_have_them = false;
    for (const auto& erasure : log_->erasures()) {
        // Keys from before it are back: the keystore is a copy that is older than the erasure.
        const bool undone = erasure.keystore_epoch > keystore_->epoch();
        if (undone || erasure.state == ErasureState::requested) again.push_back(erasure);
        views_have_them |= undone || erasure.state != ErasureState::completed;
    }
    if (!views_have_them) return Done{};
    if (!again.empty())
        if (auto destroyed = destroy_keys(again); !destroyed) return destroyed;
    // Not a row at a time: nothing can be left behind.
    std::error_code failed;
    for (const auto* name : {"views", "views.damaged", "embeddings.damaged"})
        if (std::filesystem::remove_all(options_.directory / name, failed); failed)
            return Error{ErrorCode::unavailable, "removing views with what was erased: " + failed.message(), {}};
    if (options_.on_message) options_.on_message("info", "an erasure is finished: the views are made anew");
    return Done{};
}

}  // namespace annal
