#include "runtime.h"

#include "follower.h"

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

class Runtime : public ProjectionRuntime {
 public:
    Runtime(EventLog& log, RuntimeOptions options)
        : log_(log), options_(std::move(options)), clock_(options_.clock ? *options_.clock : system_clock()) {}

    ~Runtime() override {
        stopping_ = true;
        for (auto& follower : followers_) follower->ask_to_stop();  // All of them first: they save side by side.
        for (auto& follower : followers_) follower->stop();
        if (watcher_.joinable()) watcher_.join();
    }

    Status start(ViewStore& views, std::span<Projector* const> projectors) {
        const auto note =
            views.recovered().empty() ? std::string() : "the view store was made anew: " + views.recovered();
        std::set<std::string_view> names;
        for (auto* projector : projectors) {
            if (!names.insert(projector->name()).second)
                return Error{ErrorCode::invalid_argument, "two projections of one name", {}};
            auto space = views.space(projector->name());
            if (!space) return space.error();
            followers_.push_back(
                std::make_unique<Follower>(log_, *projector, std::move(*space), options_, monitor_, note));
        }
        for (auto& follower : followers_) follower->start();
        {
            std::unique_lock lock(monitor_.mutex);
            monitor_.progress.wait(lock, [&] {
                return std::ranges::none_of(followers_, [](const auto& follower) {
                    return follower->published().state == Follower::State::opening;
                });
            });
        }
        watcher_ = std::thread([this] { watch(); });
        return Done{};
    }

    Result<Seq> wait_for(std::string_view projector, Seq seq, milliseconds wait_max) override {
        const auto until = steady_clock::now() + wait_max;
        std::unique_lock lock(monitor_.mutex);
        if (!projector.empty() && find(projector) == nullptr) return no_such(projector);
        for (;;) {
            const Follower* behind = nullptr;
            Seq least{std::numeric_limits<std::uint64_t>::max()};
            bool hopeless = false;
            for (const auto& follower : followers_) {
                if (!projector.empty() && follower->projector().name() != projector) continue;
                const auto& published = follower->published();
                least = std::min(least, published.applied);
                if (published.applied >= seq) continue;
                follower->wake();  // It need not wait for the watcher's turn.
                const bool stuck = published.state == Follower::State::stopped ||
                                   published.state == Follower::State::failed ||
                                   published.state == Follower::State::sealed;
                if (behind == nullptr || (stuck && !hopeless)) behind = follower.get();
                hopeless = hopeless || stuck;
            }
            if (behind == nullptr) return followers_.empty() ? log_.head() : least;
            if (hopeless || steady_clock::now() >= until) return late(*behind, seq);
            monitor_.progress.wait_until(lock, until);
        }
    }

    Seq applied(std::string_view projector) const override {
        const std::lock_guard lock(monitor_.mutex);
        const auto* follower = find(projector);
        return follower == nullptr ? Seq{0} : follower->published().applied;
    }

    std::vector<ProjectionStatus> status() const override {
        std::vector<ProjectionStatus> all;
        for (const auto& follower : followers_) {
            const auto published = [&] {
                const std::lock_guard lock(monitor_.mutex);
                return follower->published();
            }();
            const auto head = log_.head();
            ProjectionStatus& status = all.emplace_back();
            status.name = follower->projector().name();
            status.version = follower->projector().version();
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
        return on_thread_of<std::string>(projector, [](Follower& follower) { return follower.digest(); });
    }

    Status pause(std::string_view projector) override {
        return on_thread_of<Done>(projector, [](Follower& follower) {
            follower.pause();
            return Done{};
        });
    }

    Status resume(std::string_view projector) override {
        return on_thread_of<Done>(projector, [](Follower& follower) {
            follower.resume();
            return Done{};
        });
    }

    Status rebuild(std::string_view projector, const std::function<void(Seq, Seq)>& progress) override {
        const auto head = log_.head();
        const auto generation =
            on_thread_of<std::uint64_t>(projector, [](Follower& follower) { return follower.ask_for_rebuild(); });
        if (!generation) return generation.error();
        const auto& follower = *find(projector);
        Seq told{0};
        std::unique_lock lock(monitor_.mutex);
        for (;;) {
            const auto published = follower.published();
            if (published.state == Follower::State::failed)
                return Error{ErrorCode::unavailable, "the rebuild failed, and is tried again: " + published.error, {}};
            if (published.state == Follower::State::sealed)
                return Error{ErrorCode::unavailable, "the rebuild goes no further: " + published.error, {}};
            if (published.state == Follower::State::stopped)
                return Error{ErrorCode::unavailable, "the projection was paused during its rebuild", {}};
            const bool begun = published.generation >= *generation;
            if (begun && published.applied != told && progress) {
                told = published.applied;
                lock.unlock();
                progress(told, head);
                lock.lock();
                continue;  // It may have moved meanwhile.
            }
            if (begun && published.applied >= head) return Done{};
            monitor_.progress.wait(lock);
        }
    }

    Result<std::vector<Quarantined>> quarantined(std::string_view projector) const override {
        const auto* follower = find(projector);
        if (follower == nullptr) return no_such(projector);
        std::vector<Quarantined> all;
        const auto rows = follower->space().iterate();
        for (rows->seek(quarantine_prefix); rows->valid() && rows->key().starts_with(quarantine_prefix); rows->next()) {
            auto row = to_quarantined(rows->key(), rows->value());
            if (!row) return row.error();
            all.push_back(std::move(*row));
        }
        if (const auto walked = rows->status(); !walked) return walked.error();
        return all;
    }

 private:
    // The followers do not change after start().
    Follower* find(std::string_view projector) const {
        const auto found = std::ranges::find_if(
            followers_, [&](const auto& follower) { return follower->projector().name() == projector; });
        return found == followers_.end() ? nullptr : found->get();
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

    template <class T, class Call>
    Result<T> on_thread_of(std::string_view projector, Call call) {
        auto* follower = find(projector);
        if (follower == nullptr) return no_such(projector);
        std::promise<Result<T>> answer;
        follower->post([&] { answer.set_value(call(*follower)); });
        return answer.get_future().get();
    }

    // Wakes the followers when the log grows, or when a reader met damage.
    void watch() {
        Seq seen{0};  // What was there before this thread may be news to a follower.
        while (!stopping_) {
            const auto head = log_.wait_past(seen, watch_interval);
            for (auto& follower : followers_) {
                if (head <= seen && !follower->space().damaged()) continue;
                const std::lock_guard lock(monitor_.mutex);  // It is waiting, or will look again before it does.
                follower->wake();
            }
            seen = std::max(seen, head);
        }
    }

    EventLog& log_;
    const RuntimeOptions options_;
    Clock& clock_;
    mutable FollowerMonitor monitor_;
    std::vector<std::unique_ptr<Follower>> followers_;
    std::atomic<bool> stopping_{false};
    std::thread watcher_;
};

}  // namespace

Result<std::unique_ptr<ProjectionRuntime>> ProjectionRuntime::start(EventLog& log, ViewStore& views,
                                                                    std::vector<Projector*> projectors,
                                                                    RuntimeOptions options) {
    auto runtime = std::make_unique<Runtime>(log, std::move(options));
    if (auto started = runtime->start(views, projectors); !started) return started.error();
    return std::unique_ptr<ProjectionRuntime>(std::move(runtime));
}

}  // namespace annal
