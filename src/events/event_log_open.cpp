#include "event_log_open.h"

#include "upcasters.h"

#include <openssl/rand.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>

namespace annal {
namespace {

constexpr std::uint64_t tail_events_verified = 256;

void tell(const EventLogOptions& options, std::string_view level, const std::string& message) {
    if (options.on_message) options.on_message(level, message);
}

Error fewer_than_acknowledged(std::optional<Seq> head, Seq acknowledged, std::string_view why) {
    const std::string found = head ? std::to_string(head->value) : "unknown";
    return {ErrorCode::data_loss,
            "the log is damaged (" + std::string(why) + "): " + std::to_string(acknowledged.value) +
                " events were acknowledged, readable up to: " + found +
                ". Nothing was changed; restore it from a backup",
            {{"head", found}, {"acknowledged", std::to_string(acknowledged.value)}}};
}

Result<std::unique_ptr<RocksStore>> open_store(const EventLogOptions& options, bool create) {
    return RocksStore::open({.directory = options.directory,
                             .env = options.env,
                             .on_message = options.on_message,
                             .create = create,
                             .stream_rows_max = options.stream_rows_max,
                             .journal_bytes_max = options.journal_bytes_max,
                             .large_batch_bytes_min = options.large_batch_bytes_min,
                             .archive_directory = options.archive_directory});
}

// Whether `store` holds everything the witness saw acknowledged.
Status holds_acknowledged(const RocksStore& store, const Witness& witness) {
    const auto head = store.last_seq();
    if (!head) return head.error();
    if (*head < witness.seq) return fewer_than_acknowledged(*head, witness.seq, "its end is missing");
    if (witness.seq == Seq{}) return Done{};
    std::vector<Hash> found;
    const auto read = store.leaf_hashes(Seq{witness.seq.value - 1}, 1, found);
    if (!read && read.error().code != ErrorCode::data_loss) return read.error();
    if (!read || found[0] != witness.hash)
        return fewer_than_acknowledged(*head, witness.seq, "the last acknowledged event is another one");
    return Done{};
}

Result<StoreIdentity> make_identity(RocksStore& store, const EventLogOptions& options) {
    StoreIdentity identity;
    if (RAND_bytes(identity.store.data(), static_cast<int>(identity.store.size())) != 1)
        return Error{ErrorCode::internal, "no random bytes for the store's id", {}};
    identity.store[6] = static_cast<std::uint8_t>(0x40 | (identity.store[6] & 0x0f));  // A version 4 UUID.
    identity.store[8] = static_cast<std::uint8_t>(0x80 | (identity.store[8] & 0x3f));
    store.add_identity(identity, clock_of(options).now());
    if (auto written = store.write(true, [] {}); !written) return written.error();
    return identity;
}

// The last events are dense, whole, and where their streams' rows say. Returns the head's recorded_at.
Result<Timestamp> verify_tail(const RocksStore& store, Seq head) {
    const auto damaged = [&](Seq seq, std::string_view what) {
        return Error{ErrorCode::data_loss,
                     "event " + std::to_string(seq.value) + " " + std::string(what),
                     {{"seq", std::to_string(seq.value)}, {"head", std::to_string(head.value)}}};
    };
    EventArena arena;
    std::vector<EventView> tail;
    const Seq after{head.value - std::min(head.value, tail_events_verified)};
    auto read = store.read(after, head, tail_events_verified, std::size_t{1} << 30, arena, tail);
    if (!read) {
        Error error = read.error();
        error.details.emplace("head", std::to_string(head.value));
        return error;
    }
    Timestamp last{};
    for (const auto& event : tail) {
        if (event.recorded_at() <= last) return damaged(event.seq(), "was recorded before the one it follows");
        last = event.recorded_at();
        const auto row = store.stream_seq(event.project(), event.memory_id(), event.version());
        if (!row) return row.error();
        if (*row != event.seq()) return damaged(event.seq(), "is missing in its stream");
    }
    return last;
}

Result<std::optional<Witness>> read_witness(const EventLogOptions& options) {
    auto witness = WitnessFile::read(files_of(options), options.directory);
    if (witness || witness.error().code != ErrorCode::data_loss) return witness;
    Error error = witness.error();
    error.details = {{"head", "unknown"}, {"acknowledged", "unknown"}};
    return error;
}

// Opens what is there, or makes it. What was acknowledged is there when it returns.
Result<std::unique_ptr<RocksStore>> open_checked(const EventLogOptions& options,
                                                 const std::optional<Witness>& witness) {
    if (!RocksStore::exists(files_of(options), options.directory)) {
        if (witness) return fewer_than_acknowledged(std::nullopt, witness->seq, "its files are missing");
        if (!options.create_if_missing) return Error{ErrorCode::not_found, "there is no log in this directory", {}};
        return open_store(options, true);
    }
    auto store = open_store(options, false);
    if (!store) {
        if (store.error().code == ErrorCode::data_loss && witness)
            return fewer_than_acknowledged(std::nullopt, witness->seq, "it cannot be opened");
        return store;
    }
    if (witness)
        if (auto held = holds_acknowledged(**store, *witness); !held) return held.error();
    if (auto kept = (*store)->keep_recovered(); !kept) return kept.error();
    return store;
}

// Every event that was acknowledged is the one it was: their tree's root is the witness's. A root that differs may be
// the index's own damage; then one made anew from the events has it.
Status load_index(RocksStore& store, Seq head, const std::optional<Witness>& witness) {
    for (const bool anew : {false, true}) {
        if (auto loaded = store.load_index(head, anew); !loaded) return loaded;
        if (!witness) return Done{};
        const auto root = store.root(witness->seq);
        if (!root && root.error().code != ErrorCode::not_found) return root.error();
        if (root && *root == witness->root) return Done{};
    }
    return fewer_than_acknowledged(head, witness->seq, "an acknowledged event is another one");
}

}  // namespace

rocksdb::FileSystem& files_of(const EventLogOptions& options) {
    rocksdb::Env* env = options.env != nullptr ? options.env : rocksdb::Env::Default();
    return *env->GetFileSystem();
}

Clock& clock_of(const EventLogOptions& options) {
    return options.clock != nullptr ? *options.clock : system_clock();
}

Result<OpenedLog> open_log(const EventLogOptions& options) {
    if (auto complete = check_upcasters(); !complete) return complete.error();
    const auto witness = read_witness(options);
    if (!witness) return witness.error();

    OpenedLog log;
    auto store = open_checked(options, *witness);
    if (!store) return store.error();
    log.store = *std::move(store);
    const auto head = log.store->last_seq();
    if (!head) return head.error();
    log.head = *head;

    auto identity = log.store->identity();
    if (!identity) return identity.error();
    if (!*identity) {
        if (log.head != Seq{} || *witness)
            return fewer_than_acknowledged(log.head, *witness ? (*witness)->seq : log.head, "it has lost its identity");
        auto made = make_identity(*log.store, options);
        if (!made) return made.error();
        *identity = *made;
    }
    if (*witness && (*witness)->store != (*identity)->store)
        return fewer_than_acknowledged(log.head, (*witness)->seq, "its witness is another store's");
    if (!*witness && log.head != Seq{})
        tell(options, "warning", "the log has no witness: what follows its last readable event cannot be known");

    if (auto loaded = load_index(*log.store, log.head, *witness); !loaded) return loaded.error();
    const auto recorded_at = verify_tail(*log.store, log.head);
    if (!recorded_at) return recorded_at.error();
    log.recorded_at = *recorded_at;

    log.witness.store = (*identity)->store;
    log.witness.epoch = *witness ? (*witness)->epoch : 1;
    log.witness.seq = log.head;
    if (log.head != Seq{}) {
        const auto last = log.store->stored_event(log.head);
        if (!last) return last.error();
        log.witness.hash = event_hash(log.head, **last);
    }
    log.witness.root = log.store->tree().root();
    auto file = WitnessFile::create(files_of(options), options.directory, log.witness);
    if (!file) return file.error();
    log.witness_file = *std::move(file);
    return log;
}

}  // namespace annal
