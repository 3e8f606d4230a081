#include "event_check.h"

#include "memory_event_generated.h"

#include <annal/engine.h>
#include <annal/limits.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace annal {
namespace {

using flatbuffers::Offset;

constexpr std::int64_t time_us_max = 253'402'300'799'999'999;  // 9999-12-31T23:59:59.999999Z

bool is_fraction(double value) {
    return value >= 0 && value <= 1;
}
bool is_claim(std::uint8_t claim) {
    return claim < claim_names.size();
}
bool is_time(std::int64_t us) {
    return us >= 0 && us <= time_us_max;
}
bool is_time(const flatbuffers::Optional<std::int64_t>& us) {
    return !us || is_time(*us);
}
bool is_time(const fbs::OptionalTime* change) {
    return change == nullptr || !change->set() || is_time(change->us());
}
constexpr std::string_view time_rule = "must be of the years 1970 to 9999";
constexpr std::string_view fraction_rule = "must be a number from 0 to 1";
constexpr std::string_view claim_rule = "is not one of the claims";

Flaw check(const fbs::Embedding* embedding) {
    if (embedding == nullptr) return {};
    const auto& values = *embedding->values();
    if (values.size() == 0) return {"embedding", "has no values"};
    // Written so that the compiler makes vector code of it: a float of all exponent bits is infinite or not a number.
    constexpr std::uint32_t exponent = 0x7f80'0000;
    const auto* floats = reinterpret_cast<const float*>(values.Data());
    std::uint32_t strange = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
        strange |= (std::bit_cast<std::uint32_t>(floats[i]) & exponent) == exponent ? 1u : 0u;
    if (strange != 0) return {"embedding", "holds a value that is not finite"};
    if (!std::isfinite(embedding->norm())) return {"embedding", "has a length that is not finite"};
    return {};
}

// Tags may share one text in the table; unpacked they may not grow beyond what an event can hold.
Flaw check(const flatbuffers::Vector<Offset<flatbuffers::String>>* tags) {
    if (tags == nullptr) return {};
    std::size_t bytes = 0;
    for (const auto* tag : *tags) bytes += tag->size();
    if (bytes > limits::event_bytes_max) return {"tags", "are bigger than an event may be"};
    return {};
}

template <class Table>
Flaw check_fields(const Table& table) {
    if (table.fields_type() == fbs::KindFields::NONE) return {};
    if (table.fields_type() > fbs::KindFields::MAX) return {"fields", "are of no known kind"};
    if (table.fields() == nullptr) return {"fields", "are missing"};
    if (const auto* relation = table.fields_as_RelationFields(); relation && !is_fraction(relation->strength()))
        return {"strength", fraction_rule};
    return {};
}

Flaw check(const fbs::MemoryRecorded& body) {
    if (!is_claim(body.claim())) return {"claim", claim_rule};
    if (!is_fraction(body.confidence())) return {"confidence", fraction_rule};
    if (!is_time(body.valid_from())) return {"valid_from", time_rule};
    if (!is_time(body.valid_to())) return {"valid_to", time_rule};
    if (!is_time(body.expires_at())) return {"expires_at", time_rule};
    if (const auto flaw = check_fields(body)) return flaw;
    if (const auto flaw = check(body.tags())) return flaw;
    return check(body.embedding());
}

Flaw check(const fbs::MemoryRevised& body) {
    if (!is_time(body.occurred_at())) return {"occurred_at", time_rule};
    if (!is_time(body.valid_from())) return {"valid_from", time_rule};
    if (!is_time(body.valid_to())) return {"valid_to", time_rule};
    if (!is_time(body.expires_at())) return {"expires_at", time_rule};
    if (const auto flaw = check_fields(body)) return flaw;
    if (const auto flaw = check(body.tags())) return flaw;
    return check(body.embedding());
}

Flaw check_body(const fbs::MemoryEvent& event) {
    switch (event.body_type()) {
        case fbs::Body::NONE:
            return {"body", "is missing"};
        case fbs::Body::MemoryRecorded:
            return check(*event.body_as_MemoryRecorded());
        case fbs::Body::MemoryRevised:
            return check(*event.body_as_MemoryRevised());
        case fbs::Body::ClaimPromoted: {
            const auto& body = *event.body_as_ClaimPromoted();
            if (!is_claim(body.from())) return {"from", claim_rule};
            if (!is_claim(body.to())) return {"to", claim_rule};
            return {};
        }
        case fbs::Body::ConfidenceChanged: {
            const auto& body = *event.body_as_ConfidenceChanged();
            if (!is_fraction(body.from())) return {"from", fraction_rule};
            if (!is_fraction(body.to())) return {"to", fraction_rule};
            return {};
        }
        case fbs::Body::MemoryVerified:
            if (!is_fraction(event.body_as_MemoryVerified()->confidence())) return {"confidence", fraction_rule};
            return {};
        case fbs::Body::MemoryRecalled:
            if (!std::isfinite(event.body_as_MemoryRecalled()->score())) return {"score", "must be a finite number"};
            if (event.body_as_MemoryRecalled()->mode() > search_mode_names.size())
                return {"mode", "is not one of the search modes"};
            return {};
        case fbs::Body::MemoryReinforced:
        case fbs::Body::MemorySuperseded:
        case fbs::Body::MemoryForgotten:
        case fbs::Body::MemoryRestored:
        case fbs::Body::ErasureRequested:
        case fbs::Body::ErasureCompleted:
        case fbs::Body::PolicyChanged:
            return {};
    }
    return {"body", "is of no known type"};
}

}  // namespace

Flaw check(const fbs::MemoryEvent& event) {
    if (event.scope()->project()->size() == 0) return {"scope.project", "is required"};
    if (!is_time(event.occurred_at())) return {"occurred_at", time_rule};
    if (event.source() != nullptr && event.source()->type() >= source_type_names.size())
        return {"source.type", "is not one of the source types"};
    return check_body(event);
}

bool can_be_spelled(Timestamp time) {
    return is_time(time.us);
}

}  // namespace annal
