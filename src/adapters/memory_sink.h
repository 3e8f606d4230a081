// A sink in this process: for tests of what sinks are given, and the shortest example of one.
#pragma once

#include "sink.h"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace annal {

// What sinks of one far side share. Outlives them.
struct MemoryFarSide {
    struct Row {
        std::optional<SinkRecord> record{};  // One of the two.
        std::optional<DeadLetter> dead_letter{};
    };
    using Key = std::pair<std::string, MemoryId>;  // Project and id.

    std::mutex mutex{};
    std::uint64_t fence = 0;
    std::optional<SinkPosition> position{};
    std::map<Key, Row> rows{};
    std::vector<Engine::LogEntry> events{};
    // Asked before each call has its effect, and after: what it answers, the call fails with. "take_over", "apply",
    // "clear", "walk".
    std::function<std::optional<Error>(std::string_view call, bool done)> fault{};
};

struct MemorySinkOptions {
    SinkCapabilities capabilities{};
    std::size_t content_bytes_max = SIZE_MAX;  // Larger ones are refused.
};

std::unique_ptr<Sink> make_memory_sink(std::shared_ptr<MemoryFarSide> far, MemorySinkOptions options = {});

}  // namespace annal
