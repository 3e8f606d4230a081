// Any bytes as a file of labelled conversations: refused by name, or every question's evidence names turns that there
// are.
#include "adapters/locomo.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
    const auto conversations = annal::read_locomo(in);
    if (!conversations) {
        if (conversations.error().code != annal::ErrorCode::invalid_argument) std::abort();
        return 0;
    }
    for (const auto& conversation : *conversations) {
        std::set<std::string> turns;
        for (const auto& memory : annal::memories_of(conversation, "talks")) turns.insert(memory.context.source.ref);
        for (const auto& question : conversation.questions)
            for (const auto& id : question.evidence)
                if (!turns.contains(id)) std::abort();
    }
    return 0;
}
