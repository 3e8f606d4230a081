// Whose memory it is. The project is part of every key the engine stores.
#pragma once

#include <annal/result.h>

#include <string>

namespace annal {

struct Scope {
    std::string project{};  // Required: 1..128 characters of [A-Za-z0-9._:-/@+ ]; never empty, "." or "..".
    std::string agent{};    // The rest may be empty; same characters and length when not.
    std::string user{};
    std::string session{};
    bool operator==(const Scope&) const = default;

    // Whether a memory of scope `inner` may be answered to a caller of this scope: the project is the same, and so is
    // every other field that this scope sets. A field left empty here does not narrow.
    bool contains(const Scope& inner) const;
};

// invalid_argument: a field breaks the rule above; the field, the rule and the limit are in the error.
Status validate(const Scope& scope);

}  // namespace annal
