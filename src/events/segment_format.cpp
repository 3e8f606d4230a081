#include "segment_format.h"

#include "base64.h"
#include "codec.h"
#include "hex.h"

#include <nlohmann/json.hpp>

namespace annal {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view format_name = "annal events 1";
constexpr std::size_t index_entries_max = 8192;

Error refused(std::string what) {
    return {ErrorCode::invalid_argument, std::move(what), {}};
}

std::optional<Hash> hash_of_hex(const Json& text) {
    Hash hash{};
    const auto* digits = text.get_ptr<const std::string*>();
    if (digits == nullptr || digits->size() != 2 * hash.size()) return std::nullopt;
    for (std::size_t i = 0; i < hash.size(); ++i) {
        const auto value = [](char c) {
            return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        };
        const int high = value((*digits)[2 * i]), low = value((*digits)[2 * i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        hash[i] = static_cast<std::uint8_t>(16 * high + low);
    }
    return hash;
}

std::optional<std::uint64_t> number_of(const Json& json) {
    if (!json.is_number_unsigned()) return std::nullopt;
    return json.get<std::uint64_t>();
}

// Json is null where there is no such field.
const Json& field(const Json& json, const char* name) {
    static const Json null;
    const auto found = json.find(name);
    return found == json.end() ? null : *found;
}

Result<Json> object_of(std::string_view line) {
    Json json = Json::parse(line, nullptr, false);
    if (!json.is_object()) return refused("it is not a JSON object");
    return json;
}

Result<SegmentHeader> header_of(const Json& json) {
    if (field(json, "format") != format_name) return refused("it is not a file of '" + std::string(format_name) + "'");
    SegmentHeader header;
    const auto* store_id = field(json, "store_id").get_ptr<const std::string*>();
    const auto epoch = number_of(field(json, "epoch")), to = number_of(field(json, "to"));
    const auto after = json.contains("after") ? number_of(json["after"]) : 0;
    if (store_id == nullptr || !epoch || !to || !after || *after > *to || *to > merkle_leaves_max)
        return refused("it does not say which events of which store it holds");
    std::vector<Hash> roots;
    for (const auto& text : field(json, "frontier")) {
        const auto hash = hash_of_hex(text);
        if (!hash) return refused("its frontier is not made of hashes");
        roots.push_back(*hash);
    }
    auto before = MerkleFrontier::of(*after, std::move(roots));
    if (!before) return refused("its frontier is not one of " + std::to_string(*after) + " events");
    header.store_id = *store_id;
    header.epoch = *epoch;
    header.to = Seq{*to};
    header.before = *std::move(before);
    if (const auto& note = field(json, "head"); note.is_string())
        header.signed_head = note.get<std::string>();
    else if (!note.is_null())
        return refused("its head is not a text");
    return header;
}

Result<SegmentEnd> end_of(const Json& json) {
    SegmentEnd end;
    const auto root = hash_of_hex(field(json, "root"));
    if (!root) return refused("the root is not 64 hex digits");
    end.root = *root;
    for (const auto& entry : field(json, "index")) {
        const bool pair = entry.is_array() && entry.size() == 2;
        const auto seq = pair ? number_of(entry[0]) : std::nullopt, offset = pair ? number_of(entry[1]) : std::nullopt;
        if (!seq || !offset ||
            (!end.index.empty() && (Seq{*seq} <= end.index.back().first || *offset <= end.index.back().second)))
            return refused("the index is not one of seqs and offsets that rise");
        end.index.emplace_back(Seq{*seq}, *offset);
    }
    return end;
}

}  // namespace

Status SegmentWriter::put(const std::string& line) {
    bytes_ += line.size();
    return write_(line);
}

Status SegmentWriter::begin(const SegmentHeader& header) {
    Json json{{"format", format_name}, {"store_id", header.store_id}, {"epoch", header.epoch}};
    json["after"] = header.before.size();
    json["to"] = header.to.value;
    if (header.before.size() > 0)
        for (const auto& root : header.before.roots()) json["frontier"].push_back(to_hex(root));
    if (!header.signed_head.empty()) json["head"] = header.signed_head;
    return put(json.dump() + '\n');
}

Status SegmentWriter::add(Seq seq, const Hash& hash, std::string_view stored) {
    add_to_index(seq);
    ++events_;
    return put("{\"seq\":" + std::to_string(seq.value) + ",\"hash\":\"" + to_hex(hash) + "\",\"event\":\"" +
               to_base64(stored) + "\"}\n");
}

// So that the last line stays short, however long the file is: when there are too many, every second one is left out.
void SegmentWriter::add_to_index(Seq seq) {
    if (!index_.empty() && bytes_ - index_.back().second < index_distance_) return;
    index_.emplace_back(seq, bytes_);
    if (index_.size() < index_entries_max) return;
    for (std::size_t i = 0; 2 * i < index_.size(); ++i) index_[i] = index_[2 * i];
    index_.resize((index_.size() + 1) / 2);
    index_distance_ *= 2;
}

Status SegmentWriter::end(const Hash& root) {
    Json json{{"events", events_}, {"root", to_hex(root)}, {"index", Json::array()}};
    for (const auto& [seq, offset] : index_) json["index"].push_back({seq.value, offset});
    return put(json.dump() + '\n');
}

Result<std::optional<SegmentReader::Event>> SegmentReader::take(std::string_view line) {
    ++line_;
    if (ended_) return wrong("something follows its last line");
    auto json = object_of(line);
    if (!json) return wrong(json.error().message);
    if (line_ == 1) {
        auto header = header_of(*json);
        if (!header) return wrong(header.error().message);
        header_ = *std::move(header);
        tree_ = header_.before;
        return std::optional<Event>();
    }
    if (json->contains("root")) {
        auto end = end_of(*json);
        if (!end) return wrong(end.error().message);
        if (number_of(field(*json, "events")) != tree_.size() - header_.before.size() || seq() != header_.to)
            return wrong("it says another number of events than it has");
        if (end->root != tree_.root()) return wrong("the root is not that of its events");
        end_ = *std::move(end);
        ended_ = true;
        return std::optional<Event>();
    }
    Event event;
    if (number_of(field(*json, "seq")) != tree_.size() + 1 || seq() >= header_.to)
        return wrong("the event after " + std::to_string(tree_.size()) + " is missing");
    event.seq = Seq{tree_.size() + 1};
    const auto hash = hash_of_hex(field(*json, "hash"));
    if (!hash) return wrong("hash is not 64 hex digits");
    const auto* text = field(*json, "event").get_ptr<const std::string*>();
    auto stored = text != nullptr ? from_base64(*text) : std::nullopt;
    if (!stored) return wrong("event is not base64");
    event.hash = *hash;
    event.stored = *std::move(stored);
    if (!read_header(event.stored) || event_hash(event.seq, event.stored) != event.hash)
        return wrong("event " + std::to_string(event.seq.value) + " is not what its hash says");
    completed_.clear();
    tree_.append(event.hash, completed_);
    return std::optional(std::move(event));
}

Status SegmentReader::finish() const {
    if (ended_) return Done{};
    return wrong("the file ends early");
}

Error SegmentReader::wrong(const std::string& what) const {
    return {ErrorCode::invalid_argument,
            "line " + std::to_string(line_) + " of the events: " + what,
            {{"line", std::to_string(line_)}}};
}

Result<SegmentHeader> parse_segment_header(std::string_view line) {
    const auto json = object_of(line);
    if (!json) return json.error();
    return header_of(*json);
}

Result<SegmentEnd> parse_segment_end(std::string_view line) {
    const auto json = object_of(line);
    if (!json) return json.error();
    return end_of(*json);
}

}  // namespace annal
