#include "simulation.h"

#include "events/codec.h"
#include "events/hex.h"
#include "events/merkle_tree.h"
#include "projections/memory_view.h"
#include "projections/text_index.h"
#include "projections/vector_index.h"

#include <algorithm>

namespace annal::testing {
namespace {

using Fault = FaultFileSystem::Fault;

constexpr std::int64_t hour_us = std::int64_t{3600} * 1'000'000;
constexpr std::uint64_t projects = 3, memories_each = 12;
constexpr int power_losses_in_a_row_max = 3;

std::string text_of(const Hash& hash) {
    return to_hex(std::span(hash).first(8));
}

// Which operations come in the same order each time. RocksDB's threads list, close and delete files when they find the
// time, whichever is first flushes a write-ahead log that it lets go, readers open tables when they need them, and the
// witness is synced by the clock of the machine.
bool is_the_same_each_time(const std::string& operation) {
    for (const std::string_view others : {"delete ", "list ", "close ", "open to read ", "size of "})
        if (operation.starts_with(others)) return false;
    return !(operation.starts_with("flush ") && operation.ends_with(".log")) &&
           !(operation.starts_with("sync ") && operation.ends_with("witness"));
}

std::string without_path(const std::string& operation) {
    const auto slash = operation.find_last_of('/');
    if (slash == std::string::npos) return operation;
    std::string text = operation.substr(0, operation.find(" /")) + " " + operation.substr(slash + 1);
    std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });  // Compactions take numbers of files, too.
    return text;
}

MemoryId memory_of(std::uint64_t project, std::uint64_t number) {
    MemoryId id;
    id.bytes[0] = 1;
    id.bytes[14] = static_cast<std::uint8_t>(project);
    id.bytes[15] = static_cast<std::uint8_t>(number + 1);
    return id;
}

}  // namespace

void SimulatedEnv::Schedule(void (*job)(void*), void* argument, Priority priority, void* tag, void (*drop)(void*)) {
    if (priority == Priority::HIGH)  // A flush, that somebody waits for.
        return EnvWrapper::Schedule(job, argument, priority, tag, drop);
    struct Job {
        void (*run)(void*);
        void* argument;
        void (*drop)(void*);
    };
    const auto run = [](void* wrapped) {
        const std::unique_ptr<Job> each(static_cast<Job*>(wrapped));
        FaultFileSystem::in_background = true;
        each->run(each->argument);
        FaultFileSystem::in_background = false;
    };
    const auto unschedule = [](void* wrapped) {
        const std::unique_ptr<Job> each(static_cast<Job*>(wrapped));
        if (each->drop != nullptr) each->drop(each->argument);
    };
    EnvWrapper::Schedule(run, new Job{job, argument, drop}, priority, tag, unschedule);
}

Simulation::Simulation(std::uint64_t seed) : random_(seed) {}

Simulation::~Simulation() {
    stop_views();
    close();
}

void Simulation::wrong(const std::string& what) {
    if (wrong_.empty()) wrong_ = "step " + std::to_string(trace_.size()) + ": " + what;
}

std::string Simulation::run(int steps) {
    where_ = dir_.path() / "log0";
    open();
    for (int i = 0; i < steps && wrong_.empty(); ++i) step();
    if (wrong_.empty()) {
        armed_ = Fault::power_loss;
        files_->arm(armed_, 1 + below(6), is_the_same_each_time);
        while (wrong_.empty() && armed_ != Fault::none) append_some();
    }
    if (wrong_.empty()) compare_views();
    return wrong_;
}

void Simulation::step() {
    clock_.advance(static_cast<std::int64_t>(below(5'000'000)));
    switch (below(20)) {
        case 0:
        case 1:
            append_conflicting();
            break;
        case 2:
        case 3:
            retry();
            break;
        case 4:
            read_a_stream();
            break;
        case 5:
        case 6:
            step_clock();
            break;
        case 7:
        case 8:
            recover();  // Closed, and opened again.
            break;
        case 9:
        case 10:
        case 11:
            arm();
            break;
        case 12:
            compare_views();
            break;
        default:
            append_some();
    }
    if (!files_->met().empty()) recover();
}

void Simulation::arm() {
    if (armed_ != Fault::none) return;
    constexpr Fault faults[] = {Fault::io_error, Fault::no_space, Fault::power_loss};
    armed_ = faults[below(3)];
    const auto at = 1 + below(armed_ == Fault::power_loss ? 30 : 8);
    files_->arm(armed_, at, is_the_same_each_time);
    say("fault " + std::to_string(static_cast<int>(armed_)) + " in " + std::to_string(at));
}

void Simulation::step_clock() {
    constexpr std::int64_t steps[] = {-hour_us, hour_us, -1, 0};
    const auto by = steps[below(4)];
    clock_.advance(by);
    ++figures_.clock_steps;
    say("clock " + std::to_string(by));
}

Simulation::Batch Simulation::make_batch() {
    Batch batch;
    const auto project = below(projects);
    batch.project = "p" + std::to_string(project);
    batch.durability = one_in(4) ? Durability::buffered : Durability::synced;
    if (one_in(2)) batch.key = "key " + std::to_string(names_);
    batch.request = static_cast<std::uint8_t>(below(200));
    auto states = states_[batch.project];
    const auto count = one_in(6) ? 1 + below(40) : 1 + below(3);
    for (std::uint64_t i = 0; i < count; ++i) {
        MemoryEvent event;
        event.memory_id = memory_of(project, below(memories_each));
        event.event_id.bytes[15] = static_cast<std::uint8_t>(++names_);
        event.event_id.bytes[14] = static_cast<std::uint8_t>(names_ >> 8);
        event.event_id.bytes[0] = 2;
        event.scope = {.project = batch.project, .agent = "qa", .user = {}, .session = "s"};
        event.actor = "qa";
        event.reason = "simulated";
        event.correlation_id = "n" + std::to_string(names_);
        auto& state = states[event.memory_id];
        if (state.version == Version{}) {
            MemoryRecorded body;
            body.content = "memory of " + event.correlation_id + std::string(below(one_in(8) ? 3000 : 60), 'x');
            if (one_in(2)) body.embedding = Embedding{"m", {0.6F, one_in(2) ? 0.8F : -0.8F}};
            event.body = std::move(body);
        } else if (state.forgotten) {
            event.body = MemoryRestored{Seq{known_.size()}};
            state.forgotten = false;
        } else if (one_in(4)) {
            event.body = MemoryForgotten{};
            state.forgotten = true;
        } else {
            MemoryRevised body;
            body.content = "another of " + event.correlation_id;
            if (one_in(3)) body.embedding = Embedding{"m", {one_in(2) ? 1.0F : -1.0F, 0.0F}};
            event.body = std::move(body);
        }
        batch.expected.push_back(one_in(2)                    ? ExpectedVersion::any()
                                 : state.version == Version{} ? ExpectedVersion::absent()
                                                              : ExpectedVersion::exactly(state.version));
        ++state.version.value;
        batch.events.push_back(std::move(event));
    }
    return batch;
}

Result<std::vector<Receipt>> Simulation::append(Batch& batch) {
    std::vector<EncodedEvent> encoded;
    encoded.reserve(batch.events.size());
    std::vector<AppendItem> items;
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
        auto one = encode(batch.events[i]);
        if (!one) return one.error();
        encoded.push_back(*std::move(one));
        items.push_back({batch.expected[i], &encoded.back()});
    }
    AppendBatch how;
    how.project = batch.project;
    how.items = items;
    how.idempotency_key = batch.key;
    how.request_hash.fill(batch.request);
    how.durability = batch.durability;
    return log_->append(how);
}

void Simulation::append_some() {
    auto batch = make_batch();
    const auto receipts = append(batch);
    ++figures_.appends;
    if (!receipts) {
        const auto& error = receipts.error();
        const bool maybe = error.details.count("outcome") != 0;
        say("append refused " + std::string(to_string(error.code)) + (maybe ? ", unknown" : ""));
        if (files_->met().empty()) return wrong("an append is refused: " + error.message);
        if (maybe) unknown_ = std::move(batch);
        return recover();
    }
    std::string line = "append";
    for (std::size_t i = 0; i < receipts->size(); ++i) {
        const auto& receipt = (*receipts)[i];
        const auto& event = batch.events[i];
        line += " " + std::to_string(receipt.seq.value) + ":" + text_of(receipt.hash);
        if (receipt.seq.value != known_.size() + 1) wrong("a receipt's seq is not the next one");
        auto& state = states_[batch.project][event.memory_id];
        if (receipt.version.value != ++state.version.value) wrong("a receipt's version is not the next one");
        state.forgotten = event.type() == EventType::memory_forgotten ||
                          (state.forgotten && event.type() != EventType::memory_restored);
        known_.push_back({batch.project, event.memory_id, event.type(), event.correlation_id, receipt.hash,
                          i + 1 == receipts->size()});
    }
    if (batch.durability == Durability::synced) durable_ = known_.size();
    if (!batch.key.empty())
        keys_[batch.project + '\0' + batch.key] = {receipts->front().seq, receipts->size(), batch.request};
    say(line);
    if (log_->head().value != known_.size()) wrong("the head is not at the last receipt");
    if (!files_->met().empty()) recover();
}

void Simulation::append_conflicting() {
    auto batch = make_batch();
    auto& states = states_[batch.project];
    const auto& first = batch.events.front().memory_id;
    batch.expected.front() = ExpectedVersion::exactly(Version{states[first].version.value + 1});
    const auto receipts = append(batch);
    ++figures_.conflicts;
    if (receipts) return wrong("an append to a stream that is not there yet was taken");
    say("conflict " + std::string(to_string(receipts.error().code)));
    if (receipts.error().code != ErrorCode::conflict && files_->met().empty())
        wrong("a conflict is answered with " + receipts.error().message);
    if (log_->head().value != known_.size()) wrong("a conflict wrote something");
}

void Simulation::retry() {
    if (keys_.empty()) return;
    const auto& [name, used] = *std::next(keys_.begin(), static_cast<std::ptrdiff_t>(below(keys_.size())));
    auto batch = make_batch();
    batch.project = name.substr(0, name.find('\0'));
    batch.key = name.substr(name.find('\0') + 1);
    for (auto& event : batch.events) event.scope.project = batch.project;
    const bool other = one_in(3);
    batch.request = static_cast<std::uint8_t>(used.request + (other ? 1 : 0));
    batch.expected.assign(batch.events.size(), ExpectedVersion::any());
    const auto receipts = append(batch);
    ++figures_.retries;
    say(receipts ? "retry " + std::to_string(receipts->front().seq.value)
                 : "retry " + std::string(to_string(receipts.error().code)));
    if (!files_->met().empty()) {
        // The repeat of a buffered append as a synced one syncs: that may have failed.
        if (receipts && batch.durability == Durability::synced)
            durable_ = std::max(durable_, used.first.value + used.count - 1);
        return recover();
    }
    if (other) {
        if (receipts || receipts.error().code != ErrorCode::conflict) wrong("a key was taken for another request");
        return;
    }
    if (!receipts) return wrong("a retry is refused: " + receipts.error().message);
    if (receipts->size() != used.count) return wrong("a retry has other receipts");
    for (std::size_t i = 0; i < used.count; ++i)
        if ((*receipts)[i].seq.value != used.first.value + i || !(*receipts)[i].replayed ||
            (*receipts)[i].hash != known_[used.first.value + i - 1].hash)
            return wrong("a retry has other receipts");
    if (log_->head().value != known_.size()) wrong("a retry wrote something");
    if (batch.durability == Durability::synced) durable_ = std::max(durable_, used.first.value + used.count - 1);
}

void Simulation::read_a_stream() {
    const auto project = below(projects);
    const std::string name = "p" + std::to_string(project);
    const auto memory = memory_of(project, below(memories_each));
    EventArena arena;
    std::vector<EventView> events;
    const auto read = log_->read_stream(name, memory, arena, events);
    say("read " + (read ? std::to_string(events.size()) : std::string(to_string(read.error().code))));
    if (!read) {
        if (files_->met().empty()) wrong("a stream cannot be read: " + read.error().message);
        return;
    }
    std::size_t next = 0;
    for (const auto& each : known_)
        if (each.project == name && each.memory == memory)
            if (next == events.size() || events[next++].unpack().correlation_id != each.name)
                return wrong("a stream is another one");
    if (next != events.size()) wrong("a stream has an event too many");
}

void Simulation::open() {
    if (!files_) {
        files_ = std::make_shared<FaultFileSystem>(where_);
        env_ = std::make_unique<SimulatedEnv>(files_);
    }
    EventLogOptions options;
    options.directory = where_;
    options.clock = &clock_;
    options.env = env_.get();
    options.disk_free_bytes_min = 0;
    options.stream_rows_max = 16;  // So that rows of streams are written now and then.
    auto opened = EventLog::open(options);
    ++figures_.opens;
    say("open " + (opened ? std::to_string((*opened)->head().value) : std::string(to_string(opened.error().code))));
    if (opened)
        log_ = *std::move(opened);
    else if (files_->met().empty())
        wrong("it does not open: " + opened.error().message);
}

void Simulation::close() {
    log_.reset();
}

void Simulation::recover() {
    // Views go on, or start over, or come from before.
    const auto views = dir_.path() / "views", older = dir_.path() / "older-views";
    stop_views();
    close();
    bool power_was_lost = false;
    for (int tries = 0; wrong_.empty(); ++tries) {
        const auto met = files_->met();
        if (!met.empty()) {
            ++figures_.faults;
            say("met " + without_path(met));
        }
        if (!met.empty() && armed_ == Fault::power_loss) {
            ++figures_.power_losses;
            power_was_lost = true;
            where_ = dir_.path() / ("log" + std::to_string(++lives_));
            files_->image(where_, random_);
            env_.reset();
            files_.reset();
            armed_ = Fault::none;
        } else if (!met.empty()) {
            files_->arm(Fault::none, 0);
            armed_ = Fault::none;
        }
        // The power may go out again, or a disk fail, while the log recovers.
        if (tries < power_losses_in_a_row_max && armed_ == Fault::none && one_in(6)) {
            if (!files_) {
                files_ = std::make_shared<FaultFileSystem>(where_);
                env_ = std::make_unique<SimulatedEnv>(files_);
            }
            armed_ = one_in(2) ? Fault::power_loss : Fault::io_error;
            files_->arm(armed_, 1 + below(60), is_the_same_each_time);
        }
        open();
        if (log_ && files_->met().empty()) break;
        close();
    }
    if (!wrong_.empty()) return;
    adopt(power_was_lost);
    if (!wrong_.empty()) return;
    check_index();

    std::error_code ignored;
    switch (below(4)) {
        case 0:
            std::filesystem::remove_all(views, ignored);
            break;
        case 1:
            if (!std::filesystem::exists(older)) break;
            std::filesystem::remove_all(views, ignored);
            std::filesystem::rename(older, views, ignored);
            break;
        case 2:
            std::filesystem::remove_all(older, ignored);
            std::filesystem::copy(views, older, std::filesystem::copy_options::recursive, ignored);
            break;
        default:
            break;
    }
    if (one_in(3)) start_views();
}

// What the log has now must be what was promised, in its order, and nothing that nobody asked for.
void Simulation::adopt(bool power_was_lost) {
    EventArena arena;
    std::vector<EventView> page;
    std::vector<Known> found;
    Timestamp last{};
    for (Seq after{}; after < log_->head();) {
        arena.clear();
        page.clear();
        if (auto read = log_->read(after, {}, arena, page); !read)
            return wrong("the log cannot be read: " + read.error().message);
        for (const auto& event : page) {
            if (event.seq().value != found.size() + 1)
                return wrong("a gap before " + std::to_string(event.seq().value));
            if (event.recorded_at() <= last) return wrong("a time that does not rise");
            last = event.recorded_at();
            const std::string_view stored(reinterpret_cast<const char*>(event.stored().data()), event.stored().size());
            found.push_back({std::string(event.project()), event.memory_id(), event.type(),
                             event.unpack().correlation_id, event_hash(event.seq(), stored), true});
        }
        after = page.back().seq();
    }
    const auto must = power_was_lost ? durable_ : known_.size();
    if (found.size() < must)
        return wrong("lost: " + std::to_string(found.size()) + " events are left of " + std::to_string(must));
    for (std::size_t i = 0; i < found.size() && i < known_.size(); ++i) {
        if (found[i].hash != known_[i].hash) return wrong("event " + std::to_string(i + 1) + " is another one");
        found[i].ends_batch = known_[i].ends_batch;
    }
    if (found.size() > known_.size()) {
        if (!unknown_ || found.size() != known_.size() + unknown_->events.size())
            return wrong("there are events that nobody wrote, or half a batch");
        for (std::size_t i = 0; i < unknown_->events.size(); ++i) {
            auto& event = found[known_.size() + i];
            if (event.name != unknown_->events[i].correlation_id) return wrong("an event that nobody wrote");
            event.ends_batch = i + 1 == unknown_->events.size();
        }
        if (!unknown_->key.empty())
            keys_[unknown_->project + '\0' + unknown_->key] = {Seq{known_.size() + 1}, unknown_->events.size(),
                                                               unknown_->request};
    }
    if (!found.empty() && !found.back().ends_batch) return wrong("half a batch is left");
    std::erase_if(keys_, [&](const auto& key) { return key.second.first.value > found.size(); });
    known_ = std::move(found);
    durable_ = known_.size();  // What an open recovers is durable when it returns.
    unknown_.reset();
    states_.clear();
    for (const auto& event : known_) {
        auto& state = states_[event.project][event.memory];
        ++state.version.value;
        state.forgotten =
            event.type == EventType::memory_forgotten || (state.forgotten && event.type != EventType::memory_restored);
    }
    std::string line = "has " + std::to_string(known_.size());
    if (const auto root = log_->root(log_->head())) line += " " + text_of(*root);
    say(line);
}

// Streams, idempotency keys and the tree say of the events what the model says.
void Simulation::check_index() {
    for (const auto& [project, states] : states_)
        for (const auto& [memory, state] : states) {
            const auto version = log_->stream_version(project, memory);
            if (!version || *version != state.version) return wrong("a stream is at another version");
        }
    for (const auto& [name, used] : keys_) {
        std::array<std::uint8_t, 32> request{};
        request.fill(used.request);
        const auto receipts =
            log_->find_receipts(name.substr(0, name.find('\0')), name.substr(name.find('\0') + 1), request);
        if (!receipts || !*receipts || (*receipts)->size() != used.count || (*receipts)->front().seq != used.first)
            return wrong("an idempotency key is lost");
    }
    MerkleFrontier tree;
    std::vector<MerkleNode> completed;
    for (const auto& event : known_) tree.append(event.hash, completed);
    const auto root = log_->root(log_->head());
    if (!root || *root != tree.root()) wrong("the tree's root is not that of the events");
}

void Simulation::start_views() {
    if (runtime_) return;
    auto opened = ViewStore::open({.directory = dir_.path() / "views"});
    if (!opened) return wrong("the views do not open: " + opened.error().message);
    views_ = *std::move(opened);
    auto started = ProjectionRuntime::start(
        *log_, *views_,
        {{"memory_view", [](const auto&) { return MemoryView::create(); }},
         {"text", [](const auto&) { return TextIndex::create(); }},
         {"vectors", [](const std::filesystem::path& files) { return VectorIndex::create(files, nullptr, {}); }}},
        {.batch_events_max = 64, .clock = &clock_});
    if (!started) return wrong("the projections do not start: " + started.error().message);
    runtime_ = *std::move(started);
}

// Caught up, every view is the fold of the log, whatever it had applied before.
void Simulation::compare_views() {
    start_views();
    if (!wrong_.empty()) return;
    const auto reached = runtime_->wait_for({}, log_->head(), std::chrono::minutes(5));
    if (!reached) return wrong("the views do not catch up: " + reached.error().message);
    for (const auto& status : runtime_->status()) {
        if (status.quarantined != 0) wrong(status.name + " put an event in quarantine");
        const auto compared = runtime_->check(status.name, {});
        if (!compared) return wrong(status.name + " cannot be compared: " + compared.error().message);
        if (!compared->difference.empty()) return wrong(status.name + ": " + compared->difference);
        if (compared->seq != log_->head()) return wrong(status.name + " was compared too early");
    }
    ++figures_.views_compared;
    if (one_in(2)) stop_views();
}

void Simulation::stop_views() {
    runtime_.reset();
    views_.reset();
}

}  // namespace annal::testing
