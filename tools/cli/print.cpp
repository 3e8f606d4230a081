#include "print.h"

#include "adapters/json.h"

#include "events/hex.h"

#include <nlohmann/json.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>

namespace annal::cli {
namespace {

constexpr std::size_t indent = 4;

bool starts_character(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
}

std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(text, starts_character));
}

std::string content_line(std::string_view content) {
    const std::size_t columns = terminal_columns();
    return std::string(indent, ' ') + shorten(content, columns > indent ? columns - indent : 1) + '\n';
}

// Who, when, what, and the id to go on with.
std::string headline(const Memory& memory) {
    std::string line = clean(memory.actor.empty() ? "-" : memory.actor) + " · " + short_time(memory.occurred_at) +
                       " · " + std::string(to_string(memory.kind())) + " · " + to_string(memory.id);
    if (memory.forgotten) line += " · forgotten";
    return line;
}

std::string explain_line(const HitParts& parts) {
    std::string line = "text #" + std::to_string(parts.text_rank) + " " + number_text(parts.text, 3) + " = own " +
                       number_text(parts.own, 3) + " + neighbours " + number_text(parts.neighbours, 3) + " + session " +
                       number_text(parts.session, 3) + ", speaker x" + number_text(parts.speaker, 2) + ", question x" +
                       number_text(parts.question, 2);
    if (parts.vector_rank != 0)
        line += "; vector #" + std::to_string(parts.vector_rank) + " " + number_text(parts.similarity, 3);
    if (!parts.matched_terms.empty()) {
        line += "; terms:";
        for (const auto& term : parts.matched_terms) line += " " + clean(term);
    }
    return std::string(indent, ' ') + line + '\n';
}

// "content: 2 s -> 3 s"; text without its quotes, nothing as "-".
std::string difference_lines(const std::vector<FieldChange>& differences) {
    const auto shown = [](const std::string& text) {
        const Json value = Json::parse(text, nullptr, false);
        if (value.is_null() || value == "" || value.is_discarded()) return std::string("-");
        return value.is_string() ? value.get<std::string>() : text;
    };
    std::string lines;
    for (const auto& change : differences)
        lines += content_line(change.field + ": " + shown(change.was) + " -> " + shown(change.is));
    return lines;
}

std::string run_memory_lines(const RunMemory& each) {
    std::string line = "  #" + std::to_string(each.rank) + "  " + number_text(each.score, 3) + "  ";
    line += each.memory ? headline(*each.memory) : to_string(each.memory_id);
    if (each.since != SinceThen::same)
        line += " · since then " + std::string(since_then_names[static_cast<std::size_t>(each.since)]);
    return line + '\n' + (each.memory ? content_line(each.memory->content) : "");
}

std::string source_text(const Source& source) {
    if (source.type == SourceType::none) return "";
    return std::string(to_string(source.type)) + ":" + clean(source.ref);
}

}  // namespace

std::string clean(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const bool c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
        if (c1) ++i;
        result += byte < 0x20 || byte == 0x7F || c1 ? ' ' : text[i];
    }
    return result;
}

std::string shorten(std::string_view text, std::size_t columns) {
    std::string cleaned = clean(text);
    if (characters(cleaned) <= columns) return cleaned;
    std::size_t end = 0;
    for (std::size_t shown = 0; end < cleaned.size(); ++end)
        if (starts_character(cleaned[end]) && ++shown == columns) break;
    cleaned.resize(end);
    return cleaned + "…";
}

std::size_t terminal_columns() {
    winsize size{};
    if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return std::numeric_limits<std::size_t>::max();
    return size.ws_col;
}

std::string table(const std::vector<std::vector<std::string>>& rows, const std::vector<std::size_t>& right) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i) {
            if (i == widths.size()) widths.push_back(0);
            widths[i] = std::max(widths[i], characters(row[i]));
        }
    std::string text;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string padding(widths[i] - characters(row[i]), ' ');
            const bool to_right = std::ranges::find(right, i) != right.end();
            line += (i == 0 ? "" : "  ") + (to_right ? padding + row[i] : row[i] + padding);
        }
        line.resize(line.find_last_not_of(' ') + 1);
        text += line + '\n';
    }
    return text;
}

std::string short_time(Timestamp time) {
    std::string text = to_string(time).substr(0, 16);
    std::ranges::replace(text, 'T', ' ');
    return text;
}

std::string bytes_text(std::uint64_t bytes) {
    static constexpr std::array<std::string_view, 4> units{"B", "KiB", "MiB", "GiB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
    return number_text(value, unit == 0 ? 0 : 1) + " " + std::string(units[unit]);
}

std::string number_text(double value, int decimals) {
    std::array<char, 64> text{};
    const int size = std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
    return {text.data(), std::min(static_cast<std::size_t>(std::max(size, 0)), text.size() - 1)};
}

std::string describe(std::string_view done, const Receipt& receipt) {
    return std::string(done) + " " + to_string(receipt.memory_id) + "  seq " + std::to_string(receipt.seq.value) +
           ", version " + std::to_string(receipt.version.value) +
           (receipt.replayed ? " (this key was seen before: nothing was written)" : "") + '\n';
}

std::string describe(const ErasureReceipt& receipt) {
    std::string text = table({{"memories", std::to_string(receipt.memories)},
                              {"events", std::to_string(receipt.events) + ", unreadable from now on"},
                              {"contents refused", std::to_string(receipt.refused_values)},
                              {"asked for at", "seq " + std::to_string(receipt.requested_at.value)},
                              {"done at", "seq " + std::to_string(receipt.completed_at.value)},
                              {"keystore epoch", std::to_string(receipt.keystore_epoch)}});
    if (receipt.unsealed_events != 0)
        text += "\n" + std::to_string(receipt.unsealed_events) +
                " of the events were stored before sealing was on: no answer shows them, but the log's files and its "
                "backups hold them in the clear.\n";
    return text +
           "\nCopies of keys/ from before still hold the key: let them expire, or `annal key change` and destroy the "
           "former root key.\n\n" +
           receipt.head;
}

std::string describe(const Memory& memory) {
    const Json json = to_json(memory);
    std::vector<std::vector<std::string>> rows;
    for (const auto& [name, value] : json.items()) {
        if (name == "content" || value.is_null() || value == "" || value.empty()) continue;
        if (name == "source" && memory.source.type == SourceType::none) continue;
        std::string text = value.is_string() ? value.get<std::string>() : to_text(value);
        if (name == "source") text = source_text(memory.source);
        rows.push_back({name, clean(text)});
    }
    return clean(memory.content) + "\n\n" + table(rows);
}

std::string describe(const std::vector<Memory>& memories) {
    std::string text;
    for (const auto& memory : memories) text += headline(memory) + '\n' + content_line(memory.content);
    return text.empty() ? "no memories\n" : text;
}

std::string describe(const SearchAnswer& answer, bool explain) {
    std::string text;
    for (std::size_t i = 0; i < answer.hits.size(); ++i) {
        const auto& hit = answer.hits[i];
        const std::string rank = std::to_string(i + 1);
        text += std::string(rank.size() < 2 ? 1 : 0, ' ') + rank + "  " + number_text(hit.score, 3) + "  " +
                headline(hit.memory) + '\n' + content_line(hit.memory.content);
        if (explain) text += explain_line(hit.parts);
    }
    if (answer.hits.empty()) text = "nothing found\n";
    for (const auto& note : answer.degraded) text += "degraded: " + clean(note) + '\n';
    if (answer.recalled_seq != Seq{0}) text += "recorded up to seq " + std::to_string(answer.recalled_seq.value) + '\n';
    return text;
}

std::string describe(const std::vector<HistoryEntry>& history) {
    std::string text;
    for (const auto& entry : history) {
        text += "v" + std::to_string(entry.version.value) + "  seq " + std::to_string(entry.seq.value) + "  " +
                short_time(entry.recorded_at) + "  " + entry.type;
        if (!entry.actor.empty()) text += "  by " + clean(entry.actor);
        if (const auto source = source_text(entry.source); !source.empty()) text += "  from " + source;
        text += '\n';
        if (!entry.reason.empty()) text += content_line("because " + entry.reason);
        text += entry.differences.empty() ? content_line(entry.changes) : difference_lines(entry.differences);
    }
    return text;
}

std::string describe(const DiffEntry& entry) {
    const auto& memory = entry.memory;
    std::string text(diff_kind_names[static_cast<std::size_t>(entry.kind)]);
    text += "  " + headline(memory) + "  ";
    if (entry.from_version != Version{}) text += "v" + std::to_string(entry.from_version.value) + " -> ";
    text += "v" + std::to_string(memory.version.value) + '\n';
    return text + (entry.differences.empty() ? content_line(memory.content) : difference_lines(entry.differences));
}

std::string describe(const RecallsAnswer& answer) {
    std::string text;
    for (const auto& recall : answer.recalls) {
        text += "seq " + std::to_string(recall.seq.value) + "  " + short_time(recall.recorded_at);
        if (recall.payload != Payload::plain) {
            text += "  " + std::string(to_string(recall.payload)) + '\n';
            continue;
        }
        text += "  #" + std::to_string(recall.rank) + "  " + number_text(recall.score, 3) + "  run " +
                clean(recall.run_id) + (recall.actor.empty() ? "" : "  by " + clean(recall.actor)) + '\n';
        if (!recall.query.empty()) text += content_line(recall.query);
    }
    if (text.empty() && !answer.next) text = "never given to a run of this scope\n";
    if (answer.next) text += "more: --before " + std::to_string(answer.next->value) + '\n';
    return text;
}

std::string describe(const RunAnswer& answer) {
    std::string text;
    for (const auto& context : answer.contexts) {
        text += short_time(context.recorded_at) + "  seq " + std::to_string(context.seq.value) + "  as of " +
                std::to_string(context.as_of.value);
        if (context.mode) text += "  " + std::string(search_mode_names[static_cast<std::size_t>(*context.mode)]);
        if (!context.actor.empty()) text += "  by " + clean(context.actor);
        text += '\n' + content_line(context.query.empty() ? "(no words)" : context.query) + "  given\n";
        for (const auto& each : context.given) text += run_memory_lines(each);
        if (!context.not_given.empty()) text += "  known, not given\n";
        for (const auto& each : context.not_given) text += run_memory_lines(each);
        for (const auto& note : context.degraded) text += "degraded: " + clean(note) + '\n';
        text += '\n';
    }
    if (answer.erased != 0) text += std::to_string(answer.erased) + " more were given, and erased since\n";
    if (answer.sealed != 0)
        text += std::to_string(answer.sealed) + " more were given, and are sealed: the store is locked\n";
    if (answer.next) text += "more: --after " + std::to_string(answer.next->value) + '\n';
    return text;
}

std::string describe(const Engine::LogEntry& entry) {
    std::string line = std::to_string(entry.seq.value) + "  " + short_time(entry.recorded_at) + "  " + entry.type +
                       "  " + to_string(entry.memory_id) + "  " + clean(entry.scope.project) +
                       (entry.actor.empty() ? "" : "  by " + clean(entry.actor)) + "  " + clean(entry.changes);
    return shorten(line, terminal_columns()) + '\n';
}

std::string describe(const ArchiveStatus& archive) {
    if (archive.segments == 0) return "none";
    return "events 1 to " + std::to_string(archive.archived_seq.value) + ", up to " + short_time(archive.recorded_at) +
           ", in " + std::to_string(archive.segments) + (archive.segments == 1 ? " segment, " : " segments, ") +
           bytes_text(archive.bytes);
}

std::string describe(const ArchiveReport& report) {
    std::string text;
    for (const auto& segment : report.segments)
        text += "archived events " + std::to_string(segment.first.value) + " to " + std::to_string(segment.last.value) +
                ", " + bytes_text(segment.bytes) + ", " + clean(segment.file.string()) + ", root " +
                to_hex(segment.root) + '\n';
    if (report.segments.empty())
        text = "nothing to archive: whole ranges of 256 events are, and the last 256 events stay\n";
    return text;
}

std::string describe(const EngineStatus& status) {
    std::string text =
        table({{"head seq", std::to_string(status.head_seq.value)},
               {"store", clean(status.store_id)},
               {"log", bytes_text(status.log_bytes)},
               {"views", bytes_text(status.views_bytes)},
               {"archive", describe(status.archive)},
               {"sealing", clean(status.sealing_reason.empty() ? status.sealing : status.sealing_reason)}});
    if (status.unfinished_erasures != 0)
        text += std::to_string(status.unfinished_erasures) + " erasures were begun and are not finished: erase again\n";
    for (const auto& file : status.archive.missing) text += "missing in the archive: " + clean(file) + '\n';
    std::vector<std::vector<std::string>> rows{{"projection", "version", "generation", "applied", "lag", "state"}};
    for (const auto& projection : status.projections)
        rows.push_back({projection.name, std::to_string(projection.version), std::to_string(projection.generation),
                        std::to_string(projection.applied_seq.value), std::to_string(projection.lag_events),
                        projection.state});
    text += '\n' + table(rows, {1, 2, 3, 4});
    for (const auto& projection : status.projections) {
        if (!projection.digest.empty()) text += projection.name + " digest " + projection.digest + '\n';
        if (!projection.note.empty()) text += projection.name + ": " + clean(projection.note) + '\n';
        if (!projection.error.empty()) text += projection.name + " error: " + clean(projection.error) + '\n';
        if (projection.quarantined != 0)
            text += projection.name + ": " + std::to_string(projection.quarantined) + " events in quarantine\n";
    }
    for (const auto& model : status.embeddings)
        text += "model " + clean(model.model) + (model.active ? " (active)" : "") + ": " +
                number_text(model.coverage(), 1) + " % of the memories have a vector" +
                (model.without == 0 ? "" : ", it has none for " + std::to_string(model.without) + " texts") +
                (model.error.empty() ? "" : "; waits: " + clean(model.error)) + '\n';
    for (const auto& projection : status.projections)
        if (projection.building_generation != 0)
            text += projection.name + ": generation " + std::to_string(projection.building_generation) +
                    " is being built, at " + std::to_string(projection.building_seq.value) + '\n';
    if (status.scrub.last_pass)
        text += "last scrubbed " + short_time(*status.scrub.last_pass) + ", errors " +
                std::to_string(status.scrub.errors) + '\n';
    if (!status.scrub.error.empty()) text += "scrub error: " + clean(status.scrub.error) + '\n';
    std::vector<std::vector<std::string>> counts;
    for (const auto& [kind, count] : status.counts) counts.push_back({kind, std::to_string(count)});
    if (!counts.empty()) text += "\nlive memories\n" + table(counts, {1});
    return text;
}

std::string describe(const VerifyReport& report) {
    std::vector<std::vector<std::string>> rows{{"check", "state", "count", "seconds"}};
    for (const auto& check : report.checks) {
        auto seconds = std::to_string(check.seconds);
        seconds.resize(seconds.size() - 4);  // Two digits behind the point.
        rows.push_back({check.name, std::string(check_state_names[static_cast<std::size_t>(check.state)]),
                        std::to_string(check.count), seconds});
    }
    std::string text = table(rows, {2, 3});
    for (const auto& check : report.checks)
        if (!check.found.empty()) text += check.name + ": " + clean(check.found) + '\n';
    return text;
}

}  // namespace annal::cli
