// What was moved out of the log, in its rows.
#include "rocks_keys.h"
#include "rocks_store.h"

#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <mutex>

namespace annal {
namespace {

constexpr std::string_view segment_prefix = "segment";
constexpr std::size_t tile_bytes = tile_events * sizeof(Hash);

std::string segment_key(Seq first) {
    std::string key(segment_prefix);
    append_number(key, first.value);
    return key;
}

std::string tile_key(std::uint64_t index) {
    std::string key("tile");
    append_number(key, index);
    return key;
}

}  // namespace

Status RocksStore::load_archive() {
    const std::unique_ptr<rocksdb::Iterator> rows(db_->NewIterator({}, family(meta)));
    const std::string first = segment_key(Seq{});
    for (rows->Seek(first); rows->Valid() && rows->key().starts_with(slice(segment_prefix)); rows->Next()) {
        if (rows->key().size() != first.size() || rows->value().size() < 24)
            return Error{ErrorCode::data_loss, "a row of what was archived is damaged", {}};
        const char* value = rows->value().data();
        ArchivedRange range;
        range.first = Seq{take_number<std::uint64_t>(rows->key().data() + segment_prefix.size())};
        range.last = Seq{take_number<std::uint64_t>(value)};
        range.bytes = take_number<std::uint64_t>(value + 8);
        range.recorded_at = Timestamp{take_number<std::int64_t>(value + 16)};
        range.directory = view(rows->value()).substr(24);
        if (auto added = archive_->add(std::move(range)); !added) return added;
    }
    if (!rows->status().ok()) return to_error(rows->status(), "reading what was archived", on_message_);
    return Done{};
}

Status RocksStore::move_out(const ArchivedRange& range, std::span<const Hash> leaves) const {
    // The index is not in the journal: what is moved out is indexed for good, or an open would need it.
    {
        const std::lock_guard one_at_a_time(write_mutex_);
        if (auto flushed = flush_tables(Flush::wait); !flushed) return flushed;
    }
    rocksdb::WriteBatch batch(0, 0, batch_protection_bytes, 0);
    for (std::size_t at = 0; at < leaves.size(); at += tile_events)
        batch
            .Put(family(meta), tile_key((range.first.value - 1 + at) / tile_events),
                 {reinterpret_cast<const char*>(&leaves[at]), tile_bytes})
            .PermitUncheckedError();
    std::string value;
    append_number(value, range.last.value);
    append_number(value, range.bytes);
    append_number(value, range.recorded_at.us);
    value += range.directory;
    batch.Put(family(meta), segment_key(range.first), value).PermitUncheckedError();
    const SeqKey begin(range.first), end(Seq{range.last.value + 1});
    batch.DeleteRange(family(events), begin.slice(), end.slice()).PermitUncheckedError();
    const std::lock_guard moving(moving_mutex_);
    return commit(batch, true, "archiving events", [&] { return archive_->add(range); });
}

Seq RocksStore::moved_out() const {
    const std::shared_lock wait(moving_mutex_);
    return archive_->up_to();
}

Status RocksStore::reclaim() const {
    const SeqKey begin(Seq{}), end(Seq{archive_->up_to().value + 1});
    const auto from = begin.slice(), to = end.slice();
    if (auto emptied = empty_journal(); !emptied) return emptied;
    auto status = rocksdb::DeleteFilesInRange(db_.get(), family(events), &from, &to, false);
    if (status.ok()) status = db_->CompactRange({}, family(events), &from, &to);
    if (!status.ok()) return to_error(status, "giving back the space of archived events", on_message_);
    return Done{};
}

Status RocksStore::read_tiles(Seq after, std::uint64_t count, std::vector<Hash>& out) const {
    std::string tile;
    while (count > 0) {
        const auto status = db_->Get({}, family(meta), tile_key(after.value / tile_events), &tile);
        if (!status.ok() && !status.IsNotFound())
            return to_error(status, "reading the hashes of archived events", on_message_);
        if (!status.ok() || tile.size() != tile_bytes)
            return damaged("the hashes of archived events are damaged", Seq{after.value + 1});
        const auto skipped = after.value % tile_events, taken = std::min(count, tile_events - skipped);
        for (auto i = skipped; i < skipped + taken; ++i) {
            Hash& hash = out.emplace_back();
            std::copy_n(tile.begin() + static_cast<std::ptrdiff_t>(i * sizeof(Hash)), sizeof(Hash), hash.begin());
        }
        after.value += taken;
        count -= taken;
    }
    return Done{};
}

Status RocksStore::read_archived(Seq after, Seq up_to,
                                 const std::function<Result<bool>(Seq, std::string_view)>& visit) const {
    std::vector<Hash> hashes;  // Of the rest of the tile in hand.
    std::size_t at = 0;
    return archive_->read(after, up_to, [&](Seq seq, std::string_view stored) -> Result<bool> {
        if (at == hashes.size()) {
            const Seq before{seq.value - 1};
            hashes.clear();
            at = 0;
            if (auto read = read_tiles(before, tile_events - before.value % tile_events, hashes); !read)
                return read.error();
        }
        if (!read_header(stored) || event_hash(seq, stored) != hashes[at++])
            return damaged("event " + std::to_string(seq.value) + " is another one in its segment than was archived",
                           seq);
        return visit(seq, stored);
    });
}

Result<std::optional<std::string>> RocksStore::archived_event(Seq seq) const {
    std::optional<std::string> event;
    if (seq == Seq{} || seq > moved_out()) return event;
    const auto read = read_archived(Seq{seq.value - 1}, seq, [&](Seq, std::string_view stored) -> Result<bool> {
        event = stored;
        return false;
    });
    if (!read) return read.error();
    return event;
}

}  // namespace annal
