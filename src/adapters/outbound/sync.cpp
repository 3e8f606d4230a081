#include "sync.h"

#include "adapters/sink_batch.h"
#include "adapters/sink_record.h"

#include "events/event_log_hash.h"
#include "query/history.h"

#include <annal/changes.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>

namespace annal {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t refused_in_a_row_max = 8;

// What passes by itself, and what says that the far side is not well. Of the rest, somebody has to mend something.
bool passes(ErrorCode code) {
    using enum ErrorCode;
    return code == unavailable || code == deadline_exceeded || code == resource_exhausted || code == internal;
}
bool is_unwell(ErrorCode code) {
    return passes(code) && code != ErrorCode::resource_exhausted;
}

std::chrono::milliseconds retry_after(const Error& error) {
    std::int64_t ms = 0;
    if (const auto at = error.details.find("retry_after_ms"); at != error.details.end())
        std::from_chars(at->second.data(), at->second.data() + at->second.size(), ms);
    return std::chrono::milliseconds(ms);
}

// Whether the log has the position. false: it does not; it was restored from a backup, or is another.
Result<bool> has_position(Engine& engine, const SinkPosition& position) {
    if (position.seq > engine.head()) return false;
    const auto here = engine.changes({.after = position.seq, .up_to = position.seq});
    if (!here) return here.error();
    return here->hash == position.hash;
}

Error not_of_this_log(const SinkPosition& position) {
    return {ErrorCode::conflict,
            "the sink is at event " + std::to_string(position.seq.value) +
                " of a history that this log does not have; a resync makes it anew",
            {{"needs_resync", "true"}}};
}

void set_lag(Engine& engine, Clock& clock, SyncStatus& status) {
    const auto at = status.position ? status.position->seq : Seq{};
    const auto head = engine.head();
    if (at >= head) return;
    status.lag_events = head.value - at.value;
    const auto read = engine.read_log(at, "", [&](const Engine::LogEntry& first) {
        status.lag_seconds =
            static_cast<double>(std::max<std::int64_t>(0, clock.now().us - first.recorded_at.us)) / 1e6;
        return false;
    });
    static_cast<void>(read);  // An event that cannot be read is told by who has to.
}

// A sink, and the thread that follows the engine for it.
class Follower {
 public:
    Follower(Engine& engine, SinkPosition start, std::string name, std::unique_ptr<Sink> sink, bool paused,
             const SyncCounters& before, const SyncOptions& options, Clock& clock, std::uint64_t seed)
        : engine_(engine),
          start_(std::move(start)),
          options_(options),
          clock_(clock),
          sink_(std::move(sink)),
          breaker_(clock, options.breaker),
          backoff_(chance_of(seed), options.backoff),
          paused_(paused) {
        static_cast<SyncCounters&>(status_) = before;
        status_.name = std::move(name);
        status_.type = sink_->type();
        thread_ = std::thread([this] { run(); });
    }
    ~Follower() {
        {
            const std::lock_guard hold(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    void pause() {
        std::unique_lock hold(mutex_);
        paused_ = true;
        changed_.wait(hold, [&] { return !working_; });
    }
    void resume(bool resync) {
        std::unique_lock hold(mutex_);
        ++waiting_;
        changed_.wait(hold, [&] { return !working_; });
        --waiting_;
        paused_ = false;
        taken_ = false;
        resync_ = resync_ || resync;
        status_.state = SyncState::following;
        not_before_ = {};
        breaker_.succeeded();  // Somebody says that it is worth a try.
        changed_.notify_all();
    }

    SyncStatus status() const {
        SyncStatus status;
        {
            const std::lock_guard hold(mutex_);
            status = status_;
            status.retries += usage_.repeats;
            status.throttles += usage_.throttles;
            status.bytes_sent += usage_.bytes_sent;
            status.request_units += usage_.request_units;
            if (paused_) status.state = SyncState::paused;
        }
        status.breaker = breaker_.state();
        set_lag(engine_, clock_, status);
        return status;
    }

    Status wait_for(Seq seq, std::chrono::milliseconds wait_max) {
        const auto until = std::chrono::steady_clock::now() + wait_max;
        std::unique_lock hold(mutex_);
        for (;;) {
            if (taken_ && (status_.position ? status_.position->seq : Seq{}) >= seq) return Done{};
            if (paused_) return Error{ErrorCode::unavailable, "the sink is paused", {}};
            const bool stands = status_.state != SyncState::following && status_.state != SyncState::retrying;
            if (stands && status_.error) return *status_.error;
            if (changed_.wait_until(hold, until) == std::cv_status::timeout) break;
        }
        Error late{ErrorCode::deadline_exceeded, "the sink has not reached that event", {}};
        if (status_.error) late.message += ": " + status_.error->message;
        return late;
    }

 private:
    void run() {
        std::unique_lock hold(mutex_);
        while (!stopping_) {
            if (!has_work()) {
                changed_.wait_for(hold, options_.poll);
                continue;
            }
            working_ = true;
            hold.unlock();
            work();
            const auto usage = sink_->usage();
            hold.lock();
            usage_ = usage;
            working_ = false;
            changed_.notify_all();
        }
    }
    bool has_work() {
        if (paused_ || waiting_ > 0 || status_.state == SyncState::fenced || status_.state == SyncState::needs_resync)
            return false;
        const auto now = clock_.now();
        if (now < not_before_ && now >= waits_since_) return false;  // A clock that was put back ends the wait.
        return !taken_ || engine_.head() > at_.seq;
    }

    void work() {
        if (const auto wait = breaker_.ask(); wait > 0us) return wait_for_next(wait);
        if (!taken_) return take();
        const auto capabilities = sink_->capabilities();
        auto changes = engine_.changes({.after = at_.seq,
                                        .events_max = std::min(events_max_, capabilities.batch_records_max),
                                        .bytes_max = capabilities.batch_bytes_max,
                                        .with_events = capabilities.keeps_events});
        if (!changes) return fail(changes.error(), false);
        auto batch = to_batch(std::move(*changes), at_, start_.epoch, *sink_);
        const auto applied = sink_->apply(batch);
        if (applied) return succeed(batch);
        if (applied.error().details.contains("refused")) return find_refused(std::move(batch), applied.error());
        if (applied.error().code == ErrorCode::conflict && applied.error().details.contains("position"))
            return find_again(batch, applied.error());
        fail(applied.error(), true);
    }

    // What the sink does not take is looked for by halving the batch; a memory that it does not take alone becomes a
    // dead letter, unless it is one of too many in a row: then it is not they that have to be mended.
    void find_refused(SinkBatch&& batch, const Error& refused) {
        const auto events = batch.to.seq.value - batch.from.seq.value;
        if (events > 1) {
            events_max_ = static_cast<std::size_t>(events / 2);
            return;
        }
        if (batch.upserts.empty()) return fail(refused, true);
        const auto record = std::move(batch.upserts.front());
        refused_.insert(record.memory.id);
        if (refused_.size() > refused_in_a_row_max) return fail(refused, true);
        batch.upserts.clear();
        batch.dead_letters.push_back(dead_letter(record.memory, refused.message));
        const auto applied = sink_->apply(batch);
        return applied ? succeed(batch) : fail(applied.error(), true);
    }

    void take() {
        auto there = sink_->take_over(start_.store_id);
        if (!there) return fail(there.error(), true);
        if (resync_) {
            if (const auto cleared = sink_->clear(); !cleared) return fail(cleared.error(), true);
            there->reset();
            resync_ = false;
        }
        go_on_from(*there);
    }
    // A batch whose answer was lost was applied: the sink is further than is known here.
    void find_again(const SinkBatch& batch, const Error& refused) {
        const auto walk = sink_->walk();
        if (!walk && walk.error().code != ErrorCode::not_found) return fail(walk.error(), true);
        std::optional<SinkPosition> there;
        if (walk) there = (*walk)->position();
        if (there ? *there == batch.from : batch.from.seq == Seq{}) return fail(refused, true);
        go_on_from(there);
    }
    void go_on_from(const std::optional<SinkPosition>& there) {
        const auto known = there ? has_position(engine_, *there) : Result<bool>(true);
        if (!known) return fail(known.error(), false);
        breaker_.succeeded();
        if (!*known) return stop(SyncState::needs_resync, not_of_this_log(*there), there);
        at_ = there ? *there : start_;
        const std::lock_guard hold(mutex_);
        taken_ = true;
        status_.position = there;
        well();
    }

    void succeed(const SinkBatch& batch) {
        breaker_.succeeded();
        backoff_.succeeded();
        at_ = batch.to;
        if (!batch.upserts.empty()) refused_.clear();
        events_max_ = events_max_ > SIZE_MAX / 2 ? SIZE_MAX : events_max_ * 2;
        const std::lock_guard hold(mutex_);
        status_.position = batch.to;
        ++status_.batches;
        status_.records += batch.upserts.size() + batch.removals.size();
        status_.erasures += batch.erasures.size();
        status_.dead_letters += batch.dead_letters.size();
        well();
    }
    void fail(const Error& error, bool of_sink) {
        if (error.code == ErrorCode::conflict && error.details.contains("fenced"))
            return stop(SyncState::fenced, error, at_.seq > Seq{} ? std::optional(at_) : std::nullopt);
        if (of_sink && is_unwell(error.code))
            breaker_.failed();
        else
            breaker_.succeeded();
        const auto wait =
            std::max(passes(error.code) ? backoff_.next() : options_.breaker.open_for, retry_after(error));
        wait_for_next(wait);
        const std::lock_guard hold(mutex_);
        ++status_.retries;
        become(passes(error.code) ? SyncState::retrying : SyncState::failed, error);
    }
    void stop(SyncState state, const Error& error, const std::optional<SinkPosition>& there) {
        breaker_.succeeded();
        const std::lock_guard hold(mutex_);
        taken_ = false;
        status_.position = there;
        become(state, error);
    }
    void wait_for_next(std::chrono::microseconds wait) {
        const std::lock_guard hold(mutex_);
        waits_since_ = clock_.now();
        not_before_ = {waits_since_.us + wait.count()};
    }
    // With the mutex held. Whoever sees that something was applied sees what it cost, too.
    void well() {
        usage_ = sink_->usage();
        if (status_.state != SyncState::following && options_.on_message)
            options_.on_message("info", "sink " + status_.name + ": follows again");
        status_.state = SyncState::following;
        status_.error.reset();
    }
    void become(SyncState state, const Error& error) {
        if (status_.state != state && options_.on_message)
            options_.on_message("warning",
                                "sink " + status_.name + ": " + std::string(to_string(state)) + ": " + error.message);
        status_.state = state;
        status_.error = error;
    }

    Engine& engine_;
    const SinkPosition start_;
    const SyncOptions& options_;
    Clock& clock_;
    const std::unique_ptr<Sink> sink_;  // The thread's, as is what follows up to backoff_.
    SinkPosition at_;
    std::size_t events_max_ = SIZE_MAX;  // Fewer while something is looked for that the sink refuses.
    std::set<MemoryId> refused_;         // Since it took something.
    CircuitBreaker breaker_;
    Backoff backoff_;

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    SyncStatus status_;
    SinkUsage usage_;  // Of the sink, as of its last call.
    bool paused_ = false;
    int waiting_ = 0;     // For the thread to be between two pieces of work: only then others change the next two.
    bool taken_ = false;  // And at_ is where it is.
    bool resync_ = false;
    bool working_ = false;
    bool stopping_ = false;
    Timestamp waits_since_{};
    Timestamp not_before_{};
    std::thread thread_;
};

class Runner final : public SyncRunner {
 public:
    Runner(Engine& engine, SinkPosition start, SyncOptions options)
        : engine_(engine),
          start_(std::move(start)),
          options_(std::move(options)),
          clock_(options_.clock ? *options_.clock : system_clock()),
          seeds_(options_.seed != 0 ? options_.seed : std::random_device{}()) {}

    Status add(std::string name, std::unique_ptr<Sink> sink, bool paused, const SyncCounters& before) override {
        const std::lock_guard hold(mutex_);
        if (followers_.contains(name))
            return Error{ErrorCode::already_exists, "there is a sink of that name", {{"name", name}}};
        auto follower = std::make_shared<Follower>(engine_, start_, name, std::move(sink), paused, before, options_,
                                                   clock_, seeds_());
        followers_.emplace(std::move(name), std::move(follower));
        return Done{};
    }
    Status remove(std::string_view name) override {
        std::shared_ptr<Follower> removed;
        const std::lock_guard hold(mutex_);
        const auto at = followers_.find(name);
        if (at == followers_.end()) return not_found(name);
        removed = std::move(at->second);
        followers_.erase(at);
        return Done{};
    }
    Status pause(std::string_view name) override {
        const auto follower = find(name);
        if (!follower) return not_found(name);
        follower->pause();
        return Done{};
    }
    Status resume(std::string_view name) override { return resume(name, false); }
    Status resync(std::string_view name) override { return resume(name, true); }

    std::vector<SyncStatus> status() const override {
        std::vector<std::shared_ptr<Follower>> all;
        {
            const std::lock_guard hold(mutex_);
            for (const auto& [name, follower] : followers_) all.push_back(follower);
        }
        std::vector<SyncStatus> status;
        for (const auto& follower : all) status.push_back(follower->status());
        return status;
    }
    Status wait_for(std::string_view name, Seq seq, std::chrono::milliseconds wait_max) override {
        const auto follower = find(name);
        return follower ? follower->wait_for(seq, wait_max) : not_found(name);
    }

 private:
    static Error not_found(std::string_view name) {
        return {ErrorCode::not_found, "there is no sink of that name", {{"name", std::string(name)}}};
    }
    Status resume(std::string_view name, bool resync) {
        const auto follower = find(name);
        if (!follower) return not_found(name);
        follower->resume(resync);
        return Done{};
    }
    std::shared_ptr<Follower> find(std::string_view name) const {
        const std::lock_guard hold(mutex_);
        const auto at = followers_.find(name);
        return at == followers_.end() ? nullptr : at->second;
    }

    Engine& engine_;
    const SinkPosition start_;
    const SyncOptions options_;
    Clock& clock_;
    mutable std::mutex mutex_;
    std::mt19937_64 seeds_;
    std::map<std::string, std::shared_ptr<Follower>, std::less<>> followers_;
};

Hash digest_of(const SinkRecord& record) {
    return sha256(canonical_text(record));
}

using Key = std::pair<std::string, MemoryId>;

// Of every memory that a sink is to hold as of `up_to`, dead letters among them.
Result<std::map<Key, Hash>> fold(Engine& engine, Seq up_to, bool with_vectors,
                                 const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
    std::map<Key, Hash> digests;
    for (Seq at{}; at < up_to;) {
        auto changes = engine.changes(
            {.after = at, .up_to = up_to, .events_max = 32'768, .bytes_max = std::size_t{32} << 20, .wait_max = 60s});
        if (!changes) return changes.error();
        for (auto& [memory, embedding] : changes->memories) {
            Key key{memory.scope.project, memory.id};
            if (memory.forgotten)
                digests.erase(key);
            else
                digests[std::move(key)] =
                    digest_of({std::move(memory), with_vectors ? std::move(embedding) : std::nullopt});
        }
        at = changes->to;
        if (progress) progress(at.value, up_to.value);
    }
    return digests;
}

// Of users who were erased after the event.
Result<std::vector<ErasedSubject>> erased_after(Engine& engine, Seq after) {
    std::vector<ErasedSubject> erased;
    const auto head = engine.head();
    while (after < head) {
        auto changes = engine.changes({.after = after, .up_to = head, .events_max = 32'768, .wait_max = 60s});
        if (!changes) return changes.error();
        erased.insert(erased.end(), changes->erased.begin(), changes->erased.end());
        after = changes->to;
    }
    return erased;
}

std::string named(const Key& key) {
    return "memory " + to_string(key.second) + " of project " + key.first;
}

// The fields in which a record is not what the log says.
Result<std::string> differing_fields(Engine& engine, const SinkRecord& record, Seq as_of) {
    const Scope scope{.project = record.memory.scope.project, .agent = {}, .user = {}, .session = {}};
    const auto memory = engine.get(scope, record.memory.id, {.as_of = AsOf(as_of)}, true);
    if (!memory) return memory.error();
    std::string fields;
    for (const auto& change : differences(record.memory, *memory))
        fields += (fields.empty() ? "" : ", ") + change.field;
    if (record.memory.seq != memory->seq || record.memory.version != memory->version)
        fields += (fields.empty() ? "" : ", ") + std::string("version");
    return fields.empty() ? "its vector or its times" : fields;
}

}  // namespace

Result<std::unique_ptr<SyncRunner>> SyncRunner::start(Engine& engine, SyncOptions options) {
    const auto status = engine.status();
    if (!status) return status.error();
    return std::unique_ptr<SyncRunner>(
        std::make_unique<Runner>(engine, SinkPosition{status->store_id, status->epoch, {}, {}}, std::move(options)));
}

SyncStatus look_at(Engine& engine, Sink& sink) {
    SyncStatus status;
    status.type = sink.type();
    const auto seen = [&]() -> Status {
        const auto store = engine.status();
        if (!store) return store.error();
        const auto walk = sink.walk();
        if (!walk && walk.error().code == ErrorCode::not_found) return Done{};
        if (!walk) return walk.error();
        status.position = (*walk)->position();
        if (auto ok = check_is_of(status.position, store->store_id); !ok) return ok;
        const auto known = has_position(engine, *status.position);
        if (!known) return known.error();
        return *known ? Status(Done{}) : not_of_this_log(*status.position);
    }();
    set_lag(engine, system_clock(), status);
    if (seen) return status;
    status.error = seen.error();
    status.state = seen.error().details.contains("needs_resync") ? SyncState::needs_resync : SyncState::failed;
    return status;
}

Result<SinkComparison> compare(Engine& engine, Sink& sink,
                               const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
    const auto status = engine.status();
    if (!status) return status.error();
    auto walk = sink.walk();
    if (!walk) return walk.error();
    SinkComparison result;
    result.position = (*walk)->position();
    if (auto ok = check_is_of(result.position, status->store_id); !ok) return ok.error();
    const auto known = has_position(engine, result.position);
    if (!known) return known.error();
    if (!*known) return not_of_this_log(result.position);

    const bool with_vectors = sink.capabilities().keeps_vectors;
    auto expected = fold(engine, result.position.seq, with_vectors, progress);
    if (!expected) return expected.error();
    result.memories = expected->size();
    const auto differs = [&](const std::string& what) {
        if (result.first_difference.empty()) result.first_difference = what;
    };
    std::optional<std::vector<ErasedSubject>> erased;
    const auto is_to_be_erased = [&](const Memory& memory) -> Result<bool> {
        if (!erased) {
            auto after = erased_after(engine, result.position.seq);
            if (!after) return after.error();
            erased = std::move(*after);
        }
        return std::ranges::any_of(*erased, [&](const ErasedSubject& subject) {
            return subject.project == memory.scope.project && subject.user == memory.scope.user &&
                   memory.created_seq < subject.requested_at;
        });
    };
    for (;;) {
        auto records = (*walk)->next(1000);
        if (!records) return records.error();
        if (records->empty()) break;
        for (auto& record : *records) {
            ++result.records;
            const Key key{record.memory.scope.project, record.memory.id};
            const auto at = expected->find(key);
            if (at == expected->end()) {
                const auto gone = is_to_be_erased(record.memory);
                if (!gone) return gone.error();
                ++(*gone ? result.to_be_erased : result.extra);
                if (!*gone) differs(named(key) + " is there, and is not to be");
                continue;
            }
            if (!with_vectors) record.embedding.reset();
            if (digest_of(record) != at->second) {
                ++result.different;
                if (result.first_difference.empty()) {
                    const auto fields = differing_fields(engine, record, result.position.seq);
                    if (!fields) return fields.error();
                    differs(named(key) + " differs in " + *fields);
                }
            }
            expected->erase(at);
        }
        if (progress) progress(result.records, result.memories);
    }
    const auto letters = (*walk)->dead_letters();
    if (!letters) return letters.error();
    result.dead_letters = letters->size();
    for (const auto& letter : *letters) expected->erase({letter.project, letter.memory_id});
    result.missing = expected->size();
    if (!expected->empty()) differs(named(expected->begin()->first) + " is missing");
    return result;
}

}  // namespace annal
