#include "oracle.h"

#include "events/hex.h"

#include <algorithm>
#include <cstdio>

namespace annal::testing {
namespace {

constexpr std::size_t complaints_max = 50;
constexpr int memories_sampled = 40;
const ReadOptions patient{.min_seq = {}, .wait_max = std::chrono::minutes(5)};

}  // namespace

void Oracle::complain(std::string what) {
    if (complaints_.size() < complaints_max) complaints_.push_back(std::move(what));
}

void Oracle::record(const Acknowledged& told) {
    const std::string name = Workload::name(told.step, 0);
    if (told.step.writer >= writers_.size()) return complain("an answer to nobody: " + name);
    auto& places = writers_[told.step.writer];
    if (told.events != workload_.events_of(told.step)) complain(name + " was answered for another number of events");
    if (told.step.number < places.size()) {  // Asked again.
        const auto& first = places[told.step.number];
        if (first.seq != told.seq || first.hash != told.hash)
            complain(name + " was asked again and answered otherwise: " + std::to_string(first.seq.value) + " and " +
                     std::to_string(told.seq.value));
    } else if (told.step.number == places.size()) {
        places.push_back({told.seq, told.hash});
    } else {
        complain(name + " was answered before the step it follows");
    }
    const Seq last{told.seq.value + told.events - 1};
    acknowledged_ = std::max(acknowledged_, last);
    if (workload_.is_synced(told.step)) synced_ = std::max(synced_, last);
}

void Oracle::check(Engine& engine, std::mt19937_64& random) {
    const Seq head = engine.head();
    if (head < acknowledged_)
        return complain("lost: the log ends at " + std::to_string(head.value) + ", " +
                        std::to_string(acknowledged_.value) + " was acknowledged");
    const auto before = engine.root(checked_);
    if (!before || (checked_ > Seq{} && *before != checked_root_))
        complain("the log up to " + std::to_string(checked_.value) + " is not what it was");
    check_events(engine);
    const auto now = engine.root(head);
    if (!now) return complain("no root: " + now.error().message);
    checked_ = head;
    checked_root_ = *now;
    if (auto waited = engine.wait_for(head, std::chrono::minutes(5)); !waited)
        return complain("the projections do not follow: " + waited.error().message);
    check_memories(engine, random);
}

void Oracle::check_events(Engine& engine) {
    const Seq head = engine.head();
    std::vector<std::string> hashes;
    auto stored = engine.read_stored(checked_, head, [&](const StoredEvent& event) {
        hashes.push_back(to_hex(event.hash));
        return true;
    });
    if (!stored) return complain("the log cannot be read: " + stored.error().message);
    if (hashes.size() != head.value - checked_.value) complain("the log has not as many events as its head says");

    Seq last = checked_;
    auto read = engine.read_log(checked_, {}, [&](const Engine::LogEntry& event) {
        const std::string at = " at " + std::to_string(event.seq.value);
        if (event.seq.value != last.value + 1) complain("a gap" + at);
        last = event.seq;
        if (event.recorded_at <= recorded_at_) complain("a time that does not rise" + at);
        recorded_at_ = event.recorded_at;
        if (event.version.value != ++versions_[event.memory_id]) complain("a version is missing or twice" + at);
        unsigned long long writer = 0, number = 0, part = 0;
        if (std::sscanf(event.correlation_id.c_str(), "w%llu.%llu.%llu", &writer, &number, &part) != 3 ||
            writer >= writers_.size()) {
            complain("an event that nobody wrote" + at);
            return true;
        }
        auto& next = cursors_[writer];
        const Step step{writer, number};
        if (number != next.step || part != next.part) {
            complain(event.correlation_id + (number < next.step ? " is twice" : " follows on a gap") + at);
            next = {number, part};
        }
        if (++next.part < workload_.events_of(step)) return true;
        next = {next.step + 1, 0};
        auto& places = writers_[writer];
        const Seq first{event.seq.value + 1 - workload_.events_of(step)};
        const auto& hash = hashes[event.seq.value - checked_.value - 1];
        if (number == places.size()) {  // Nobody heard the answer.
            places.push_back({first, hash});
        } else if (number < places.size()) {
            if (places[number].seq != first) complain(event.correlation_id + " is elsewhere than was told" + at);
            if (places[number].hash != hash) complain(event.correlation_id + " is another event than was told" + at);
        }
        return true;
    });
    if (!read) return complain("the log cannot be read: " + read.error().message);
    if (last != head) complain("the log ends before its head");
    for (std::size_t writer = 0; writer < writers_.size(); ++writer) {
        const auto& next = cursors_[writer];
        if (next.part != 0) complain("writer " + std::to_string(writer) + ": half a batch at the end");
        if (next.step < writers_[writer].size())
            complain("lost: " + Workload::name({writer, next.step}, 0) + " was acknowledged at " +
                     std::to_string(writers_[writer][next.step].seq.value));
    }
}

void Oracle::check_memories(Engine& engine, std::mt19937_64& random) {
    for (int i = 0; i < memories_sampled; ++i) {
        const auto writer = random() % writers_.size();
        const auto done = cursors_[writer].step;
        const auto rounds = (done + Workload::round_steps - 1) / Workload::round_steps;
        if (rounds == 0) continue;
        // The newest are those that a crash may have taken.
        const auto round = i % 2 == 0 ? rounds - 1 - random() % std::min<std::uint64_t>(rounds, 2) : random() % rounds;
        for (const auto& expected : workload_.memories(writer, round, done)) check_memory(engine, expected);
    }
}

void Oracle::check_memory(Engine& engine, const Workload::Expected& expected) {
    const std::string id = to_string(expected.id);
    const auto read = engine.get(expected.scope, expected.id, patient, true);
    if (!read) return complain("memory " + id + " cannot be read: " + read.error().message);
    if (read->forgotten != expected.forgotten) complain("memory " + id + " is forgotten, or is not, wrongly");
    if (read->content.find(expected.word) == std::string::npos) complain("memory " + id + " says something else");
    if (read->version.value != versions_[expected.id]) complain("memory " + id + " is at another version");
    if (read->embedding_model.empty() == expected.has_vector)
        complain("memory " + id + " has a vector, or not, wrongly");

    SearchRequest request;
    request.scope = {.project = expected.scope.project, .agent = {}, .user = expected.scope.user, .session = {}};
    request.text = expected.word;
    request.mode = SearchMode::text;
    request.wait_max = patient.wait_max;
    const auto found = engine.search(request);
    if (!found) return complain("no search: " + found.error().message);
    const bool hit = std::any_of(found->hits.begin(), found->hits.end(),
                                 [&](const Hit& each) { return each.memory.id == expected.id; });
    if (hit == expected.forgotten) complain("memory " + id + " is found, or is not, wrongly");
    const auto history = engine.history(expected.scope, expected.id, patient);
    if (!history || history->size() != versions_[expected.id]) complain("memory " + id + " has another history");
}

}  // namespace annal::testing
