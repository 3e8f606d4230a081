#include "event_log_committer.h"

#include "bytes.h"
#include "memory_event_generated.h"

#include <rocksdb/file_system.h>

#include <algorithm>
#include <new>

namespace annal {
namespace {

using std::chrono::steady_clock;

constexpr auto witness_sync_interval = std::chrono::seconds(1);
constexpr auto resume_interval = std::chrono::milliseconds(200);
constexpr auto room_known_max = std::chrono::milliseconds(100);

Error version_conflict(const MemoryId& memory, const ExpectedVersion& expected, Version actual) {
    if (expected.is == ExpectedVersion::Is::absent)
        return {ErrorCode::already_exists,
                "the memory is there already, at version " + std::to_string(actual.value),
                {{"memory_id", to_string(memory)}, {"expected", "absent"}, {"actual", std::to_string(actual.value)}}};
    return {
        ErrorCode::conflict,
        "the memory is at version " + std::to_string(actual.value) + ", not " + std::to_string(expected.version.value),
        {{"memory_id", to_string(memory)},
         {"expected", std::to_string(expected.version.value)},
         {"actual", std::to_string(actual.value)}}};
}

Error not_the_next(Seq head) {
    return {ErrorCode::conflict,
            "the events are not the ones that follow event " + std::to_string(head.value),
            {{"head", std::to_string(head.value)}}};
}

bool holds(const ExpectedVersion& expected, Version actual) {
    switch (expected.is) {
        case ExpectedVersion::Is::any:
            return true;
        case ExpectedVersion::Is::absent:
            return actual == Version{};
        case ExpectedVersion::Is::exactly:
            return actual == expected.version;
    }
    return false;
}

// What the event says of how far its subject's erasure is; nullopt: nothing. One that another store wrote is over: its
// keys are not here.
std::optional<Erasure> erasure_of(const AppendBatch& batch, const EncodedEvent& event, Seq seq,
                                  const ErasureTable& erasures) {
    const auto& table = *fbs::GetMemoryEvent(event.bytes.data() + event_header_bytes);
    if (table.scope()->user() == nullptr || table.scope()->user()->size() == 0) return std::nullopt;
    Erasure erasure{std::string(batch.project), table.scope()->user()->str(), seq, 0, ErasureState::requested};
    if (const auto* completed = table.body_as_ErasureCompleted(); completed != nullptr) {
        const auto asked = erasures.find(erasure.project, erasure.user);
        if (!asked || asked->requested_at != Seq{completed->requested_at()}) return std::nullopt;
        erasure.requested_at = asked->requested_at;
        erasure.keystore_epoch = completed->keystore_epoch();
        erasure.state = ErasureState::completed;
    }
    if (batch.stamped_from) {
        erasure.keystore_epoch = 0;
        erasure.state = ErasureState::completed;
    }
    return erasure;
}

std::string epoch_line(std::uint64_t epoch) {
    return "epoch " + std::to_string(epoch);
}

}  // namespace

LogCommitter::LogCommitter(EventLogOptions options, OpenedLog log)
    : options_(std::move(options)),
      store_id_(log.witness.store),
      epoch_(log.witness.epoch),
      log_(std::move(log)),
      synced_(log_.head),
      head_hash_(log_.witness.hash),
      head_(log_.head),
      witness_thread_([this] { sync_witness(); }) {}

LogCommitter::~LogCommitter() {
    {
        const std::lock_guard lock(witness_mutex_);
        witness_closing_ = true;
    }
    witness_changed_.notify_one();
    witness_thread_.join();
    if (health_ == Health::good) sign_kept();
    if (health_ != Health::good || !log_.store->flush()) return;  // The next open replays, and sees for itself.
    log_.witness.clean = true;
    if (write_witness() && log_.witness_file->sync()) return;
    if (options_.on_message) options_.on_message("warning", "the log's witness could not be closed cleanly");
}

void LogCommitter::hash_bodies(AppendRequest& request) const {
    for (std::size_t i = 0; i < request.hashes.size(); ++i)
        for (unsigned n = 0; n < options_.hashing_repeats; ++n)
            request.hashes[i] = body_hash(as_text(request.batch->items[i].event->bytes));
}

void LogCommitter::commit(std::span<AppendRequest* const> group) {
    try {
        commit_group(group);
    } catch (const std::bad_alloc&) {  // Nobody knows how far it came: as after a write that failed.
        group_keys_.clear();
        fail({ErrorCode::unavailable, "memory ran out", {}}, group);
    }
}

void LogCommitter::commit_group(std::span<AppendRequest* const> group) {
    std::size_t bytes = 0;
    for (const auto* request : group) bytes += request->bytes;
    if (auto admitted = admit(bytes); !admitted) {
        for (auto* request : group) request->error = admitted.error();
        return;
    }

    Place place{log_.head, log_.recorded_at};
    for (auto* request : group)
        if (!request->hashed)
            request->hashing = std::make_unique<SideThread::Task>(log_.store->side_thread(),
                                                                  [this, request] { hash_bodies(*request); });
    for (auto* request : group)
        if (auto sequenced = sequence(*request, place); !sequenced) request->error = sequenced.error();
    group_keys_.clear();

    place.sync |= log_.store->index_due();  // What is not synced may be lost, and then no row may tell of it.
    if (auto durable = make_durable(place, group); !durable) return fail(durable.error(), group);
    stream_heads_.commit();
    if (place.events != 0) publish(place.seq);
}

void LogCommitter::tidy_up() {
    if (health_ != Health::good) return;
    try {
        if (auto indexed = log_.store->index(); !indexed) take_no_more(indexed.error());
    } catch (const std::bad_alloc&) {
        take_no_more({ErrorCode::unavailable, "memory ran out", {}});
    }
}

// Appends are refused while the disk is nearly full, long before a write can fail for it, and after one has.
Status LogCommitter::admit(std::size_t bytes) {
    if (witness_failed_.load() && health_ != Health::failed) {
        health_ = Health::failed;
        failure_ = "a sync failed";
    }
    if (health_ == Health::failed)
        return Error{
            ErrorCode::unavailable,
            "the log takes no appends since " + failure_ + "; nothing was written; reads go on; reopen the store",
            {{"head", std::to_string(head().value)}}};
    if (options_.disk_free_bytes_min != 0 && !room_is_known(bytes)) {
        room_seen_at_.reset();
        bytes_since_room_ = 0;
        const auto free = free_bytes();
        if (free && *free < options_.disk_free_bytes_min + bytes)
            return Error{ErrorCode::resource_exhausted,
                         "the disk is nearly full: " + std::to_string(*free) + " bytes are free, the limit is " +
                             std::to_string(options_.disk_free_bytes_min) + "; nothing was written",
                         {{"free", std::to_string(*free)},
                          {"needed", std::to_string(bytes)},
                          {"limit", std::to_string(options_.disk_free_bytes_min)}}};
        room_seen_at_ = steady_clock::now();
    }
    bytes_since_room_ += bytes;
    return health_ == Health::disk_full ? resume(bytes) : Status(Done{});
}

// Whether the system need not be asked. Since it last said that there is room, appends of ours used at most a sixteenth
// of the reserve, each written twice, to the log and to a table, and others had a tenth of a second to write. So what
// is taken unasked leaves most of the reserve, and a refused append is never answered from memory.
bool LogCommitter::room_is_known(std::size_t bytes) const {
    return health_ == Health::good && room_seen_at_ &&
           2 * (bytes_since_room_ + bytes) <= options_.disk_free_bytes_min / 16 &&
           steady_clock::now() - *room_seen_at_ < room_known_max;
}

std::optional<std::uint64_t> LogCommitter::free_bytes() const {
    std::uint64_t free = 0;
    if (!files_of(options_).GetFreeSpace(options_.directory.string(), {}, &free, nullptr).ok()) return std::nullopt;
    return free;
}

// After a full disk: all that was applied goes to tables, and a write that could not be is void. Reads go on meanwhile.
Status LogCommitter::resume(std::size_t bytes) {
    const Error full{ErrorCode::resource_exhausted,
                     "the disk was full and there is no room yet to go on; nothing was written",
                     {{"needed", std::to_string(bytes)}, {"limit", std::to_string(options_.disk_free_bytes_min)}}};
    const auto now = steady_clock::now();
    if (now - resume_tried_at_ < resume_interval) return full;
    if (const auto free = free_bytes(); free && *free < bytes) return full;
    resume_tried_at_ = now;
    if (auto recovered = log_.store->recover(); !recovered) {
        if (recovered.error().code == ErrorCode::resource_exhausted) return full;
        health_ = Health::failed;
        failure_ = "it could not go on after a full disk";
        return admit(bytes);
    }
    health_ = Health::good;
    synced_ = log_.head;
    if (log_.head != head()) publish(log_.head);  // The write that failed was applied: now it is known.
    if (options_.on_message) options_.on_message("info", "the log takes appends again");
    return Done{};
}

Status LogCommitter::sequence(AppendRequest& request, Place& place) {
    const AppendBatch& batch = *request.batch;
    if (!batch.idempotency_key.empty()) {
        const auto replayed = replay(request, place);
        if (!replayed) return replayed.error();
        if (*replayed) return Done{};
    }
    if (auto placed = place_items(request, place); !placed) return placed;
    place.sync |= batch.durability == Durability::synced;
    if (!batch.idempotency_key.empty()) {
        const IdempotencyRow row{request.first, request.count, batch.request_hash};
        log_.store->add_idempotency(batch.project, batch.idempotency_key, row);
        group_keys_.emplace(std::string(batch.project) + '\0' + std::string(batch.idempotency_key), row);
    }
    return Done{};
}

// Whether the request's key was used before, here or earlier in this group.
Result<bool> LogCommitter::replay(AppendRequest& request, Place& place) {
    const AppendBatch& batch = *request.batch;
    std::optional<IdempotencyRow> row;
    if (const auto here = group_keys_.find(std::string(batch.project) + '\0' + std::string(batch.idempotency_key));
        here != group_keys_.end()) {
        row = here->second;
    } else {
        auto found = log_.store->find_idempotency(batch.project, batch.idempotency_key);
        if (!found) return found.error();
        row = *found;
    }
    if (!row) return false;
    if (row->request_hash != batch.request_hash) return idempotency_conflict();
    request.first = row->first;
    request.count = row->count;
    request.replayed = true;
    place.sync |= batch.durability == Durability::synced && row->first.value + row->count - 1 > synced_.load().value;
    return true;
}

// Checks every item against the streams as this group leaves them, then takes the places. All or nothing.
Status LogCommitter::place_items(AppendRequest& request, Place& place) {
    const AppendBatch& batch = *request.batch;
    auto project = stream_heads_.project(*log_.store, batch.project);
    if (!project) return project.error();
    placed_.clear();
    const auto take_back = [&](const Error& error) {
        for (const auto& placed : placed_) --stream_heads_.at(placed.first).value;
        return error;
    };
    for (const auto& item : batch.items) {
        const auto& memory = item.event->memory_id;
        const auto head = stream_heads_.find(*log_.store, batch.project, **project, memory);
        if (!head) return take_back(head.error());
        if (!holds(item.expected, stream_heads_.at(*head)))
            return take_back(version_conflict(memory, item.expected, stream_heads_.at(*head)));
        placed_.emplace_back(*head, Version{++stream_heads_.at(*head).value});
    }
    if (batch.stamped_from && !follows(batch, place)) return take_back(not_the_next(place.seq));

    request.first = Seq{place.seq.value + 1};
    request.count = static_cast<std::uint32_t>(batch.items.size());
    const Timestamp now = clock_of(options_).now();
    std::size_t at = 0;
    for (auto& item : batch.items) {
        const Version version = placed_[at++].second;
        ++place.seq.value;
        if (batch.stamped_from) {
            place.recorded_at = read_header(as_text(item.event->bytes))->recorded_at;
        } else {
            place.recorded_at = std::max(now, Timestamp{place.recorded_at.us + 1});
            stamp(item.event->bytes, version, place.recorded_at);
        }
        log_.store->add_event(batch.project, item.event->memory_id, place.seq, version, item.event->type,
                              item.event->bytes);
        if (item.event->type == EventType::erasure_requested || item.event->type == EventType::erasure_completed)
            if (auto erasure = erasure_of(batch, *item.event, place.seq, log_.store->erasures()))
                log_.store->add_erasure(*std::move(erasure));
    }
    for (const auto& tombstone : batch.tombstones) log_.store->add_tombstone(tombstone);
    place.events += request.count;
    return Done{};
}

// Whether stamped events say the places that they would get.
bool LogCommitter::follows(const AppendBatch& batch, const Place& place) const {
    if (batch.stamped_from->value != place.seq.value + 1) return false;
    Timestamp last = place.recorded_at;
    for (std::size_t i = 0; i < batch.items.size(); ++i) {
        const auto header = read_header(as_text(batch.items[i].event->bytes));
        if (!header || header->version != placed_[i].second || header->recorded_at <= last) return false;
        last = header->recorded_at;
    }
    return true;
}

Status LogCommitter::make_durable(const Place& place, std::span<AppendRequest* const> group) {
    if (place.events != 0) {
        const auto applied = [&] {
            log_.head = place.seq;
            log_.recorded_at = place.recorded_at;
            for (auto* request : group)
                if (!request->error && !request->replayed) grow_tree(*request);
        };
        if (auto written = log_.store->write(place.sync, applied); !written) return written;
    } else if (place.sync) {  // A buffered append repeated as a synced one.
        if (auto synced = log_.store->sync(); !synced) return synced;
    }
    if (!place.sync) return Done{};
    synced_ = log_.head;
    return write_witness();
}

void LogCommitter::grow_tree(AppendRequest& request) {
    if (request.hashing) request.hashing->wait();
    Seq seq = request.first;
    for (std::size_t i = 0; i < request.count; ++i, ++seq.value) {
        const auto header = read_header(as_text(request.batch->items[i].event->bytes));
        Hash& hash = request.hashes[i];
        const Hash body = hash;
        hash = event_hash(seq, header->recorded_at, header->version, body);
        log_.store->add_leaf(hash);
        for (unsigned n = 1; n < options_.hashing_repeats; ++n) {
            completed_again_.clear();
            tree_again_.append(event_hash(seq, header->recorded_at, header->version, body), completed_again_);
        }
        head_hash_ = hash;
    }
}

Status LogCommitter::write_witness() {
    log_.witness.seq = log_.head;
    log_.witness.hash = head_hash_;
    log_.witness.root = log_.store->tree().root();
    for (unsigned n = 1; n < options_.hashing_repeats; ++n) root_again_ = tree_again_.root();
    if (auto written = log_.witness_file->write(log_.witness); !written) return written;
    const std::lock_guard lock(witness_mutex_);
    if (!witness_dirty_) witness_changed_.notify_one();
    witness_dirty_ = true;
    return Done{};
}

void LogCommitter::sync_witness() {
    std::unique_lock lock(witness_mutex_);
    for (;;) {
        witness_changed_.wait(lock, [this] { return witness_dirty_ || witness_closing_; });
        if (witness_changed_.wait_for(lock, witness_sync_interval, [this] { return witness_closing_; })) return;
        witness_dirty_ = false;
        lock.unlock();
        if (!log_.witness_file->sync()) witness_failed_ = true;
        sign_kept();
        lock.lock();
    }
}

void LogCommitter::sign_with(SigningKey key) {
    const std::lock_guard lock(signing_mutex_);
    signing_key_.emplace(std::move(key));
}

std::optional<VerifierKey> LogCommitter::verifier_key() const {
    const std::lock_guard lock(signing_mutex_);
    if (!signing_key_) return std::nullopt;
    return signing_key_->verifier();
}

Result<std::string> LogCommitter::signed_head() {
    return signed_head(synced());
}

Result<std::string> LogCommitter::signed_head(Seq size) {
    const std::lock_guard lock(signing_mutex_);
    if (!signing_key_) return Error{ErrorCode::unavailable, "the log has no key to sign its head with", {}};
    return with_store([&](const RocksStore& store) -> Result<std::string> {
        const auto kept = store.signed_head(size);
        if (!kept) return kept.error();
        if (*kept) {
            const auto head = verify_head(**kept, signing_key_->verifier().name(), signing_key_->verifier());
            if (head && head->size == size.value && head->extensions.front() == epoch_line(epoch_)) return **kept;
        }
        const auto root = store.root(size);
        if (!root) return root.error();
        TreeHead head{signing_key_->verifier().name(), size.value, *root, {epoch_line(epoch_)}};
        const auto last = store.stored_event(size);
        if (!last) return last.error();
        if (*last)
            if (const auto header = read_header(**last); header)
                head.extensions.push_back("recorded_at " + to_string(header->recorded_at));
        auto note = sign_head(head, *signing_key_);
        for (unsigned n = 1; n < options_.hashing_repeats && note; ++n) note = sign_head(head, *signing_key_);
        if (!note) return note;
        if (auto done = store.keep_signed_head(size, *note); !done) return done.error();
        return note;
    });
}

// A head that is not signed now is signed with the next.
void LogCommitter::sign_kept() {
    const auto signed_now = signed_head();
    if (signed_now || signed_now.error().code == ErrorCode::unavailable || !options_.on_message) return;
    options_.on_message("warning", "the log's head could not be signed: " + signed_now.error().message);
}

// A write that failed may be on disk or not: nobody is told either, nothing is tried again, and no append is taken
// until the log has been read back.
void LogCommitter::fail(const Error& error, std::span<AppendRequest* const> group) {
    take_no_more(error);
    log_.store->drop_batch();
    const bool full = health_ == Health::disk_full;
    const Error unknown{full ? ErrorCode::resource_exhausted : ErrorCode::unavailable,
                        error.message + "; whether the events were written is not known: retry with the same " +
                            "idempotency key" + (full ? " when there is room" : " after reopening the store"),
                        {{"outcome", "unknown"}, {"head", std::to_string(head().value)}}};
    for (auto* request : group) request->error = unknown;
}

void LogCommitter::take_no_more(const Error& error) {
    const bool full = error.code == ErrorCode::resource_exhausted;
    health_ = full ? Health::disk_full : Health::failed;
    failure_ = full ? "the disk was full" : "a write failed";
    stream_heads_.clear();
}

void LogCommitter::publish(Seq head) {
    head_.store(head);
    if (waiters_.load() == 0) return;
    { const std::lock_guard order(wait_mutex_); }
    head_moved_.notify_all();
}

Seq LogCommitter::wait_past(Seq after, std::chrono::milliseconds wait_max) {
    const auto deadline = steady_clock::now() + wait_max;
    std::unique_lock lock(wait_mutex_);
    ++waiters_;
    head_moved_.wait_until(lock, deadline, [&] { return stopping_ || head_.load() > after; });
    if (--waiters_ == 0 && stopping_) head_moved_.notify_all();
    return head();
}

void LogCommitter::stop_waiting() {
    std::unique_lock lock(wait_mutex_);
    stopping_ = true;
    head_moved_.notify_all();
    head_moved_.wait(lock, [&] { return waiters_.load() == 0; });
}

Error idempotency_conflict() {
    return {ErrorCode::conflict, "the idempotency key was used for another request", {{"field", "idempotency_key"}}};
}

}  // namespace annal
