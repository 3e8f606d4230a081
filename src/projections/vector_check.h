// What a vector index is held by, against another one or against its files.
#pragma once

#include "projector.h"
#include "vector_partition.h"

#include <map>
#include <memory>
#include <string>

namespace annal {

using VectorPartitions = std::map<PartitionKey, std::shared_ptr<VectorPartition>>;

// SHA-256, in hex, of every vector with its state: the same however the index came to be.
std::string digest_of(const VectorPartitions& partitions);

// Every row that was published when it was made: partition, generation and slot, to ordinal and floats. Ends with
// data_loss at one that fails its checksum.
std::unique_ptr<RowWalk> rows_of_files(const VectorPartitions& partitions);

}  // namespace annal
