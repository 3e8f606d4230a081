// A sink in Azure Cosmos DB. One container holds the memories, partitioned by project; another, of one partition, says
// where the whole is. No request goes to more than one partition.
//
// container   partition    id                  document
// memories    project      a memory's id       {"type":"memory","memory"}: as `get` shows it, its vector as
// "embedding";
//                                              "exact": the same as text, when a number of it has no exact double.
//                                              Or, instead of it,
//                                              {"type":"dead_letter","kind","seq","reason","user","created_seq"}
//             project      annal-checkpoint    {"type":"checkpoint",...}: how far this project is
//             (each with "id" and "project")
// sync        annal        position            {"type":"position",...}: how far the whole is, and who owns it
//             annal        SHA-256 of a name   {"type":"project","project"}: what partitions there are
//
// A checkpoint and the position hold: position (null: nothing is there), unfinished, fence, owner, write (a number that
// each change of it raises).
// A batch:    first the projects that are new are put down, with the position untouched; then each project, 100
//             operations at a time, the checkpoint in each, marked unfinished but for the last; then the position
//             moves. Every one of these replaces a document under its ETag that only the owner has written: whoever was
//             fenced changes nothing.
// A kill:     in the midst of a batch some projects are ahead of the position. The next batch skips those that have
//             reached its end and does the others over. Until then a walk is unavailable, for there is no one position.
// Answers that are lost: a repeated write is a conflict; the owner and the write's number there tell that it was ours.
// Cosmos DB:  the account's consistency must be session or stronger; ETags keep weaker reads from doing harm.
#pragma once

#include "adapters/sink.h"
#include "cosmos_client.h"

#include <memory>
#include <string>

namespace annal {

struct CosmosSinkOptions {
    CosmosOptions account{};
    std::string container_prefix{};    // Of both containers' names.
    std::size_t vector_dimension = 0;  // Of an index over the vectors, made with the container; 0: none.
};

// Does not connect. invalid_argument: CosmosClient::create's.
// A walk reads all there is before it returns, so it holds that much memory.
Result<std::unique_ptr<Sink>> make_cosmos_sink(CosmosSinkOptions options);

}  // namespace annal
