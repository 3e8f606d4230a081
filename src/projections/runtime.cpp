#include "runtime.h"

#include "follower.h"
#include "view_check.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <limits>
#include <set>
#include <utility>

namespace annal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long the watcher waits on the log at a time: also what a stop may take, since nothing else ends such a wait.
constexpr milliseconds watch_interval{20};

std::string_view to_string(Follower::State state) {
    switch (state) {
        case Follower::State::running:
            return "running";
        case Follower::State::opening:
        case Follower::State::rebuilding:
            return "rebuilding";
        case Follower::State::stopped:
            return "stopped";
        case Follower::State::failed:
            return "failed";
        case Follower::State::sealed:
            return "sealed";
    }
    return "failed";
}

Error no_such(std::string_view projector) {
    return {ErrorCode::not_found, "there is no projection of that name", {{"projection", std::string(projector)}}};
}

// One instance of a projector and what feeds it. Its rows and files go, if they are to, when the last reader has let
// go.
struct Generation {
    std::string space_name;
    std::shared_ptr<Projector> projector;
    std::unique_ptr<Follower> follower;
    std::function<Status()> at_end;  // Removes it; says what is left.
    std::promise<Status> ending;
    std::shared_future<Status> gone = ending.get_future().share();  // Set when it is.

    Generation() = default;
    Generation(const Generation&) = delete;
    Generation& operator=(const Generation&) = delete;
    ~Generation() {
        follower.reset();
        projector.reset();
        ending.set_value(at_end ? at_end() : Status(Done{}));
    }
};

// A projection, whatever its generation.
struct Entry {
    Projection projection;
    // Under the monitor's mutex:
    std::shared_ptr<Generation> current;
    std::shared_ptr<Generation> building;  // Null but during a rebuild.

    std::mutex rebuild_mutex;       // Held by the one rebuild or check.
    std::mutex switch_mutex;        // Held while `current` is put aside, and while something runs on its thread.
    std::uint64_t number_last = 0;  // Of a generation that was begun. Under rebuild_mutex.
};

std::string space_name_of(std::string_view projection, std::uint64_t number) {
    return std::string(projection) + (number == 0 ? "" : "-g" + std::to_string(number));
}

std::string check_space_name_of(std::string_view projection) {
    return std::string(projection) + "-check";
}

// A space or folder that some generation or check of the projection made.
bool belongs_to(std::string_view projection, std::string_view name) {
    if (name == projection || name == check_space_name_of(projection)) return true;
    if (!name.starts_with(std::string(projection) + "-g")) return false;
    name.remove_prefix(projection.size() + 2);
    return !name.empty() && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

class Runtime : public ProjectionRuntime {
 public:
    Runtime(EventLog& log, ViewStore& views, RuntimeOptions options)
        : log_(log),
          views_(views),
          options_(std::move(options)),
          clock_(options_.clock ? *options_.clock : system_clock()) {}

    ~Runtime() override {
        stopping_ = true;
        for (auto& entry : entries_) entry->current->follower->ask_to_stop();  // All first: they save side by side.
        for (auto& entry : entries_) entry->current->follower->stop();
        if (watcher_.joinable()) watcher_.join();
    }

    Status start(std::vector<Projection> projections) {
        const auto note =
            views_.recovered().empty() ? std::string() : "the view store was made anew: " + views_.recovered();
        auto pointers = views_.space(generations_space);
        if (!pointers) return pointers.error();
        pointers_ = std::move(*pointers);
        const auto together = std::make_shared<LogPages>();
        std::set<std::string_view> names;
        for (auto& projection : projections) {
            auto entry = std::make_unique<Entry>();
            entry->projection = std::move(projection);
            if (!names.insert(entry->projection.name).second)
                return Error{ErrorCode::invalid_argument, "two projections of one name", {}};
            const auto number = generation_that_answers(entry->projection.name);
            if (!number) return number.error();
            entry->number_last = *number;
            remove_others(entry->projection.name, space_name_of(entry->projection.name, *number));
            auto made = make(*entry, space_name_of(entry->projection.name, *number), note,
                             {.generation = std::max<std::uint64_t>(*number, 1)}, together);
            if (!made) return made.error();
            entry->current = std::move(*made);
            entries_.push_back(std::move(entry));
        }
        for (auto& entry : entries_) entry->current->follower->start();
        {
            std::unique_lock lock(monitor_.mutex);
            monitor_.progress.wait(lock, [&] {
                return std::ranges::none_of(entries_, [](const auto& entry) {
                    return entry->current->follower->published().state == Follower::State::opening;
                });
            });
        }
        watcher_ = std::thread([this] { watch(); });
        return Done{};
    }

    std::shared_ptr<const Projector> view(std::string_view projector) const override {
        const auto* entry = find(projector);
        if (entry == nullptr) return nullptr;
        auto generation = current(*entry);
        const auto* instance = generation->projector.get();
        return {std::move(generation), instance};
    }

    Result<Seq> wait_for(std::string_view projector, Seq seq, milliseconds wait_max) override {
        const auto until = steady_clock::now() + wait_max;
        if (!projector.empty() && find(projector) == nullptr) return no_such(projector);
        std::unique_lock lock(monitor_.mutex);
        for (;;) {
            const Follower* behind = nullptr;
            Seq least{std::numeric_limits<std::uint64_t>::max()};
            bool hopeless = false;
            for (const auto& entry : entries_) {
                if (!projector.empty() && entry->projection.name != projector) continue;
                auto* follower = entry->current->follower.get();
                const auto& published = follower->published();
                least = std::min(least, published.applied);
                if (published.applied >= seq) continue;
                follower->wake();  // It need not wait for the watcher's turn.
                const bool stuck = published.state == Follower::State::stopped ||
                                   published.state == Follower::State::failed ||
                                   published.state == Follower::State::sealed;
                if (behind == nullptr || (stuck && !hopeless)) behind = follower;
                hopeless = hopeless || stuck;
            }
            if (behind == nullptr) return entries_.empty() ? log_.head() : least;
            if (hopeless || steady_clock::now() >= until) return late(*behind, seq);
            monitor_.progress.wait_until(lock, until);
        }
    }

    Seq applied(std::string_view projector) const override {
        const auto* entry = find(projector);
        if (entry == nullptr) return Seq{0};
        const std::lock_guard lock(monitor_.mutex);
        return entry->current->follower->published().applied;
    }

    void wake(std::string_view projector) override {
        const auto* entry = find(projector);
        if (entry == nullptr) return;
        const std::lock_guard lock(monitor_.mutex);
        for (const auto& generation : {entry->current, entry->building})
            if (generation != nullptr) generation->follower->wake();
    }

    std::vector<ProjectionStatus> status() const override {
        std::vector<ProjectionStatus> all;
        for (const auto& entry : entries_) {
            ProjectionStatus& status = all.emplace_back();
            Follower::Published published;
            {
                const std::lock_guard lock(monitor_.mutex);
                published = entry->current->follower->published();
                status.version = entry->current->projector->version();
                if (entry->building != nullptr) {
                    status.building_generation = entry->building->follower->published().generation;
                    status.building_seq = entry->building->follower->published().applied;
                }
            }
            const auto head = log_.head();
            status.name = entry->projection.name;
            status.generation = published.generation;
            status.applied_seq = published.applied;
            status.lag_events = head.value - std::min(head, published.applied).value;
            status.lag_seconds = status.lag_events == 0 ? 0 : age_of_next(published.applied);
            status.state = to_string(published.state);
            status.error = published.error;
            status.quarantined = published.quarantined;
            status.note = published.note;
        }
        return all;
    }

    Result<std::string> digest(std::string_view projector) override {
        return on_current<std::string>(projector, [](Follower& follower) { return follower.digest(); });
    }

    Status pause(std::string_view projector) override {
        return on_current<Done>(projector, [](Follower& follower) {
            follower.pause();
            return Done{};
        });
    }

    Status resume(std::string_view projector) override {
        return on_current<Done>(projector, [](Follower& follower) {
            follower.resume();
            return Done{};
        });
    }

    Status rebuild(std::string_view projector, const Progress& progress) override {
        auto* entry = find(projector);
        if (entry == nullptr) return no_such(projector);
        const std::lock_guard alone(entry->rebuild_mutex);
        return rebuild(*entry, progress);
    }

    Status purge(const std::function<void(std::string_view, Seq, Seq)>& progress) override {
        for (auto& entry : entries_) {
            const std::lock_guard alone(entry->rebuild_mutex);
            const auto gone = current(*entry)->gone;
            const auto& name = entry->projection.name;
            const auto rebuilt = rebuild(*entry, [&](Seq applied, Seq head) {
                if (progress) progress(name, applied, head);
            });
            if (!rebuilt) return rebuilt;
            if (auto removed = gone.get(); !removed) return removed;
        }
        return views_.purge();
    }
    Result<ViewCheck> check(std::string_view projector, const Progress& progress) override {
        auto* entry = find(projector);
        if (entry == nullptr) return no_such(projector);
        const std::lock_guard alone(entry->rebuild_mutex);

        struct Frozen {
            Seq applied;
            std::shared_ptr<const Generation> generation;  // Keeps what the others read.
            std::shared_ptr<const ViewSnapshot> rows;
            std::shared_ptr<RowWalk> files;
        };
        const auto frozen = on_current<Frozen>(projector, [&](Follower& follower) -> Result<Frozen> {
            if (!follower.opened()) return Error{ErrorCode::unavailable, "the projection could not be opened", {}};
            return Frozen{follower.applied(), current(*entry), follower.space().snapshot(),
                          follower.projector().files()};
        });
        if (!frozen) return frozen.error();

        const auto space_name = check_space_name_of(entry->projection.name);
        static_cast<void>(remove(space_name));  // Of a check that was cut short.
        const auto fresh = make(*entry, space_name, {}, {.up_to = frozen->applied});
        if (!fresh) return fresh.error();
        remove_at_end(**fresh);
        if ((*fresh)->projector->input_up_to() < frozen->applied)
            return Error{ErrorCode::unavailable, "what the projection was made of is not all there at present", {}};
        auto& follower = *(*fresh)->follower;
        follower.start();
        const auto folded = catch_up(follower, frozen->applied, progress);
        follower.abandon();
        if (!folded) return folded.error();

        ViewCheck check{frozen->applied, 0, {}};
        const auto compare = [&](RowWalk& expected, RowWalk& found) -> Status {
            auto difference = first_difference(expected, found, check.rows);
            if (!difference) return difference.error();
            check.difference = difference->value_or("");
            return Done{};
        };
        const auto expected = follower.space().iterate(), found = frozen->rows->iterate();
        expected->seek({});
        found->seek({});
        if (auto compared = compare(*expected, *found); !compared) return compared.error();
        const auto expected_files = follower.projector().files();
        if (check.difference.empty() && expected_files != nullptr && frozen->files != nullptr)
            if (auto compared = compare(*expected_files, *frozen->files); !compared) return compared.error();
        return check;
    }

    Result<std::vector<Quarantined>> quarantined(std::string_view projector) const override {
        const auto* entry = find(projector);
        if (entry == nullptr) return no_such(projector);
        const auto generation = current(*entry);
        std::vector<Quarantined> all;
        const auto rows = generation->follower->space().iterate();
        for (rows->seek(quarantine_prefix); rows->valid() && rows->key().starts_with(quarantine_prefix); rows->next()) {
            auto row = to_quarantined(rows->key(), rows->value());
            if (!row) return row.error();
            all.push_back(std::move(*row));
        }
        if (const auto walked = rows->status(); !walked) return walked.error();
        return all;
    }

 private:
    // They do not change after start().
    Entry* find(std::string_view projector) const {
        const auto found =
            std::ranges::find_if(entries_, [&](const auto& entry) { return entry->projection.name == projector; });
        return found == entries_.end() ? nullptr : found->get();
    }

    std::shared_ptr<Generation> current(const Entry& entry) const {
        const std::lock_guard lock(monitor_.mutex);
        return entry.current;
    }

    // `entry.rebuild_mutex` is held.
    Status rebuild(Entry& entry, const Progress& progress) {
        const auto generation = [&] {
            const std::lock_guard lock(monitor_.mutex);
            return entry.current->follower->published().generation;
        }();
        const auto number = entry.number_last = std::max(entry.number_last, generation) + 1;
        auto made = make(entry, space_name_of(entry.projection.name, number), {}, {.generation = number});
        if (!made) return made.error();
        auto next = std::move(*made);
        {
            const std::lock_guard lock(monitor_.mutex);
            entry.building = next;
        }
        next->follower->start();
        auto done = catch_up(*next->follower, std::min(log_.head(), next->projector->input_up_to()), progress);
        bool keep = false;
        if (done) done = take_over(entry, number, next, keep);
        if (done) return done;
        {
            const std::lock_guard lock(monitor_.mutex);
            entry.building = nullptr;
        }
        next->follower->abandon();
        if (!keep) remove_at_end(*next);
        return done;
    }

    static Error late(const Follower& follower, Seq seq) {
        const auto& published = follower.published();
        const bool sealed = published.state == Follower::State::sealed;
        return {sealed ? ErrorCode::unavailable : ErrorCode::deadline_exceeded,
                "a projection has not reached the event asked for" + (sealed ? ": " + published.error : std::string()),
                {{"projection", std::string(follower.projector().name())},
                 {"applied_seq", std::to_string(published.applied.value)},
                 {"min_seq", std::to_string(seq.value)},
                 {"state", std::string(to_string(published.state))}}};
    }

    double age_of_next(Seq applied) const {
        EventArena arena;
        std::vector<EventView> next;
        if (!log_.read(applied, {.events_max = 1, .bytes_max = 1}, arena, next) || next.empty()) return 0;
        const auto age_us = clock_.now().us - next.front().recorded_at().us;
        return static_cast<double>(std::max<std::int64_t>(age_us, 0)) / 1e6;
    }

    Result<std::uint64_t> generation_that_answers(std::string_view projection) const {
        const auto row = pointers_->get(projection);
        if (row && !*row) return std::uint64_t{0};
        auto number = row ? to_generation(**row) : row.error();
        if (number || number.error().code != ErrorCode::data_loss) return number;
        tell("error", "projection " + std::string(projection) + ": " + number.error().message + "; it is built anew");
        return std::uint64_t{0};
    }

    Result<std::shared_ptr<Generation>> make(const Entry& entry, const std::string& space_name, const std::string& note,
                                             FollowerRange range, std::shared_ptr<LogPages> together = nullptr) {
        auto space = views_.space(space_name);
        if (!space) return space.error();
        auto generation = std::make_shared<Generation>();
        generation->space_name = space_name;
        generation->projector = entry.projection.make(views_.directory() / space_name);
        generation->follower = std::make_unique<Follower>(log_, *generation->projector, std::move(*space), options_,
                                                          monitor_, note, range, std::move(together));
        return generation;
    }

    void remove_at_end(Generation& generation) const {
        generation.at_end = [this, name = generation.space_name] { return remove(name); };
    }

    // What is left stays until the next start.
    Status remove(const std::string& space_name) const {
        auto removed = views_.drop(space_name);
        if (!removed) tell("warning", "a view that is not needed any more was not removed: " + removed.error().message);
        std::error_code failed;
        std::filesystem::remove_all(views_.directory() / space_name, failed);
        if (!failed) return removed;
        tell("warning", "files that are not needed any more were not removed: " + failed.message());
        return Error{ErrorCode::unavailable, "files of a former view were not removed: " + failed.message(), {}};
    }

    // What crashes left of other generations, and of checks.
    void remove_others(std::string_view projection, std::string_view kept) const {
        std::set<std::string> names;
        for (auto& name : views_.spaces()) names.insert(std::move(name));
        std::error_code failed;
        for (std::filesystem::directory_iterator at(views_.directory(), failed), end; !failed && at != end;
             at.increment(failed))
            names.insert(at->path().filename().string());
        for (const auto& name : names)
            if (name != kept && belongs_to(projection, name)) static_cast<void>(remove(name));
    }

    // Until it has applied `seq`. unavailable: it failed.
    Status catch_up(const Follower& follower, Seq seq, const Progress& progress) {
        Seq told{0};
        std::unique_lock lock(monitor_.mutex);
        for (;;) {
            const auto& published = follower.published();
            if (published.state == Follower::State::failed)
                return Error{ErrorCode::unavailable, "the replay failed: " + published.error, {}};
            if (published.state == Follower::State::sealed)
                return Error{ErrorCode::unavailable, "the replay goes no further: " + published.error, {}};
            if (published.applied != told && progress) {
                told = published.applied;
                lock.unlock();
                progress(std::min(told, seq), seq);
                lock.lock();
                continue;  // It may have moved meanwhile.
            }
            if (published.state != Follower::State::opening && published.applied >= seq) return Done{};
            monitor_.progress.wait(lock);
        }
    }

    // The generation that answers waits between two batches until `next` has what it has and is named in its place; it
    // follows again if that fails. `keep`: nobody knows whether the row that names `next` was written.
    Status take_over(Entry& entry, std::uint64_t number, const std::shared_ptr<Generation>& next, bool& keep) {
        next->projector->settle();
        const std::lock_guard switching(entry.switch_mutex);
        const auto old = current(entry);
        const auto held = on_thread_of<Seq>(*old->follower, [](Follower& follower) { return follower.hold(); });
        // What it is fed may have gone back since: then it is put in place as far as it comes.
        auto done = catch_up(*next->follower, std::min(*held, next->projector->input_up_to()), {});
        if (done) done = on_thread_of<Done>(*next->follower, [](Follower& follower) { return follower.save(); });
        if (done) {
            keep = true;
            done = name_in_place(entry.projection.name, number);
        }
        if (!done) {
            static_cast<void>(on_thread_of<Done>(*old->follower, [](Follower& follower) {
                follower.release();
                return Done{};
            }));
            return done;
        }
        {
            const std::lock_guard lock(monitor_.mutex);
            entry.current = next;
            entry.building = nullptr;
        }
        monitor_.progress.notify_all();
        old->follower->abandon();
        remove_at_end(*old);
        return Done{};
    }

    // On disk when it returns: before that nothing of the generation before may go.
    Status name_in_place(std::string_view projection, std::uint64_t number) {
        const std::lock_guard lock(pointers_mutex_);
        const auto batch = pointers_->new_batch();
        batch->put(projection, to_row(number));
        if (auto written = pointers_->write(*batch); !written) return written;
        return views_.sync();
    }

    void tell(std::string_view level, const std::string& what) const {
        if (options_.on_message) options_.on_message(level, what);
    }

    template <class T, class Call>
    static Result<T> on_thread_of(Follower& follower, const Call& call) {
        std::promise<Result<T>> answer;
        follower.post([&] { answer.set_value(call(follower)); });
        return answer.get_future().get();
    }

    template <class T, class Call>
    Result<T> on_current(std::string_view projector, const Call& call) {
        auto* entry = find(projector);
        if (entry == nullptr) return no_such(projector);
        const std::lock_guard lock(entry->switch_mutex);
        return on_thread_of<T>(*current(*entry)->follower, call);
    }

    // Wakes the followers when the log grows, or when a reader met damage.
    void watch() {
        Seq seen{0};  // What was there before this thread may be news to a follower.
        while (!stopping_) {
            const auto head = log_.wait_past(seen, watch_interval);
            const std::lock_guard lock(monitor_.mutex);  // A follower is waiting, or will look again before it does.
            for (const auto& entry : entries_)
                for (const auto& generation : {entry->current, entry->building})
                    if (generation != nullptr && (head > seen || generation->follower->space().damaged()))
                        generation->follower->wake();
            seen = std::max(seen, head);
        }
    }

    EventLog& log_;
    ViewStore& views_;
    const RuntimeOptions options_;
    Clock& clock_;
    mutable FollowerMonitor monitor_;
    std::mutex pointers_mutex_;  // One writer.
    std::unique_ptr<ViewSpace> pointers_;
    std::vector<std::unique_ptr<Entry>> entries_;
    std::atomic<bool> stopping_{false};
    std::thread watcher_;
};

}  // namespace

Result<std::unique_ptr<ProjectionRuntime>> ProjectionRuntime::start(EventLog& log, ViewStore& views,
                                                                    std::vector<Projection> projections,
                                                                    RuntimeOptions options) {
    auto runtime = std::make_unique<Runtime>(log, views, std::move(options));
    if (auto started = runtime->start(std::move(projections)); !started) return started.error();
    return std::unique_ptr<ProjectionRuntime>(std::move(runtime));
}

}  // namespace annal
