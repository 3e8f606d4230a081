// Small things that tests of the log share: ids, events and appends in a line each.
#pragma once

#include "events/event_log.h"

#include <cstring>
#include <string>
#include <vector>

namespace annal::testing {

inline MemoryId memory_number(std::uint64_t number) {
    MemoryId id;
    id.bytes[0] = 1;
    std::memcpy(&id.bytes[8], &number, sizeof number);
    return id;
}

inline MemoryEvent note(const MemoryId& memory, std::string content, std::string project = "shop") {
    MemoryEvent event;
    event.memory_id = memory;
    event.event_id.bytes = memory.bytes;
    event.scope = {.project = std::move(project), .agent = "qa", .user = "", .session = ""};
    event.actor = "qa";
    MemoryRecorded body;
    body.content = std::move(content);
    event.body = std::move(body);
    return event;
}

inline std::string_view content_of(const EventView& event, MemoryEvent& unpacked) {
    unpacked = event.unpack();
    return std::get<MemoryRecorded>(unpacked.body).content;
}

struct Note {
    MemoryId memory;
    std::string content;
    ExpectedVersion expected = ExpectedVersion::any();
};

struct AppendHow {
    std::string key{};
    std::uint8_t request = 0;  // Stands for the request that the key is of.
    Durability durability = Durability::synced;
    std::string project = "shop";
    std::chrono::milliseconds wait_max{30'000};
};

inline Result<std::vector<Receipt>> append(EventLog& log, const std::vector<Note>& notes, const AppendHow& how = {}) {
    std::vector<EncodedEvent> events;
    events.reserve(notes.size());
    for (const auto& each : notes) {
        auto encoded = encode(note(each.memory, each.content, how.project));
        if (!encoded) return encoded.error();
        events.push_back(*std::move(encoded));
    }
    std::vector<AppendItem> items;
    for (std::size_t i = 0; i < notes.size(); ++i) items.push_back({notes[i].expected, &events[i]});
    AppendBatch batch;
    batch.project = how.project;
    batch.items = items;
    batch.idempotency_key = how.key;
    batch.request_hash.fill(how.request);
    batch.durability = how.durability;
    batch.wait_max = how.wait_max;
    return log.append(batch);
}

// Everything in the log, as (seq, memory, version, content); fails as read() fails.
struct Stored {
    Seq seq;
    MemoryId memory;
    Version version;
    Timestamp recorded_at;
    std::string content;
    auto operator<=>(const Stored&) const = default;
};

inline Result<std::vector<Stored>> read_all(const EventLog& log) {
    std::vector<Stored> all;
    EventArena arena;
    std::vector<EventView> page;
    for (Seq after{}; after < log.head();) {
        arena.clear();
        page.clear();
        if (auto read = log.read(after, {}, arena, page); !read) return read.error();
        MemoryEvent unpacked;
        for (const auto& event : page)
            all.push_back({event.seq(), event.memory_id(), event.version(), event.recorded_at(),
                           std::string(content_of(event, unpacked))});
        after = page.back().seq();
    }
    return all;
}

}  // namespace annal::testing
