// How a log is opened: either with every event that was acknowledged, or not at all.
#pragma once

#include "event_log.h"
#include "rocks_store.h"
#include "witness.h"

#include <memory>

namespace annal {

struct OpenedLog {
    std::unique_ptr<RocksStore> store;
    std::unique_ptr<WitnessFile> witness_file;
    Witness witness;        // As written: at the head, not clean.
    Seq head;               // All of it durable.
    Timestamp recorded_at;  // Of the head.
};

// The caller holds the store's lock. Errors as EventLog::open.
Result<OpenedLog> open_log(const EventLogOptions& options);

rocksdb::FileSystem& files_of(const EventLogOptions& options);
Clock& clock_of(const EventLogOptions& options);

}  // namespace annal
