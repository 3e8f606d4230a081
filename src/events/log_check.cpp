#include "log_check.h"

#include "rocks_keys.h"

namespace annal {
namespace {

constexpr EventLog::ReadLimits page_limits{.events_max = 1024, .bytes_max = std::size_t{1} << 20};
constexpr std::size_t page_rows_max = 8192;
constexpr std::uint64_t page_leaves_max = 4096;
constexpr std::size_t stream_key_tail = 24;  // Stream id and version, behind the project and its zero byte.
constexpr std::size_t idempotency_key_tail = 16;

using Progress = std::function<bool(const Checked&)>;

std::uint64_t number_at(std::string_view bytes, std::size_t at, std::size_t size = 8) {
    std::uint64_t number = 0;
    for (const char byte : bytes.substr(at, size)) number = number << 8 | static_cast<std::uint8_t>(byte);
    return number;
}

// The last event of the segment that an error says is missing; nullopt: it says something else.
std::optional<std::uint64_t> last_of_missing(const Error& error) {
    const auto last = error.details.find("last");
    if (error.code != ErrorCode::unavailable || last == error.details.end()) return std::nullopt;
    return std::stoull(last->second);
}

// The project of such a key; empty: it is none.
std::string_view project_of(std::string_view key, std::size_t tail) {
    if (key.size() < tail + 2 || key[key.size() - tail - 1] != '\0') return {};
    return key.substr(0, key.size() - tail - 1);
}

Result<Checked> check_files(std::uint64_t after, const WithStore& with_store, const Progress& progress) {
    Checked checked{.at = after};
    std::optional<Error> first;
    // One a call: a file takes its time, and the store may have to be replaced.
    for (bool more = true; more;) {
        more = false;
        const auto visit = [&](const TableFile& file, const Status& whole) {
            if (!whole && !first) first = whole.error();
            checked = {checked.count + 1, checked.bytes + file.bytes, file.number};
            more = true;
            return false;
        };
        const auto done = with_store([&](const RocksStore& store) { return store.check_files(checked.at, visit); });
        if (!done) return done.error();
        if (more && !progress(checked)) break;
    }
    if (first) return *first;
    return checked;
}

Status check_event(const RocksStore& store, const EventView& event, std::optional<Timestamp>& before) {
    const auto seq = event.seq();
    const auto text = "event " + std::to_string(seq.value);
    if (before && event.recorded_at() <= *before)
        return damaged(text + " is recorded at the time of the one before it, or earlier", seq);
    before = event.recorded_at();
    const auto row = store.stream_seq(event.project(), event.memory_id(), event.version());
    if (!row) return row.error();
    if (!*row) return damaged(text + " has no row in its stream", seq);
    if (**row != seq)
        return damaged("the row of version " + std::to_string(event.version().value) + " of the stream of " + text +
                           " names " + std::to_string((*row)->value),
                       seq);
    if (event.type() == EventType::erasure_requested && !event.user().empty()) {
        const auto erasure = store.erasures().find(event.project(), event.user());
        if (!erasure || erasure->requested_at < seq)
            return damaged("the log has no row of the erasure it asks for", seq);
    }
    return Done{};
}

Result<Checked> check_events(std::uint64_t after, Seq up_to, const WithStore& with_store, const Progress& progress) {
    Checked checked{.at = after};
    std::optional<Error> missing;  // The first of the segments that are. The others' events are checked all the same.
    std::optional<Timestamp> before;
    EventArena arena;
    std::vector<EventView> page;
    if (after > 0) --checked.at;  // For its time.
    while (checked.at < up_to.value) {
        arena.clear();
        page.clear();
        const auto read = with_store([&](const RocksStore& store) -> Status {
            const auto got =
                store.read(Seq{checked.at}, up_to, page_limits.events_max, page_limits.bytes_max, arena, page);
            for (const auto& event : page)  // Those before an error, too.
                if (auto good = check_event(store, event, before); !good) return good;
            return got;
        });
        if (!read) {
            const auto last = last_of_missing(read.error());
            if (!last) return read.error();
            if (!missing) missing = read.error();
            checked.at = *last;
            before.reset();
            continue;
        }
        checked = {checked.count + page.size(), checked.bytes + arena.bytes(), page.back().seq().value};
        if (!progress(checked)) return checked;
    }
    if (missing) return *missing;
    return checked;
}

// Calls visit(store, key, value) for each row of an index, as with_store allows.
Result<Checked> check_rows(RocksStore::Index index, const WithStore& with_store, const Progress& progress,
                           const std::function<Status(const RocksStore&, std::string_view, std::string_view)>& visit) {
    Checked checked;
    std::string last;
    for (bool more = true; more;) {
        std::size_t rows = 0;
        const auto walked = with_store([&](const RocksStore& store) -> Status {
            Status good = Done{};
            auto read = store.walk(index, last, [&](std::string_view key, std::string_view value) {
                checked.bytes += key.size() + value.size();
                last = key;
                good = visit(store, key, value);
                return good && ++rows < page_rows_max;
            });
            return read ? good : read;
        });
        if (!walked) return walked.error();
        checked.count += rows;
        more = progress(checked) && rows == page_rows_max;
    }
    return checked;
}

// Since each event has its row, and rows name different events, as many rows as events are all there are.
Result<Checked> check_streams(Seq up_to, const WithStore& with_store, const Progress& progress) {
    Seq indexed;
    const auto read = with_store([&](const RocksStore& store) -> Status {
        const auto row = store.indexed();
        if (!row) return row.error();
        indexed = *row;
        return Done{};
    });
    if (!read) return read.error();
    indexed = std::min(indexed, up_to);
    std::string stream;
    std::uint64_t version = 0, named = 0, rows = 0;
    const auto visit = [&](const RocksStore&, std::string_view key, std::string_view value) -> Status {
        if (key.starts_with('\0')) return Done{};  // How far they go.
        if (project_of(key, stream_key_tail).empty() || value.size() != 10)
            return Error{ErrorCode::data_loss, "a row of the streams is of no known form", {}};
        const Seq seq{number_at(value, 0)};
        if (seq > indexed) return Done{};  // Written meanwhile.
        if (const auto prefix = key.substr(0, key.size() - 8); prefix != stream) {
            stream = prefix;
            version = named = 0;
        }
        if (number_at(key, key.size() - 8) != version + 1)
            return damaged("a stream has no version " + std::to_string(version + 1), seq);
        if (seq.value <= named) return damaged("a stream's rows do not rise with their versions", seq);
        ++version;
        named = seq.value;
        ++rows;
        return Done{};
    };
    bool stopped = false;
    const auto told = [&](const Checked& so_far) { return !(stopped = !progress(so_far)); };
    auto checked = check_rows(RocksStore::Index::streams, with_store, told, visit);
    if (!checked || stopped) return checked;  // Of what was not looked at, nothing is known.
    if (rows != indexed.value)
        return Error{ErrorCode::data_loss,
                     "streams have " + std::to_string(rows) + " rows for " + std::to_string(indexed.value) + " events",
                     {}};
    checked->count = rows;
    return checked;
}

Status check_named(const RocksStore& store, Seq seq, std::string_view project) {
    const auto stored = store.stored_event(seq);
    if (!stored) return stored.error();
    if (!*stored) return damaged("an idempotency key names events that are not there", seq);
    EventArena arena;
    const auto event = decode(seq, **stored, arena);
    if (!event) return event.error();
    if (event->project() == project) return Done{};
    return damaged("an idempotency key names an event of another project", seq);
}

// Written with its events: what names events past `up_to` was written meanwhile, and they are there, too.
Result<Checked> check_idempotency(const WithStore& with_store, const Progress& progress) {
    std::optional<Error> missing;
    const auto visit = [&](const RocksStore& store, std::string_view key, std::string_view value) -> Status {
        const auto project = project_of(key, idempotency_key_tail);
        const Seq first{value.size() == 44 ? number_at(value, 0) : 0};
        const auto count = value.size() == 44 ? number_at(value, 8, 4) : 0;
        if (project.empty() || first.value == 0 || count == 0)
            return Error{ErrorCode::data_loss, "a row of the idempotency keys is of no known form", {}};
        for (const Seq seq : {first, Seq{first.value + count - 1}})
            if (auto good = check_named(store, seq, project); !good) {
                if (!last_of_missing(good.error())) return good;
                missing = good.error();
            }
        return Done{};
    };
    auto checked = check_rows(RocksStore::Index::idempotency, with_store, progress, visit);
    if (checked && missing) return *missing;
    return checked;
}

// One that was signed with another key proves nothing, but what it says must hold.
Status check_head(Seq size, std::string_view note, const Hash& root, const std::optional<VerifierKey>& key) {
    const auto text = "the signed head of size " + std::to_string(size.value);
    auto parsed = SignedHead::parse(note);
    if (!parsed) return damaged(text + " cannot be read", size);
    if (key) {
        const auto verified = verify_head(note, key->name(), *key);
        if (!verified && verified.error().details.at("reason") == "signature")
            return damaged(text + " has a signature that is not its own", size);
    }
    if (parsed->head.size != size.value || parsed->head.root != root)
        return damaged(text + " is not that of the events", size);
    return Done{};
}

// Folds the events anew, and compares on the way.
class TreeCheck {
 public:
    TreeCheck(Seq up_to, const TreeWitnesses& witnesses) : up_to_(up_to), witnesses_(witnesses) {}

    bool done() const { return tree_.size() >= up_to_.value; }
    Checked checked() const { return {tree_.size(), bytes_, tree_.size()}; }

    Status next_page(const RocksStore& store) {
        const Seq after{tree_.size()};
        const auto count = std::min(up_to_.value - after.value, page_leaves_max);
        hashes_.clear();
        const auto read = store.leaf_hashes(after, count, hashes_);
        if (!read) return read.error();
        bytes_ += *read;
        const auto heads = store.signed_heads(after, Seq{after.value + count});
        if (!heads) return heads.error();
        auto head = heads->begin();
        for (const auto& hash : hashes_) {
            completed_.clear();
            tree_.append(hash, completed_);
            for (const auto& node : completed_)
                if (auto same = check_node(store, node); !same) return same;
            const Seq size{tree_.size()};
            if (witnesses_.witness && witnesses_.witness->seq == size && witnesses_.witness->root != tree_.root())
                return damaged("the root that the witness saw is not that of the events", size);
            if (head == heads->end() || head->first != size) continue;
            if (auto good = check_head(size, head->second, tree_.root(), witnesses_.key); !good) return good;
            ++head;
        }
        return Done{};
    }

 private:
    static Status check_node(const RocksStore& store, const MerkleNode& node) {
        if (node.id.level < RocksStore::kept_level_min) return Done{};
        const auto kept = store.tree_node(node.id);
        if (!kept && kept.error().code != ErrorCode::not_found) return kept.error();
        if (kept && *kept == node.hash) return Done{};
        const Seq last{(node.id.index + 1) << node.id.level};
        return damaged("the Merkle tree's node of level " + std::to_string(node.id.level) + " up to event " +
                           std::to_string(last.value) + (kept ? " is not that of the events" : " is missing"),
                       last);
    }

    const Seq up_to_;
    const TreeWitnesses& witnesses_;
    MerkleFrontier tree_;
    std::uint64_t bytes_ = 0;
    std::vector<Hash> hashes_;
    std::vector<MerkleNode> completed_;
};

Result<Checked> check_tree(Seq up_to, const WithStore& with_store, const TreeWitnesses& witnesses,
                           const Progress& progress) {
    TreeCheck check(up_to, witnesses);
    while (!check.done()) {
        const auto read = with_store([&](const RocksStore& store) { return check.next_page(store); });
        if (!read) return read.error();
        if (!progress(check.checked())) break;
    }
    return check.checked();
}

}  // namespace

Result<Checked> check_log(LogPart part, std::uint64_t after, Seq up_to, const WithStore& with_store,
                          const TreeWitnesses& witnesses, const Progress& progress) {
    switch (part) {
        case LogPart::files:
            return check_files(after, with_store, progress);
        case LogPart::events:
            return check_events(after, up_to, with_store, progress);
        case LogPart::streams:
            return check_streams(up_to, with_store, progress);
        case LogPart::idempotency:
            return check_idempotency(with_store, progress);
        case LogPart::tree:
            return check_tree(up_to, with_store, witnesses, progress);
    }
    return Error{ErrorCode::internal, "a part of the log that is not known", {}};
}

}  // namespace annal
