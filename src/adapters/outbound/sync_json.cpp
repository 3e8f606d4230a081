#include "sync_json.h"

#include "events/hex.h"

#include <nlohmann/json.hpp>

namespace annal {
namespace {

Json to_json(const SinkPosition& position) {
    return {{"store_id", position.store_id},
            {"epoch", position.epoch},
            {"seq", position.seq.value},
            {"hash", to_hex(position.hash)}};
}

}  // namespace

Json to_json(const SyncStatus& status) {
    Json json{{"name", status.name},
              {"type", status.type},
              {"state", to_string(status.state)},
              {"position", status.position ? to_json(*status.position) : Json(nullptr)},
              {"lag_events", status.lag_events},
              {"lag_seconds", status.lag_seconds},
              {"breaker", to_string(status.breaker)},
              {"batches", status.batches},
              {"records", status.records},
              {"erasures", status.erasures},
              {"dead_letters", status.dead_letters},
              {"retries", status.retries}};
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
