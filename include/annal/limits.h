// Every limit on what may be written, checked when a command is accepted and named in the error when exceeded.
#pragma once

#include <cstddef>

namespace annal::limits {

inline constexpr std::size_t content_characters_max = 8192;  // Unicode code points; at least one that is no space.
inline constexpr std::size_t tags_max = 32;
inline constexpr std::size_t tag_characters_max = 64;
inline constexpr std::size_t metadata_bytes_max = 8192;  // As compact JSON.
inline constexpr std::size_t metadata_depth_max = 4;     // Nested objects and arrays.
inline constexpr std::size_t metadata_keys_max = 50;     // Of one object.
inline constexpr std::size_t metadata_items_max = 50;    // Of one array.
inline constexpr std::size_t metadata_string_characters_max = 2048;
inline constexpr std::size_t field_characters_max = 8192;  // Of one typed field of a kind, or a reason.
inline constexpr std::size_t name_characters_max = 128;    // Scope fields, actor, model, correlation and causation ids.
inline constexpr std::size_t source_ref_characters_max = 2048;
inline constexpr std::size_t idempotency_key_bytes_max = 256;
inline constexpr std::size_t embedding_dimension_max = 4096;
inline constexpr std::size_t event_bytes_max = std::size_t{1} << 20;
inline constexpr std::size_t batch_bytes_max = std::size_t{4} << 20;  // Of one atomic append.
inline constexpr std::size_t batch_events_max = 10'000;
inline constexpr std::size_t query_characters_max = 1000;
inline constexpr std::size_t search_limit_max = 1000;
inline constexpr std::size_t list_limit_max = 1000;
inline constexpr std::size_t recall_memories_max = 256;  // Given to a run together, and so hits of a search for one.
inline constexpr std::size_t run_contexts_max = 100;     // Of one page.

}  // namespace annal::limits
