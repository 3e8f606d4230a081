// What the schema cannot say of an event. The same check stands before the log and behind it, so that what is accepted
// can be read, and no projector meets anything else.
#pragma once

#include <annal/timestamp.h>

#include <string_view>

namespace annal::fbs {
struct MemoryEvent;
}

namespace annal {

struct Flaw {
    std::string_view field;  // Empty: there is none.
    std::string_view rule;
    explicit operator bool() const { return !field.empty(); }
};

// Of a table that the schema's verifier has passed, or the encoder has built.
Flaw check(const fbs::MemoryEvent& event);

// Whether RFC 3339 has a spelling for it: years 1970 to 9999.
bool can_be_spelled(Timestamp time);

}  // namespace annal
