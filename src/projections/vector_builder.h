// Links what partitions have published into their graphs, behind the projector's back: one thread, with a team to help
// it. Saves graphs now and then, so that a crash costs the links made since, never all of them. Threads: every method
// may be called from any thread.
#pragma once

#include "vector_partition.h"

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace annal {

class VectorBuilder {
 public:
    using OnMessage = std::function<void(std::string_view level, std::string_view message)>;

    VectorBuilder(std::size_t threads, OnMessage on_message);
    ~VectorBuilder();  // Leaves what is not linked yet to the next open.

    void offer(std::shared_ptr<VectorPartition> partition);  // It may have something to link.
    void settle();                                           // Until nothing that was offered has.

 private:
    void run();
    void link_all(VectorPartition& partition);

    OnMessage on_message_;
    WorkTeam team_;
    std::mutex mutex_;
    std::condition_variable offered_;
    std::condition_variable settled_;
    std::deque<std::shared_ptr<VectorPartition>> queue_;  // The front one is being worked on.
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace annal
