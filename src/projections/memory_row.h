// Memories to bytes and back. Numbers are LEB128 varints, signed ones zigzag; a string is its size and its bytes.
//   row      format 1 (1 byte), recorded_at (8, little endian), body version, identity, state, body
//   version  format 1 (1 byte), body version, state, 1 and the body if no other state had it, else 0
//   body     format 1 (1 byte), body
//   identity id (16 bytes), kind (1), agent, user, session, actor, source type (1), source ref
//   state    version, seq, what is set (2 bytes), claim (1), updated_at - recorded_at, occurrences, successes,
//            then as set: occurred_at - recorded_at, confidence (8), valid_from, valid_to, expires_at, verified_at (all
//            less recorded_at), superseded_by (16), embedding model and dimension
//   body     content, tags (count, each), metadata (empty: null), the kind's fields in the order of visit_fields
// The project, the ordinal, the seq that ended a version and the version of a replaced body are in the key. A body is
// kept once: versions that only changed the state name the version that brought their body, which is in the row while
// it is current.
#pragma once

#include <annal/memory.h>
#include <annal/result.h>

#include <string>
#include <string_view>

namespace annal {

struct MemoryRow {
    Memory memory;
    Version body_version;  // That brought the content, tags, metadata and fields.
};
std::string encode_row(const Memory& memory, Version body_version);
// data_loss: not what encode_row made.
Result<MemoryRow> decode_row(std::string_view project, Seq ordinal, std::string_view bytes);
Result<Timestamp> row_recorded_at(std::string_view bytes);  // Without decoding the rest.

// `with_body`: the state is the only one that had it.
std::string encode_version(const Memory& memory, Version body_version, bool with_body);
// Puts the state, and the body when it is there, into `memory`, which holds the identity of the current row.
struct MemoryVersion {
    Version body_version;
    bool with_body = false;
};
Result<MemoryVersion> decode_version(std::string_view bytes, Memory& memory);

std::string encode_body(const Memory& memory);
Status decode_body(std::string_view bytes, Memory& memory);  // `memory` holds its kind.

}  // namespace annal
