#include "sink_record.h"

#include <nlohmann/json.hpp>

#include <bit>
#include <cmath>

namespace annal {
namespace {

// With the keys of every object in the order of their bytes, and whole numbers without a fraction.
nlohmann::json canonical(const Json& json) {
    nlohmann::json result;
    if (json.is_object()) {
        result = nlohmann::json::object();
        for (const auto& [key, value] : json.items()) result[key] = canonical(value);
    } else if (json.is_array()) {
        result = nlohmann::json::array();
        for (const auto& value : json) result.push_back(canonical(value));
    } else if (json.is_number_float()) {
        const auto number = json.get<double>();
        if (number == std::trunc(number) && number >= 0 && number < 0x1p64)
            result = static_cast<std::uint64_t>(number);
        else if (number == std::trunc(number) && number < 0 && number >= -0x1p63)
            result = static_cast<std::int64_t>(number);
        else
            result = number;
    } else if (json.is_number_unsigned()) {
        result = json.get<std::uint64_t>();
    } else if (json.is_number_integer()) {
        result = json.get<std::int64_t>();
    } else if (json.is_boolean()) {
        result = json.get<bool>();
    } else if (json.is_string()) {
        result = json.get_ref<const std::string&>();
    }
    return result;
}

}  // namespace

std::string to_line(const SinkRecord& record) {
    auto json = to_json(record.memory);
    if (record.embedding)
        json["embedding"] = {{"model", record.embedding->model}, {"values", record.embedding->values}};
    return to_text(json);
}

Result<SinkRecord> sink_record_from_json(const Json& json) {
    auto memory = memory_from_json(json);
    if (!memory) return memory.error();
    SinkRecord record{std::move(*memory), std::nullopt};
    if (const auto given = json.find("embedding"); given != json.end()) {
        auto embedding = embedding_from_json(*given, "embedding");
        if (!embedding) return embedding.error();
        record.embedding = std::move(*embedding);
    }
    return record;
}

std::string canonical_text(const SinkRecord& record) {
    auto json = canonical(to_json(record.memory));
    if (record.embedding) {
        auto bits = nlohmann::json::array();
        for (const auto value : record.embedding->values) bits.push_back(std::bit_cast<std::uint32_t>(value));
        json["embedding"] = {{"model", record.embedding->model}, {"bits", std::move(bits)}};
    }
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace annal
