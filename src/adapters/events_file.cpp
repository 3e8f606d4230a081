#include "events_file.h"

#include "json.h"
#include "line_reader.h"

#include "events/base64.h"
#include "events/hex.h"

#include <nlohmann/json.hpp>

#include <vector>

namespace annal {
namespace {

constexpr std::string_view format_name = "annal events 1";
constexpr std::size_t page_events = 1000, page_bytes = std::size_t{2} << 20;

std::string_view view(std::span<const std::uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<std::array<std::uint8_t, 32>> hash_of_hex(const Json& text) {
    std::array<std::uint8_t, 32> hash{};
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

// Takes the lines of one file in order.
class EventsImport {
 public:
    explicit EventsImport(Engine& engine) : engine_(engine) {}

    Status add(std::string_view text) {
        ++line_;
        if (ended_) return wrong("something follows its last line");
        const auto json = parse_json(text, "the line");
        if (!json) return wrong(json.error().message);
        if (!json->is_object()) return wrong("not an object");
        if (line_ == 1) return begin(*json);
        return json->contains("root") ? end(*json) : take(*json);
    }

    Result<EventsReport> finish() {
        if (!ended_) {
            if (auto done = flush(); !done) return done.error();
            return wrong("the file ends early");
        }
        return report_;
    }

    Error wrong(const std::string& what) const {
        return {ErrorCode::invalid_argument,
                "line " + std::to_string(line_) + " of the events: " + what,
                {{"line", std::to_string(line_)}, {"seq", std::to_string(engine_.head().value)}}};
    }

 private:
    struct Line {
        Seq seq;
        std::array<std::uint8_t, 32> hash;
        std::string bytes;
    };

    Status begin(const Json& json) {
        if (!json.contains("format") || json["format"] != format_name)
            return wrong("it is not a file of '" + std::string(format_name) + "'");
        return Done{};
    }

    Status take(const Json& json) {
        Line event;
        const auto seq = json.value("seq", Json());
        const auto hash = hash_of_hex(json.value("hash", Json()));
        const auto text = json.value("event", Json());
        if (!seq.is_number_unsigned() || seq.get<std::uint64_t>() != report_.seq.value + 1)
            return wrong("the event after " + std::to_string(report_.seq.value) + " is missing");
        if (!hash) return wrong("hash is not 64 hex digits");
        auto bytes = text.is_string() ? from_base64(text.get_ref<const std::string&>()) : std::nullopt;
        if (!bytes) return wrong("event is not base64");
        report_.seq = Seq{seq.get<std::uint64_t>()};
        page_bytes_ += bytes->size();
        page_.push_back({report_.seq, *hash, *std::move(bytes)});
        return page_.size() >= page_events || page_bytes_ >= page_bytes ? flush() : Status(Done{});
    }

    Status end(const Json& json) {
        if (auto done = flush(); !done) return done;
        ended_ = true;
        const auto count = json.value("events", Json());
        if (!count.is_number_unsigned() || count.get<std::uint64_t>() != report_.seq.value)
            return wrong("it says another number of events than it has");
        const auto root = engine_.root(report_.seq);
        if (!root) return root.error();
        report_.root = *root;
        const auto expected = hash_of_hex(json["root"]);
        if (!expected || *expected != *root) return wrong("the root is not that of its events");
        return Done{};
    }

    // Compares what the store has, appends the rest.
    Status flush() {
        std::size_t known = 0;
        if (!page_.empty() && page_.front().seq <= engine_.head()) {
            bool equal = true;
            auto compared =
                engine_.read_stored(Seq{page_.front().seq.value - 1}, std::min(page_.back().seq, engine_.head()),
                                    [&](const StoredEvent& event) {
                                        equal = event.hash == page_[known].hash;
                                        known += equal ? 1 : 0;
                                        return equal;
                                    });
            if (!compared) return compared;
            if (!equal)
                return Error{ErrorCode::conflict,
                             "the store has other events: import into an empty one",
                             {{"seq", std::to_string(page_[known].seq.value)}}};
        }
        std::vector<StoredEvent> rest;
        for (std::size_t i = known; i < page_.size(); ++i)
            rest.push_back({page_[i].seq,
                            page_[i].hash,
                            {reinterpret_cast<const std::uint8_t*>(page_[i].bytes.data()), page_[i].bytes.size()}});
        if (!rest.empty())
            if (auto appended = engine_.append_stored(rest); !appended) {
                Error error = appended.error();
                error.details.emplace("line", std::to_string(line_));
                return error;
            }
        report_.unchanged += known;
        report_.accepted += rest.size();
        page_.clear();
        page_bytes_ = 0;
        return Done{};
    }

    Engine& engine_;
    EventsReport report_;
    std::uint64_t line_ = 0;
    std::vector<Line> page_;
    std::size_t page_bytes_ = 0;
    bool ended_ = false;
};

}  // namespace

Result<EventsReport> export_events(Engine& engine, Seq to, const std::function<Status(std::string_view line)>& write,
                                   const std::function<void(std::uint64_t done, std::uint64_t all)>& progress) {
    EventsReport report;
    report.seq = to == Seq{} ? engine.head() : to;
    const auto root = engine.root(report.seq);
    if (!root) return root.error();
    report.root = *root;
    const auto status = engine.status();
    if (!status) return status.error();
    Status written = write(to_text({{"format", format_name},
                                    {"store_id", status->store_id},
                                    {"epoch", status->epoch},
                                    {"to", report.seq.value}}) +
                           '\n');
    if (!written) return written.error();
    auto read = engine.read_stored(Seq{}, report.seq, [&](const StoredEvent& event) {
        written = write("{\"seq\":" + std::to_string(event.seq.value) + ",\"hash\":\"" + to_hex(event.hash) +
                        "\",\"event\":\"" + to_base64(view(event.bytes)) + "\"}\n");
        ++report.accepted;
        if (progress) progress(report.accepted, report.seq.value);
        return static_cast<bool>(written);
    });
    if (!written) return written.error();
    if (!read) return read.error();
    written = write(to_text({{"events", report.accepted}, {"root", to_hex(report.root)}}) + '\n');
    if (!written) return written.error();
    return report;
}

Result<EventsReport> import_events(Engine& engine, std::istream& in,
                                   const std::function<void(std::uint64_t bytes)>& progress) {
    EventsImport import(engine);
    LineReader lines(in);
    std::string line;
    for (bool too_long = false; lines.next(line, too_long);) {
        if (auto added = too_long ? Status(import.wrong("it is too long")) : import.add(line); !added)
            return added.error();
        if (progress) progress(lines.bytes());
    }
    return import.finish();
}

}  // namespace annal
