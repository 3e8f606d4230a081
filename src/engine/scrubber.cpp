#include "scrubber.h"

#include <sys/resource.h>

#include <algorithm>
#include <sstream>

namespace annal {
namespace {

using std::chrono::microseconds;

constexpr std::string_view space_name = "scrub", row_name = "pass";
constexpr int row_format = 1;
constexpr std::int64_t second_us = 1'000'000;
constexpr std::int64_t first_after_us = 10 * second_us;  // A store that is opened for one command is left alone.
constexpr std::int64_t passes_apart_us = 24 * 60 * 60 * second_us;
constexpr int priority = 19;  // The lowest.
constexpr std::uint64_t views_step = log_part_names.size();

}  // namespace

Scrubber::Scrubber(EventLog& log, ViewStore& views, std::unique_ptr<ViewSpace> space, ScrubOptions options)
    : log_(log),
      views_(views),
      space_(std::move(space)),
      options_(std::move(options)),
      clock_(options_.clock ? *options_.clock : system_clock()) {}

Result<std::unique_ptr<Scrubber>> Scrubber::open(EventLog& log, ViewStore& views, ScrubOptions options) {
    auto space = views.space(space_name);
    if (!space) return space.error();
    std::unique_ptr<Scrubber> scrubber(new Scrubber(log, views, std::move(*space), std::move(options)));
    if (auto loaded = scrubber->load(); !loaded) return loaded.error();
    return scrubber;
}

Scrubber::~Scrubber() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    stop_asked_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Scrubber::start() {
    if (options_.bytes_per_second > 0) thread_ = std::thread([this] { run(); });
}

ScrubStatus Scrubber::status() const {
    const std::lock_guard lock(mutex_);
    ScrubStatus status{options_.bytes_per_second, {}, place_.errors + place_.errors_before, error_};
    if (place_.ended.us != 0) status.last_pass = place_.ended;
    return status;
}

// A row that cannot be read costs no more than what it says: a pass from the start.
Status Scrubber::load() {
    const auto row = space_->get(row_name);
    if (!row) return row.error().code == ErrorCode::data_loss ? Status(Done{}) : row.error();
    if (!*row) return Done{};
    std::istringstream in(**row);
    int format = 0;
    Place place;
    in >> format >> place.step >> place.at >> place.errors >> place.errors_before >> place.ended.us >> place.begun.us;
    if (in && format == row_format && place.step <= views_step) place_ = place;
    return Done{};
}

void Scrubber::save() {
    std::ostringstream row;
    row << row_format << ' ' << place_.step << ' ' << place_.at << ' ' << place_.errors << ' ' << place_.errors_before
        << ' ' << place_.ended.us << ' ' << place_.begun.us;
    const auto batch = space_->new_batch();
    batch->put(row_name, row.str());
    if (const auto written = space_->write(*batch); !written && options_.on_message)
        options_.on_message("warning", "the place of the background check was not saved: " + written.error().message);
}

void Scrubber::run() {
    setpriority(PRIO_PROCESS, 0,
                priority);  // Linux: of this thread alone. If it is refused, the rate is bounded still.
    for (auto next = Timestamp{clock_.now().us + first_after_us};;) {
        if (place_.step == 0 && place_.at == 0) next.us = std::max(next.us, place_.begun.us + passes_apart_us);
        if (!wait_until(next)) return;
        due_ = clock_.now();
        if (!pass([this](std::uint64_t bytes) { return pace(bytes); })) return;
    }
}

bool Scrubber::wait_until(Timestamp due) {
    std::unique_lock lock(mutex_);
    for (;;) {
        const microseconds left{due.us - clock_.now().us};
        if (stopping_ || left <= microseconds(0)) return !stopping_;
        stop_asked_.wait_for(lock, std::min(left, options_.clock_asked_every));
    }
}

// Time that was not used is not made up for.
bool Scrubber::pace(std::uint64_t bytes) {
    due_ = std::max(due_, clock_.now());
    due_.us +=
        static_cast<std::int64_t>(static_cast<double>(bytes) / static_cast<double>(options_.bytes_per_second) * 1e6);
    return wait_until(due_);
}

bool Scrubber::pass(const std::function<bool(std::uint64_t bytes)>& pace) {
    if (place_.step == 0 && place_.at == 0) place_.begun = clock_.now();
    while (place_.step <= views_step) {
        if (!step(pace)) return false;
        const std::lock_guard lock(mutex_);
        ++place_.step;
        place_.at = 0;
    }
    {
        const std::lock_guard lock(mutex_);
        place_ = {0, 0, 0, place_.errors, clock_.now(), place_.begun};
    }
    save();
    return true;
}

// What is left of the step; false: it was ended early.
bool Scrubber::step(const std::function<bool(std::uint64_t bytes)>& pace) {
    bool ended = false;
    std::uint64_t told = 0;
    const auto progress = [&](const Checked& checked) {
        {
            const std::lock_guard lock(mutex_);
            place_.at = checked.at;
        }
        save();
        ended = !pace(checked.bytes - told);
        told = checked.bytes;
        return !ended;
    };
    const bool views = place_.step == views_step;
    const auto checked = views ? views_.check_files(place_.at, progress)
                               : log_.check(static_cast<LogPart>(place_.step), place_.at, log_.head(), progress);
    if (checked) return !ended;
    if (checked.error().code == ErrorCode::unavailable && !log_.archived(true).missing.empty()) {
        if (options_.on_message)  // Somebody took it away: no damage.
            options_.on_message("warning", "the background check left something out: " + checked.error().message);
    } else {
        found(views ? "views.files" : "log." + std::string(log_part_names[place_.step]), checked.error());
    }
    return !ended;
}

void Scrubber::found(std::string_view what, const Error& error) {
    const auto text = std::string(what) + ": " + error.message;
    {
        const std::lock_guard lock(mutex_);
        ++place_.errors;
        error_ = text;
    }
    if (options_.on_message) options_.on_message("error", "the background check found damage: " + text);
}

}  // namespace annal
