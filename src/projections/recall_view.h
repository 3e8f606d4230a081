// Which events say that a memory was given to an agent: by memory, and by the run it was given to. Places in the log,
// no words: what such an event says is read where it is sealed, erased and proven.
// P is the project's text and '\0'. Integers are big endian. All values are empty.
//   key                      there is
//   P 'm' memory id  seq     an event that says the memory was given
//   P 'r' stream     seq     an event of the run with that stream; one that was erased, too: its place is no secret
// No row is ever changed: what there was as of S are those with seqs up to S.
// Threads: a Reader is one frozen state and may be used from any one thread.
#pragma once

#include "projector.h"

#include <annal/ids.h>

#include <functional>
#include <memory>
#include <string_view>

namespace annal {

class RecallView : public Projector {
 public:
    static std::unique_ptr<RecallView> create();

    class Reader {
     public:
        virtual ~Reader() = default;
        virtual Seq applied() const = 0;
        // Call visit(seq) until it returns false; a key each.
        // Those that gave the memory before `before`, newest first.
        virtual Status gave(std::string_view project, MemoryId memory, Seq before,
                            const std::function<bool(Seq)>& visit) const = 0;
        // Those of the run past `after`, oldest first.
        virtual Status of_run(std::string_view project, MemoryId stream, Seq after,
                              const std::function<bool(Seq)>& visit) const = 0;
    };
    virtual std::unique_ptr<Reader> reader() const = 0;
};

}  // namespace annal
