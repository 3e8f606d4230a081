#include "store_engine.h"

#include "events/event_seal.h"
#include "events/segment_file.h"
#include "query/history.h"

#include <rocksdb/file_system.h>

#include <algorithm>

namespace annal {
namespace {

namespace fs = std::filesystem;

rocksdb::FileSystem& files() {
    return *rocksdb::FileSystem::Default();
}

Error damaged(const std::string& file, const std::string& what) {
    return {ErrorCode::data_loss, "the segment " + file + " " + what, {{"file", file}}};
}

// In the order of their events.
Result<std::vector<fs::path>> segments_at(const fs::path& path) {
    std::error_code failure;
    if (!fs::is_directory(path, failure)) return std::vector<fs::path>{path};
    std::vector<fs::path> found;
    for (fs::directory_iterator at(path, failure), end; !failure && at != end; at.increment(failure))
        if (parse_segment_file_name(at->path().filename().string())) found.push_back(at->path());
    if (failure) return Error{ErrorCode::unavailable, "the directory cannot be read: " + failure.message(), {}};
    if (found.empty()) return Error{ErrorCode::not_found, "there is no segment in the directory", {}};
    std::ranges::sort(found, [](const fs::path& a, const fs::path& b) {
        const auto one = *parse_segment_file_name(a.filename().string());
        const auto other = *parse_segment_file_name(b.filename().string());
        return std::pair(one.first, one.last) < std::pair(other.first, other.last);
    });
    return found;
}

// The keystore of a store that nobody has open: who opens one may mend its files.
class BorrowedKeystore {
 public:
    static Result<std::unique_ptr<BorrowedKeystore>> open(const ReadArchiveOptions& options,
                                                          const std::array<std::uint8_t, 16>& store) {
        std::unique_ptr<BorrowedKeystore> borrowed(new BorrowedKeystore);
        const auto lock_file = options.store / "log" / "annal.lock";
        if (std::error_code failure; !fs::exists(lock_file, failure))
            return Error{ErrorCode::not_found, "there is no store there", {{"field", "store"}}};
        if (!files().LockFile(lock_file.string(), {}, &borrowed->lock_, nullptr).ok())
            return Error{ErrorCode::already_exists,
                         "the store is open elsewhere, and its keystore with it: leave it out, or close it",
                         {{"field", "store"}}};
        auto root_key = root_key_of({.directory = options.store,
                                     .embedder = {},
                                     .root_key_file = options.root_key_file,
                                     .root_key_variable = options.root_key_variable,
                                     .on_message = {}});
        if (!root_key) return root_key.error();
        KeystoreOptions keys{.files = files(), .directory = options.store / "keys"};
        keys.store = store;
        keys.root_key = *std::move(root_key);
        keys.create_if_missing = false;
        auto keystore = Keystore::open(std::move(keys));
        if (!keystore && keystore.error().code == ErrorCode::not_found) return borrowed;  // Nothing can be opened.
        if (!keystore) return keystore.error();
        borrowed->keystore_ = *std::move(keystore);
        return borrowed;
    }
    ~BorrowedKeystore() {
        keystore_.reset();
        if (lock_ != nullptr) files().UnlockFile(lock_, {}, nullptr).PermitUncheckedError();
    }
    BorrowedKeystore(const BorrowedKeystore&) = delete;
    BorrowedKeystore& operator=(const BorrowedKeystore&) = delete;

    Status open(EventView& event, EventArena& arena) const {
        return keystore_ && keystore_->state() == KeystoreState::unlocked ? unseal(*keystore_, event, arena)
                                                                          : Status(Done{});
    }

 private:
    BorrowedKeystore() = default;
    rocksdb::FileLock* lock_ = nullptr;
    std::unique_ptr<Keystore> keystore_;
};

class ArchiveReader {
 public:
    ArchiveReader(const ReadArchiveOptions& options, Seq after,
                  const std::function<bool(const Engine::LogEntry&)>& visit)
        : options_(options), shown_(after), visit_(visit) {}

    Status take_key() {
        if (options_.verifier_key.empty()) return Done{};
        auto key = VerifierKey::parse(options_.verifier_key);
        if (!key) return key.error();
        key_ = *std::move(key);
        return Done{};
    }

    Status read(const fs::path& path) {
        const std::string name = path.filename().string();
        const auto opened = SegmentFile::open(files(), path);
        if (!opened) return opened.error();
        const SegmentHeader header = (*opened)->header();
        if (auto fits = goes_on(header, name); !fits) return fits;
        if (!options_.store.empty() && !keystore_) {
            const auto id = parse_uuid(header.store_id, "store_id");
            if (!id) return damaged(name, "does not say which store it is of");
            auto keystore = BorrowedKeystore::open(options_, *id);
            if (!keystore) return keystore.error();
            keystore_ = *std::move(keystore);
        }
        const auto checked =
            check_segment(files(), path, [&](const SegmentReader::Event& event) { return show(event); });
        if (!checked) return checked.error();
        const auto verified = verify(*checked, name);
        if (!verified) return verified.error();
        last_ = checked->header.to;
        root_ = checked->root;
        reports.push_back({name, header.store_id, header.epoch, Seq{header.after().value + 1}, header.to, root_,
                           header.signed_head, *verified});
        return Done{};
    }

    std::vector<SegmentReport> reports;

 private:
    // Whether it is of the same log as the ones before it. One that a run left, cut off, may overlap others.
    Status goes_on(const SegmentHeader& header, const std::string& name) const {
        if (reports.empty()) return Done{};
        if (header.store_id != reports.front().store_id) return damaged(name, "is another store's than the first");
        if (header.after() > last_)
            return damaged(name, "does not follow: events " + std::to_string(last_.value + 1) + " to " +
                                     std::to_string(header.after().value) + " are missing before it");
        if (header.after() == last_ && header.before.root() != root_)
            return damaged(name, "does not go on from the one before it: they are of two histories");
        return Done{};
    }

    Status show(const SegmentReader::Event& event) {
        arena_.clear();
        auto view = decode(event.seq, event.stored, arena_);
        if (!view) return view.error();
        if (!more_ || event.seq <= shown_) return Done{};
        if (keystore_)
            if (auto opened = keystore_->open(*view, arena_); !opened) return opened;
        shown_ = event.seq;
        more_ = visit_({to_history_entry(*view), view->memory_id(), view->unpack().scope});
        return Done{};
    }

    Result<bool> verify(const CheckedSegment& checked, const std::string& name) const {
        const auto& note = checked.header.signed_head;
        if (note.empty()) return false;
        const auto says = SignedHead::parse(note);
        if (!says || says->head.size != checked.header.to.value || says->head.root != checked.root)
            return damaged(name, "has a signed head that is not of its events");
        if (!key_) return false;
        const auto verified = verify_head(note, key_->name(), *key_);
        if (!verified) return damaged(name, "has a head that is not the key's: " + verified.error().message);
        const auto epoch = "epoch " + std::to_string(checked.header.epoch);
        if (verified->origin != "annal/" + checked.header.store_id || verified->extensions.empty() ||
            verified->extensions.front() != epoch)
            return damaged(name, "is of another store or epoch than its head");
        return true;
    }

    const ReadArchiveOptions& options_;
    std::optional<VerifierKey> key_;
    std::unique_ptr<BorrowedKeystore> keystore_;
    EventArena arena_;
    Seq shown_;
    bool more_ = true;
    const std::function<bool(const Engine::LogEntry&)>& visit_;
    Seq last_;  // Of the segment read before,
    Hash root_{};
};

}  // namespace

Result<std::vector<SegmentReport>> read_archive(const ReadArchiveOptions& options, Seq after,
                                                const std::function<bool(const Engine::LogEntry&)>& visit) {
    const auto paths = segments_at(options.path);
    if (!paths) return paths.error();
    ArchiveReader reader(options, after, visit);
    if (auto taken = reader.take_key(); !taken) return taken.error();
    for (const auto& path : *paths)
        if (auto read = reader.read(path); !read) return read.error();
    return std::move(reader.reports);
}

}  // namespace annal
