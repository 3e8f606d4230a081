#include "accept.h"

#include <annal/limits.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

namespace annal {
namespace {

Error refuse(std::string message, std::size_t limit = 0) {
    Error error{ErrorCode::invalid_argument, "metadata " + std::move(message), {{"field", "metadata"}}};
    if (limit != 0) error.details["limit"] = std::to_string(limit);
    return error;
}

std::size_t characters(const std::string& text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Walks the text once, before anything is built of it, so that no depth or size can hurt.
class LimitChecker : public nlohmann::json_sax<nlohmann::ordered_json> {
 public:
    Error error;

    bool null() override { return item(); }
    bool boolean(bool) override { return item(); }
    bool number_integer(number_integer_t) override { return item(); }
    bool number_unsigned(number_unsigned_t) override { return item(); }
    bool number_float(number_float_t value, const string_t& written) override {
        if (!std::isfinite(value)) return fail(refuse("holds a number that is too large"));
        if (written.find_first_of(".eE") == std::string::npos)
            return fail(refuse("holds an integer of more than 64 bits; write it as a string"));
        return item();
    }
    bool string(string_t& value) override {
        if (characters(value) > limits::metadata_string_characters_max)
            return fail(refuse("holds a string of " + std::to_string(characters(value)) + " characters; the limit is " +
                                   std::to_string(limits::metadata_string_characters_max),
                               limits::metadata_string_characters_max));
        return item();
    }
    bool binary(binary_t&) override { return item(); }
    bool start_object(std::size_t) override { return item() && open(true); }
    bool start_array(std::size_t) override { return item() && open(false); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
        auto& keys = open_.back().keys;
        if (!keys.insert(name).second)
            return fail(refuse("has an object with the key '" + name.substr(0, 64) + "' twice"));
        if (keys.size() > limits::metadata_keys_max)
            return fail(refuse("has an object of more than " + std::to_string(limits::metadata_keys_max) + " keys",
                               limits::metadata_keys_max));
        return characters(name) <= limits::metadata_string_characters_max ||
               fail(refuse("has a key of too many characters", limits::metadata_string_characters_max));
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        return fail(refuse("is not JSON: it goes wrong at byte " + std::to_string(position)));
    }

 private:
    struct Container {
        bool is_object = false;
        std::size_t items = 0;
        std::set<std::string> keys;
    };

    bool item() {
        if (open_.empty() || open_.back().is_object) return true;
        return ++open_.back().items <= limits::metadata_items_max ||
               fail(refuse("has an array of more than " + std::to_string(limits::metadata_items_max) + " items",
                           limits::metadata_items_max));
    }
    bool open(bool is_object) {
        open_.push_back({.is_object = is_object, .items = 0, .keys = {}});
        return open_.size() <= limits::metadata_depth_max ||
               fail(refuse("is nested deeper than " + std::to_string(limits::metadata_depth_max) + " levels",
                           limits::metadata_depth_max));
    }
    bool close() {
        open_.pop_back();
        return true;
    }
    bool fail(Error why) {
        error = std::move(why);
        return false;
    }

    std::vector<Container> open_;
};

}  // namespace

Result<std::string> check_metadata(std::string_view json) {
    // A text that cannot fit is not walked; the factor leaves room for white space and escapes.
    if (json.size() > limits::metadata_bytes_max * 8)
        return refuse(
            "has " + std::to_string(json.size()) + " bytes; the limit is " + std::to_string(limits::metadata_bytes_max),
            limits::metadata_bytes_max);
    LimitChecker checker;
    if (!nlohmann::ordered_json::sax_parse(json, &checker)) return checker.error;
    const std::string compact = nlohmann::ordered_json::parse(json).dump();
    if (compact.size() > limits::metadata_bytes_max)
        return refuse("has " + std::to_string(compact.size()) + " bytes; the limit is " +
                          std::to_string(limits::metadata_bytes_max),
                      limits::metadata_bytes_max);
    return compact;
}

}  // namespace annal
