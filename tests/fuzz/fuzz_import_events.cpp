// Any bytes as a file of events: refused, or a log whose export is taken whole by another store.
#include "adapters/events_file.h"
#include "events/codec.h"
#include "events/merkle_tree.h"
#include "support/fake_engine.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>

namespace {

void expect(bool held) {
    if (!held) std::abort();
}

// Keeps the events that decode, and are what their hashes say.
class EventsEngine final : public annal::testing::FakeEngine {
 public:
    annal::Status append_stored(std::span<const annal::StoredEvent> events) override {
        for (const auto& event : events) {
            const std::string bytes(event.bytes.begin(), event.bytes.end());
            annal::EventArena arena;
            const auto view = annal::decode(event.seq, bytes, arena);
            if (!view) return view.error();
            if (annal::event_hash(event.seq, bytes) != event.hash || event.seq.value != stored_.size() + 1)
                return annal::Error{annal::ErrorCode::invalid_argument, "not the next event", {}};
            stored_.push_back({bytes, event.hash});
            std::vector<annal::MerkleNode> completed;
            tree_.append(event.hash, completed);
        }
        return annal::Done{};
    }
    annal::Status read_stored(annal::Seq after, annal::Seq to,
                              const std::function<bool(const annal::StoredEvent&)>& visit) override {
        for (auto i = after.value; i < to.value; ++i) {
            const auto& [bytes, hash] = stored_[i];
            if (!visit({annal::Seq{i + 1}, hash, {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}}))
                break;
        }
        return annal::Done{};
    }
    annal::Result<std::array<std::uint8_t, 32>> root(annal::Seq size) override {
        if (size != head()) return annal::Error{annal::ErrorCode::invalid_argument, "beyond the head", {}};
        return tree_.root();
    }
    annal::Result<annal::EngineStatus> status(bool) override { return annal::EngineStatus{}; }
    annal::Seq head() const override { return annal::Seq{stored_.size()}; }

 private:
    std::vector<std::pair<std::string, annal::Hash>> stored_;
    annal::MerkleFrontier tree_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
    EventsEngine engine;
    const auto taken = annal::import_events(engine, in);
    if (!taken) {
        expect(!taken.error().message.empty());
        return 0;
    }
    expect(taken->seq == engine.head());
    std::string out;
    const auto exported = annal::export_events(engine, annal::Seq{}, [&](std::string_view line) -> annal::Status {
        out += line;
        return annal::Done{};
    });
    expect(exported && exported->root == taken->root);
    EventsEngine other;
    std::istringstream again(out);
    const auto copied = annal::import_events(other, again);
    expect(copied && copied->root == taken->root);
    return 0;
}
