#include "accept.h"
#include "scrubber.h"
#include "signing_key.h"
#include "uuid.h"
#include "verify.h"

#include "events/event_log.h"
#include "events/event_seal.h"
#include "events/keystore.h"
#include "events/log_backup.h"
#include "events/log_proofs.h"
#include "projections/memory_state.h"
#include "projections/memory_view.h"
#include "projections/runtime.h"
#include "projections/text_index.h"
#include "projections/vector_index.h"
#include "query/history.h"
#include "query/search.h"

#include <annal/engine.h>
#include <annal/limits.h>

#include <openssl/sha.h>
#include <rocksdb/file_system.h>
#include <unistd.h>

#include <algorithm>
#include <type_traits>
#include <unordered_set>

namespace annal {
namespace {

constexpr std::string_view memory_view = "memory_view", text_index = "text", vector_index = "vectors";
constexpr int retries_max = 16;  // Of a write on `any` version that others overtake.

Error not_found(const MemoryId& id) {
    return {ErrorCode::not_found, "there is no such memory in this scope", {{"memory_id", to_string(id)}}};
}

std::array<std::uint8_t, 32> sha256(std::span<const std::uint8_t> bytes) {
    std::array<std::uint8_t, 32> hash{};
    SHA256(bytes.data(), bytes.size(), hash.data());
    return hash;
}

std::string_view bytes_of(std::span<const std::uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string_view to_string(KeystoreState state) {
    switch (state) {
        case KeystoreState::off:
            return "off";
        case KeystoreState::locked:
            return "locked";
        case KeystoreState::unlocked:
            return "unlocked";
    }
    return "off";
}

// The root key that the options name. nullopt: they name none.
Result<std::optional<RootKey>> root_key_of(const EngineOptions& options) {
    std::optional<RootKey> none;
    if (options.root_key_file.empty() && options.root_key_variable.empty()) return none;
    auto key = options.root_key_file.empty() ? RootKey::from_environment(options.root_key_variable.c_str())
                                             : RootKey::read_file(options.root_key_file, options.directory);
    if (key) return std::optional(*std::move(key));
    const auto reason = key.error().details.find("reason");
    const bool unset = reason != key.error().details.end() && reason->second == "missing";
    if (options.root_key_file.empty() && unset) return none;
    return key.error();
}

// What a write is known again by: the caller's key, and what it stood for.
struct RequestKey {
    std::string key;
    std::array<std::uint8_t, 32> hash{};
};

class StoreEngine final : public Engine {
 public:
    static Result<std::unique_ptr<Engine>> open(EngineOptions options);
    ~StoreEngine() override;

    Result<Receipt> record(const RecordRequest& request) override;
    Result<std::vector<Receipt>> record_batch(std::span<const RecordRequest> requests) override;
    Result<Receipt> revise(const ReviseRequest& request) override;
    Result<Receipt> reinforce(const Target& target, bool success) override;
    Result<Receipt> promote_claim(const Target& target, Claim claim) override;
    Result<Receipt> change_confidence(const Target& target, double confidence) override;
    Result<Receipt> supersede(const Target& target, MemoryId by) override;
    Result<Receipt> forget(const Target& target) override;
    Result<Receipt> restore(const Target& target) override;
    Result<Receipt> revert(const Target& target, Version to) override;

    Result<Memory> get(const Scope& scope, MemoryId id, const ReadOptions& read, bool include_forgotten) override;
    Result<ListAnswer> list(const ListRequest& request) override;
    Result<std::vector<HistoryEntry>> history(const Scope& scope, MemoryId id, const ReadOptions& read) override;
    Result<SearchAnswer> search(const SearchRequest& request) override;
    Status diff(const DiffRequest& request, const std::function<bool(const DiffEntry&)>& visit) override;
    Status read_log(Seq after, std::string_view project, const std::function<bool(const LogEntry&)>& visit) override;

    Status read_stored(Seq after, Seq to, const std::function<bool(const StoredEvent&)>& visit) override;
    Status append_stored(std::span<const StoredEvent> events) override;
    Result<std::array<std::uint8_t, 32>> root(Seq size) override { return log_->root(size); }
    Result<std::string> signed_head() override { return log_->signed_head(); }
    std::string verifier_key() const override { return verifier_key_; }
    Result<std::string> prove_inclusion(Seq seq, Seq size) override { return annal::prove_inclusion(*log_, seq, size); }
    Result<std::string> prove_consistency(Seq older, Seq newer) override {
        return annal::prove_consistency(*log_, older, newer);
    }

    Result<BackupInfo> backup(const std::filesystem::path& directory, std::size_t keep,
                              const std::function<void(std::uint64_t, std::uint64_t)>& progress) override {
        return log_->backup(directory, keep, progress);
    }

    Seq head() const override { return log_->head(); }
    Status wait_for(Seq seq, std::chrono::milliseconds wait_max) override;
    Result<EngineStatus> status(bool with_digests) override;
    Status rebuild(std::string_view projection, const std::function<void(Seq, Seq)>& progress) override;
    Result<VerifyReport> verify(
        const VerifyOptions& options,
        const std::function<void(std::string_view, std::uint64_t, std::uint64_t)>& progress) override;
    Status change_root_key(const std::filesystem::path& file) override;

 private:
    explicit StoreEngine(EngineOptions options)
        : options_(std::move(options)), clock_(options_.clock ? *options_.clock : system_clock()), pid_(getpid()) {}

    Status check_process() const;
    Status start();
    Status open_keystore();
    bool locked() const { return keystore_->state() == KeystoreState::locked; }
    bool is_masked(const Scope& scope) const { return locked() && !scope.user.empty(); }

    // What a request is, for its idempotency key: its event without the ids the engine makes.
    static Result<std::array<std::uint8_t, 32>> request_hash(const MemoryEvent& event);
    Result<std::vector<Receipt>> append(std::vector<MemoryEvent>& events, ExpectedVersion expected,
                                        const WriteContext& context, const RequestKey& asked);
    // The receipts of the first time, if it was asked before; nullopt: `asked` is as it is to be appended. What stands
    // for a user's request is hashed with a key of the keystore: no hash of it stays that a guess can be tried on.
    Result<std::optional<std::vector<Receipt>>> find_receipts(const Scope& scope, RequestKey& asked) const;

    // The memory as the log has it now: writes ask the log, never a projection, so a lagging or sick one cannot stop
    // them.
    Result<Memory> state_of(const Scope& scope, const MemoryId& id) const;

    // The generation that answers now: held for one answer.
    template <class View>
    std::shared_ptr<const View> view(std::string_view name) const {
        return std::static_pointer_cast<const View>(runtime_->view(name));
    }

    // What the memory of that version is made again by: a restore, a revision, or both.
    Result<std::vector<EventBody>> bodies_back_to(const Memory& memory, Version version) const;

    // A write that depends on the memory's state: `complete` checks it and fills in what the event says of it, or puts
    // other events in its place. With `any` version a write that was overtaken starts over.
    template <class Complete>
    Result<Receipt> write_on(const Target& target, EventBody body, Complete complete);

    // What a read sees: up to `seq` (the newest state when unset), with expiry judged at `now`.
    struct Moment {
        std::optional<Seq> seq;
        Timestamp now;
        Seq at_least(Seq min_seq) const { return std::max(min_seq, seq.value_or(Seq{})); }
    };
    Result<Moment> moment_of(const std::optional<AsOf>& as_of) const;
    Result<Timestamp> recorded_at(Seq seq) const;
    Result<Seq> last_recorded(Timestamp up_to) const;
    // Calls visit(event) for those of (after, up_to], in order, until it returns false.
    template <class Visit>
    Status each_event(Seq after, Seq up_to, Visit&& visit) const;

    EngineOptions options_;
    Clock& clock_;
    pid_t pid_;
    // Destroyed in reverse: the runtime stops before what it drives is gone.
    std::unique_ptr<Keystore> keystore_;
    std::string sealing_reason_;
    std::unique_ptr<EventLog> log_;
    std::string verifier_key_;
    std::unique_ptr<ViewStore> views_;
    std::unique_ptr<ProjectionRuntime> runtime_;
    std::unique_ptr<Scrubber> scrubber_;
};

Result<std::unique_ptr<Engine>> StoreEngine::open(EngineOptions options) {
    if (options.directory.empty())
        return Error{ErrorCode::invalid_argument, "directory is required", {{"field", "directory"}}};
    std::unique_ptr<StoreEngine> engine(new StoreEngine(std::move(options)));
    if (auto ok = engine->start(); !ok) return ok.error();
    return std::unique_ptr<Engine>(std::move(engine));
}

Status StoreEngine::start() {
    std::error_code failure;
    const auto directory = options_.directory;
    if (options_.create_if_missing) std::filesystem::create_directories(directory, failure);
    if (!std::filesystem::is_directory(directory, failure)) {
        if (options_.create_if_missing)
            return Error{ErrorCode::unavailable, "the store's directory cannot be made: " + failure.message(), {}};
        return Error{ErrorCode::not_found, "there is no store there", {}};
    }
    auto log = EventLog::open({.directory = directory / "log",
                               .create_if_missing = options_.create_if_missing,
                               .clock = &clock_,
                               .on_message = options_.on_message});
    if (!log) return log.error();
    log_ = std::move(*log);
    if (auto opened = open_keystore(); !opened) return opened;
    auto key = open_signing_key(directory / "keys" / "log_signing_key", "annal/" + log_->store_id());
    if (!key) return key.error();
    verifier_key_ = key->verifier().text();
    log_->sign_with(*std::move(key));
    auto views = ViewStore::open({.directory = directory / "views", .on_message = options_.on_message});
    if (!views) return views.error();
    views_ = std::move(*views);
    const auto make_vectors = [this](const std::filesystem::path& files) {
        return VectorIndex::create(files, options_.embedder.get(), options_.on_message);
    };
    auto runtime =
        ProjectionRuntime::start(*log_, *views_,
                                 {{std::string(memory_view), [](const auto&) { return MemoryView::create(); }},
                                  {std::string(text_index), [](const auto&) { return TextIndex::create(); }},
                                  {std::string(vector_index), make_vectors}},
                                 {.clock = &clock_, .on_message = options_.on_message});
    if (!runtime) return runtime.error();
    runtime_ = std::move(*runtime);
    auto scrubber = Scrubber::open(
        *log_, *views_,
        {.bytes_per_second = options_.scrub_bytes_per_second, .clock = &clock_, .on_message = options_.on_message});
    if (!scrubber) return scrubber.error();
    scrubber_ = std::move(*scrubber);
    scrubber_->start();
    return Done{};
}

Status StoreEngine::open_keystore() {
    auto root_key = root_key_of(options_);
    const auto known = log_->has_keystore();
    if (!known) return known.error();
    KeystoreOptions options{.files = *rocksdb::FileSystem::Default(), .directory = options_.directory / "keys"};
    options.store = log_->store_uuid();
    if (root_key) options.root_key = *std::move(root_key);
    options.create_if_missing = !*known;
    auto keystore = Keystore::open(std::move(options));
    if (!keystore && keystore.error().code != ErrorCode::not_found) return keystore.error();
    if (!keystore) return Error{ErrorCode::data_loss, keystore.error().message, {}};
    keystore_ = std::move(*keystore);
    // Whoever names a key means it: without a keystore that it could lock, all would be written in the clear.
    if (!root_key && keystore_->state() == KeystoreState::off && !*known) return root_key.error();
    sealing_reason_ = keystore_->state_reason();
    if (!root_key) sealing_reason_ = "the keystore is locked: " + root_key.error().message;
    if (options_.on_message && !sealing_reason_.empty())
        options_.on_message(locked() ? "warning" : "info", sealing_reason_);
    return log_->seal_with(*keystore_);
}

StoreEngine::~StoreEngine() {
    if (pid_ == getpid()) return;
    // In a forked child the threads to be joined do not exist, and the files are the parent's.
    static_cast<void>(scrubber_.release());
    static_cast<void>(runtime_.release());
    static_cast<void>(views_.release());
    static_cast<void>(log_.release());
    static_cast<void>(keystore_.release());
}

Status StoreEngine::check_process() const {
    if (pid_ == getpid()) return Done{};
    return Error{
        ErrorCode::unavailable, "this process was forked from the one that opened the store; open after fork", {}};
}

Result<std::array<std::uint8_t, 32>> StoreEngine::request_hash(const MemoryEvent& event) {
    auto encoded = encode(event);
    if (!encoded) return encoded.error();
    return sha256(encoded->bytes);
}

Result<std::vector<Receipt>> StoreEngine::append(std::vector<MemoryEvent>& events, ExpectedVersion expected,
                                                 const WriteContext& context, const RequestKey& asked) {
    std::vector<EncodedEvent> encoded;
    encoded.reserve(events.size());
    std::vector<AppendItem> items;
    items.reserve(events.size());
    for (auto& event : events) {
        const Timestamp now = clock_.now();
        if (event.memory_id.is_nil()) event.memory_id.bytes = make_uuid_v7(now);
        event.event_id.bytes = make_uuid_v7(now);
        auto one = encode(event);
        if (!one) return one.error();
        encoded.push_back(std::move(*one));
        items.push_back({.expected = expected, .event = &encoded.back()});
        if (expected.is == ExpectedVersion::Is::exactly) ++expected.version.value;  // All are of one stream.
    }
    return log_->append({.project = events.front().scope.project,
                         .items = items,
                         .idempotency_key = asked.key,
                         .request_hash = asked.hash,
                         .durability = context.durability.value_or(options_.durability)});
}

Result<std::optional<std::vector<Receipt>>> StoreEngine::find_receipts(const Scope& scope, RequestKey& asked) const {
    if (asked.key.empty()) return std::optional<std::vector<Receipt>>();
    auto first = log_->find_receipts(scope.project, asked.key, asked.hash);
    if (!first || *first || scope.user.empty() || keystore_->state() != KeystoreState::unlocked) return first;
    const auto key = keystore_->tombstone(scope.project, "idempotency key " + asked.key);
    if (!key) return key.error();
    const auto hash = keystore_->tombstone(scope.project, "request " + std::string(bytes_of(asked.hash)));
    if (!hash) return hash.error();
    asked = {std::string(bytes_of(*key)), *hash};
    return log_->find_receipts(scope.project, asked.key, asked.hash);
}

Result<Receipt> StoreEngine::record(const RecordRequest& request) {
    auto receipts = record_batch(std::span(&request, 1));
    if (!receipts) return receipts.error();
    return receipts->front();
}

Result<std::vector<Receipt>> StoreEngine::record_batch(std::span<const RecordRequest> requests) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (requests.empty())
        return Error{ErrorCode::invalid_argument, "a batch holds at least one memory", {{"field", "requests"}}};
    if (requests.size() > limits::batch_events_max)
        return Error{ErrorCode::invalid_argument,
                     "a batch of " + std::to_string(requests.size()) + " memories; the limit is " +
                         std::to_string(limits::batch_events_max),
                     {{"field", "requests"}, {"limit", std::to_string(limits::batch_events_max)}}};
    const WriteContext& context = requests.front().context;
    std::vector<MemoryEvent> events;
    events.reserve(requests.size());
    std::vector<std::uint8_t> hashes;
    Scope of_user{.project = requests.front().scope.project, .agent = {}, .user = {}, .session = {}};
    for (const auto& request : requests) {
        auto event = accept(request);
        if (!event) {
            Error error = event.error();
            if (requests.size() > 1) error.details["index"] = std::to_string(events.size());
            return error;
        }
        if (event->scope.project != requests.front().scope.project)
            return Error{ErrorCode::invalid_argument, "a batch is of one project", {{"field", "scope.project"}}};
        if (!context.idempotency_key.empty()) {
            auto hash = request_hash(*event);
            if (!hash) return hash.error();
            hashes.insert(hashes.end(), hash->begin(), hash->end());
        }
        if (of_user.user.empty()) of_user.user = event->scope.user;
        events.push_back(std::move(*event));
    }
    RequestKey asked{context.idempotency_key, sha256(hashes)};
    if (!of_user.user.empty()) {
        auto first = find_receipts(of_user, asked);
        if (!first) return first.error();
        if (*first) return **std::move(first);
    }
    return append(events, ExpectedVersion::absent(), context, asked);
}

Result<Memory> StoreEngine::state_of(const Scope& scope, const MemoryId& id) const {
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read_stream(scope.project, id, arena, events); !ok) return ok.error();
    std::optional<Memory> memory;
    for (const auto& event : events) {
        if (event.payload() == Payload::sealed && scope.contains(event.unpack().scope))
            return Error{ErrorCode::permission_denied, sealing_reason_, {{"memory_id", to_string(id)}}};
        if (auto ok = apply_event(memory, event); !ok) return ok.error();
    }
    if (!memory || !scope.contains(memory->scope)) return not_found(id);
    return std::move(*memory);
}

template <class Complete>
Result<Receipt> StoreEngine::write_on(const Target& target, EventBody body, Complete complete) {
    if (auto ok = check_process(); !ok) return ok.error();
    auto accepted = accept(target, std::move(body));
    if (!accepted) return accepted.error();
    auto memory = state_of(target.scope, target.memory_id);
    if (!memory) return memory.error();
    RequestKey asked{target.context.idempotency_key, {}};
    if (!asked.key.empty()) {
        auto hash = request_hash(*accepted);
        if (!hash) return hash.error();
        asked.hash = *hash;
        auto first = find_receipts(memory->scope, asked);
        if (!first) return first.error();
        if (*first) return (*first)->back();
    }
    for (int tries = 0;; ++tries) {
        const auto& expected = target.expected_version;
        if (expected.is == ExpectedVersion::Is::exactly && expected.version != memory->version)
            return Error{ErrorCode::conflict,
                         "the memory is at version " + std::to_string(memory->version.value) + ", not " +
                             std::to_string(expected.version.value) + "; read it again",
                         {{"memory_id", to_string(target.memory_id)},
                          {"expected", std::to_string(expected.version.value)},
                          {"actual", std::to_string(memory->version.value)}}};
        std::vector<MemoryEvent> events{*accepted};
        events.front().scope = memory->scope;
        Status completed = Done{};
        if constexpr (std::is_invocable_v<Complete, const Memory&, EventBody&>)
            completed = complete(*memory, events.front().body);
        else
            completed = complete(*memory, events);
        if (!completed) return completed.error();
        auto receipts = append(events, ExpectedVersion::exactly(memory->version), target.context, asked);
        if (receipts) return receipts->back();
        const bool overtaken = receipts.error().code == ErrorCode::conflict && expected.is == ExpectedVersion::Is::any;
        if (!overtaken || tries == retries_max) return receipts.error();
        memory = state_of(target.scope, target.memory_id);
        if (!memory) return memory.error();
    }
}

Error forgotten_error(const Memory& memory) {
    return {ErrorCode::not_found, "the memory is forgotten; restore it first", {{"memory_id", to_string(memory.id)}}};
}

Result<Receipt> StoreEngine::revise(const ReviseRequest& request) {
    auto accepted = accept(request);
    if (!accepted) return accepted.error();
    return write_on(request.target, std::move(accepted->body), [&](const Memory& memory, EventBody& body) -> Status {
        if (memory.forgotten) return forgotten_error(memory);
        const auto& revised = std::get<MemoryRevised>(body);
        if (revised.fields && kind_of(*revised.fields) != memory.kind())
            return Error{ErrorCode::invalid_argument,
                         "the memory is a " + std::string(to_string(memory.kind())) + "; its kind cannot change",
                         {{"field", "kind"}}};
        const auto from = revised.valid_from.value_or(memory.valid_from);
        const auto to = revised.valid_to.value_or(memory.valid_to);
        if (from && to && *to < *from)
            return Error{ErrorCode::invalid_argument, "valid_from would be after valid_to", {{"field", "valid_from"}}};
        return Done{};
    });
}

Result<Receipt> StoreEngine::reinforce(const Target& target, bool success) {
    return write_on(target, MemoryReinforced{success}, [](const Memory& memory, EventBody&) -> Status {
        if (memory.forgotten) return forgotten_error(memory);
        return Done{};
    });
}

Result<Receipt> StoreEngine::promote_claim(const Target& target, Claim claim) {
    return write_on(target, ClaimPromoted{claim, claim}, [](const Memory& memory, EventBody& body) -> Status {
        if (memory.forgotten) return forgotten_error(memory);
        auto& promoted = std::get<ClaimPromoted>(body);
        promoted.from = memory.claim;
        if (promoted.to == promoted.from)
            return Error{ErrorCode::invalid_argument,
                         "the memory's claim is " + std::string(to_string(memory.claim)) + " already",
                         {{"field", "claim"}}};
        return Done{};
    });
}

Result<Receipt> StoreEngine::change_confidence(const Target& target, double confidence) {
    if (!(confidence >= 0 && confidence <= 1))
        return Error{ErrorCode::invalid_argument, "confidence must be a number from 0 to 1", {{"field", "confidence"}}};
    return write_on(target, ConfidenceChanged{0, confidence}, [](const Memory& memory, EventBody& body) -> Status {
        if (memory.forgotten) return forgotten_error(memory);
        std::get<ConfidenceChanged>(body).from = memory.confidence;
        return Done{};
    });
}

Result<Receipt> StoreEngine::supersede(const Target& target, MemoryId by) {
    return write_on(target, MemorySuperseded{by}, [&](const Memory& memory, EventBody&) -> Status {
        if (memory.forgotten) return forgotten_error(memory);
        if (by == memory.id)
            return Error{ErrorCode::invalid_argument, "a memory cannot supersede itself", {{"field", "by"}}};
        const auto other = state_of({.project = target.scope.project, .agent = {}, .user = {}, .session = {}}, by);
        if (!other) return other.error();
        return Done{};
    });
}

Result<Receipt> StoreEngine::forget(const Target& target) {
    if (target.context.reason.empty())
        return Error{ErrorCode::invalid_argument,
                     "reason is required: history shows why it was forgotten",
                     {{"field", "reason"}}};
    return write_on(target, MemoryForgotten{}, [](const Memory& memory, EventBody&) -> Status {
        if (memory.forgotten)
            return Error{
                ErrorCode::not_found, "the memory is forgotten already", {{"memory_id", to_string(memory.id)}}};
        return Done{};
    });
}

Result<Receipt> StoreEngine::restore(const Target& target) {
    return write_on(target, MemoryRestored{}, [](const Memory& memory, EventBody& body) -> Status {
        if (!memory.forgotten)
            return Error{
                ErrorCode::invalid_argument, "the memory is not forgotten", {{"memory_id", to_string(memory.id)}}};
        std::get<MemoryRestored>(body).forgotten_at = memory.seq;
        return Done{};
    });
}

Result<std::vector<EventBody>> StoreEngine::bodies_back_to(const Memory& memory, Version version) const {
    struct Vector {
        std::optional<Embedding> embedding;
        float norm = 1;
    };
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read_stream(memory.scope.project, memory.id, arena, events); !ok) return ok.error();
    std::optional<Memory> then, state;
    Vector vector_then, vector;
    for (const auto& event : events) {
        if (event.version() > memory.version) break;
        if (auto ok = apply_event(state, event); !ok) return ok.error();
        const auto body = event.unpack().body;
        if (const auto* recorded = std::get_if<MemoryRecorded>(&body))
            vector = {recorded->embedding, recorded->embedding_norm};
        if (const auto* revised = std::get_if<MemoryRevised>(&body);
            revised && (revised->embedding || revised->content))
            vector = {revised->embedding, revised->embedding_norm};
        if (event.version() != version) continue;
        then = state;
        vector_then = vector;
    }
    if (!then)
        return Error{ErrorCode::not_found,
                     "the memory has no version " + std::to_string(version.value),
                     {{"memory_id", to_string(memory.id)}, {"version", std::to_string(memory.version.value)}}};
    if (then->forgotten)
        return Error{ErrorCode::invalid_argument, "it was forgotten at that version", {{"field", "to_version"}}};

    MemoryRevised body;
    const bool other_vector = vector_then.embedding != vector.embedding;
    // A content that comes without a vector takes the vector away.
    if (then->content != memory.content || (other_vector && !vector_then.embedding)) body.content = then->content;
    if (body.content || other_vector) {
        body.embedding = vector_then.embedding;
        body.embedding_norm = vector_then.norm;
    }
    if (then->fields != memory.fields) body.fields = then->fields;
    if (then->tags != memory.tags) body.tags = then->tags;
    if (then->metadata != memory.metadata) body.metadata = then->metadata;
    if (then->occurred_at != memory.occurred_at) body.occurred_at = then->occurred_at;
    if (then->valid_from != memory.valid_from) body.valid_from = then->valid_from;
    if (then->valid_to != memory.valid_to) body.valid_to = then->valid_to;
    if (then->expires_at != memory.expires_at) body.expires_at = then->expires_at;

    std::vector<EventBody> bodies;
    if (memory.forgotten) bodies.emplace_back(MemoryRestored{memory.seq});
    if (body != MemoryRevised{}) bodies.emplace_back(std::move(body));
    if (bodies.empty())
        return Error{ErrorCode::invalid_argument, "the memory says what it said then", {{"field", "to_version"}}};
    return bodies;
}

Result<Receipt> StoreEngine::revert(const Target& target, Version to) {
    auto explained = target;
    if (explained.context.reason.empty()) explained.context.reason = "reverted to version " + std::to_string(to.value);
    // The body is what an idempotency key stands for; the events have others.
    return write_on(explained, MemoryRestored{Seq{to.value}},
                    [&](const Memory& memory, std::vector<MemoryEvent>& events) -> Status {
                        auto bodies = bodies_back_to(memory, to);
                        if (!bodies) return bodies.error();
                        events.resize(bodies->size(), events.front());
                        for (std::size_t i = 0; i < events.size(); ++i) events[i].body = std::move((*bodies)[i]);
                        return Done{};
                    });
}

Result<Timestamp> StoreEngine::recorded_at(Seq seq) const {
    if (seq == Seq{0}) return Timestamp{0};
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read(Seq{seq.value - 1}, {.events_max = 1}, arena, events); !ok) return ok.error();
    return events.front().recorded_at();
}

Result<Seq> StoreEngine::last_recorded(Timestamp up_to) const {
    // Times of record grow with seq: halve. That of `low` is not past it, that of `high` + 1 is, or it is the head.
    Seq low{0};
    for (Seq high = log_->head(); low < high;) {
        const Seq middle{high.value - (high.value - low.value) / 2};
        const auto time = recorded_at(middle);
        if (!time) return time.error();
        if (*time <= up_to)
            low = middle;
        else
            high = Seq{middle.value - 1};
    }
    return low;
}

Result<StoreEngine::Moment> StoreEngine::moment_of(const std::optional<AsOf>& as_of) const {
    if (!as_of) return Moment{std::nullopt, clock_.now()};
    const auto head = log_->head();
    const auto refuse = [&](const std::string& why) {
        return Error{ErrorCode::invalid_argument,
                     "as_of " + why + "; the head is at " + std::to_string(head.value),
                     {{"field", "as_of"}, {"head", std::to_string(head.value)}}};
    };
    Moment moment;
    if (const auto* seq = std::get_if<Seq>(&*as_of)) {
        if (*seq > head) return refuse("is past the head");
        moment.seq = *seq;
    } else {
        const auto time = std::get<Timestamp>(*as_of);
        const auto last = last_recorded(time);
        if (!last) return last.error();
        if (*last == head && time > clock_.now()) {
            const auto newest = recorded_at(head);
            if (!newest) return newest.error();
            if (time > *newest) return refuse("is a time that has not come yet");
        }
        moment.seq = *last;
    }
    const auto now = recorded_at(*moment.seq);
    if (!now) return now.error();
    moment.now = *now;
    return moment;
}

Result<Memory> StoreEngine::get(const Scope& scope, MemoryId id, const ReadOptions& read, bool include_forgotten) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = validate(scope); !ok) return ok.error();
    const auto moment = moment_of(read.as_of);
    if (!moment) return moment.error();
    if (auto ok = runtime_->wait_for(memory_view, moment->at_least(read.min_seq), read.wait_max); !ok)
        return ok.error();
    auto memory = view<MemoryView>(memory_view)->reader(moment->seq)->get(scope, id);
    if (!memory) return memory.error();
    if (!*memory) return not_found(id);
    if ((*memory)->forgotten && !include_forgotten) return forgotten_error(**memory);
    if (is_masked((*memory)->scope)) mask(**memory);
    return std::move(**memory);
}

Result<ListAnswer> StoreEngine::list(const ListRequest& request) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = check(request); !ok) return ok.error();
    const auto moment = moment_of(request.read.as_of);
    if (!moment) return moment.error();
    if (auto ok = runtime_->wait_for(memory_view, moment->at_least(request.read.min_seq), request.read.wait_max); !ok)
        return ok.error();
    auto answer = view<MemoryView>(memory_view)->reader(moment->seq)->list(request, moment->now);
    if (!answer) return answer;
    for (auto& memory : answer->memories)
        if (is_masked(memory.scope)) mask(memory);
    return answer;
}

Result<std::vector<HistoryEntry>> StoreEngine::history(const Scope& scope, MemoryId id, const ReadOptions& read) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = validate(scope); !ok) return ok.error();
    const auto moment = moment_of(read.as_of);
    if (!moment) return moment.error();
    EventArena arena;
    std::vector<EventView> events;
    if (auto ok = log_->read_stream(scope.project, id, arena, events); !ok) return ok.error();
    if (moment->seq) std::erase_if(events, [&](const EventView& event) { return event.seq() > *moment->seq; });
    if (events.empty() || !scope.contains(events.front().unpack().scope)) return not_found(id);
    std::vector<HistoryEntry> entries;
    entries.reserve(events.size());
    std::optional<Memory> state;
    for (const auto& event : events) {
        entries.push_back(to_history_entry(event));
        if (locked() && !event.user().empty()) {
            mask(entries.back());
            continue;
        }
        const auto before = state;
        if (auto ok = apply_event(state, event); !ok) return ok.error();
        if (before && state) entries.back().differences = differences(*before, *state);
    }
    return entries;
}

Result<SearchAnswer> StoreEngine::search(const SearchRequest& request) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto ok = check(request); !ok) return ok.error();
    std::optional<Normalised> vector;
    if (request.vector) {
        auto normalised = normalise(*request.vector, "vector");
        if (!normalised) return normalised.error();
        vector = std::move(*normalised);
    }
    const auto moment = moment_of(request.as_of);
    if (!moment) return moment.error();
    if (auto ok = runtime_->wait_for({}, moment->at_least(request.min_seq), request.wait_max); !ok) return ok.error();
    const auto memories = view<MemoryView>(memory_view);
    const auto texts = view<TextIndex>(text_index);
    const auto vectors = view<VectorIndex>(vector_index);
    return annal::search({.memories = *memories,
                          .texts = *texts,
                          .vectors = *vectors,
                          .embedder = options_.embedder.get(),
                          .without_users = locked()},
                         request, vector ? &vector->embedding : nullptr, moment->seq, moment->now);
}

Status StoreEngine::diff(const DiffRequest& request, const std::function<bool(const DiffEntry&)>& visit) {
    if (auto ok = check_process(); !ok) return ok;
    if (auto ok = validate(request.scope); !ok) return ok;
    const auto from = moment_of(request.from);
    if (!from) return from.error();
    const auto to = moment_of(request.to);
    if (!to) return to.error();
    if (*from->seq > *to->seq) return Error{ErrorCode::invalid_argument, "from is after to", {{"field", "from"}}};
    if (auto ok = runtime_->wait_for(memory_view, *to->seq, request.wait_max); !ok) return ok.error();

    std::vector<MemoryId> touched;
    std::unordered_set<MemoryId> seen;
    auto read = each_event(*from->seq, *to->seq, [&](const EventView& event) {
        if (event.project() == request.scope.project && changes_memory(event.type()) &&
            seen.insert(event.memory_id()).second)
            touched.push_back(event.memory_id());
        return true;
    });
    if (!read) return read;
    const auto memories = view<MemoryView>(memory_view);
    const auto then = memories->reader(from->seq);
    const auto now = memories->reader(to->seq);
    for (const auto& id : touched) {
        const auto before = then->get(request.scope, id);
        if (!before) return before.error();
        auto after = now->get(request.scope, id);
        if (!after) return after.error();
        if (!*after) continue;  // Of another scope.
        auto entry = difference(*before, std::move(**after));
        if (entry && is_masked(entry->memory.scope)) {
            mask(entry->memory);
            entry->differences.clear();
        }
        if (entry && !visit(*entry)) return Done{};
    }
    return Done{};
}

Status StoreEngine::read_stored(Seq after, Seq to, const std::function<bool(const StoredEvent&)>& visit) {
    if (auto ok = check_process(); !ok) return ok.error();
    if (auto there = log_->root(to); !there) return there.error();
    return each_event(after, to, [&](const EventView& event) {
        const auto stored = event.stored();
        const std::string_view bytes(reinterpret_cast<const char*>(stored.data()), stored.size());
        return visit({event.seq(), event_hash(event.seq(), bytes), stored});
    });
}

Status StoreEngine::append_stored(std::span<const StoredEvent> events) {
    if (auto ok = check_process(); !ok) return ok.error();
    // All are checked before any is written.
    EventArena arena;
    std::vector<EncodedEvent> encoded;
    std::vector<std::string> projects;
    for (const auto& event : events) {
        const std::string_view bytes(reinterpret_cast<const char*>(event.bytes.data()), event.bytes.size());
        const Error refused{ErrorCode::invalid_argument,
                            "event " + std::to_string(event.seq.value) + " is not what its hash says",
                            {{"seq", std::to_string(event.seq.value)}}};
        auto view = decode(event.seq, bytes, arena);
        if (!view) return Error{ErrorCode::invalid_argument, view.error().message, view.error().details};
        if (auto opened = unseal(*keystore_, *view, arena); !opened)
            return Error{ErrorCode::invalid_argument, opened.error().message, opened.error().details};
        if (event_hash(event.seq, bytes) != event.hash) return refused;
        encoded.push_back(
            {view->memory_id(), view->event_id(), view->type(), {event.bytes.begin(), event.bytes.end()}});
        projects.emplace_back(view->project());
    }
    for (std::size_t begin = 0, end = 0; begin < events.size(); begin = end) {
        std::vector<AppendItem> items;
        for (; end < events.size() && projects[end] == projects[begin]; ++end)
            items.push_back({ExpectedVersion::any(), &encoded[end]});
        AppendBatch batch;
        batch.project = projects[begin];
        batch.items = items;
        batch.stamped_from = events[begin].seq;
        batch.durability = end == events.size() ? Durability::synced : Durability::buffered;
        if (auto receipts = log_->append(batch); !receipts) return receipts.error();
    }
    return Done{};
}

template <class Visit>
Status StoreEngine::each_event(Seq after, Seq up_to, Visit&& visit) const {
    EventArena arena;
    std::vector<EventView> events;
    while (after < up_to) {
        arena.clear();
        events.clear();
        if (auto ok = log_->read(after, {}, arena, events); !ok) return ok;
        for (const auto& event : events) {
            after = event.seq();
            if (after > up_to || !visit(event)) return Done{};
        }
    }
    return Done{};
}

Status StoreEngine::read_log(Seq after, std::string_view project, const std::function<bool(const LogEntry&)>& visit) {
    if (auto ok = check_process(); !ok) return ok.error();
    return each_event(after, log_->head(), [&](const EventView& event) {
        if (!project.empty() && event.project() != project) return true;
        LogEntry entry{to_history_entry(event), event.memory_id(), event.unpack().scope};
        if (is_masked(entry.scope)) mask(entry);
        return visit(entry);
    });
}

Status StoreEngine::wait_for(Seq seq, std::chrono::milliseconds wait_max) {
    if (auto ok = check_process(); !ok) return ok;
    auto reached = runtime_->wait_for({}, seq, wait_max);
    if (!reached) return reached.error();
    return Done{};
}

Result<EngineStatus> StoreEngine::status(bool with_digests) {
    if (auto ok = check_process(); !ok) return ok.error();
    EngineStatus status;
    status.projections = runtime_->status();
    // What the log says is applied, and searched exactly, before its graph is built.
    for (auto& projection : status.projections)
        if (projection.name == vector_index && projection.state == "running" &&
            view<VectorIndex>(vector_index)->unlinked() > 0)
            projection.state = "linking";
    if (with_digests)
        for (auto& projection : status.projections) {
            auto digest = runtime_->digest(projection.name);
            if (!digest) return digest.error();
            projection.digest = std::move(*digest);
        }
    status.scrub = scrubber_->status();
    status.head_seq = log_->head();
    status.store_id = log_->store_id();
    status.epoch = log_->epoch();
    status.sealing = to_string(keystore_->state());
    status.sealing_reason = sealing_reason_;
    status.log_bytes = log_->bytes_on_disk();
    status.views_bytes = views_->bytes_on_disk();
    auto counts = view<MemoryView>(memory_view)->reader()->counts({});
    if (!counts) return counts.error();
    status.counts = std::move(*counts);
    return status;
}

Status StoreEngine::rebuild(std::string_view projection, const std::function<void(Seq, Seq)>& progress) {
    if (auto ok = check_process(); !ok) return ok;
    const auto rebuild_one = [&](std::string_view name) {
        return runtime_->rebuild(
            name, progress ? progress : [](Seq, Seq) {});
    };
    if (!projection.empty()) return rebuild_one(projection);
    for (const auto& each : runtime_->status())
        if (auto ok = rebuild_one(each.name); !ok) return ok;
    return Done{};
}

Result<VerifyReport> StoreEngine::verify(
    const VerifyOptions& options, const std::function<void(std::string_view, std::uint64_t, std::uint64_t)>& progress) {
    if (auto ok = check_process(); !ok) return ok.error();
    return annal::verify(*log_, *views_, *runtime_, options, progress);
}

Status StoreEngine::change_root_key(const std::filesystem::path& file) {
    if (auto ok = check_process(); !ok) return ok;
    auto next = RootKey::read_file(file, options_.directory);
    if (!next) return next.error();
    return keystore_->change_root_key(*std::move(next));
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::open(EngineOptions options) {
    return StoreEngine::open(std::move(options));
}

Result<BackupInfo> restore_backup(const std::filesystem::path& backups, std::uint32_t id,
                                  const std::filesystem::path& target, const BackupProgress& progress) {
    std::error_code failure;
    if (std::filesystem::exists(target, failure) && !std::filesystem::is_empty(target, failure))
        return Error{ErrorCode::already_exists, "the directory to restore into is not empty", {{"field", "store"}}};
    return restore_backup(backups, id, target / "log", system_clock(), {}, progress);
}

}  // namespace annal
