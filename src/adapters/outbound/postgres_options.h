// How a PostgreSQL is reached, and where in it our tables are.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace annal {

struct PostgresOptions {
    std::string connection{};      // As libpq takes it: "host=... dbname=..." or "postgresql://...". May hold a secret.
    std::string schema = "annal";  // [a-z_][a-z0-9_]*, at most 63 characters. Made when it is not there.
    std::string prefix{};          // Of every table's name: the same characters, at most 16.
    bool keep_events = false;      // Events as well as memories.
    std::chrono::milliseconds connect_timeout{2000};
    std::chrono::milliseconds call_timeout{60000};  // Of one call of a sink, however many statements it takes.
    std::function<void(std::string_view level, std::string_view message)> on_message{};  // "warning"; may be empty.
};

}  // namespace annal
