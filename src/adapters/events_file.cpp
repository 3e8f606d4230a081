#include "events_file.h"

#include "events/bytes.h"
#include "line_reader.h"

#include "events/segment_format.h"

#include <algorithm>
#include <vector>

namespace annal {
namespace {

constexpr std::size_t page_events = 1000, page_bytes = std::size_t{2} << 20;

// Takes the lines of one file in order.
class EventsImport {
 public:
    explicit EventsImport(Engine& engine) : engine_(engine) {}

    Status add(std::string_view text) {
        const bool first = !segment_.begun();
        auto event = segment_.take(text);
        if (!event) return with_head(event.error());
        if (*event) return take(std::move(**event));
        if (!first) return end();
        report_.seq = segment_.header().after();
        if (report_.seq <= engine_.head()) return Done{};
        return Error{ErrorCode::conflict,
                     "the file begins behind event " + std::to_string(report_.seq.value) +
                         ", and the store has fewer: import what is before it first",
                     {{"seq", std::to_string(engine_.head().value)}}};
    }

    Result<EventsReport> finish() {
        if (auto whole = segment_.finish(); !whole) {
            if (auto done = flush(); !done) return done.error();
            return with_head(whole.error());
        }
        return report_;
    }

    Error wrong(const std::string& what) const { return with_head(segment_.wrong(what)); }

 private:
    Error with_head(Error error) const {
        error.details["seq"] = std::to_string(engine_.head().value);
        return error;
    }

    Status take(SegmentReader::Event event) {
        report_.seq = event.seq;
        page_bytes_ += event.stored.size();
        page_.push_back(std::move(event));
        return page_.size() >= page_events || page_bytes_ >= page_bytes ? flush() : Status(Done{});
    }

    Status end() {
        if (auto done = flush(); !done) return done;
        const auto root = engine_.root(report_.seq);
        if (!root) return root.error();
        report_.root = *root;
        if (*root == segment_.end().root) return Done{};
        return Error{ErrorCode::conflict,
                     "the store has other events before those of the file",
                     {{"seq", std::to_string(engine_.head().value)}}};
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
                            {reinterpret_cast<const std::uint8_t*>(page_[i].stored.data()), page_[i].stored.size()}});
        if (!rest.empty())
            if (auto appended = engine_.append_stored(rest); !appended) {
                Error error = appended.error();
                error.details.merge(segment_.wrong({}).details);
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
    SegmentReader segment_;
    std::vector<SegmentReader::Event> page_;
    std::size_t page_bytes_ = 0;
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
    SegmentWriter segment(write);
    Status written = segment.begin({status->store_id, status->epoch, report.seq, {}, {}});
    if (!written) return written.error();
    auto read = engine.read_stored(Seq{}, report.seq, [&](const StoredEvent& event) {
        written = segment.add(event.seq, event.hash, as_text(event.bytes));
        ++report.accepted;
        if (progress) progress(report.accepted, report.seq.value);
        return static_cast<bool>(written);
    });
    if (!written) return written.error();
    if (!read) return read.error();
    if (auto ended = segment.end(report.root); !ended) return ended.error();
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
