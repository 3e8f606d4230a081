// A clock that moves when the test says so.
#pragma once

#include <annal/timestamp.h>

#include <atomic>

namespace annal::testing {

class StoppedClock final : public Clock {
 public:
    explicit StoppedClock(Timestamp start = {1'790'000'000'000'000}) : us_(start.us) {}
    Timestamp now() override { return {us_.load()}; }
    void advance(std::int64_t us) { us_ += us; }

 private:
    std::atomic<std::int64_t> us_;
};

}  // namespace annal::testing
