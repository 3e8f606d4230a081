// Where most tests write: a project, its agent, and two of the agent's users.
#pragma once

#include <annal/scope.h>

namespace annal::testing {

inline const Scope shop{"shop", "", "", ""}, shop_qa{"shop", "qa", "", ""};
inline const Scope ann{"shop", "qa", "ann", "s1"}, bob{"shop", "qa", "bob", ""};

}  // namespace annal::testing
