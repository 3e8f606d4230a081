#include "upcasters.h"

#include "codec.h"

#include <string>

namespace annal {

Result<std::vector<std::uint8_t>> unchanged(std::span<const std::uint8_t> table) {
    return std::vector<std::uint8_t>(table.begin(), table.end());
}

Upcaster Upcasters::find(EventType type, std::uint16_t from) const {
    for (const auto& row : rows)
        if (row.type == type && row.from == from) return row.lift;
    return nullptr;
}

const Upcasters& upcasters() {
    // Version 1 is the first: nothing to lift yet. A version 2 brings a row for each of the event types here.
    static constexpr Upcasters table{1, schema_version_current, {}};
    return table;
}

Status check_upcasters(const Upcasters& table) {
    const auto refuse = [](EventType type, unsigned from, std::string_view what) {
        return Error{
            ErrorCode::internal,
            std::string(what) + " for " + std::string(to_string(type)) + " of schema version " + std::to_string(from),
            {{"type", std::string(to_string(type))}, {"schema_version", std::to_string(from)}}};
    };
    for (std::size_t number = 1; number <= event_type_count; ++number) {
        const auto type = static_cast<EventType>(number);
        for (unsigned from = table.first; from < table.current; ++from) {
            std::size_t count = 0;
            for (const auto& row : table.rows) count += row.type == type && row.from == from && row.lift != nullptr;
            if (count == 0) return refuse(type, from, "there is no upcaster");
            if (count > 1) return refuse(type, from, "there is more than one upcaster");
        }
    }
    return Done{};
}

}  // namespace annal
