// The log's writes: frames of its journal, and the rows that follow them.
#include "rocks_keys.h"
#include "rocks_store.h"

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

namespace annal {
namespace {

constexpr std::string_view journal_key = "journal";

}  // namespace

Status RocksStore::read_journal(const RocksStoreOptions& options) {
    JournalPosition applied;
    std::string value;
    auto status = db_->Get({}, family(meta), slice(journal_key), &value);
    if (status.ok() && value.size() != 16)
        return Error{ErrorCode::data_loss, "how far the journal is applied is damaged", {}};
    if (status.ok()) {
        applied.frame = take_number<std::uint64_t>(value.data());
        applied.journal = take_number<std::uint64_t>(value.data() + 8);
    } else if (!status.IsNotFound()) {
        return to_error(status, "reading how far the journal is applied", on_message_);
    }
    auto journal = Journal::open(*db_->GetFileSystem(), options.directory, applied, options.journal_bytes_max,
                                 [this](std::string_view frame) -> Status {
                                     rocksdb::WriteBatch batch{std::string(frame)};
                                     recovered_ = true;
                                     return write_beside(batch);
                                 });
    if (!journal) return journal.error();
    journal_ = *std::move(journal);
    side_thread_ = std::make_unique<SideThread>();
    return Done{};
}

Status RocksStore::keep_recovered() {
    if (!recovered_) return Done{};
    recovered_ = false;
    const std::lock_guard one_at_a_time(write_mutex_);
    return flush_tables(Flush::wait);
}

bool RocksStore::is_large(const rocksdb::WriteBatch& batch) const {
    return batch.GetDataSize() >= large_batch_bytes_min_;
}

// As the next frame of the journal, and to the rows; `applied` follows those. The rows of a large batch are made while
// the disk syncs its frame. When the sync fails, they are there all the same, as those of a batch that nobody synced.
Status RocksStore::commit(rocksdb::WriteBatch& batch, bool sync, std::string_view doing,
                          const std::function<void()>& applied) const {
    const std::lock_guard one_at_a_time(write_mutex_);
    if (journal_->full(batch.GetDataSize())) {
        // So that this journal's file can be used again, by when the next is full.
        if (journal_->begun())
            if (auto flushing = flush_tables(Flush::begin); !flushing) return flushing;
        const auto in_tables = frame_in_tables();
        if (!in_tables) return in_tables.error();
        if (auto next = journal_->begin_next(*in_tables); !next) return next;
    }
    put_position(batch, journal_->next());
    if (auto written = journal_->append(batch.Data()); !written) return written;

    Status rows = Done{}, synced = Done{};
    const auto apply = [&] {
        rocksdb::WriteOptions beside;
        beside.disableWAL = true;
        if (const auto status = db_->Write(beside, &batch); !status.ok())
            rows = to_error(status, doing, on_message_);
        else
            applied();
    };
    if (sync && is_large(batch)) {
        SideThread::Task applying(*side_thread_, apply);
        synced = journal_->sync();
        applying.wait();
    } else {
        apply();
        if (sync && rows) synced = journal_->sync();
    }
    if (!rows) {
        journal_->stop(rows.error());
        return rows;
    }
    journal_->applied();
    return synced;
}

// Rows that can be made anew.
Status RocksStore::write_beside(rocksdb::WriteBatch& batch) const {
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    const auto status = db_->Write(options, &batch);
    if (!status.ok()) return to_error(status, "indexing the streams", on_message_);
    return Done{};
}

// All families as of one moment: of the last frame applied. The caller holds write_mutex_. RocksDB 7.8 aborts when a
// flush of several families fails and one of them had nothing to write, so only those with rows that no flush has yet
// are asked: `meta` always. Flushes follow each other, so what an earlier one is writing is awaited with it.
Status RocksStore::flush_tables(Flush how) const {
    rocksdb::WriteBatch batch;
    const auto next = journal_->next();
    put_position(batch, {next.frame - 1, next.journal});
    if (auto written = write_beside(batch); !written) return written;
    std::vector<rocksdb::ColumnFamilyHandle*> with_rows;
    for (auto* family : families_) {
        std::uint64_t rows = 0;
        if (db_->GetIntProperty(family, rocksdb::DB::Properties::kNumEntriesActiveMemTable, &rows) && rows != 0)
            with_rows.push_back(family);
    }
    rocksdb::FlushOptions options;
    options.wait = how == Flush::wait;
    options.allow_write_stall = true;
    const auto status = db_->Flush(options, with_rows);
    if (!status.ok()) return to_error(status, "flushing the log", on_message_);
    return Done{};
}

void RocksStore::put_position(rocksdb::WriteBatch& batch, JournalPosition position) const {
    std::string value;
    append_number(value, position.frame);
    append_number(value, position.journal);
    batch.Put(family(meta), slice(journal_key), value).PermitUncheckedError();
}

// Its files go: what they have is in tables.
Status RocksStore::empty_journal() const {
    const std::lock_guard one_at_a_time(write_mutex_);
    if (auto flushed = flush_tables(Flush::wait); !flushed) return flushed;
    const auto in_tables = frame_in_tables();
    if (!in_tables) return in_tables.error();
    return journal_->trim(*in_tables);
}

Result<std::uint64_t> RocksStore::frame_in_tables() const {
    rocksdb::ReadOptions of_tables;
    of_tables.read_tier = rocksdb::kPersistedTier;
    std::string value;
    const auto status = db_->Get(of_tables, family(meta), slice(journal_key), &value);
    if (status.IsNotFound()) return std::uint64_t{0};
    if (!status.ok()) return to_error(status, "reading how far the journal is applied", on_message_);
    return take_number<std::uint64_t>(value.data());
}

Status RocksStore::write(bool sync, const std::function<void()>& applied) {
    after_large_batch_ = sync && is_large(*batch_);
    if (!after_large_batch_)
        if (auto over = indexing_over(); !over) return over;
    auto written = commit(*batch_, sync, "writing the log", [&] {
        {
            const std::lock_guard changing(waiting_mutex_);
            for (std::size_t row = 0; row < batch_rows_.size(); ++row)
                waiting_.add(batch_rows_.key(row), batch_rows_.value(row));
            for (auto& erasure : batch_erasures_) erasures_.put(std::move(erasure));
            if (batch_has_tombstones_) has_tombstones_ = true;
        }
        applied();
    });
    drop_batch();
    if (written) rows_waiting_ = waiting_.size();
    return written;
}

Status RocksStore::sync() {
    const std::lock_guard one_at_a_time(write_mutex_);
    return journal_->sync();
}

Status RocksStore::recover() {
    static_cast<void>(indexing_over());  // What it could not write waits still.
    rows_waiting_ = waiting_.size();
    const std::lock_guard one_at_a_time(write_mutex_);
    if (const auto resumed = db_->Resume(); !resumed.ok()) return to_error(resumed, "going on", on_message_);
    if (auto flushed = flush_tables(Flush::wait); !flushed) return flushed;
    journal_->recover();
    return Done{};
}

Status RocksStore::flush() {
    if (auto over = indexing_over(); !over) return over;
    if (waiting_.size() != 0) {
        if (auto synced = sync(); !synced) return synced;
        if (auto written = write_index(); !written) return written;
    }
    return empty_journal();
}

}  // namespace annal
