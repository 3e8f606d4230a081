// The Merkle tree and its signed heads in the log's rows.
#include "rocks_keys.h"
#include "rocks_store.h"

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <mutex>

namespace annal {
namespace {

constexpr std::uint64_t folded_events_max = 4096;

std::string head_key(Seq size) {
    std::string key("head");
    append_number(key, size.value);
    return key;
}

}  // namespace

void RocksStore::add_leaf(const Hash& event_hash) {
    completed_.clear();
    tree_.append(event_hash, completed_);
    if (completed_.size() <= kept_level_min) return;
    const std::lock_guard changing(waiting_mutex_);
    waiting_nodes_.insert(waiting_nodes_.end(), completed_.begin() + kept_level_min, completed_.end());
}

Result<Hash> RocksStore::tree_node(MerkleNodeId id) const {
    if (id.level < kept_level_min) {
        std::vector<Hash> hashes;
        const std::uint64_t count = std::uint64_t{1} << id.level;
        if (auto read = leaf_hashes(Seq{id.index * count}, count, hashes); !read) return read.error();
        for (; hashes.size() > 1; hashes.resize(hashes.size() / 2))
            for (std::size_t i = 0; i < hashes.size() / 2; ++i)
                hashes[i] = merkle_parent(hashes[2 * i], hashes[2 * i + 1]);
        return hashes[0];
    }
    {
        const std::shared_lock hold(waiting_mutex_);
        for (const auto& node : waiting_nodes_)
            if (node.id == id) return node.hash;
    }
    std::string value;
    const auto status = db_->Get({}, family(streams), node_key(id), &value);
    if (status.IsNotFound())
        return Error{ErrorCode::not_found,
                     "a node of the Merkle tree is missing",
                     {{"level", std::to_string(id.level)}, {"index", std::to_string(id.index)}}};
    if (!status.ok()) return to_error(status, "reading the Merkle tree", on_message_);
    Hash hash{};
    if (value.size() != hash.size()) return Error{ErrorCode::data_loss, "a node of the Merkle tree is damaged", {}};
    std::copy(value.begin(), value.end(), hash.begin());
    return hash;
}

Result<Hash> RocksStore::root(Seq size) const {
    const auto tree = MerkleFrontier::of(size.value, [this](MerkleNodeId id) { return tree_node(id); });
    if (!tree) return tree.error();
    return tree->root();
}

Result<std::uint64_t> RocksStore::leaf_hashes(Seq after, std::uint64_t count, std::vector<Hash>& out) const {
    std::uint64_t bytes = 0;
    if (const Seq archived = archive_->up_to(); after < archived) {
        const auto moved = std::min(count, archived.value - after.value);
        if (auto read = read_tiles(after, moved, out); !read) return read.error();
        bytes += moved * sizeof(Hash);
        after.value += moved;
        count -= moved;
    }
    if (count == 0) return bytes;
    const SeqKey begin(Seq{after.value + 1}), end(Seq{after.value + count + 1});
    const rocksdb::Slice upper = end.slice();
    rocksdb::ReadOptions options;
    options.iterate_upper_bound = &upper;
    options.fill_cache = false;
    if (count >= readahead_events_min) options.readahead_size = readahead_bytes;
    const std::unique_ptr<rocksdb::Iterator> rows(db_->NewIterator(options, family(events)));
    Seq next{after.value + 1};
    for (rows->Seek(begin.slice()); rows->Valid(); rows->Next(), ++next.value) {
        if (rows->key().size() != 8 || take_number<std::uint64_t>(rows->key().data()) != next.value) break;
        out.push_back(event_hash(next, view(rows->value())));
        bytes += rows->value().size();
    }
    if (!rows->status().ok()) return to_error(rows->status(), "reading the log", on_message_);
    if (next.value == after.value + count + 1) return bytes;
    if (next > moved_out()) return damaged("the log has a gap", next);
    const auto moved = leaf_hashes(after, count, out);  // Out of the log, since this began.
    if (!moved) return moved;
    return bytes + *moved;
}

Result<Hash> RocksStore::folded_root(Seq size,
                                     const std::function<void(std::uint64_t done, std::uint64_t all)>& progress) const {
    MerkleFrontier tree;
    std::vector<Hash> hashes;
    std::vector<MerkleNode> completed;
    while (tree.size() < size.value) {
        hashes.clear();
        completed.clear();
        const auto count = std::min<std::uint64_t>(size.value - tree.size(), folded_events_max);
        if (auto read = leaf_hashes(Seq{tree.size()}, count, hashes); !read) return read.error();
        for (const auto& hash : hashes) tree.append(hash, completed);
        if (progress) progress(tree.size(), size.value);
    }
    return tree.root();
}

Result<std::optional<std::string>> RocksStore::signed_head(Seq at_most) const {
    const std::unique_ptr<rocksdb::Iterator> heads(db_->NewIterator({}, family(meta)));
    const std::string greatest = head_key(at_most);
    heads->SeekForPrev(greatest);
    if (!heads->status().ok()) return to_error(heads->status(), "reading the signed heads", on_message_);
    if (!heads->Valid() || heads->key().size() != greatest.size() || !heads->key().starts_with("head"))
        return std::optional<std::string>();
    return std::optional(heads->value().ToString());
}

Result<std::vector<std::pair<Seq, std::string>>> RocksStore::signed_heads(Seq after, Seq up_to) const {
    std::vector<std::pair<Seq, std::string>> notes;
    const std::unique_ptr<rocksdb::Iterator> heads(db_->NewIterator({}, family(meta)));
    const std::string first = head_key(Seq{after.value + 1});
    for (heads->Seek(first); heads->Valid() && heads->key().size() == first.size(); heads->Next()) {
        const Seq size{take_number<std::uint64_t>(heads->key().data() + first.size() - 8)};
        if (!heads->key().starts_with("head") || size > up_to) break;
        notes.emplace_back(size, heads->value().ToString());
    }
    if (!heads->status().ok()) return to_error(heads->status(), "reading the signed heads", on_message_);
    return notes;
}

Status RocksStore::keep_signed_head(Seq size, std::string_view note) const {
    rocksdb::WriteBatch batch;
    batch.Put(family(meta), head_key(size), slice(note)).PermitUncheckedError();
    return commit(batch, false, "keeping a signed head");
}

}  // namespace annal
