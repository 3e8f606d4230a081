// One life of the engine that the crash tests kill: a child process writes under load until its time is up, and every
// answer is recorded before the child goes on.
#pragma once

#include "oracle.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace annal::testing {

struct LifeOptions {
    std::filesystem::path program;  // annal_engine_child
    std::filesystem::path store;
    std::filesystem::path key{};      // Of the sealing; empty: none.
    std::filesystem::path backups{};  // Empty: none are made.
    std::chrono::milliseconds length{0};
    bool from_open = true;  // The time runs from the end of the open, else from its beginning.
};

struct BackedUp {
    std::uint32_t id = 0;
    Seq seq;
    std::string root;  // Hex.
};

struct Resources {  // Of the child, once a second.
    double second = 0;
    std::uint64_t rss_bytes = 0;
    std::uint64_t descriptors = 0;
};

struct Life {
    std::uint64_t acknowledged = 0;  // Steps.
    std::uint64_t repeated = 0;      // Of them: asked again.
    std::uint64_t clock_steps = 0;
    bool opened = false;
    std::vector<std::uint32_t> micros;  // Each step's.
    std::vector<BackedUp> backups;
    std::vector<Resources> resources;
};

// Kills the child when its time is up. What it says is wrong the oracle complains of.
Life live(const LifeOptions& options, const Workload& workload, Oracle& oracle, std::mt19937_64& random);

std::optional<Resources> resources_of(int process);

}  // namespace annal::testing
