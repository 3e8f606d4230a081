#include "raw_hnswlib.h"

#include <hnswlib/hnswlib.h>

#include <atomic>
#include <queue>
#include <thread>

namespace annal::bench {
namespace {

constexpr std::size_t links = 16;
constexpr std::size_t construction = 200;

template <class Queue>
std::vector<std::uint32_t> nearest_first(Queue found) {
    std::vector<std::uint32_t> ids(found.size());
    for (auto at = ids.size(); at-- > 0; found.pop()) ids[at] = static_cast<std::uint32_t>(found.top().second);
    return ids;
}

struct Passing : hnswlib::BaseFilterFunctor {
    explicit Passing(const std::vector<bool>& its_ids) : ids(its_ids) {}
    bool operator()(hnswlib::labeltype id) override { return ids[id]; }
    const std::vector<bool>& ids;
};

}  // namespace

struct RawHnswlib::State {
    State(std::span<const float> its_rows, std::size_t its_dimension)
        : rows(its_rows), dimension(its_dimension), space(its_dimension) {}
    std::span<const float> rows;
    std::size_t dimension;
    hnswlib::InnerProductSpace space;
    std::unique_ptr<hnswlib::HierarchicalNSW<float>> graph;
};

RawHnswlib::RawHnswlib(std::span<const float> rows, std::size_t dimension, std::size_t threads)
    : state_(std::make_unique<State>(rows, dimension)) {
    const auto count = rows.size() / dimension;
    state_->graph = std::make_unique<hnswlib::HierarchicalNSW<float>>(&state_->space, count, links, construction);
    state_->graph->addPoint(rows.data(), 0);
    std::atomic<std::size_t> next{1};
    std::vector<std::thread> workers;
    for (std::size_t i = 0; i < threads; ++i)
        workers.emplace_back([&] {
            for (auto row = next++; row < count; row = next++)
                state_->graph->addPoint(rows.data() + row * dimension, row);
        });
    for (auto& worker : workers) worker.join();
}

RawHnswlib::RawHnswlib(std::span<const float> rows, std::size_t dimension, const std::string& file)
    : state_(std::make_unique<State>(rows, dimension)) {
    state_->graph = std::make_unique<hnswlib::HierarchicalNSW<float>>(&state_->space, file);
}

RawHnswlib::~RawHnswlib() = default;

void RawHnswlib::save(const std::string& file) const {
    state_->graph->saveIndex(file);
}

std::vector<std::uint32_t> RawHnswlib::search(const float* query, std::size_t limit, std::size_t ef) const {
    state_->graph->setEf(ef);
    return nearest_first(state_->graph->searchKnn(query, limit));
}

std::vector<std::uint32_t> RawHnswlib::filtered(const float* query, std::size_t limit, std::size_t ef,
                                                const std::vector<bool>& passing) const {
    Passing filter(passing);
    state_->graph->setEf(ef);
    return nearest_first(state_->graph->searchKnn(query, limit, &filter));
}

std::vector<std::uint32_t> RawHnswlib::scan(const float* query, std::size_t limit,
                                            std::span<const std::uint32_t> passing) const {
    std::priority_queue<std::pair<float, std::uint32_t>> found;
    const auto distance = state_->space.get_dist_func();
    for (const auto id : passing) {
        const float d = distance(query, state_->rows.data() + id * state_->dimension, &state_->dimension);
        if (found.size() < limit) {
            found.emplace(d, id);
        } else if (d < found.top().first) {
            found.pop();
            found.emplace(d, id);
        }
    }
    return nearest_first(std::move(found));
}

}  // namespace annal::bench
