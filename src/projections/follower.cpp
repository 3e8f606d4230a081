#include "follower.h"

#include "events/bytes.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

namespace annal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds retry_pause_min{10};
constexpr milliseconds retry_pause_max{2'000};
constexpr std::uint64_t read_ahead_min = 1'024;  // So far behind, two threads are better than one.
constexpr milliseconds quiet_time{1'000};        // Before rows are put in order: others may be catching up still.

// The one place where what a projector, or a library below it, throws becomes an Error.
template <class Call>
auto guarded(const Call& call) -> decltype(call()) {
    try {
        return call();
    } catch (const std::bad_alloc&) {
        return Error{ErrorCode::resource_exhausted, "out of memory", {}};
    } catch (const std::exception& thrown) {
        return Error{ErrorCode::internal, std::string("an exception: ") + thrown.what(), {}};
    } catch (...) {
        return Error{ErrorCode::internal, "an exception of an unknown kind", {}};
    }
}

// Not the fault of any event: the same events may do later.
bool is_outage(const Error& error) {
    return error.code == ErrorCode::unavailable || error.code == ErrorCode::resource_exhausted ||
           error.code == ErrorCode::deadline_exceeded;
}

}  // namespace

Follower::Follower(EventLog& log, Projector& projector, std::unique_ptr<ViewSpace> space, const RuntimeOptions& options,
                   FollowerMonitor& monitor, std::string note, FollowerRange range, std::shared_ptr<LogPages> together)
    : log_(log),
      projector_(projector),
      space_(std::move(space)),
      options_(options),
      monitor_(monitor),
      range_(range),
      together_(std::move(together)),
      generation_(range.generation - 1),
      note_(std::move(note)) {}

Follower::~Follower() = default;

void Follower::start() {
    thread_ = std::thread([this] { run(); });
}

void Follower::ask_to_stop() {
    {
        const std::lock_guard lock(monitor_.mutex);
        stopping_ = true;
    }
    work_.notify_one();
}

void Follower::stop() {
    ask_to_stop();
    if (thread_.joinable()) thread_.join();
}

void Follower::abandon() {
    abandoned_ = true;
    stop();
}

void Follower::post(std::function<void()> task) {
    {
        const std::lock_guard lock(monitor_.mutex);
        tasks_.push_back(std::move(task));
    }
    work_.notify_one();
}

void Follower::pause() {
    paused_ = true;
    drop_pages();
    publish();
}

void Follower::resume() {
    paused_ = false;
    publish();
}

Seq Follower::hold() {
    held_ = true;
    return applied_;
}

void Follower::release() {
    held_ = false;
}

Status Follower::save() {
    return guarded([&] { return projector_.save(); });
}

Result<std::string> Follower::digest() const {
    if (!opened_) return Error{ErrorCode::unavailable, "the projection could not be opened: " + error_, {}};
    return guarded([&] { return projector_.digest(); });
}

void Follower::run() {
    open();
    while (next_turn()) turn();
    drop_pages();
    if (!opened_ || start_over_because_ || abandoned_) return;
    if (const auto saved = save(); !saved)
        tell("warning", "what makes the next open quick was not saved: " + saved.error().message);
}

bool Follower::next_turn() {
    std::unique_lock lock(monitor_.mutex);
    for (;;) {
        if (stopping_) return false;
        if (!tasks_.empty()) {
            const auto task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
            lock.lock();
            continue;
        }
        if (paused_ || held_ || (sealed_ && !start_over_because_ && !space_->damaged())) {
            work_.wait(lock);
        } else if (pause_before_retry_ > milliseconds(0) && steady_clock::now() < retry_at_) {
            work_.wait_until(lock, retry_at_);
        } else if (start_over_because_ || space_->damaged() || end() > applied_) {
            return true;
        } else if (!idle_told_) {
            idle_told_ = true;
            lock.unlock();
            drop_pages();  // A batch's worth of memory, needed again only when there is much to do.
            batch_.reset();
            if (const auto idle = guarded([&] { return projector_.idle(); }); !idle) {
                error_ = idle.error().message;
                tell("warning", "housekeeping failed: " + error_);
                publish();
            }
            lock.lock();
        } else if (settled_) {
            work_.wait(lock);
        } else if (work_.wait_for(lock, quiet_time) == std::cv_status::timeout) {
            settled_ = true;
            lock.unlock();
            space_->settle();
            lock.lock();
        }
    }
}

Checkpoint Follower::checkpoint(Seq applied, const Hash& last, std::uint64_t generation) const {
    return {std::string(projector_.name()),
            projector_.version(),
            projector_.settings(),
            log_.store_id() + " epoch " + std::to_string(log_.epoch()),
            generation,
            applied,
            last};
}

// Goes on from the checkpoint, when it is one of this projector, this log, and this past.
void Follower::open() {
    const auto why_not = [&]() -> std::optional<std::string> {
        const auto row = space_->get(checkpoint_key);
        if (!row) return "its checkpoint could not be read: " + row.error().message;
        if (!*row) {
            const auto all = space_->iterate();
            all->seek({});
            if (const auto walked = all->status(); !walked)
                return "its rows could not be read: " + walked.error().message;
            return all->valid() ? std::optional<std::string>("its checkpoint was missing") : std::string();
        }
        const auto found = to_checkpoint(**row);
        if (!found) return found.error().message;
        generation_ = found->generation;
        const auto wanted = checkpoint(found->applied, found->last, found->generation);
        if (found->projector != wanted.projector) return "its state was another projection's";
        if (found->version != wanted.version)
            return "its version is " + std::to_string(wanted.version) + ", the state's was " +
                   std::to_string(found->version);
        if (found->settings != wanted.settings) return "its settings have changed";
        if (found->log != wanted.log) return "its state was of another log, or of what this one was before a restore";
        if (found->applied > log_.head())
            return "its state was ahead of the log, at " + std::to_string(found->applied.value) + " of " +
                   std::to_string(log_.head().value);
        if (found->applied > Seq{0}) {
            const auto last = log_.tree_node({.level = 0, .index = found->applied.value - 1});
            if (!last) return "the event it had applied last could not be read: " + last.error().message;
            if (*last != found->last) return "its state was of a past that the log has lost";
        }
        const auto rows = space_->iterate();
        for (rows->seek(quarantine_prefix); rows->valid() && rows->key().starts_with(quarantine_prefix); rows->next())
            ++quarantined_;
        if (const auto walked = rows->status(); !walked) return walked.error().message;
        if (found->applied == Seq{0}) return std::string();
        if (auto opened = guarded([&] { return projector_.open(*space_, found->applied); }); !opened)
            return "its state was damaged: " + opened.error().message;
        applied_ = found->applied;
        opened_ = true;
        return std::nullopt;
    }();
    if (why_not) {
        start_over_because_ = why_not;
        rebuild_up_to_ = why_not->empty() ? Seq{0} : log_.head();
        start_over();
    } else {
        publish();
    }
}

void Follower::start_over() {
    const bool again = !start_over_because_->empty();  // Else there was nothing, and there is nothing to clear.
    if (auto emptied = empty(again); !emptied) return fail(emptied.error());

    const auto generation = again || generation_ < range_.generation ? generation_ + 1 : generation_;
    const auto batch = space_->new_batch();
    batch->put(checkpoint_key, to_row(checkpoint(Seq{0}, {}, generation)));
    if (auto written = space_->write(*batch); !written) return fail(written.error());
    generation_ = generation;
    applied_ = Seq{0};
    quarantined_ = 0;
    sealed_ = false;
    pause_before_retry_ = milliseconds(0);
    if (again) {
        note_ += (note_.empty() ? "" : "; ") + ("built anew: " + *start_over_because_);
        tell("warning", "is built anew: " + *start_over_because_);
    }
    start_over_because_.reset();
    publish();
}

Status Follower::empty(bool rows) {
    if (rows)
        if (auto cleared = space_->clear(); !cleared) return cleared;
    if (opened_) return guarded([&] { return projector_.reset(); });
    // It must know its space before it is reset; files of a past that is gone may make that first open fail.
    const auto open = [&] { return guarded([&] { return projector_.open(*space_, Seq{0}); }); };
    const auto first = open();
    if (auto forgot = guarded([&] { return projector_.reset(); }); !forgot) return forgot;
    if (!first)
        if (auto second = open(); !second) return second;
    opened_ = true;
    return Done{};
}

void Follower::turn() {
    if (!start_over_because_ && space_->damaged()) {
        start_over_because_ = "stored rows failed their checks";
        rebuild_up_to_ = log_.head();
        applied_ = Seq{0};
        publish();
    }
    if (start_over_because_) return start_over();
    const auto end = this->end();
    if (end <= applied_) return;  // It went back.
    if (auto got = guarded([&] { return read(end); }); !got) return fail(got.error());
    if (page_.events.front().payload() == Payload::sealed) return wait_for_key(page_.events.front());
    if (fold(page_.events, options_.tries_max)) pause_before_retry_ = milliseconds(0);
}

// Up to a batch after the checkpoint, every seq there. While it is folded, the next one is read on another thread.
Status Follower::read(Seq end) {
    std::swap(page_, spare_);
    page_.events.clear();
    if (next_.valid()) page_ = next_.get();
    if (page_.events.empty() || page_.after != applied_)
        if (auto got = read_page(applied_, end, page_); !got) return got;
    auto seq = applied_.value;
    for (const auto& event : page_.events)
        if (event.seq() != Seq{++seq}) return Error{ErrorCode::data_loss, "the log has a gap", {}};
    if (page_.events.empty()) return Error{ErrorCode::data_loss, "the log ends before its head", {}};
    const auto sealed = std::ranges::find(page_.events, Payload::sealed, &EventView::payload);
    if (sealed != page_.events.end()) {  // What precedes it is folded first.
        page_.events.erase(std::max(sealed, page_.events.begin() + 1), page_.events.end());
        return Done{};
    }
    if (end.value >= seq + read_ahead_min)
        next_ = std::async(std::launch::async, [this, end, after = Seq{seq}, page = std::move(spare_)]() mutable {
            if (!read_page(after, end, page)) page.events.clear();  // The error comes again when they are needed.
            return std::move(page);
        });
    return Done{};
}

Status Follower::read_page(Seq after, Seq end, LogPage& page) const {
    const auto wanted = std::min<std::uint64_t>(options_.batch_events_max, end.value - after.value);
    const auto read = [&](LogPage& into) {
        into.after = after;
        into.events.clear();
        if (!into.arena || into.shared) into.arena = std::make_shared<EventArena>();
        into.shared = false;
        into.arena->clear();
        return guarded([&] { return log_.read(after, {wanted, options_.batch_bytes_max}, *into.arena, into.events); });
    };
    if (together_ == nullptr || wanted < read_ahead_min) return read(page);
    if (auto got = guarded([&] { return together_->get(after, page, read); }); !got) return got;
    while (!page.events.empty() && page.events.back().seq() > end) page.events.pop_back();  // Another may read further.
    return Done{};
}

void Follower::drop_pages() {
    if (next_.valid()) next_.wait();
    next_ = {};
    page_ = {};
    spare_ = {};
    together_.reset();
}

// Applies and commits the events, or, when they fail `tries` times, each half by itself. false: not now; fail() knows.
bool Follower::fold(std::span<const EventView> events, unsigned tries) {
    Error error;
    for (unsigned i = 0; i < std::max(tries, 1u); ++i) {
        if (!batch_) batch_ = space_->new_batch();
        const auto applied = guarded([&] { return projector_.apply(events, *batch_); });
        if (applied) return commit(*batch_, events.back(), quarantined_);
        batch_.reset();
        projector_.discard();
        error = applied.error();
        if (is_outage(error) || space_->damaged()) {
            fail(error);
            return false;
        }
    }
    if (events.size() == 1) return quarantine(events.front(), error);
    const auto half = events.size() / 2;
    const auto fold_part = [&](std::span<const EventView> part) {
        return !stopping_ && fold(part, part.size() == 1 ? options_.tries_max : 1);
    };
    return fold_part(events.first(half)) && fold_part(events.subspan(half));
}

bool Follower::quarantine(const EventView& event, const Error& error) {
    const auto batch = space_->new_batch();
    batch->put(quarantine_key(event.seq()), to_row(error));
    if (!commit(*batch, event, quarantined_ + 1)) return false;
    error_ = error.message;
    tell("error", "event " + std::to_string(event.seq().value) + " is quarantined: " + error.message);
    publish();
    return true;
}

// The checkpoint with the state it describes: both or neither.
bool Follower::commit(ViewBatch& batch, const EventView& last, std::uint64_t quarantined) {
    const std::string_view stored(as_text(last.stored()));
    batch.put(checkpoint_key, to_row(checkpoint(last.seq(), event_hash(last.seq(), stored), generation_)));
    if (const auto written = space_->write(batch); !written) {
        batch_.reset();
        projector_.discard();
        fail(written.error());
        return false;
    }
    projector_.committed();
    applied_ = last.seq();
    quarantined_ = quarantined;
    idle_told_ = settled_ = false;
    pause_before_retry_ = milliseconds(0);
    publish();
    return true;
}

// Later, then: the events stay in the log. The pause doubles with each failure in a row.
void Follower::fail(const Error& error) {
    if (next_.valid()) next_.wait();
    together_.reset();
    if (error_ != error.message || pause_before_retry_ == milliseconds(0)) tell("error", "failed: " + error.message);
    error_ = error.message;
    pause_before_retry_ = std::clamp(2 * pause_before_retry_, retry_pause_min, retry_pause_max);
    retry_at_ = steady_clock::now() + pause_before_retry_;
    publish();
}

void Follower::wait_for_key(const EventView& event) {
    sealed_ = true;
    error_ = "event " + std::to_string(event.seq().value) + " is sealed, and the store was opened without the root key";
    tell("warning", "waits: " + error_);
    drop_pages();
    publish();
}

void Follower::publish() {
    auto state = State::running;
    if (paused_)
        state = State::stopped;
    else if (sealed_)
        state = State::sealed;
    else if (pause_before_retry_ > milliseconds(0))
        state = State::failed;
    else if (applied_ < rebuild_up_to_)
        state = State::rebuilding;
    {
        const std::lock_guard lock(monitor_.mutex);
        published_ = {applied_, generation_, state, error_, note_, quarantined_};
    }
    monitor_.progress.notify_all();
}

void Follower::tell(std::string_view level, const std::string& what) const {
    if (options_.on_message) options_.on_message(level, "projection " + std::string(projector_.name()) + " " + what);
}

}  // namespace annal
