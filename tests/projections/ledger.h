// A projector whose state is easy to check: a row for each event, their count and sum, in the store and in memory. And
// logs for it, whose event number n brings amount(n).
#pragma once

#include "projections/checkpoint.h"
#include "projections/runtime.h"
#include "projections/view_store.h"
#include "support/log_fixture.h"
#include "support/memory_event_log.h"
#include "support/temp_dir.h"

#include <atomic>
#include <charconv>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>

namespace annal::testing {

inline std::uint64_t amount(std::uint64_t number) {
    return number * 7919 % 10007;
}

struct Sum {
    std::uint64_t count = 0;
    std::uint64_t total = 0;
    bool operator==(const Sum&) const = default;
};

inline Sum sum_up_to(Seq seq) {
    Sum sum;
    for (std::uint64_t n = 1; n <= seq.value; ++n) sum = {sum.count + 1, sum.total + amount(n)};
    return sum;
}

// Appends the next `count` amounts.
inline Seq grow(EventLog& log, std::uint64_t count, std::size_t filler_bytes = 0) {
    while (count > 0) {
        std::vector<Note> notes;
        for (; count > 0 && notes.size() < 256; --count) {
            const auto number = log.head().value + notes.size() + 1;
            notes.push_back({memory_number(number), std::to_string(amount(number)) + std::string(filler_bytes, ' ')});
        }
        if (!append(log, notes)) throw std::runtime_error("cannot append to the test's log");
    }
    return log.head();
}

inline Sum parse_sum(std::string_view row) {
    Sum sum;
    const auto* end = row.data() + row.size();
    const auto* space = std::from_chars(row.data(), end, sum.count).ptr;
    if (space != end) std::from_chars(space + 1, end, sum.total);
    return sum;
}

// What a ledger's space says, in three ways that must agree.
struct LedgerRows {
    Seq applied;
    Sum sum;   // The row.
    Sum rows;  // Counted.
    std::uint64_t quarantined = 0;
};

inline Result<LedgerRows> read_ledger(std::unique_ptr<ViewIterator> all) {
    LedgerRows read;
    for (all->seek({}); all->valid(); all->next()) {
        if (all->key() == checkpoint_key) {
            const auto checkpoint = to_checkpoint(all->value());
            if (!checkpoint) return checkpoint.error();
            read.applied = checkpoint->applied;
        } else if (all->key() == "sum") {
            read.sum = parse_sum(all->value());
        } else if (all->key().starts_with('e')) {
            read.rows = {read.rows.count + 1, read.rows.total + parse_sum(all->value()).count};
        } else if (all->key().starts_with(quarantine_prefix)) {
            ++read.quarantined;
        } else {
            return Error{ErrorCode::internal, "a key that nobody wrote", {}};
        }
    }
    if (auto walked = all->status(); !walked) return walked.error();
    return read;
}

inline Result<LedgerRows> read_ledger(const ViewSpace& space) {
    return read_ledger(space.iterate());
}

class Ledger : public Projector {
 public:
    std::string name_ = "ledger";
    std::uint32_t version_ = 1;
    std::string settings_;
    std::function<Status(const EventView&)> before_event;  // May refuse it.
    std::function<Status()> on_open;
    Seq input_up_to_{std::numeric_limits<std::uint64_t>::max()};
    std::atomic<int> resets = 0, saves = 0, idles = 0;
    std::atomic<std::size_t> batch_max = 0;

    std::string_view name() const override { return name_; }
    std::uint32_t version() const override { return version_; }
    std::string settings() const override { return settings_; }
    Seq input_up_to() const override { return input_up_to_; }

    Status open(ViewSpace& space, Seq) override {
        space_ = &space;
        if (on_open)
            if (auto allowed = on_open(); !allowed) return allowed;
        const auto row = space.get("sum");
        if (!row) return row.error();
        published_ = count_ = *row ? parse_sum(**row).count : 0;
        return Done{};
    }
    Status reset() override {
        ++resets;
        published_ = count_ = 0;
        return Done{};
    }
    Status apply(std::span<const EventView> events, ViewBatch& batch) override {
        batch_max = std::max(batch_max.load(), events.size());
        for (const auto& event : events) {
            if (before_event)
                if (auto allowed = before_event(event); !allowed) return allowed;
            const auto row = batch.get("sum");  // Its own write of the event before, but for the first.
            if (!row) return row.error();
            Sum sum = *row ? parse_sum(**row) : Sum{};
            MemoryEvent unpacked;
            std::uint64_t value = 0;
            const auto content = content_of(event, unpacked);
            std::from_chars(content.data(), content.data() + content.size(), value);
            sum = {sum.count + 1, sum.total + value};
            batch.put("e" + quarantine_key(event.seq()), std::to_string(value));
            batch.put("sum", std::to_string(sum.count) + " " + std::to_string(sum.total));
            ++count_;
        }
        return Done{};
    }
    void committed() override { published_ = count_; }
    void discard() override { count_ = published_; }
    Status idle() override {
        ++idles;
        return Done{};
    }
    Status save() override {
        ++saves;
        return Done{};
    }
    Result<std::string> digest() const override {
        std::uint64_t hash = 14695981039346656037u;
        const auto rows = space_->iterate();
        for (rows->seek("e"); rows->valid(); rows->next())
            for (const auto part : {rows->key(), rows->value()})
                for (const char c : part) hash = (hash ^ static_cast<std::uint8_t>(c)) * 1099511628211u;
        if (auto walked = rows->status(); !walked) return walked.error();
        return std::to_string(hash);
    }
    std::uint64_t published() const { return published_; }

    Result<LedgerRows> rows() const { return read_ledger(space_->snapshot()->iterate()); }

 private:
    ViewSpace* space_ = nullptr;
    std::uint64_t count_ = 0;
    std::atomic<std::uint64_t> published_ = 0;
};

// The space of the generation that answers.
inline std::string space_of(ViewStore& views, const std::string& projection) {
    const auto pointers = views.space(generations_space);
    if (!pointers) throw std::runtime_error("cannot read the generations: " + pointers.error().message);
    const auto row = (*pointers)->get(projection);
    if (!row || !*row) return projection;
    const auto number = to_generation(**row);
    if (!number) throw std::runtime_error("cannot read the generations: " + number.error().message);
    return projection + "-g" + std::to_string(*number);
}

inline constexpr std::chrono::milliseconds long_enough{60'000};

// A store, and a runtime over the projectors given.
struct Views {
    explicit Views(std::filesystem::path directory) : Views(ViewStoreOptions{.directory = std::move(directory)}) {}
    explicit Views(ViewStoreOptions options) : options_(std::move(options)) { open(); }
    void open() {
        auto opened = ViewStore::open(options_);
        if (!opened) throw std::runtime_error("cannot open the views: " + opened.error().message);
        store = *std::move(opened);
    }
    void close() { store.reset(); }

    std::unique_ptr<ViewStore> store;

 private:
    ViewStoreOptions options_;
};

// The first instance is `ledger` itself; those that rebuilds and checks make ask it what to refuse.
inline Projection projection_of(Ledger& ledger) {
    const auto first = std::make_shared<std::atomic<bool>>(true);
    return {ledger.name_, [first, &ledger](const std::filesystem::path&) {
                if (first->exchange(false)) return std::shared_ptr<Ledger>(std::shared_ptr<void>(), &ledger);
                auto other = std::make_shared<Ledger>();
                other->name_ = ledger.name_;
                other->version_ = ledger.version_;
                other->settings_ = ledger.settings_;
                other->before_event = [&ledger](const EventView& event) -> Status {
                    return ledger.before_event ? ledger.before_event(event) : Done{};
                };
                return other;
            }};
}

inline std::unique_ptr<ProjectionRuntime> run(EventLog& log, Views& views, std::vector<Ledger*> ledgers,
                                              RuntimeOptions options = {}) {
    std::vector<Projection> projections;
    for (auto* ledger : ledgers) projections.push_back(projection_of(*ledger));
    auto started = ProjectionRuntime::start(log, *views.store, std::move(projections), std::move(options));
    if (!started) throw std::runtime_error("cannot start the runtime: " + started.error().message);
    return *std::move(started);
}

}  // namespace annal::testing
