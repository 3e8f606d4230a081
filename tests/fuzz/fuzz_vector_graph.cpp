// Any bytes as a saved graph's links: refused, or a graph that can be walked and is saved as the same bytes.
#include "projections/vector_graph.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t dimension = 4, block = 8, blocks = 5;

void expect(bool held) {
    if (!held) std::abort();
}

const annal::VectorCodes& codes() {
    static const auto* const made = [] {
        auto* codes = new annal::VectorCodes(dimension);
        expect(codes->reserve(block * blocks));
        for (annal::Slot slot = 0; slot < block * blocks; ++slot) {
            std::vector<float> vector(dimension, 0.5F);
            vector[slot % dimension] = -0.5F;
            codes->set(slot, vector);
        }
        return codes;
    }();
    return *made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto slots = static_cast<annal::Slot>(data[0] % (block * blocks + 1));
    const std::string_view links(reinterpret_cast<const char*>(data) + 1, size - 1);
    annal::VectorGraph graph(codes(), annal::vector_kernels(), block);
    if (!graph.restore(links, slots)) {
        expect(graph.linked() == 0);
        return 0;
    }
    expect(graph.linked() == slots);
    std::string again;
    graph.serialise(again);
    expect(again == links);
    if (slots == 0) return 0;
    annal::CodeProbe probe;
    probe.set(std::vector<float>(dimension, 0.5F));
    annal::WalkScratch scratch;
    graph.search(probe, 10, graph.view(), scratch);
    for (const auto& near : scratch.pool) expect(near.slot < slots);
    return 0;
}
