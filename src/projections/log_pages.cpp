#include "log_pages.h"

#include <algorithm>

namespace annal {
namespace {

constexpr std::size_t pages_kept_max = 4;

}  // namespace

Status LogPages::get(Seq after, LogPage& page, const std::function<Status(LogPage&)>& read) {
    std::promise<Result<LogPage>> promise;
    std::shared_future<Result<LogPage>> ready;
    bool is_mine = false;
    {
        const std::lock_guard lock(mutex_);
        const auto found = std::ranges::find(kept_, after, &Kept::after);
        is_mine = found == kept_.end();
        ready = is_mine ? promise.get_future().share() : found->page;
        if (is_mine) kept_.push_back({after, ready});
        if (kept_.size() > pages_kept_max) kept_.pop_front();
    }
    if (is_mine) {
        LogPage fresh;
        if (auto got = read(fresh); got) {
            fresh.shared = true;
            promise.set_value(std::move(fresh));
        } else {
            promise.set_value(got.error());
            const std::lock_guard lock(mutex_);
            std::erase_if(kept_, [&](const Kept& kept) { return kept.after == after; });
        }
    }
    const auto& all = ready.get();
    if (!all) return all.error();
    page = *all;
    return Done{};
}

}  // namespace annal
