// What a log is opened with on a FaultFileSystem: RocksDB waits a second after each flush or compaction that failed, of
// which this leaves a millisecond.
#pragma once

#include "fault_file_system.h"

#include <rocksdb/env.h>
#include <rocksdb/system_clock.h>

#include <algorithm>
#include <memory>

namespace annal::testing {

class FaultEnv : public rocksdb::EnvWrapper {
 public:
    explicit FaultEnv(const std::shared_ptr<FaultFileSystem>& files) : EnvWrapper(rocksdb::NewCompositeEnv(files)) {
        file_system_ = EnvWrapper::target()->GetFileSystem();
        system_clock_ = std::make_shared<Impatient>(EnvWrapper::target()->GetSystemClock());
    }

 private:
    class Impatient final : public rocksdb::SystemClockWrapper {
     public:
        using SystemClockWrapper::SystemClockWrapper;
        const char* Name() const override { return "Impatient"; }
        void SleepForMicroseconds(int us) override { target_->SleepForMicroseconds(std::min(us, 1000)); }
    };
};

}  // namespace annal::testing
