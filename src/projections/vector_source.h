// Where a VectorIndex has the vectors from that no event brings: made by a model of each memory's content, and put down
// before the index is fed the event. So the index is a fold of the log and of what the model said once; neither it nor
// a replay ever asks the model.
#pragma once

#include "events/event.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

// Threads: every method may be called from any thread.
class VectorSource {
 public:
    virtual ~VectorSource() = default;
    virtual std::string_view projection() const = 0;  // What the index of its vectors calls itself.
    virtual std::string_view model() const = 0;
    virtual std::size_t dimension() const = 0;
    virtual Seq up_to() const = 0;  // The vectors of all events up to here are there.
    // Of a text that is to have one, of unit length. nullopt: the model has none for it, for good. unavailable: it is
    // not there any more; up_to() is before the event now.
    virtual Result<std::optional<std::vector<float>>> find(const EventView& event, std::string_view text) = 0;
};

// That the event came with a vector of the source's model: the index of given vectors has it.
bool brings_vector_of(const VectorSource& source, const EventView& event);
// What the event gives a memory to say, and the model is to be asked for; nullopt: nothing, or it brings the vector.
// `event` is plain.
std::optional<std::string_view> text_to_embed(const VectorSource& source, const EventView& event);

}  // namespace annal
