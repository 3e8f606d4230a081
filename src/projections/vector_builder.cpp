#include "vector_builder.h"

#include <algorithm>

namespace annal {
namespace {

// Saving costs a file of about 90 bytes a slot and a sync: when a quarter is new, and never for a few.
Slot worth_saving(const VectorPartition& partition) {
    return std::max<Slot>(4096, partition.saved() / 4);
}

}  // namespace

VectorBuilder::VectorBuilder(std::size_t threads, OnMessage on_message)
    : on_message_(std::move(on_message)), team_(threads), thread_([this] { run(); }) {}

VectorBuilder::~VectorBuilder() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    offered_.notify_all();
    thread_.join();
}

void VectorBuilder::offer(std::shared_ptr<VectorPartition> partition) {
    {
        const std::lock_guard lock(mutex_);
        queue_.push_back(std::move(partition));
    }
    offered_.notify_one();
}

void VectorBuilder::settle() {
    std::unique_lock lock(mutex_);
    settled_.wait(lock, [&] { return queue_.empty() || stop_; });
}

void VectorBuilder::run() {
    std::unique_lock lock(mutex_);
    while (true) {
        offered_.wait(lock, [&] { return stop_ || !queue_.empty(); });
        if (stop_) break;
        const auto partition = queue_.front();
        lock.unlock();
        link_all(*partition);
        lock.lock();
        queue_.pop_front();
        if (queue_.empty()) settled_.notify_all();
    }
    settled_.notify_all();
}

void VectorBuilder::link_all(VectorPartition& partition) {
    while (!stop_ && partition.link(team_)) {
        if (partition.linked_unsaved() < worth_saving(partition)) continue;
        if (auto saved = partition.save_graph(1); !saved && on_message_) on_message_("warning", saved.error().message);
    }
}

}  // namespace annal
