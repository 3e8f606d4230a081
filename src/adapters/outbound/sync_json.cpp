#include "sync_json.h"

#include "events/hex.h"

#include <nlohmann/json.hpp>

#include <type_traits>

namespace annal {

Json to_json(const SinkPosition& position) {
    return {{"store_id", position.store_id},
            {"epoch", position.epoch},
            {"seq", position.seq.value},
            {"hash", to_hex(position.hash)}};
}

Json to_json(const SyncCounters& counters) {
    return {{"batches", counters.batches},       {"records", counters.records},
            {"erasures", counters.erasures},     {"dead_letters", counters.dead_letters},
            {"retries", counters.retries},       {"throttles", counters.throttles},
            {"bytes_sent", counters.bytes_sent}, {"request_units", counters.request_units}};
}

SyncCounters sync_counters_from_json(const Json& json) {
    const auto read = [&]<class Number>(const char* name, Number& value) {
        const auto at = json.find(name);
        if (at == json.end()) return;
        if (std::is_floating_point_v<Number> ? at->is_number() : at->is_number_unsigned()) at->get_to(value);
    };
    SyncCounters counters;
    if (!json.is_object()) return counters;
    read("batches", counters.batches);
    read("records", counters.records);
    read("erasures", counters.erasures);
    read("dead_letters", counters.dead_letters);
    read("retries", counters.retries);
    read("throttles", counters.throttles);
    read("bytes_sent", counters.bytes_sent);
    read("request_units", counters.request_units);
    return counters;
}

Json to_json(const SyncStatus& status) {
    Json json{{"name", status.name},
              {"type", status.type},
              {"state", to_string(status.state)},
              {"position", status.position ? to_json(*status.position) : Json(nullptr)},
              {"lag_events", status.lag_events},
              {"lag_seconds", status.lag_seconds},
              {"breaker", to_string(status.breaker)}};
    json.update(to_json(static_cast<const SyncCounters&>(status)));
    if (status.error) json["error"] = to_json(*status.error)["error"];
    return json;
}

Json to_json(const SinkComparison& comparison) {
    return {{"equal", comparison.equal()},
            {"position", to_json(comparison.position)},
            {"memories", comparison.memories},
            {"records", comparison.records},
            {"dead_letters", comparison.dead_letters},
            {"different", comparison.different},
            {"missing", comparison.missing},
            {"extra", comparison.extra},
            {"to_be_erased", comparison.to_be_erased},
            {"first_difference", comparison.first_difference}};
}

}  // namespace annal
