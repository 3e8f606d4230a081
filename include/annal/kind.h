// The kinds of memory, how far a memory may be trusted, and every name there is of each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace annal {

enum class Kind : std::uint8_t {  // The numbers are stored: never change one.
    note = 0,
    heuristic = 1,
    outcome = 2,
    preference = 3,
    domain_knowledge = 4,
    anti_pattern = 5,
    entity = 6,
    relation = 7,
};
inline constexpr std::size_t kind_count = 8;

struct KindNames {
    Kind kind;
    std::string_view name;   // JSON value, CLI flag, log.
    std::string_view table;  // SQL table and Cosmos container, before any prefix.
};
inline constexpr std::array<KindNames, kind_count> kind_table{{
    {Kind::note, "note", "notes"},
    {Kind::heuristic, "heuristic", "heuristics"},
    {Kind::outcome, "outcome", "outcomes"},
    {Kind::preference, "preference", "preferences"},
    {Kind::domain_knowledge, "domain_knowledge", "domain_knowledge"},
    {Kind::anti_pattern, "anti_pattern", "anti_patterns"},
    {Kind::entity, "entity", "entities"},
    {Kind::relation, "relation", "relations"},
}};
constexpr std::string_view to_string(Kind kind) {
    return kind_table[static_cast<std::size_t>(kind)].name;
}
constexpr std::optional<Kind> parse_kind(std::string_view name) {
    for (const auto& row : kind_table)
        if (row.name == name) return row.kind;
    return std::nullopt;
}

enum class Claim : std::uint8_t {  // Stored numbers. From the least to the most trusted; a promotion is an event.
    observation = 0,
    inference = 1,
    verified = 2,
    directive = 3,
};
inline constexpr std::array<std::string_view, 4> claim_names{"observation", "inference", "verified", "directive"};
constexpr std::string_view to_string(Claim claim) {
    return claim_names[static_cast<std::size_t>(claim)];
}
constexpr std::optional<Claim> parse_claim(std::string_view name) {
    for (std::size_t i = 0; i < claim_names.size(); ++i)
        if (claim_names[i] == name) return static_cast<Claim>(i);
    return std::nullopt;
}

}  // namespace annal
