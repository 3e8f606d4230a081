#include "rocks_view_space.h"

#include "events/rocks_support.h"
#include "rocks_view_batch.h"

#include <rocksdb/db.h>
#include <rocksdb/experimental.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>

#include <utility>

namespace annal::rocks_view {
namespace {

using std::chrono::steady_clock;
constexpr steady_clock::duration sync_interval = std::chrono::seconds(1);

class Iterator : public ViewIterator {
 public:
    Iterator(std::shared_ptr<const Column> column, const rocksdb::Snapshot* as_of, std::shared_ptr<const void> keeps)
        : column_(std::move(column)), keeps_(std::move(keeps)) {
        rocksdb::ReadOptions options;
        options.snapshot = as_of;
        at_.reset(column_->db().NewIterator(options, column_->handle()));
    }

    void seek(std::string_view key) override { at_->Seek(slice(key)); }
    void seek_for_prev(std::string_view key) override { at_->SeekForPrev(slice(key)); }
    void next() override { at_->Next(); }
    void prev() override { at_->Prev(); }
    bool valid() const override { return at_->Valid(); }
    std::string_view key() const override { return at_->key().ToStringView(); }
    std::string_view value() const override { return at_->value().ToStringView(); }
    Status status() const override {
        if (const auto status = at_->status(); !status.ok()) return column_->failed_read(status);
        return Done{};
    }

 private:
    std::shared_ptr<const Column> column_;
    std::shared_ptr<const void> keeps_;  // The snapshot it reads from.
    std::unique_ptr<rocksdb::Iterator> at_;
};

class Snapshot : public ViewSnapshot, public std::enable_shared_from_this<Snapshot> {
 public:
    explicit Snapshot(std::shared_ptr<const Column> column) : column_(std::move(column)) {
        const std::shared_lock lock(column_->bulk_mutex());
        options_.snapshot = column_->db().GetSnapshot();
    }
    ~Snapshot() override { column_->db().ReleaseSnapshot(options_.snapshot); }

    Result<std::optional<std::string>> get(std::string_view key) const override {
        return rocks_view::get(*column_, options_, key);
    }

    Result<std::vector<std::optional<std::string>>> get_many(std::span<const std::string> keys) const override {
        const std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
        std::vector<rocksdb::PinnableSlice> values(keys.size());
        std::vector<rocksdb::Status> statuses(keys.size());
        column_->db().MultiGet(options_, column_->handle(), slices.size(), slices.data(), values.data(),
                               statuses.data());
        std::vector<std::optional<std::string>> found(keys.size());
        for (std::size_t i = 0; i < keys.size(); ++i) {
            if (statuses[i].ok())
                found[i] = values[i].ToString();
            else if (!statuses[i].IsNotFound())
                return column_->failed_read(statuses[i]);
        }
        return found;
    }

    std::unique_ptr<ViewIterator> iterate() const override {
        return std::make_unique<Iterator>(column_, options_.snapshot, shared_from_this());
    }

 private:
    std::shared_ptr<const Column> column_;
    rocksdb::ReadOptions options_;
};

class Space : public ViewSpace {
 public:
    Space(std::shared_ptr<Slot> slot, rocksdb::ColumnFamilyOptions options)
        : slot_(std::move(slot)), options_(std::move(options)) {}

    Result<std::optional<std::string>> get(std::string_view key) const override {
        return rocks_view::get(*slot_->column(), {}, key);
    }
    std::shared_ptr<const ViewSnapshot> snapshot() const override {
        return std::make_shared<Snapshot>(slot_->column());
    }
    std::unique_ptr<ViewIterator> iterate() const override {
        return std::make_unique<Iterator>(slot_->column(), nullptr, nullptr);
    }
    std::unique_ptr<ViewBatch> new_batch() override { return std::make_unique<Batch>(slot_); }
    Status write(ViewBatch& batch) override {
        auto& own = static_cast<Batch&>(batch);
        const auto column = slot_->column();
        unsettled_ |= own.is_bulk(*column);
        return own.write(*column);
    }
    void settle() override {
        if (!unsettled_) return;
        unsettled_ = false;
        const auto column = slot_->column();
        std::string files;
        if (column->db().GetProperty(column->handle(), rocksdb::DB::Properties::kNumFilesAtLevelPrefix + "0", &files) &&
            (files == "0" || files == "1"))
            return;
        rocksdb::experimental::SuggestCompactRange(&column->db(), column->handle(), nullptr, nullptr)
            .PermitUncheckedError();
    }

    // A new column family in place of the old: at once, whatever its size, and readers of the old one go on.
    Status clear() override {
        const auto old = slot_->column();
        if (old->database().forked()) return Error{ErrorCode::unavailable, "clearing a view after a fork", {}};
        const auto name = old->handle()->GetName();
        // A crash between the two steps leaves the space missing: the next open makes it, empty. Dropped already: the
        // create failed the last time.
        if (const auto dropped = old->db().DropColumnFamily(old->handle());
            !dropped.ok() && !dropped.IsInvalidArgument())
            return view_error(dropped, "clearing a view");
        rocksdb::ColumnFamilyHandle* handle = nullptr;
        if (const auto made = old->db().CreateColumnFamily(options_, name, &handle); !made.ok())
            return view_error(made, "clearing a view");
        slot_->replace(std::make_shared<const Column>(old->shared_database(), handle));
        return Done{};
    }

    std::uint64_t bytes_on_disk() const override {
        const auto column = slot_->column();
        std::uint64_t bytes = 0;
        column->db().GetIntProperty(column->handle(), rocksdb::DB::Properties::kLiveSstFilesSize, &bytes);
        return bytes;
    }
    bool damaged() const override { return slot_->column()->damaged(); }

 private:
    std::shared_ptr<Slot> slot_;
    rocksdb::ColumnFamilyOptions options_;
    bool unsettled_ = true;  // The writer's thread alone. Who knows what was before.
};

constexpr std::string_view bulk_prefix = "bulk-";

}  // namespace

bool is_damage(const rocksdb::Status& status) {
    return status.IsCorruption() || status.IsPathNotFound() || status.IsNotSupported() || status.IsInvalidArgument();
}

Error view_error(const rocksdb::Status& status, std::string_view doing) {
    auto error = to_error(status, doing);
    if (status.IsPathNotFound()) error.code = ErrorCode::data_loss;
    return error;
}

Database::Database(rocksdb::DB* db, std::size_t bulk_bytes_min)
    : db_(db),
      bulk_bytes_min_(bulk_bytes_min),
      owner_(getpid()),
      synced_at_(steady_clock::now().time_since_epoch().count()) {}

Database::~Database() {
    if (!forked()) delete db_;
}

bool Database::forked() const {
    return getpid() != owner_;
}

Status Database::write(rocksdb::WriteBatch& batch) {
    if (forked()) return Error{ErrorCode::unavailable, "writing a view after a fork", {}};
    if (const auto status = db_->Write(rocksdb::WriteOptions(), &batch); !status.ok())
        return view_error(status, "writing a view");

    const auto now = steady_clock::now().time_since_epoch();
    auto last = synced_at_.load(std::memory_order_relaxed);
    if (now - steady_clock::duration(last) >= sync_interval &&
        synced_at_.compare_exchange_strong(last, now.count(), std::memory_order_relaxed)) {
        // What it returns is no news of this write: a disk that fails will refuse the next one.
        db_->FlushWAL(true).PermitUncheckedError();
    }
    return Done{};
}

Column::~Column() {
    if (!database_->forked()) database_->db().DestroyColumnFamilyHandle(handle_).PermitUncheckedError();
}

Error Column::failed_read(const rocksdb::Status& status) const {
    if (is_damage(status)) damaged_ = true;
    return view_error(status, "reading a view");
}

std::string Column::bulk_path() const {
    return (std::filesystem::path(db().GetName()) / bulk_prefix).string() + std::to_string(handle_->GetID());
}

void remove_bulk_files(const std::filesystem::path& keys) {
    std::error_code ignored;  // What stays is written over.
    for (std::filesystem::directory_iterator at(keys, ignored), end; !ignored && at != end; at.increment(ignored))
        if (at->path().filename().string().starts_with(bulk_prefix)) std::filesystem::remove(at->path(), ignored);
}

std::unique_ptr<ViewSpace> make_space(std::shared_ptr<Slot> slot, rocksdb::ColumnFamilyOptions options) {
    return std::make_unique<Space>(std::move(slot), std::move(options));
}

}  // namespace annal::rocks_view
