// Any bytes as a stored event: refused, or read to the last field and written anew as the same event.
#include "events/codec.h"
#include "support/event_bytes.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static annal::EventArena arena;
    arena.clear();
    const auto view = annal::decode(annal::Seq{1}, {reinterpret_cast<const char*>(data), size}, arena);
    if (view && !annal::testing::survives_reading(*view)) std::abort();
    return 0;
}
