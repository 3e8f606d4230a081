#include "rocks_store.h"

#include "rocks_keys.h"
#include "rocks_options.h"

#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/file_system.h>
#include <rocksdb/utilities/backup_engine.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <new>

namespace annal {
namespace {

constexpr std::uint32_t format_version = 1;
constexpr std::string_view indexed_key("\0indexed", 8);
constexpr std::size_t load_events_max = 1024, load_bytes_max = std::size_t{8} << 20;

void set_scoped_key(std::string& key, std::string_view project, std::span<const std::uint8_t> id) {
    key.assign(project);
    key += '\0';
    key.append(as_text(id));
}

std::string stream_prefix(std::string_view project, const MemoryId& stream) {
    std::string key;
    set_scoped_key(key, project, stream.bytes);
    return key;
}

std::string idempotency_key(std::string_view project, std::string_view text) {
    const Hash hash = sha256(text);
    std::string key;
    set_scoped_key(key, project, std::span(hash).first(16));
    return key;
}

}  // namespace

RocksStore::RocksStore() = default;

RocksStore::~RocksStore() {
    indexing_.reset();
    if (!db_) return;
    rocksdb::CancelAllBackgroundWork(db_.get(), true);
    for (auto* family : families_) db_->DestroyColumnFamilyHandle(family).PermitUncheckedError();
    db_->Close().PermitUncheckedError();
}

bool RocksStore::exists(rocksdb::FileSystem& files, const std::filesystem::path& directory) {
    return files.FileExists((directory / "CURRENT").string(), {}, nullptr).ok();
}

Result<std::unique_ptr<RocksStore>> RocksStore::open(const RocksStoreOptions& options) {
    const auto db_options = rocks_db_options(options);
    const auto families = rocks_families();
    std::unique_ptr<RocksStore> store(new RocksStore);
    store->on_message_ = options.on_message;
    rocksdb::DB* db = nullptr;
    const std::string path = options.directory.string();
    const auto status = options.read_only
                            ? rocksdb::DB::OpenForReadOnly(db_options, path, families, &store->families_, &db)
                            : rocksdb::DB::Open(db_options, path, families, &store->families_, &db);
    if (!status.ok()) return to_error(status, "opening the log", options.on_message);
    store->db_.reset(db);
    store->read_only_ = options.read_only;
    store->stream_rows_max_ = options.stream_rows_max;
    store->large_batch_bytes_min_ = options.large_batch_bytes_min;
    store->batch_ = std::make_unique<rocksdb::WriteBatch>(0, 0, batch_protection_bytes, 0);
    const auto beside = options.directory.lexically_normal().parent_path() / "archive";
    store->archive_ = std::make_unique<LogArchive>(
        *db_options.env->GetFileSystem(), options.archive_directory.empty() ? beside : options.archive_directory);
    if (!options.read_only)
        if (auto read = store->read_journal(options); !read) return read.error();
    if (auto loaded = store->load_archive(); !loaded) return loaded.error();
    if (auto loaded = store->load_erasures(); !loaded) return loaded.error();
    return store;
}

Status RocksStore::load_index(Seq head, bool anew) {
    auto done = indexed();
    if (!done) return done.error();
    if (*done > head) anew = true;
    if (!anew) {
        auto tree = MerkleFrontier::of(done->value, [this](MerkleNodeId id) { return tree_node(id); });
        if (tree)
            tree_ = *std::move(tree);
        else if (tree.error().code == ErrorCode::not_found)
            anew = true;
        else
            return tree.error();
    }
    if (anew) {
        if (read_only_) return Error{ErrorCode::data_loss, "the log's index is not that of its events", {}};
        for (const auto& range : archive_->ranges())
            if (const auto found = archive_->find(range); !found) return found.error();
        if (auto cleared = clear_index(); !cleared) return cleared;
        *done = Seq{};
    }
    EventArena arena;
    std::vector<EventView> page;
    while (*done < head) {
        arena.clear();
        page.clear();
        if (auto events = read(*done, head, load_events_max, load_bytes_max, arena, page); !events) return events;
        {
            const std::lock_guard changing(waiting_mutex_);
            for (const auto& event : page)
                add_row(waiting_, event.project(), event.memory_id(), event.version(), event.seq(), event.type());
        }
        for (const auto& event : page) add_leaf(event_hash(event.seq(), as_text(event.stored())));
        *done = page.back().seq();
        if (read_only_ || waiting_.size() < stream_rows_max_) continue;
        if (auto written = write_index(); !written) return written;
    }
    rows_waiting_ = waiting_.size();
    return Done{};
}

Result<Seq> RocksStore::indexed() const {
    std::string value;
    const auto status = db_->Get({}, family(streams), slice(indexed_key), &value);
    if (status.IsNotFound()) return Seq{};  // Written before there was such a row: all are written once more.
    if (!status.ok()) return to_error(status, "reading how far streams are indexed", on_message_);
    if (value.size() != 8) return Error{ErrorCode::data_loss, "how far streams are indexed is damaged", {}};
    return Seq{take_number<std::uint64_t>(value.data())};
}

Status RocksStore::clear_index() {
    tree_ = {};
    {
        const std::lock_guard changing(waiting_mutex_);
        waiting_.clear();
        waiting_nodes_.clear();
    }
    std::string end;
    {
        const std::unique_ptr<rocksdb::Iterator> last(db_->NewIterator({}, family(streams)));
        last->SeekToLast();
        if (!last->status().ok()) return to_error(last->status(), "reading the streams", on_message_);
        if (last->Valid()) end = last->key().ToString();
    }
    end += '\0';
    rocksdb::WriteBatch batch(0, 0, batch_protection_bytes, 0);
    batch.DeleteRange(family(streams), rocksdb::Slice(), end).PermitUncheckedError();
    batch.Put(family(streams), slice(indexed_key), SeqKey(Seq{}).slice()).PermitUncheckedError();
    return write_beside(batch);
}

// Beside what follows a large batch nobody waits for it: its rows and the next batch's are one thread's.
Status RocksStore::index() {
    if (auto over = indexing_over(); !over) return over;
    if (rows_waiting_ < (after_large_batch_ ? stream_rows_max_ / 4 : stream_rows_max_)) return Done{};
    rows_waiting_ = 0;
    if (!after_large_batch_) return write_index();
    indexing_ = std::make_unique<SideThread::Task>(*side_thread_, [this] {
        try {
            indexed_ = write_index();
        } catch (const std::bad_alloc&) {
            indexed_ = Error{ErrorCode::unavailable, "memory ran out", {}};
        }
    });
    return Done{};
}

Status RocksStore::indexing_over() {
    if (!indexing_) return Done{};
    indexing_->wait();
    indexing_.reset();
    return std::exchange(indexed_, Done{});
}

Status RocksStore::write_index() {
    if (waiting_.size() == 0) return Done{};
    rocksdb::WriteBatch batch(0, 0, batch_protection_bytes, 0);
    for (const auto row : waiting_.sorted())
        batch.Put(family(streams), slice(waiting_.key(row)), slice(waiting_.value(row))).PermitUncheckedError();
    for (const auto& node : waiting_nodes_)
        batch.Put(family(streams), node_key(node.id), as_text(node.hash)).PermitUncheckedError();
    batch.Put(family(streams), slice(indexed_key), slice(waiting_.value(waiting_.size() - 1).substr(0, 8)))
        .PermitUncheckedError();
    if (auto written = write_beside(batch); !written) return written;
    const std::lock_guard changing(waiting_mutex_);  // A reader that does not find them here any more finds them there.
    waiting_.clear();
    waiting_nodes_.clear();
    return Done{};
}

void RocksStore::add_row(StreamRows& to, std::string_view project, const MemoryId& stream, Version version, Seq seq,
                         EventType type) {
    thread_local std::string key;
    set_scoped_key(key, project, stream.bytes);
    append_number(key, version.value);
    const SeqKey at(seq);
    std::array<char, 10> value{};
    std::copy(at.bytes.begin(), at.bytes.end(), value.begin());
    value[8] = static_cast<char>(static_cast<std::uint16_t>(type) >> 8);
    value[9] = static_cast<char>(type);
    to.add(key, {value.data(), value.size()});
}

Result<Seq> RocksStore::last_seq() const {
    const std::unique_ptr<rocksdb::Iterator> last(db_->NewIterator({}, family(events)));
    last->SeekToLast();
    if (!last->status().ok()) return to_error(last->status(), "reading the head", on_message_);
    if (!last->Valid() && archive_->up_to() == Seq{}) return Seq{};
    if (!last->Valid())
        return Error{ErrorCode::data_loss, "the events that follow those that were archived are missing", {}};
    if (last->key().size() != 8) return Error{ErrorCode::data_loss, "the last event's key is damaged", {}};
    return Seq{take_number<std::uint64_t>(last->key().data())};
}

Result<std::optional<StoreIdentity>> RocksStore::identity() const {
    std::string format, store;
    const auto status = db_->Get({}, family(meta), "format", &format);
    if (status.IsNotFound()) return std::optional<StoreIdentity>();
    if (!status.ok()) return to_error(status, "reading the store's identity", on_message_);
    if (format.size() != 4) return Error{ErrorCode::data_loss, "the store's format version is damaged", {}};
    if (const auto found = take_number<std::uint32_t>(format.data()); found > format_version)
        return Error{ErrorCode::unimplemented,
                     "the store was made by a newer version of this program",
                     {{"format", std::to_string(found)}, {"limit", std::to_string(format_version)}}};
    StoreIdentity identity;
    if (!db_->Get({}, family(meta), "store", &store).ok() || store.size() != identity.store.size())
        return Error{ErrorCode::data_loss, "the store's identity is damaged", {}};
    std::copy(store.begin(), store.end(), identity.store.begin());
    return std::optional(identity);
}

Result<std::optional<std::string>> RocksStore::stored_event(Seq seq) const {
    std::string value;
    const SeqKey key(seq);
    const auto status = db_->Get({}, family(events), key.slice(), &value);
    if (status.IsNotFound()) return archived_event(seq);
    if (!status.ok()) return to_error(status, "reading an event", on_message_);
    return std::optional(std::move(value));
}

Result<Version> RocksStore::stream_version(std::string_view project, const MemoryId& stream) const {
    std::string key = stream_prefix(project, stream);
    const std::size_t prefix_size = key.size();
    {
        const std::shared_lock hold(waiting_mutex_);
        if (const auto row = waiting_.last_of_stream(key); row < waiting_.size())
            return Version{take_number<std::uint64_t>(waiting_.key(row).data() + prefix_size)};
    }

    // Most streams asked for are new, and the filter of whole keys says so without touching the disk.
    append_number(key, std::uint64_t{1});
    rocksdb::PinnableSlice first;
    const auto status = db_->Get({}, family(streams), key, &first);
    if (status.IsNotFound()) return Version{};
    if (!status.ok()) return to_error(status, "reading a stream's version", on_message_);

    key.resize(prefix_size);
    key.append(8, '\xff');
    const std::unique_ptr<rocksdb::Iterator> last(db_->NewIterator({}, family(streams)));
    last->SeekForPrev(key);
    if (!last->status().ok()) return to_error(last->status(), "reading a stream's version", on_message_);
    if (!last->Valid() || last->key().size() != key.size() ||
        view(last->key()).substr(0, prefix_size) != std::string_view(key).substr(0, prefix_size))
        return Error{ErrorCode::data_loss, "a stream's rows are damaged", {{"memory_id", to_string(stream)}}};
    return Version{take_number<std::uint64_t>(last->key().data() + prefix_size)};
}

Result<MemoryId> RocksStore::greatest_stream(std::string_view project) const {
    MemoryId greatest;
    greatest.bytes.fill(0xff);
    std::string key = stream_prefix(project, greatest);
    key.append(8, '\xff');
    const std::size_t prefix_size = project.size() + 1;
    const std::string_view prefix = std::string_view(key).substr(0, prefix_size);
    const auto id_of = [&](std::string_view row) {
        MemoryId id;
        std::copy_n(row.data() + prefix_size, id.bytes.size(), id.bytes.begin());
        return id;
    };
    greatest = {};
    {
        const std::shared_lock hold(waiting_mutex_);
        for (std::size_t row = 0; row < waiting_.size(); ++row)
            if (waiting_.key(row).substr(0, prefix_size) == prefix)
                greatest = std::max(greatest, id_of(waiting_.key(row)));
    }
    const std::unique_ptr<rocksdb::Iterator> last(db_->NewIterator({}, family(streams)));
    last->SeekForPrev(key);
    if (!last->status().ok()) return to_error(last->status(), "reading a project's streams", on_message_);
    if (!last->Valid() || !last->key().starts_with(slice(prefix))) return greatest;
    if (last->key().size() != key.size()) return Error{ErrorCode::data_loss, "a stream's rows are damaged", {}};
    return std::max(greatest, id_of(view(last->key())));
}

Result<std::optional<Seq>> RocksStore::stream_seq(std::string_view project, const MemoryId& stream,
                                                  Version version) const {
    std::string key = stream_prefix(project, stream), value;
    {
        const std::shared_lock hold(waiting_mutex_);
        for (const auto row : waiting_.of_stream(key))
            if (take_number<std::uint64_t>(waiting_.key(row).data() + key.size()) == version.value)
                return std::optional(Seq{take_number<std::uint64_t>(waiting_.value(row).data())});
    }
    append_number(key, version.value);
    const auto status = db_->Get({}, family(streams), key, &value);
    if (status.IsNotFound()) return std::optional<Seq>();
    if (!status.ok()) return to_error(status, "reading a stream", on_message_);
    if (value.size() != 10)
        return Error{ErrorCode::data_loss, "a stream's row is damaged", {{"memory_id", to_string(stream)}}};
    return std::optional(Seq{take_number<std::uint64_t>(value.data())});
}

Result<std::optional<IdempotencyRow>> RocksStore::find_idempotency(std::string_view project,
                                                                   std::string_view key) const {
    std::string value;
    const auto status = db_->Get({}, family(idem), idempotency_key(project, key), &value);
    if (status.IsNotFound()) return std::optional<IdempotencyRow>();
    if (!status.ok()) return to_error(status, "looking an idempotency key up", on_message_);
    if (value.size() != 44) return Error{ErrorCode::data_loss, "an idempotency key's row is damaged", {}};
    IdempotencyRow row;
    row.first = Seq{take_number<std::uint64_t>(value.data())};
    row.count = take_number<std::uint32_t>(value.data() + 8);
    std::copy(value.begin() + 12, value.end(), row.request_hash.begin());
    return std::optional(row);
}

Status RocksStore::read(Seq after, Seq up_to, std::size_t events_max, std::size_t bytes_max, EventArena& arena,
                        std::vector<EventView>& out) const {
    if (after >= up_to) return Done{};
    const std::size_t bytes_end = bytes_max > SIZE_MAX - arena.bytes() ? SIZE_MAX : arena.bytes() + bytes_max;
    if (const Seq archived = archive_->up_to(); after < archived) {
        bool full = false;
        auto read =
            read_archived(after, std::min(up_to, archived), [&](Seq seq, std::string_view stored) -> Result<bool> {
                auto event = decode(seq, stored, arena);
                if (!event) return event.error();
                out.push_back(*event);
                after = seq;
                full = --events_max == 0 || arena.bytes() >= bytes_end;
                return !full;
            });
        if (!read || full || after >= up_to) return read;
    }
    const std::uint64_t wanted = std::min<std::uint64_t>(up_to.value - after.value, events_max);
    const SeqKey begin(Seq{after.value + 1}), end(Seq{after.value + wanted + 1});
    const rocksdb::Slice upper = end.slice();
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &upper;
    if (wanted >= readahead_events_min) {  // A replay: do not push what is hot out of the cache.
        options.readahead_size = readahead_bytes;
        options.fill_cache = false;
    }

    const std::unique_ptr<rocksdb::Iterator> rows(db_->NewIterator(options, family(events)));
    Seq next{after.value + 1};
    for (rows->Seek(begin.slice()); rows->Valid(); rows->Next(), ++next.value) {
        if (rows->key().size() != 8 || take_number<std::uint64_t>(rows->key().data()) != next.value) break;
        auto event = decode(next, view(rows->value()), arena);
        if (!event) return event.error();
        out.push_back(*event);
        if (arena.bytes() >= bytes_end) return Done{};
    }
    if (!rows->status().ok()) return to_error(rows->status(), "reading the log", on_message_);
    if (next.value == after.value + wanted + 1) return Done{};
    if (next <= moved_out())  // Since this began.
        return read(after, up_to, events_max, bytes_end - arena.bytes(), arena, out);
    return damaged(rows->Valid() ? "the log has a gap" : "the log ends before its head", next);
}

Status RocksStore::read_stream(std::string_view project, const MemoryId& stream, Seq up_to, EventArena& arena,
                               std::vector<EventView>& out) const {
    const std::string prefix = stream_prefix(project, stream);
    const auto damaged_rows = [&] {
        return Error{ErrorCode::data_loss, "a stream's rows are damaged", {{"memory_id", to_string(stream)}}};
    };
    // First those that wait: what is written meanwhile is found twice, never missed.
    std::vector<std::pair<Version, Seq>> waiting;
    {
        const std::shared_lock hold(waiting_mutex_);
        for (const auto row : waiting_.of_stream(prefix))
            waiting.emplace_back(Version{take_number<std::uint64_t>(waiting_.key(row).data() + prefix.size())},
                                 Seq{take_number<std::uint64_t>(waiting_.value(row).data())});
    }

    std::string first = prefix;
    append_number(first, std::uint64_t{1});
    const std::unique_ptr<rocksdb::Iterator> rows(db_->NewIterator({}, family(streams)));
    Version version{1};
    for (rows->Seek(first); rows->Valid() && rows->key().starts_with(prefix); rows->Next(), ++version.value) {
        if (rows->key().size() != first.size() || rows->value().size() != 10 ||
            take_number<std::uint64_t>(rows->key().data() + prefix.size()) != version.value)
            return damaged_rows();
        const Seq seq{take_number<std::uint64_t>(rows->value().data())};
        if (seq > up_to) return Done{};
        if (auto read = read_version(stream, version, seq, arena, out); !read) return read;
    }
    if (!rows->status().ok()) return to_error(rows->status(), "reading a stream", on_message_);
    for (const auto& [waits, seq] : waiting) {
        if (waits < version) continue;
        if (waits > version) return damaged_rows();
        if (seq > up_to) return Done{};
        if (auto read = read_version(stream, version, seq, arena, out); !read) return read;
        ++version.value;
    }
    return Done{};
}

Status RocksStore::read_version(const MemoryId& stream, Version version, Seq seq, EventArena& arena,
                                std::vector<EventView>& out) const {
    rocksdb::PinnableSlice stored;
    std::optional<std::string> archived;
    const SeqKey key(seq);
    const auto status = db_->Get({}, family(events), key.slice(), &stored);
    if (status.IsNotFound()) {
        auto found = archived_event(seq);
        if (!found) return found.error();
        if (!*found) return damaged("the log has a gap", seq);
        archived = *std::move(found);
    } else if (!status.ok()) {
        return to_error(status, "reading a stream", on_message_);
    }
    auto event = decode(seq, archived ? std::string_view(*archived) : view(stored), arena);
    if (!event) return event.error();
    if (event->memory_id() != stream || event->version() != version)
        return damaged("a stream's row names another stream's event", seq);
    out.push_back(*event);
    return Done{};
}

Result<std::uint32_t> RocksStore::copy_to(rocksdb::BackupEngine& backups) const {
    rocksdb::CreateBackupOptions options;
    options.flush_before_backup = true;
    rocksdb::BackupID id = 0;
    const auto status = backups.CreateNewBackup(options, db_.get(), &id);
    if (!status.ok()) return to_error(status, "copying the log", on_message_);
    return id;
}

Result<bool> RocksStore::was_sealed() const {
    std::string value;
    const auto status = db_->Get({}, family(meta), "sealed", &value);
    if (!status.ok() && !status.IsNotFound()) return to_error(status, "reading whether the log is sealed", on_message_);
    return status.ok();
}

Status RocksStore::keep_that_sealed() const {
    rocksdb::WriteBatch batch(0, 0, batch_protection_bytes, 0);
    batch.Put(family(meta), "sealed", rocksdb::Slice("\1", 1)).PermitUncheckedError();
    return commit(batch, true, "keeping that the log is sealed");
}

Status RocksStore::load_erasures() {
    const std::unique_ptr<rocksdb::Iterator> rows(db_->NewIterator({}, family(meta)));
    for (rows->Seek(slice(ErasureTable::prefix)); rows->Valid() && rows->key().starts_with(slice(ErasureTable::prefix));
         rows->Next()) {
        auto erasure = ErasureTable::decode(view(rows->key()), view(rows->value()));
        if (!erasure) return erasure.error();
        erasures_.put(*std::move(erasure));
    }
    if (rows->status().ok()) {
        const auto first = tombstone_key({});
        rows->Seek(first);
        has_tombstones_ =
            rows->Valid() &&
            rows->key().starts_with(slice(std::string_view(first).substr(0, first.size() - sizeof(TombstoneHash))));
    }
    if (!rows->status().ok()) return to_error(rows->status(), "reading what was erased", on_message_);
    return Done{};
}

Status RocksStore::keep_erasure(const Erasure& erasure) const {
    rocksdb::WriteBatch batch(0, 0, batch_protection_bytes, 0);
    batch.Put(family(meta), ErasureTable::key(erasure.project, erasure.user), ErasureTable::value(erasure))
        .PermitUncheckedError();
    return commit(batch, true, "keeping how far an erasure is", [&]() -> Status {
        erasures_.put(erasure);
        return Done{};
    });
}

Result<std::optional<TombstoneReason>> RocksStore::find_tombstone(const TombstoneHash& hash) const {
    std::string value;
    const auto status = db_->Get({}, family(meta), tombstone_key(hash), &value);
    if (status.IsNotFound()) return std::optional<TombstoneReason>();
    if (!status.ok()) return to_error(status, "looking a value up that may be refused", on_message_);
    const auto reason = tombstone_reason(value);
    if (!reason) return reason.error();
    return std::optional(*reason);
}

Status RocksStore::walk(Index index, std::string_view after,
                        const std::function<bool(std::string_view key, std::string_view value)>& visit) const {
    rocksdb::ReadOptions options;
    options.readahead_size = readahead_bytes;
    options.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> rows(
        db_->NewIterator(options, family(index == Index::streams ? streams : idem)));
    for (rows->Seek(slice(after)); rows->Valid(); rows->Next())
        if (view(rows->key()) != after && !visit(view(rows->key()), view(rows->value()))) return Done{};
    if (!rows->status().ok()) return to_error(rows->status(), "reading an index of the log", on_message_);
    return Done{};
}

Status RocksStore::check_files(std::uint64_t after,
                               const std::function<bool(const TableFile& file, const Status& whole)>& visit) const {
    return annal::check_files(*db_, after, visit);
}

// Filling a batch in memory cannot fail but for its size, which the committer bounds.

void RocksStore::add_identity(const StoreIdentity& identity, Timestamp created) {
    std::string format, time;
    append_number(format, format_version);
    append_number(time, static_cast<std::uint64_t>(created.us));
    batch_->Put(family(meta), "format", format).PermitUncheckedError();
    batch_->Put(family(meta), "store", as_text(identity.store)).PermitUncheckedError();
    batch_->Put(family(meta), "created", time).PermitUncheckedError();
}

void RocksStore::add_event(std::string_view project, const MemoryId& stream, Seq seq, Version version, EventType type,
                           std::span<const std::uint8_t> stored) {
    const SeqKey key(seq);
    batch_->Put(family(events), key.slice(), as_text(stored)).PermitUncheckedError();
    add_row(batch_rows_, project, stream, version, seq, type);
}

void RocksStore::add_idempotency(std::string_view project, std::string_view key, const IdempotencyRow& row) {
    std::string value;
    append_number(value, row.first.value);
    append_number(value, row.count);
    value.append(as_text(row.request_hash));
    batch_->Put(family(idem), idempotency_key(project, key), value).PermitUncheckedError();
}

void RocksStore::add_erasure(Erasure erasure) {
    batch_->Put(family(meta), ErasureTable::key(erasure.project, erasure.user), ErasureTable::value(erasure))
        .PermitUncheckedError();
    batch_erasures_.push_back(std::move(erasure));
}

void RocksStore::add_tombstone(const ValueTombstone& tombstone) {
    batch_->Put(family(meta), tombstone_key(tombstone.hash), tombstone_value(tombstone.reason)).PermitUncheckedError();
    batch_has_tombstones_ = true;
}

void RocksStore::drop_batch() {
    batch_->Clear();
    batch_rows_.clear();
    batch_erasures_.clear();
    batch_has_tombstones_ = false;
}

}  // namespace annal
