// The peer: hnswlib as it comes, floats and inner product, compiled with everything this CPU has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace annal::bench {

class RawHnswlib {
 public:
    // `rows`: count * dimension floats, borrowed. addPoint from `threads` threads.
    RawHnswlib(std::span<const float> rows, std::size_t dimension, std::size_t threads);
    RawHnswlib(std::span<const float> rows, std::size_t dimension, const std::string& file);
    ~RawHnswlib();

    void save(const std::string& file) const;
    std::vector<std::uint32_t> search(const float* query, std::size_t limit, std::size_t ef) const;
    // With hnswlib's own filter functor.
    std::vector<std::uint32_t> filtered(const float* query, std::size_t limit, std::size_t ef,
                                        const std::vector<bool>& passing) const;
    // Its float kernel over the rows that pass, exact.
    std::vector<std::uint32_t> scan(const float* query, std::size_t limit,
                                    std::span<const std::uint32_t> passing) const;

 private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace annal::bench
