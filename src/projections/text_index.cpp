#include "text_index.h"

#include "block_past.h"
#include "row_digest.h"
#include "text_project.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <numeric>
#include <utility>

namespace annal {
namespace {

constexpr std::size_t past_tables_max = 4;
constexpr std::size_t items_in_memory_max = 200'000;  // Terms and sessions kept for writing, of all projects.

class FrozenReader final : public TextIndex::Reader {
 public:
    // `slots`: of the rows, a table as of an earlier seq may have fewer.
    FrozenReader(std::string_view project, Seq applied, std::optional<Seq> as_of,
                 std::shared_ptr<const ViewSnapshot> rows, std::uint32_t slots,
                 Result<std::shared_ptr<const TextTable>> table)
        : prefix_(text_codec::key_prefix(project)),
          applied_(as_of.value_or(applied)),
          as_of_(as_of),
          rows_(std::move(rows)),
          slots_(slots),
          damage_(table ? Status(Done{}) : Status(table.error())),
          table_(table ? *table : std::make_shared<const TextTable>()) {}

    Seq applied() const override { return applied_; }
    const TextTable& table() const override { return *table_; }

    Result<std::vector<std::vector<Posting>>> postings(std::span<const std::string> terms) const override {
        if (!damage_) return damage_.error();
        std::vector<std::vector<Posting>> found(terms.size());
        if (table_->size() == 0) return found;
        if (as_of_) return postings_then(terms);
        std::vector<std::size_t> all(terms.size());
        std::iota(all.begin(), all.end(), std::size_t{0});
        if (auto done = read_postings(terms, all, found); !done) return done.error();
        return found;
    }

 private:
    // The newest ones of those of `terms` that `wanted` numbers.
    Status read_postings(std::span<const std::string> terms, std::span<const std::size_t> wanted,
                         std::vector<std::vector<Posting>>& found) const {
        std::vector<std::string> keys;
        for (const auto i : wanted) keys.push_back(text_codec::key(prefix_, 'd', terms[i]));
        const auto numbers = rows_->get_many(keys);
        if (!numbers) return numbers.error();
        keys.clear();
        std::vector<std::size_t> known;
        for (std::size_t k = 0; k < wanted.size(); ++k) {
            if (!(*numbers)[k]) continue;
            text_codec::RowReader row(*(*numbers)[k]);
            keys.push_back(text_codec::posting_key(prefix_, row.number(), no_slot));
            known.push_back(wanted[k]);
            if (!row.complete()) return text_codec::unreadable("postings");
        }
        const auto tails = rows_->get_many(keys);
        if (!tails) return tails.error();
        for (std::size_t k = 0; k < known.size(); ++k) {
            text_codec::Tail tail;
            if (!(*tails)[k] || !text_codec::decode_tail(*(*tails)[k], tail)) return text_codec::unreadable("postings");
            auto& postings = found[known[k]];
            postings.reserve(tail.df);
            if (tail.df > tail.count) {
                if (auto done = read_blocks(text_codec::key_number({keys[k].data(), keys[k].size() - 4}), postings);
                    !done)
                    return done;
            }
            if (!text_codec::read_postings(tail.run, postings)) return text_codec::unreadable("postings");
            if (postings.size() != tail.df || (!postings.empty() && postings.back().slot >= slots_))
                return text_codec::unreadable("postings");
        }
        return Done{};
    }

    // The sealed ones, in order.
    Status read_blocks(std::uint32_t term, std::vector<Posting>& out) const {
        if (!blocks_) blocks_ = rows_->iterate();
        const auto of_term = text_codec::key(prefix_, 'p', term);
        for (blocks_->seek(of_term); blocks_->valid() && blocks_->key().starts_with(of_term); blocks_->next()) {
            if (text_codec::key_number(blocks_->key()) == no_slot) break;
            if (!text_codec::read_postings(blocks_->value(), out)) return text_codec::unreadable("postings");
        }
        return blocks_->status();
    }

    // As of as_of_: from an image, or else from the newest ones.
    Result<std::vector<std::vector<Posting>>> postings_then(std::span<const std::string> terms) const {
        std::vector<std::vector<Posting>> found(terms.size());
        std::vector<BlockRewind> pasts;
        std::vector<std::size_t> without_image;
        const auto rows = rows_->iterate();
        for (std::size_t i = 0; i < terms.size(); ++i) {
            const auto base = text_codec::term_past(prefix_, terms[i]);
            rows->seek(past_key(base, Seq{as_of_->value + 1}));
            auto past = rewind(*rows, base, *as_of_);
            if (!past) return past.error();
            if (past->image) {
                found[i].reserve(past->image->size());  // A byte each, or more.
                if (!text_codec::read_postings(*past->image, found[i])) return text_codec::unreadable("postings");
                past->image.reset();
            } else {
                without_image.push_back(i);
            }
            pasts.push_back(std::move(*past));
        }
        if (auto done = read_postings(terms, without_image, found); !done) return done.error();
        for (std::size_t i = 0; i < terms.size(); ++i) {
            if (!put_back(pasts[i], found[i])) return text_codec::unreadable("postings");
            while (!found[i].empty() && found[i].back().slot >= table_->size()) found[i].pop_back();  // Recorded later.
        }
        return found;
    }

    // False: not such changes.
    static bool put_back(const BlockRewind& past, std::vector<Posting>& postings) {
        if (past.size() == 0) return true;
        std::vector<std::uint64_t> order;  // Slot, and which change: the oldest of a slot comes first.
        order.reserve(past.size());
        for (std::size_t i = 0; i < past.size(); ++i) order.push_back(std::uint64_t{past[i].place} << 32 | i);
        std::ranges::sort(order);
        const auto is = std::exchange(postings, {});
        postings.reserve(is.size() + order.size());
        auto at = is.begin();
        auto last = no_slot;
        for (const auto one : order) {
            const auto [slot, was] = past[one & 0xffffffff];
            if (std::exchange(last, slot) == slot) continue;
            text_codec::RowReader row(was);
            const auto tf = was.empty() ? 0 : row.number();
            if (!row.complete()) return false;
            const auto begin = at;
            if (at != is.end() && at->slot < slot) {  // As many places on as there are slots between, at most.
                const auto reach = std::min<std::ptrdiff_t>(is.end() - at, slot - at->slot);
                at = std::lower_bound(at, at + reach, slot,
                                      [](const Posting& a, std::uint32_t b) { return a.slot < b; });
                postings.insert(postings.end(), begin, at);
            }
            if (at != is.end() && at->slot == slot) ++at;
            if (tf != 0) postings.push_back({slot, tf});
        }
        postings.insert(postings.end(), at, is.end());
        return true;
    }

    std::string prefix_;
    Seq applied_;
    std::optional<Seq> as_of_;
    std::shared_ptr<const ViewSnapshot> rows_;
    std::uint32_t slots_;
    Status damage_;
    std::shared_ptr<const TextTable> table_;
    mutable std::unique_ptr<ViewIterator> blocks_;
};

class Index final : public TextIndex {
 public:
    std::string_view name() const override { return "text"; }
    std::uint32_t version() const override { return 4; }
    std::string settings() const override { return Analyzer::description(); }

    Status open(ViewSpace& space, Seq applied) override {
        space_ = &space;
        staged_to_ = applied;
        drop_writers();
        publish_anew(applied);
        return Done{};
    }

    Status reset() override {
        staged_to_ = Seq{0};
        drop_writers();
        publish_anew(Seq{0});
        return Done{};
    }

    Status apply(std::span<const EventView> events, ViewBatch& batch) override {
        for (const auto& event : events) {
            auto project = writer(event);
            if (!project) return project.error();
            if (*project != nullptr) {
                if (auto done = (*project)->apply(event, analyzer_, batch); !done) return done;
            }
            staged_to_ = event.seq();
        }
        for (const auto& name : changed_) writers_.at(name)->finish(batch);
        return Done{};
    }

    void committed() override {
        {
            const std::lock_guard lock(mutex_);
            for (const auto& name : changed_) tables_[name] = writers_.at(name)->table();
            rows_ = space_->snapshot();
            applied_ = staged_to_;
        }
        std::size_t items = 0;
        for (const auto& name : changed_) writers_.at(name)->committed();
        for (const auto& [name, writer] : writers_) items += writer->items_in_memory();
        changed_.clear();
        if (items > items_in_memory_max) drop_writers();
    }

    void discard() override {
        drop_writers();
        const std::lock_guard lock(mutex_);
        staged_to_ = applied_;
    }

    Status idle() override {
        drop_writers();
        return Done{};
    }

    Result<std::string> digest() const override {
        std::shared_ptr<const ViewSnapshot> rows;
        {
            const std::lock_guard lock(mutex_);
            rows = rows_;
        }
        return digest_of_rows(*rows->iterate());
    }

    std::unique_ptr<Reader> reader(std::string_view project, std::optional<Seq> as_of) const override {
        const auto newest = newest_of(project);
        if (!as_of || !newest.table)
            return std::make_unique<FrozenReader>(project, newest.applied, as_of, newest.rows, newest.slots(),
                                                  newest.table);
        {
            const std::lock_guard lock(mutex_);
            for (const auto& known : past_tables_)
                if (known.project == project && known.as_of == *as_of && newest.epoch == epoch_)
                    return std::make_unique<FrozenReader>(project, newest.applied, as_of, newest.rows, newest.slots(),
                                                          known.table);
        }
        auto then = (*newest.table)->at(*newest.rows->iterate(), text_codec::key_prefix(project), *as_of);
        if (!then)
            return std::make_unique<FrozenReader>(project, newest.applied, as_of, newest.rows, newest.slots(),
                                                  then.error());
        auto table = std::make_shared<const TextTable>(std::move(*then));
        {
            const std::lock_guard lock(mutex_);
            if (newest.epoch == epoch_) past_tables_.push_front({std::string(project), *as_of, table});
            if (past_tables_.size() > past_tables_max) past_tables_.pop_back();
        }
        return std::make_unique<FrozenReader>(project, newest.applied, as_of, newest.rows, newest.slots(),
                                              std::move(table));
    }

 private:
    struct Newest {  // Table and rows of the same state.
        Seq applied;
        std::uint64_t epoch = 0;
        std::shared_ptr<const ViewSnapshot> rows;
        Result<std::shared_ptr<const TextTable>> table;
        std::uint32_t slots() const { return table ? (*table)->size() : 0; }
    };
    struct PastTable {  // What was never changes.
        std::string project;
        Seq as_of;
        std::shared_ptr<const TextTable> table;
    };

    Newest newest_of(std::string_view project) const {
        std::shared_ptr<const ViewSnapshot> rows;
        Seq applied;
        std::uint64_t epoch = 0;
        {
            const std::lock_guard lock(mutex_);
            const auto known = tables_.find(project);
            if (known != tables_.end()) return {applied_, epoch_, rows_, known->second};
            rows = rows_;
            applied = applied_;
            epoch = epoch_;
        }
        auto loaded = load(*rows->iterate(), project);
        if (loaded && (*loaded)->size() > 0) {
            // What is loaded holds for the newest state too, unless that has a table of its own or began anew.
            const std::lock_guard lock(mutex_);
            if (epoch == epoch_) tables_.try_emplace(std::string(project), *loaded);
        }
        return {applied, epoch, std::move(rows), std::move(loaded)};
    }

    static Result<std::shared_ptr<const TextTable>> load(ViewIterator& rows, std::string_view project) {
        auto table = TextTable::load(rows, text_codec::key_prefix(project));
        if (!table) return table.error();
        return std::make_shared<const TextTable>(std::move(*table));
    }

    // Null: the event changes no text.
    Result<TextProject*> writer(const EventView& event) {
        if (event.payload() != Payload::plain) return nullptr;
        switch (event.type()) {
            case EventType::memory_recorded:
            case EventType::memory_revised:
            case EventType::memory_forgotten:
            case EventType::memory_restored:
                break;
            default:
                return nullptr;
        }
        const std::string name(event.project());
        auto& writer = writers_[name];
        if (!writer) {
            auto table = published(name);
            if (!table) return table.error();
            auto opened = TextProject::open(*space_, name, *table);
            if (!opened) return opened.error();
            writer = std::move(*opened);
        }
        if (std::ranges::find(changed_, name) == changed_.end()) changed_.push_back(name);
        return writer.get();
    }

    Result<std::shared_ptr<const TextTable>> published(const std::string& project) const {
        {
            const std::lock_guard lock(mutex_);
            if (const auto known = tables_.find(project); known != tables_.end()) return known->second;
        }
        return load(*space_->iterate(), project);
    }

    void drop_writers() {
        writers_.clear();
        changed_.clear();
    }

    void publish_anew(Seq applied) {
        const std::lock_guard lock(mutex_);
        tables_.clear();
        past_tables_.clear();
        rows_ = space_->snapshot();
        applied_ = applied;
        ++epoch_;
    }

    // The projector's thread alone.
    ViewSpace* space_ = nullptr;
    Analyzer analyzer_;
    std::map<std::string, std::unique_ptr<TextProject>> writers_;
    std::vector<std::string> changed_;  // In this batch.
    Seq staged_to_;

    // Published: tables and rows of the same state.
    mutable std::mutex mutex_;
    mutable std::map<std::string, std::shared_ptr<const TextTable>, std::less<>> tables_;  // Of the projects asked for.
    mutable std::deque<PastTable> past_tables_;                                            // The last ones asked for.
    std::shared_ptr<const ViewSnapshot> rows_;
    Seq applied_;
    std::uint64_t epoch_ = 0;  // Of tables_ and past_tables_; a reset begins a new one.
};

}  // namespace

std::unique_ptr<TextIndex> TextIndex::create() {
    return std::make_unique<Index>();
}

}  // namespace annal
