// A graph's links on disk: what makes the next open quick. Disposable: one that does not fit is built anew.
//   offset  size  field                                  (little endian)
//        0     8  "ANNLGRPH"
//        8     4  format, 1 (with it: how codes are made, and VectorGraph's rule for levels)
//       12     4  dimension
//       16     4  M
//       20     4  efConstruction
//       24     4  slots of a block
//       28     4  slots, n
//       32     8  bytes of the links, b
//       40     4  crc32c over the checksums of the first n rows: these links are of those rows
//       44     4  crc32c of the links
//       48     4  crc32c of the 48 bytes before
//       52     b  the links (VectorGraph::serialise)
#pragma once

#include "vector_graph.h"
#include "vector_rows.h"

#include <filesystem>

namespace annal {

// Of the checksums of rows `begin` to `end`, continuing `seed`.
std::uint32_t rows_checksum(const VectorRows& rows, Slot begin, Slot end, std::uint32_t seed);

// Beside `path` first, synced, then renamed: there is always a whole one, the old or the new.
Status write_graph(const std::filesystem::path& path, const VectorGraph& graph, const VectorRows& rows,
                   std::size_t dimension);
// Into an empty graph whose codes are set for `count` rows. not_found: no file. data_loss: damaged, of other rows, or
// made with other parameters.
Status read_graph(const std::filesystem::path& path, VectorGraph& graph, const VectorRows& rows, std::size_t dimension,
                  Slot count);

}  // namespace annal
