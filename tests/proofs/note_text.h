// The text of signed notes, to be changed by tests.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <string_view>

namespace annal::testing {

inline const std::string origin = "example.com/store";

inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace annal::testing
