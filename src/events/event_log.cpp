#include "event_log.h"

#include "bytes.h"
#include "event_log_queue.h"
#include "event_seal.h"
#include "log_backup.h"
#include "log_check.h"
#include "log_retention.h"

#include <annal/limits.h>

#include <pthread.h>
#include <rocksdb/file_system.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace annal {
namespace {

Error invalid(std::string message, std::string field, std::size_t limit) {
    return {ErrorCode::invalid_argument,
            std::move(message),
            {{"field", std::move(field)}, {"limit", std::to_string(limit)}}};
}

Error too_large(std::string_view what, std::size_t actual, std::size_t limit) {
    return {ErrorCode::resource_exhausted,
            std::string(what) + ": " + std::to_string(actual) + ", the limit is " + std::to_string(limit),
            {{"actual", std::to_string(actual)}, {"limit", std::to_string(limit)}}};
}

std::atomic<std::uint64_t> forks = 0;

// Another number after a fork. Asked at every call, so it is a system call only if the fork cannot be watched.
std::uint64_t process_generation() {
    static const bool watched =
        pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); }) == 0;
    return watched ? forks.load(std::memory_order_relaxed) : static_cast<std::uint64_t>(getpid());
}

// What needs no order is done on the caller's thread.
Result<AppendRequest> prepare(AppendBatch& batch, Keystore* keystore) {
    if (batch.project.empty() || batch.project.size() > limits::name_characters_max ||
        batch.project.find('\0') != std::string_view::npos)
        return invalid("an append needs a project", "project", limits::name_characters_max);
    if (batch.idempotency_key.size() > limits::idempotency_key_bytes_max)
        return invalid("the idempotency key is too long", "idempotency_key", limits::idempotency_key_bytes_max);
    if (batch.items.empty()) return invalid("an append needs an event", "items", limits::batch_events_max);
    if (batch.items.size() > limits::batch_events_max)
        return too_large("events of one append", batch.items.size(), limits::batch_events_max);

    AppendRequest request;
    request.batch = &batch;
    for (const auto& item : batch.items) {
        auto& bytes = item.event->bytes;
        const std::string_view stored(as_text(bytes));
        if (const auto header = read_header(stored); !header || header->type != item.event->type)
            return invalid("an event was not encoded", "items", limits::event_bytes_max);
        if (keystore != nullptr && !batch.stamped_from)
            if (auto sealed = seal(*keystore, *item.event); !sealed) return sealed.error();
        if (bytes.size() > limits::event_bytes_max)
            return too_large("bytes of one event", bytes.size(), limits::event_bytes_max);
        request.bytes += bytes.size();
    }
    if (request.bytes > limits::batch_bytes_max)
        return too_large("bytes of one append", request.bytes, limits::batch_bytes_max);
    request.hashes.resize(batch.items.size());
    return request;
}

class RocksEventLog final : public EventLog {
 public:
    RocksEventLog(const EventLogOptions& options, OpenedLog log, rocksdb::FileLock* lock)
        : options_(options),
          lock_(lock),
          committer_(std::make_unique<LogCommitter>(options, std::move(log))),
          queue_(std::make_unique<CommitQueue>(*committer_, options.queue_bytes_max)) {}

    ~RocksEventLog() override {
        if (forked()) {  // The threads and locks are the parent's: leave everything alone.
            static_cast<void>(queue_.release());
            static_cast<void>(committer_.release());
            return;
        }
        committer_->stop_waiting();
        queue_.reset();
        committer_.reset();
        files_of(options_).UnlockFile(lock_, {}, nullptr).PermitUncheckedError();
    }

    Result<std::vector<Receipt>> append(AppendBatch batch) override {
        if (forked()) return after_fork();
        auto request = prepare(batch, keystore_);
        if (!request) return request.error();
        if (auto done = queue_->commit(*request, request->batch->wait_max); !done) return done.error();
        if (request->error) return *request->error;
        return request->replayed ? stored_receipts(request->first, request->count) : receipts(*request);
    }

    Result<std::optional<std::vector<Receipt>>> find_receipts(
        std::string_view project, std::string_view idempotency_key,
        const std::array<std::uint8_t, 32>& request_hash) const override {
        if (forked()) return after_fork();
        const auto row = committer_->with_store(
            [&](const RocksStore& store) { return store.find_idempotency(project, idempotency_key); });
        if (!row) return row.error();
        // What is not durable is for append() to answer, which makes it durable.
        if (!*row || (*row)->first.value + (*row)->count - 1 > committer_->synced().value)
            return std::optional<std::vector<Receipt>>();
        if ((*row)->request_hash != request_hash) return idempotency_conflict();
        auto receipts = stored_receipts((*row)->first, (*row)->count);
        if (!receipts) return receipts.error();
        return std::optional(*std::move(receipts));
    }

    Seq head() const override { return committer_->head(); }

    Seq wait_past(Seq after, std::chrono::milliseconds wait_max) override {
        return forked() ? head() : committer_->wait_past(after, wait_max);
    }

    Status read(Seq after, const ReadLimits& limits, EventArena& arena, std::vector<EventView>& out) const override {
        if (forked()) return after_fork();
        const auto before = out.size();
        auto read = committer_->with_store([&](const RocksStore& store) {
            return store.read(after, head(), std::max<std::size_t>(limits.events_max, 1), limits.bytes_max, arena, out);
        });
        return read ? open_all(std::span(out).subspan(before), arena) : read;
    }

    Status read_stream(std::string_view project, const MemoryId& stream, EventArena& arena,
                       std::vector<EventView>& out) const override {
        if (forked()) return after_fork();
        const auto before = out.size();
        auto read = committer_->with_store(
            [&](const RocksStore& store) { return store.read_stream(project, stream, head(), arena, out); });
        return read ? open_all(std::span(out).subspan(before), arena) : read;
    }

    Result<Version> stream_version(std::string_view project, const MemoryId& stream) const override {
        if (forked()) return after_fork();
        return committer_->with_store([&](const RocksStore& store) { return store.stream_version(project, stream); });
    }

    Result<Hash> root(Seq size) const override {
        if (forked()) return after_fork();
        if (auto there = check_size(size); !there) return there.error();
        return committer_->with_store([&](const RocksStore& store) { return store.root(size); });
    }

    Result<Hash> tree_node(MerkleNodeId id) const override {
        if (forked()) return after_fork();
        if (id.level > 62 || id.index >= merkle_leaves_max >> id.level)
            return invalid("there is no such node in a Merkle tree", "level", 62);
        if (auto there = check_size(Seq{(id.index + 1) << id.level}); !there) return there.error();
        return committer_->with_store([&](const RocksStore& store) { return store.tree_node(id); });
    }

    Status seal_with(Keystore& keystore) override {
        const auto known = has_keystore();
        if (!known) return known.error();
        if (keystore.state() == KeystoreState::off) {
            if (*known) return keystore_is_missing();
        } else if (!*known) {
            auto kept = committer_->with_store([](const RocksStore& store) { return store.keep_that_sealed(); });
            if (!kept) return kept;
        }
        keystore_ = &keystore;
        return Done{};
    }

    std::vector<Erasure> erasures() const override {
        const auto all = committer_->with_store(
            [](const RocksStore& store) -> Result<std::vector<Erasure>> { return store.erasures().all(); });
        return all ? *all : std::vector<Erasure>();
    }

    std::optional<Erasure> erasure(std::string_view project, std::string_view user) const override {
        const auto found = committer_->with_store([&](const RocksStore& store) -> Result<std::optional<Erasure>> {
            return store.erasures().find(project, user);
        });
        return found ? *found : std::nullopt;
    }

    Status keep_that_keys_are_gone(const Erasure& erasure, std::uint64_t keystore_epoch) override {
        if (forked()) return after_fork();
        return committer_->with_store([&](const RocksStore& store) {
            auto now = erasure;
            now.keystore_epoch = keystore_epoch;
            now.state = std::max(now.state, ErasureState::keys_gone);
            return store.keep_erasure(now);
        });
    }

    Result<std::optional<TombstoneReason>> find_tombstone(const TombstoneHash& hash) const override {
        if (forked()) return after_fork();
        return committer_->with_store([&](const RocksStore& store) { return store.find_tombstone(hash); });
    }

    bool has_tombstones() const override {
        const auto any =
            committer_->with_store([](const RocksStore& store) -> Result<bool> { return store.has_tombstones(); });
        return !any || *any;  // Unknown: the append will say what is wrong.
    }

    Result<bool> has_keystore() const override {
        if (forked()) return after_fork();
        return committer_->with_store([](const RocksStore& store) { return store.was_sealed(); });
    }

    void sign_with(SigningKey key) override { committer_->sign_with(std::move(key)); }

    Result<std::string> signed_head() override {
        if (forked()) return after_fork();
        return committer_->signed_head();
    }

    Result<std::optional<std::string>> signed_head(Seq at_most) const override {
        if (forked()) return after_fork();
        return committer_->with_store([&](const RocksStore& store) { return store.signed_head(at_most); });
    }

    Result<BackupInfo> backup(const std::filesystem::path& directory, std::size_t keep,
                              const BackupProgress& progress) const override {
        if (forked()) return after_fork();
        return committer_->with_store([&](const RocksStore& store) {
            return make_backup({store, committer_->store_id(), committer_->epoch(), options_.env, clock_of(options_),
                                options_.on_message},
                               directory, keep, progress);
        });
    }

    Result<ArchiveReport> archive(Seq up_to, const std::filesystem::path& directory,
                                  const ArchiveProgress& progress) override {
        if (forked()) return after_fork();
        const std::lock_guard one_at_a_time(archive_mutex_);
        const WithStore with_store = [this](const std::function<Status(const RocksStore&)>& use) {
            return committer_->with_store(use);
        };
        return archive_events(
            {with_store, committer_->store_id(), committer_->epoch(), committer_->synced(), files_of(options_),
             options_.on_message, [this](Seq size) { return committer_->signed_head(size); }},
            up_to, directory, progress);
    }

    ArchiveStatus archived(bool with_missing) const override {
        ArchiveStatus status;
        if (forked()) return status;
        static_cast<void>(committer_->with_store([&](const RocksStore& store) -> Status {
            for (const auto& range : store.archive().ranges()) {
                status.archived_seq = range.last;
                status.recorded_at = range.recorded_at;
                ++status.segments;
                status.bytes += range.bytes;
                if (with_missing && !store.archive().find(range)) status.missing.push_back(range.file_name());
            }
            return Done{};
        }));
        return status;
    }

    Result<Checked> check(LogPart part, std::uint64_t after, Seq up_to,
                          const std::function<bool(const Checked&)>& progress) const override {
        if (forked()) return after_fork();
        const auto with_store = [this](const std::function<Status(const RocksStore&)>& read) {
            return committer_->with_store(read);
        };
        TreeWitnesses witnesses;
        if (part == LogPart::tree) {
            auto witness = WitnessFile::read(files_of(options_), options_.directory);
            if (!witness) return witness.error();
            witnesses = {*witness, committer_->verifier_key()};
        }
        return check_log(part, after, std::min(up_to, head()), with_store, witnesses, progress);
    }

    std::string store_id() const override { return to_string(committer_->store_id()); }
    std::array<std::uint8_t, 16> store_uuid() const override { return committer_->store_id(); }
    std::uint64_t epoch() const override { return committer_->epoch(); }

    std::uint64_t bytes_on_disk() const override {
        auto& files = files_of(options_);
        std::vector<std::string> names;
        std::uint64_t total = 0;
        if (!files.GetChildren(options_.directory.string(), {}, &names, nullptr).ok()) return 0;
        for (const auto& name : names) {
            std::uint64_t size = 0;  // A file that was just dropped counts nothing.
            if (files.GetFileSize((options_.directory / name).string(), {}, &size, nullptr).ok()) total += size;
        }
        return total;
    }

 private:
    bool forked() const { return process_generation() != opened_in_; }
    static Error after_fork() {
        return {ErrorCode::unavailable, "the store was opened before a fork: open it in the child, not before", {}};
    }

    static Error keystore_is_missing() {
        return {
            ErrorCode::data_loss,
            "the log has sealed events, and the keystore with their keys is missing: restore it from its own backup",
            {}};
    }

    // Erased is what an erasure reached, and what has no key any more.
    Status open_all(std::span<EventView> events, EventArena& arena) const {
        auto erased = committer_->with_store([&](const RocksStore& store) -> Status {
            if (store.erasures().empty()) return Done{};
            for (auto& event : events) {
                if (!is_personal(event.type()) || event.user().empty()) continue;
                const auto erasure = store.erasures().find(event.project(), event.user());
                if (!erasure || event.seq() > erasure->requested_at) continue;
                if (auto ok = make_erased(event, arena); !ok) return ok;
            }
            return Done{};
        });
        if (!erased || keystore_ == nullptr) return erased;
        for (auto& event : events)
            if (auto opened = unseal(*keystore_, event, arena); !opened) return opened;
        return Done{};
    }

    Status check_size(Seq size) const {
        if (size <= head()) return Done{};
        return Error{ErrorCode::invalid_argument,
                     "the log has only " + std::to_string(head().value) + " events",
                     {{"size", std::to_string(size.value)}, {"head", std::to_string(head().value)}}};
    }

    static std::vector<Receipt> receipts(const AppendRequest& request) {
        std::vector<Receipt> receipts;
        receipts.reserve(request.count);
        Seq seq = request.first;
        for (std::size_t i = 0; i < request.count; ++i, ++seq.value) {
            const EncodedEvent& event = *request.batch->items[i].event;
            const auto header = read_header(as_text(event.bytes));
            receipts.push_back({event.memory_id, event.event_id, seq, header->version, request.hashes[i], false});
        }
        return receipts;
    }

    Result<std::vector<Receipt>> stored_receipts(Seq first, std::uint32_t count) const {
        EventArena arena;
        std::vector<EventView> events;
        const auto read = committer_->with_store([&](const RocksStore& store) {
            return store.read(Seq{first.value - 1}, Seq{first.value + count - 1}, count, SIZE_MAX, arena, events);
        });
        if (!read) return read.error();
        std::vector<Receipt> receipts;
        receipts.reserve(events.size());
        for (const auto& event : events) {
            const auto stored = event.stored();
            receipts.push_back({event.memory_id(), event.event_id(), event.seq(), event.version(),
                                event_hash(event.seq(), as_text(stored)), true});
        }
        return receipts;
    }

    const EventLogOptions options_;
    const std::uint64_t opened_in_ = process_generation();
    rocksdb::FileLock* const lock_;
    Keystore* keystore_ = nullptr;
    std::unique_ptr<LogCommitter> committer_;
    std::unique_ptr<CommitQueue> queue_;
    std::mutex archive_mutex_;
};

Result<rocksdb::FileLock*> take_lock(rocksdb::FileSystem& files, const std::filesystem::path& directory) {
    rocksdb::FileLock* lock = nullptr;
    const auto status = files.LockFile((directory / "annal.lock").string(), {}, &lock, nullptr);
    if (status.ok()) return lock;
    const std::string text = status.ToString();
    if (text.find("While lock file") == std::string::npos &&
        text.find("lock hold by current process") == std::string::npos)
        return to_error(status, "locking the store");
    return Error{ErrorCode::already_exists,
                 "the store is open already, here or in another process: one process owns a store; use that one, or "
                 "close it",
                 {}};
}

}  // namespace

Result<std::unique_ptr<EventLog>> EventLog::open(const EventLogOptions& options) {
    if (options.directory.empty())
        return Error{ErrorCode::invalid_argument, "a log needs a directory", {{"field", "directory"}}};
    auto& files = files_of(options);
    const auto there = files.FileExists(options.directory.string(), {}, nullptr);
    if (!there.ok() && !there.IsNotFound()) return to_error(there, "opening the log");
    if (!there.ok() && !options.create_if_missing)
        return Error{ErrorCode::not_found, "there is no log in this directory", {}};
    if (auto made = create_directories(files, options.directory); !made) return made.error();

    const auto lock = take_lock(files, options.directory);
    if (!lock) return lock.error();
    auto log = open_log(options);
    if (!log) {
        files.UnlockFile(*lock, {}, nullptr).PermitUncheckedError();
        return log.error();
    }
    return std::unique_ptr<EventLog>(std::make_unique<RocksEventLog>(options, *std::move(log), *lock));
}

}  // namespace annal
