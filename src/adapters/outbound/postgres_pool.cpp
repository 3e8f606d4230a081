#include "postgres_pool.h"

#include <utility>

namespace annal {

PostgresPool::Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), connection_(std::move(other.connection_)), fresh_(other.fresh_) {}

PostgresPool::Lease::~Lease() {
    if (pool_ == nullptr) return;
    connection_->roll_back();
    if (!connection_->alive()) connection_.reset();
    pool_->give_back(std::move(connection_));
}

Result<PostgresPool::Lease> PostgresPool::lease(std::chrono::milliseconds wait_max) {
    {
        std::unique_lock hold(mutex_);
        if (!returned_.wait_for(hold, wait_max, [&] { return leased_ < connections_max_; }))
            return Error{ErrorCode::resource_exhausted,
                         "PostgreSQL: all " + std::to_string(connections_max_) + " connections are in use",
                         {{"limit", std::to_string(connections_max_)}}};
        ++leased_;
        if (!idle_.empty()) {
            auto connection = std::move(idle_.back());
            idle_.pop_back();
            connection->start_call();
            return Lease(*this, std::move(connection), false);
        }
    }
    auto opened = PostgresConnection::open(options_);
    if (opened) return Lease(*this, std::move(*opened), true);
    give_back(nullptr);
    return opened.error();
}

void PostgresPool::close_idle() {
    std::vector<std::unique_ptr<PostgresConnection>> closed;  // Without the lock.
    const std::lock_guard hold(mutex_);
    closed.swap(idle_);
}

void PostgresPool::give_back(std::unique_ptr<PostgresConnection> connection) {
    {
        const std::lock_guard hold(mutex_);
        --leased_;
        if (connection) idle_.push_back(std::move(connection));
    }
    returned_.notify_one();
}

}  // namespace annal
