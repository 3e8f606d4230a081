// The engine: the one door to a store. Every write becomes an immutable event in its log; every read is answered from
// projections of the log.
// Threads:    every method may be called from any thread. After fork(), the child gets `unavailable` from every call:
//             open after fork.
// Ownership:  one process owns a store at a time; a second open gets `already_exists`. Close an engine before main
//             returns: what its threads use does not outlive objects of static storage.
// Durability: a write returns when its events are on disk (`synced`), or handed to the operating system (`buffered`).
// Order:      a read sees what its projections have applied. Pass a receipt's seq as `min_seq` to see your own write;
//             every answer says which seq it reflects.
#pragma once

#include <annal/embedder.h>
#include <annal/memory.h>
#include <annal/result.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace annal {

enum class Durability : std::uint8_t {
    synced,    // After fsync: survives power loss.
    buffered,  // After write: survives the process, not the machine.
};

// What the stream must look like for a write to go through.
struct ExpectedVersion {
    enum class Is : std::uint8_t { any, absent, exactly };
    Is is = Is::any;
    Version version{};  // For `exactly`.
    static ExpectedVersion any() { return {}; }
    static ExpectedVersion absent() { return {Is::absent, {}}; }
    static ExpectedVersion exactly(Version version) { return {Is::exactly, version}; }
};

struct Receipt {
    MemoryId memory_id{};
    EventId event_id{};
    Seq seq{};
    Version version{};
    std::array<std::uint8_t, 32> hash{};  // SHA-256 of the event and its place: docs/decisions/0002-durability.md.
    bool replayed = false;                // The idempotency key was seen before: nothing was written.
};

// What every write may say about itself.
struct WriteContext {
    std::string actor{};  // Who causes it: agent id, user id, policy name. The scope's agent or user when empty.
    Source source{};
    std::string reason{};
    std::string correlation_id{};
    std::string causation_id{};
    // Same key, same request: the first receipt, and nothing is written. Same key, other request: conflict. Per
    // project.
    std::string idempotency_key{};
    std::optional<Durability> durability{};  // The engine's when unset.
};

struct RecordRequest {
    Scope scope{};
    std::string content{};  // UTF-8; see limits.h for every limit.
    KindFields fields{};    // Holds the kind; a note when unset.
    std::vector<std::string> tags{};
    std::string metadata = "null";  // Any JSON value, as text; read back equal.
    Claim claim = Claim::observation;
    double confidence = 1.0;  // 0..1
    std::uint64_t occurrence_count = 0;
    std::uint64_t success_count = 0;  // At most occurrence_count.
    std::optional<Timestamp> occurred_at{};
    std::optional<Timestamp> valid_from{};
    std::optional<Timestamp> valid_to{};
    std::optional<Timestamp> expires_at{};
    std::optional<Embedding> embedding{};
    // Made when unset. already_exists when the store has it. UUIDs of version 8 are the engine's own.
    std::optional<MemoryId> memory_id{};
    WriteContext context{};
};

// Names a memory for a write. `scope.project` is required; a memory outside `scope` is not_found.
struct Target {
    Scope scope{};
    MemoryId memory_id{};
    ExpectedVersion expected_version{};  // `absent` is invalid here.
    WriteContext context{};
};

struct ReviseRequest {  // Only what is set changes; at least one must be.
    Target target{};
    std::optional<std::string> content{};
    std::optional<KindFields> fields{};  // Of the memory's own kind.
    std::optional<std::vector<std::string>> tags{};
    std::optional<std::string> metadata{};
    std::optional<Timestamp> occurred_at{};
    std::optional<Timestamp> valid_from{};
    std::optional<Timestamp> valid_to{};
    std::optional<Timestamp> expires_at{};
    std::optional<Embedding>
        embedding{};  // A new content without one drops the old vector: it told of the old content.
};

// What a search or list may be narrowed by. Every condition set must hold.
struct Filter {
    std::vector<Kind> kinds{};        // Any of them.
    std::vector<std::string> tags{};  // All of them.
    std::vector<Claim> claims{};      // Any of them.
    std::optional<double> confidence_min{};
    std::optional<Timestamp> occurred_from{};  // occurred_at >= from
    std::optional<Timestamp> occurred_to{};    // occurred_at < to
    std::optional<Timestamp> recorded_from{};
    std::optional<Timestamp> recorded_to{};
    std::optional<Timestamp> valid_at{};  // valid_from <= t < valid_to, an unset end being open
    struct Metadata {
        std::string path{};                   // "key" or "key.inner"
        std::optional<std::string> equals{};  // JSON text; unset: the key exists
        std::optional<double> at_least{};     // Numbers only
        std::optional<double> at_most{};
    };
    std::vector<Metadata> metadata{};
};

// A moment of the log: after the event of that seq, or after the last event recorded at or before that time. A read as
// of it answers as a store would whose log ends there, ranking statistics and all; the answer's seq is that moment's,
// and an expiry is judged at the time its last event was recorded. Before the first event: the empty store. A seq past
// the head, or a time that has not come yet: invalid_argument, details: head.
using AsOf = std::variant<Seq, Timestamp>;

struct ReadOptions {
    Seq min_seq{};                             // Wait until the projections asked have applied it (and `as_of`),
    std::chrono::milliseconds wait_max{5000};  // at most this long; then deadline_exceeded.
    std::optional<AsOf> as_of{};               // Unset: the newest state.
};

enum class SearchMode : std::uint8_t { hybrid, text, vector };  // Stored numbers: never change one.
inline constexpr std::array<std::string_view, 3> search_mode_names{"hybrid", "text", "vector"};

struct SearchRequest {
    Scope scope{};       // No hit comes from outside it.
    std::string text{};  // UTF-8; may be empty when `vector` is set.
    std::optional<Embedding> vector{};
    std::string
        model{};  // By whose vectors a text is searched, of those that the engine embeds with; empty: see use_model().
    SearchMode mode = SearchMode::hybrid;
    std::size_t limit = 10;  // 1..1000
    Filter filter{};
    Seq min_seq{};
    std::chrono::milliseconds wait_max{5000};
    std::optional<AsOf> as_of{};
    // Set: the hits are context of that run of an agent, and the log says so from now on, as by recall(). At most
    // limits::recall_memories_max of them. A search without hits leaves nothing.
    std::string run_id{};
};

struct HitParts {  // Why a hit is where it is. Ranks count from 1; 0: not among that arm's candidates.
    std::uint32_t text_rank = 0;
    std::uint32_t vector_rank = 0;
    double text = 0;        // The text ranking's score; what follows are its parts.
    double own = 0;         // BM25 of the memory's own terms.
    double neighbours = 0;  // What neighbours in the session lent.
    double session = 0;     // What the rest of the session lent.
    double speaker = 1;     // Factor: the query names who spoke.
    double question = 1;    // Factor: a question asks for what the answer tells.
    double similarity = 0;  // Cosine, of the vector arm.
    std::vector<std::string> matched_terms{};
};

struct Hit {
    Memory memory{};
    double score = 0;
    HitParts parts{};
};

struct SearchAnswer {
    std::vector<Hit> hits{};  // Best first; ties by created_seq.
    // All projections asked have applied this much; but vectors that a model has not made yet are missing without it
    // being less: `degraded` says how far they are.
    Seq seq{};
    std::vector<std::string> degraded{};  // What was not at its best, in words: empty when all was.
    // The last of the events that say what the run was given; Seq{0}: there are none. That they could not be written is
    // in `degraded`, and no error: who asked has his answer.
    Seq recalled_seq{};
};

// What a host gives to a run of an agent, when it is not all that a search found and nothing else.
struct RecalledMemory {
    MemoryId memory_id{};
    std::uint32_t rank = 0;  // From 1: its place in what was found.
    double score = 0;        // Finite.
};
struct RecallRequest {
    Scope scope{};         // The run's: who may see this is whose scope contains it. All memories are of it.
    std::string run_id{};  // The host's name for the run; the same with each of its requests.
    std::string actor{};   // The scope's agent or user when empty.
    std::string query{};   // What they were given for.
    std::vector<RecalledMemory> memories{};  // 1 to limits::recall_memories_max, each once, in the order given.
    // What was read: an answer's `seq`, or the head when unset. invalid_argument when a memory was not there yet.
    std::optional<Seq> as_of{};
    std::optional<SearchMode> mode{};  // How they were found, if by a search.
    bool by_vector = false;            // Its query had a vector.
};

// That a memory was given to a run. Unless it is plain, only what is before `memory_id` is set, and the scope has the
// user whose key it is sealed under.
struct Recall {
    Seq seq{};
    Timestamp recorded_at{};
    Scope scope{};  // The run's.
    Payload payload = Payload::plain;
    MemoryId memory_id{};
    Seq together{};  // The same for all that was given together.
    std::string run_id{};
    std::string actor{};
    std::string query{};
    std::uint32_t rank = 0;
    double score = 0;
    Seq as_of{};  // The memory was given as it was then.
    std::optional<SearchMode> mode{};
    bool by_vector = false;
};

struct RecallsRequest {
    Scope scope{};
    MemoryId memory_id{};
    std::size_t limit = 100;      // Recalls looked at, 1..1000; those that the scope does not contain are not shown.
    std::optional<Seq> before{};  // Go on from a page's `next`.
    ReadOptions read{};
};
struct RecallsAnswer {
    std::vector<Recall> recalls{};  // Newest first.
    std::optional<Seq> next{};      // Unset at the end.
    Seq seq{};
};

// What became of a memory since it was, or was not, given.
enum class SinceThen : std::uint8_t { same, changed, superseded, forgotten, gone };
inline constexpr std::array<std::string_view, 5> since_then_names{"same", "changed", "superseded", "forgotten", "gone"};

struct RunMemory {
    MemoryId memory_id{};
    std::uint32_t rank = 0;  // As recorded; of one that was not given, in the search that was made again.
    double score = 0;
    HitParts parts{};                // Of the search that was made again, if that found it.
    std::optional<Memory> memory{};  // As it was then; nullopt: it was erased.
    SinceThen since{};
};

// What a run was given together.
struct RunContext {
    Seq seq{};  // Of the first event that says so, of those that can be read.
    Timestamp recorded_at{};
    Scope scope{};  // The run's.
    std::string actor{};
    std::string query{};
    std::optional<SearchMode> mode{};
    bool by_vector = false;
    Seq as_of{};
    std::vector<RunMemory> given{};  // In the order given.
    // What the same search finds beside them as of then, best first. The filter of then is not known: what it kept out
    // is here.
    std::vector<RunMemory> not_given{};
    std::vector<std::string> degraded{};  // In what the search that was made again differs.
};

struct ExplainRequest {
    Scope scope{};
    std::string run_id{};
    std::size_t not_given_max = 10;  // For each context, 0..1000. 0: nothing is searched again.
    std::size_t limit = 20;          // Contexts, 1..100.
    std::optional<Seq> after{};      // Go on from a page's `next`.
    ReadOptions read{};
};
struct RunAnswer {
    std::vector<RunContext> contexts{};  // Oldest first.
    std::uint64_t erased = 0;            // More memories that were given: what says so of them was erased,
    std::uint64_t sealed = 0;            // or cannot be read, since the store is locked.
    std::optional<Seq> next{};           // Unset at the end.
    Seq seq{};
};

enum class ListOrder : std::uint8_t { newest_first, oldest_first, confidence };  // By created_seq; or highest first.

struct ListRequest {
    Scope scope{};
    Filter filter{};
    ListOrder order = ListOrder::newest_first;
    std::size_t limit = 50;  // 1..1000
    std::string cursor{};    // Of the page before; opaque. invalid_argument when it is not one of ours.
    bool include_forgotten = false;
    ReadOptions read{};
};

struct ListAnswer {
    std::vector<Memory> memories{};
    std::string next_cursor{};  // Empty at the end. Pages are stable while others write.
    Seq seq{};
    std::uint64_t keys_scanned = 0;
};

// One field of a memory at two moments, as JSON text of the value `get` shows; "null" where it had none.
struct FieldChange {
    std::string field{};
    std::string was{};
    std::string is{};
    bool operator==(const FieldChange&) const = default;
};

struct HistoryEntry {
    Seq seq{};
    Version version{};
    EventId event_id{};
    std::string type{};  // "MemoryRecorded", ...
    Timestamp recorded_at{};
    std::string actor{};
    Source source{};
    std::string reason{};
    std::string correlation_id{};
    std::string causation_id{};
    // A JSON object of what the event carries; {"sealed":true} or {"erased":true}.
    std::string changes{};
    std::vector<FieldChange> differences{};  // To the version before; of history() alone, none for the first.
};

enum class DiffKind : std::uint8_t { added, changed, forgotten, superseded, restored };
inline constexpr std::array<std::string_view, 5> diff_kind_names{"added", "changed", "forgotten", "superseded",
                                                                 "restored"};

struct DiffRequest {
    Scope scope{};
    AsOf from{Seq{0}};
    AsOf to{Seq{0}};  // invalid_argument when it is before `from`.
    std::chrono::milliseconds wait_max{5000};
};

struct DiffEntry {
    DiffKind kind{};
    Memory memory{};                         // As of `to`.
    Version from_version{};                  // As of `from`; Version{0}: it was not there.
    std::vector<FieldChange> differences{};  // None for an added one.
};

struct ProjectionStatus {
    std::string name{};
    std::uint32_t version = 0;
    std::uint64_t generation = 0;  // Raised by every rebuild.
    Seq applied_seq{};
    std::uint64_t lag_events = 0;
    double lag_seconds = 0;
    // running, linking (vectors wait for their graph), embedding (it waits for vectors of its model), rebuilding,
    // stopped, failed, sealed (waits for the root key)
    std::string state{};
    std::string error{};  // The last one, if any.
    std::uint64_t quarantined = 0;
    std::string digest{};  // SHA-256 of the state, hex; only when asked for.
    std::string note{};    // What was found and mended at open, in words.
    // During a rebuild that a healthy projection answers through: the generation to come. 0: there is none.
    std::uint64_t building_generation = 0;
    Seq building_seq{};  // What it has applied.
};

// The vectors of a model: docs/embedding.md.
struct EmbeddingStatus {
    std::string model{};
    std::size_t dimension = 0;
    std::string projection{};    // Of their index.
    bool active = false;         // Text is searched by it.
    bool asked = false;          // It was given at open: what is written gets vectors.
    std::uint64_t memories = 0;  // Live ones,
    std::uint64_t vectors = 0;   // and those of them that have a vector of the model, whoever made it.
    std::uint64_t without = 0;   // Texts that the model has no vector for: it does not take them.
    std::uint64_t made = 0;      // Vectors it was asked for since the store was opened.
    std::uint64_t lag_events = 0;
    std::string error{};       // Why nothing gets on.
    double coverage() const {  // Per cent.
        return memories == 0 ? 100.0
                             : 100.0 * static_cast<double>(std::min(vectors, memories)) / static_cast<double>(memories);
    }
};

// The background check of stored bytes.
struct ScrubStatus {
    std::uint64_t bytes_per_second = 0;    // 0: off.
    std::optional<Timestamp> last_pass{};  // When the last full one ended.
    std::uint64_t errors = 0;              // Found by it, and by the one under way.
    std::string error{};                   // The last of them.
};

struct Check {
    enum class State : std::uint8_t { ok, failed, skipped };
    // log.files, .events, .streams, .idempotency and .tree, views.files, embeddings.files and .rows (when there are
    // any), views.<projection>
    std::string name{};
    State state = State::ok;
    // The first difference, or why it was skipped, in words without memory text; of a projection that is well, what the
    // open found and mended.
    std::string found{};
    Seq seq{};                // Compared as of here.
    std::uint64_t count = 0;  // Files, events or rows that were compared.
    double seconds = 0;
};
inline constexpr std::array<std::string_view, 3> check_state_names{"ok", "failed", "skipped"};

struct VerifyOptions {
    bool projections = true;  // Each against a fresh fold: takes as long as a rebuild, and its space on disk meanwhile.
};

struct VerifyReport {
    Seq seq{};  // The head it was begun at.
    std::vector<Check> checks{};
    bool all_well() const {  // Nothing failed, nothing was skipped.
        return std::all_of(checks.begin(), checks.end(),
                           [](const Check& check) { return check.state == Check::State::ok; });
    }
};

// What of the log was moved to its archive.
struct ArchiveStatus {
    Seq archived_seq{};       // Up to this event; Seq{0}: nothing.
    Timestamp recorded_at{};  // Of that event.
    std::uint64_t segments = 0;
    std::uint64_t bytes = 0;             // Of their files.
    std::vector<std::string> missing{};  // Files that are not where they are looked for: their events cannot be read.
};

struct EngineStatus {
    Seq head_seq{};
    std::string store_id{};
    std::uint64_t epoch = 0;  // Of the log: from 1; raised when it goes on from an older state.
    std::uint64_t log_bytes = 0;
    std::uint64_t views_bytes = 0;
    ArchiveStatus archive{};
    std::vector<ProjectionStatus> projections{};
    std::vector<EmbeddingStatus> embeddings{};
    ScrubStatus scrub{};
    std::vector<std::pair<std::string, std::uint64_t>> counts{};  // Live memories by kind.
    std::string sealing{};                                        // off, locked, unlocked: docs/sealing.md
    std::string sealing_reason{};                                 // Why it is not unlocked.
    std::uint64_t unfinished_erasures = 0;                        // Begun, and interrupted: erase again, or reopen.
};

// Whose memories are to be gone for good: of one user in one project.
struct EraseRequest {
    std::string project{};
    std::string user{};
    std::string actor{};   // Who asks; the user when empty.
    std::string reason{};  // In the clear in the log, like the names of project and user.
};

struct ErasureReceipt {
    Seq requested_at{};  // The event after which nothing of the user's before it can be read.
    Seq completed_at{};  // The event that says that it was done.
    std::uint64_t memories = 0;
    std::uint64_t events = 0;
    // Of them, those that were stored before sealing was on: no answer shows them, but the log's files and backups hold
    // them in the clear.
    std::uint64_t unsealed_events = 0;
    std::uint64_t refused_values = 0;  // Contents that are not taken again, as the user's or as nobody's.
    std::uint64_t keystore_epoch = 0;  // The first without the user's key. Keystores of lower ones still have it.
    std::string head{};                // The signed head with both events (docs/audit.md).
};

struct StoredEvent {  // As the log stores it; the bytes are borrowed.
    Seq seq{};
    std::array<std::uint8_t, 32> hash{};  // The receipt's.
    std::span<const std::uint8_t> bytes{};
};

struct BackupInfo {
    std::uint32_t id = 0;  // From 1, in its directory.
    std::string store_id{};
    std::uint64_t epoch = 0;              // Of the log: raised by every restore.
    Seq seq{};                            // Its last event.
    std::array<std::uint8_t, 32> root{};  // Of the Merkle tree over its events.
    std::uint64_t bytes = 0;
    Timestamp created_at{};
};

// Makes the store `target`, a directory that is not there or empty, of a backup (0: the newest). Its views are made
// when it is opened. already_exists: the target is not empty. not_found: no such backup. data_loss: it is damaged.
Result<BackupInfo> restore_backup(
    const std::filesystem::path& backups, std::uint32_t id, const std::filesystem::path& target,
    const std::function<void(std::uint64_t checked, std::uint64_t events)>& progress = {});

struct ArchivedSegment {
    Seq first{};
    Seq last{};
    std::filesystem::path file{};
    std::uint64_t bytes = 0;
    std::array<std::uint8_t, 32> root{};  // Of the Merkle tree over all events up to the last.
    bool was_there = false;               // Written by a run that was cut off, and found whole.
};

struct ArchiveReport {
    std::vector<ArchivedSegment> segments{};  // Moved now, oldest first.
    Seq archived_seq{};                       // Events up to this one are in the archive.
};

struct ReadArchiveOptions {
    std::filesystem::path path{};  // A segment, or a directory of them.
    std::string verifier_key{};    // Of the store; empty: signed heads are not verified.
    // The store whose keystore opens what is sealed, with the root key as in EngineOptions; empty: it is shown sealed.
    std::filesystem::path store{};
    std::filesystem::path root_key_file{};
    std::string root_key_variable{};
};

struct SegmentReport {  // A segment that was read, and is whole.
    std::string file{};
    std::string store_id{};
    std::uint64_t epoch = 0;
    Seq first{};
    Seq last{};
    std::array<std::uint8_t, 32> root{};
    std::string signed_head{};  // Of its last event; empty: it has none.
    bool verified = false;      // The head is the key's, and of these events.
};

struct EngineOptions {
    std::filesystem::path directory{};
    bool create_if_missing = true;
    Durability durability = Durability::synced;
    // What text is searched by, and is asked in the background for a vector of each memory that came without one of its
    // model. Null: vectors come from the caller alone.
    std::shared_ptr<Embedder> embedder{};
    // Other models that get their vectors beside it: use_model(). Each name once.
    std::vector<std::shared_ptr<Embedder>> other_embedders{};
    bool embed_in_background = true;                    // False: they are asked for queries alone.
    std::chrono::milliseconds embed_retry_max{30'000};  // Between two tries of a model that fails.
    // Where the root key is, the file first: 32 bytes raw, as hex or base64 (docs/sealing.md). Empty, or a variable
    // that is not set: none. With one, what has a user is sealed; without, a store with a keystore is locked: what it
    // knows of a user is masked, and no write takes one.
    std::filesystem::path root_key_file{};
    std::string root_key_variable{};
    Clock* clock = nullptr;  // Null: the system's.
    // At most so much is read by the background check, which goes over log and views once a day. 0: off.
    std::uint64_t scrub_bytes_per_second = std::uint64_t{4} << 20;
    // Told of what an operator should know (recovery, rebuilds, failures). Any thread. Never memory text.
    std::function<void(std::string_view level, std::string_view message)> on_message{};
};

struct ChangesRequest;  // changes.h
struct Changes;

class Engine {
 public:
    // already_exists: another process has the store. not_found: none there and create_if_missing is false.
    // data_loss: the log's bytes fail their checks; details say `head` and `acknowledged`. Or the keystore is missing.
    // There is no keystore yet, and the root key that was named cannot be read: its own error (events/root_key.h).
    static Result<std::unique_ptr<Engine>> open(EngineOptions options);
    virtual ~Engine() = default;  // Finishes what is acknowledged, saves snapshots, closes.

    // Of every write: permission_denied: the memory is a user's, and the store is locked; or its content was erased or
    // forgotten for good (details: reason, `erased` or `forgotten_for_good`), or, in a locked store, may have been.
    virtual Result<Receipt> record(const RecordRequest& request) = 0;
    // One atomic append: all of them or none; one idempotency key, the first request's.
    virtual Result<std::vector<Receipt>> record_batch(std::span<const RecordRequest> requests) = 0;
    virtual Result<Receipt> revise(const ReviseRequest& request) = 0;
    virtual Result<Receipt> reinforce(const Target& target, bool success) = 0;
    virtual Result<Receipt> promote_claim(const Target& target, Claim claim) = 0;
    virtual Result<Receipt> change_confidence(const Target& target, double confidence) = 0;
    virtual Result<Receipt> supersede(const Target& target, MemoryId by) = 0;
    // The context's reason is required. `for_good`: it cannot be restored, and what it says or ever said is refused
    // from now on, as a memory of the same user (or of none, if it had none) and as one of no user, in this project.
    virtual Result<Receipt> forget(const Target& target, bool for_good = false) = 0;
    // invalid_argument: it is not forgotten. permission_denied: it is forgotten for good.
    virtual Result<Receipt> restore(const Target& target) = 0;
    // Destroys the user's key, removes what the views have of him, and refuses his contents from then on:
    // docs/sealing.md. Blocks writes while keys are destroyed, and returns when the views have been made anew; reads go
    // on, without him. What he writes afterwards is his anew. permission_denied: the store is not unlocked. Any other
    // error: it may have begun, and goes on with the next call for him, or open; until then his writes are
    // `unavailable`, and his memories gone from every answer.
    virtual Result<ErasureReceipt> erase(
        const EraseRequest& request,
        const std::function<void(std::string_view projection, Seq applied, Seq head)>& progress = {}) = 0;
    // Brings back what the memory said at that version (content, fields, tags, metadata, times, vector), by a new
    // MemoryRevised, after a MemoryRestored when it is forgotten; both or none, the receipt is the last one's. Claim,
    // confidence and counters stay: they have events of their own. not_found: it has no such version.
    // invalid_argument: it was forgotten then, or says the same now.
    virtual Result<Receipt> revert(const Target& target, Version to) = 0;
    // Says what a run was given: one event for each memory, all of them or none, buffered. A memory's own stream and
    // version stay as they are. not_found: a memory that is not there, or outside of the scope.
    virtual Result<std::vector<Receipt>> recall(const RecallRequest& request) = 0;

    // A forgotten memory is not_found unless asked for.
    virtual Result<Memory> get(const Scope& scope, MemoryId id, const ReadOptions& read = {},
                               bool include_forgotten = false) = 0;
    // The vector that the memory was given, of unit length, as it is stored; nullopt: none. Fails as get() does, and
    // with permission_denied when it is sealed.
    virtual Result<std::optional<Embedding>> embedding(const Scope& scope, MemoryId id,
                                                       const ReadOptions& read = {}) = 0;
    virtual Result<ListAnswer> list(const ListRequest& request) = 0;
    virtual Result<std::vector<HistoryEntry>> history(const Scope& scope, MemoryId id,
                                                      const ReadOptions& read = {}) = 0;
    virtual Result<SearchAnswer> search(const SearchRequest& request) = 0;
    // To which runs a memory was given. Runs of scopes that the request's does not contain are left out.
    virtual Result<RecallsAnswer> recalls(const RecallsRequest& request) = 0;
    // What a run was given, and what was known and not given. not_found: no such run in the scope.
    virtual Result<RunAnswer> explain(const ExplainRequest& request) = 0;
    // Calls `visit` for each memory of the scope that events in (from, to] left different, in the order of its first
    // event there, until it returns false. A memory both restored and changed is `restored`, with its differences.
    virtual Status diff(const DiffRequest& request, const std::function<bool(const DiffEntry&)>& visit) = 0;

    // Calls `visit` for each event with seq in (after, head], in order, until it returns false. `project` narrows.
    struct LogEntry : HistoryEntry {
        MemoryId memory_id{};
        Scope scope{};
    };
    virtual Status read_log(Seq after, std::string_view project, const std::function<bool(const LogEntry&)>& visit) = 0;

    // The events of (after, to] as they are stored, in order, until `visit` returns false. invalid_argument: `to` is
    // beyond the head.
    virtual Status read_stored(Seq after, Seq to, const std::function<bool(const StoredEvent&)>& visit) = 0;
    // What a part of the log changed, for who keeps a copy of the memories elsewhere (changes.h). `after` and `up_to`
    // equal: the hash alone. invalid_argument: `after` is beyond the head (details: head), or past `up_to`.
    // permission_denied: the store is locked, and the part has something of a user's. deadline_exceeded: the memory
    // view lags.
    virtual Result<Changes> changes(const ChangesRequest& request) = 0;
    // Takes over what read_stored gave of another log: the events that follow this head(), with their ids, times and
    // versions. Those of one project that stand together come in all or not at all. invalid_argument: an event is not
    // what its hash says, or not a whole one. conflict: it does not follow what is there.
    virtual Status append_stored(std::span<const StoredEvent> events) = 0;
    // Of the Merkle tree over the first `size` events. invalid_argument: beyond the head.
    virtual Result<std::array<std::uint8_t, 32>> root(Seq size) = 0;

    // For who does not trust this process: the texts that annal-verify-proof takes (docs/audit.md).
    // The signed head of all that is durable: its size is the seq of the last event.
    virtual Result<std::string> signed_head() = 0;
    virtual std::string verifier_key() const = 0;  // What a head is verified with.
    // That an event is in the log of the first `size` events. invalid_argument: not 0 < seq <= size <= head.
    virtual Result<std::string> prove_inclusion(Seq seq, Seq size) = 0;
    // That the log of the first `older` events is the beginning of that of the first `newer`. invalid_argument: not
    // 0 < older <= newer <= head.
    virtual Result<std::string> prove_consistency(Seq older, Seq newer) = 0;

    // Copies the log into a directory of backups while writes go on; what an earlier backup there has is not copied
    // again. The copy is opened and every event of it hashed before this returns. `keep`: how many to keep; 0: all.
    // The segments of its archive are in it, too, for all backups there. Keys are not in it: without them what is
    // sealed cannot be read. already_exists: a backup into that directory is under way. invalid_argument: it holds
    // backups of another store. unavailable: also when a segment is missing that no earlier backup has.
    virtual Result<BackupInfo> backup(
        const std::filesystem::path& directory, std::size_t keep = 0,
        const std::function<void(std::uint64_t checked, std::uint64_t events)>& progress = {}) = 0;

    // Moves the oldest events, those before `before`, out of the log into segments in `directory` (empty: `archive` in
    // the store's), as far as they are whole ranges of 256 and not among the last 256. They are read from there as from
    // the log by whatever asks for them; proofs and writes do without. What answers from views does not look there.
    // While a segment is not where it was written to, nor in the store's `archive`, a read that needs it is
    // `unavailable`, and says which. already_exists: another file has a segment's name. invalid_argument: `before` is a
    // seq past what follows the head.
    virtual Result<ArchiveReport> archive(
        const AsOf& before, const std::filesystem::path& directory = {},
        const std::function<void(std::uint64_t moved, std::uint64_t events)>& progress = {}) = 0;

    virtual Seq head() const = 0;
    // By which model's vectors text is searched from now on, until the engine is closed. not_found: no embedder of that
    // model was given at open.
    virtual Status use_model(std::string_view model) = 0;
    // Removes all that a model of before said; its index goes with the next open. invalid_argument: it was given at
    // open. not_found: there is none.
    virtual Status drop_model(std::string_view model, std::size_t dimension) = 0;
    // Until every projection has applied `seq`, those of models that are asked included. deadline_exceeded; details
    // name the one that lags. unavailable: a model fails.
    virtual Status wait_for(Seq seq, std::chrono::milliseconds wait_max) = 0;
    virtual Result<EngineStatus> status(bool with_digests = false) = 0;
    // Replays the log into a new generation beside the one that answers, and swaps them when it has caught up; empty:
    // all projections, one after the other. Reads are answered throughout. An error: nothing has changed.
    virtual Status rebuild(std::string_view projection,
                           const std::function<void(Seq applied, Seq head)>& progress = {}) = 0;
    // Reads all there is and compares it: files block by block, events, indexes of the log, each projection with a
    // fresh fold of the log. Writes and reads go on meanwhile; memory is bounded. `progress` of a check may tell more
    // done than there was to do.
    virtual Result<VerifyReport> verify(
        const VerifyOptions& options = {},
        const std::function<void(std::string_view check, std::uint64_t done, std::uint64_t all)>& progress = {}) = 0;

    // From its return on, the key in `file` opens the store, and the former one does not. When it fails, keep both.
    // permission_denied: the store is not unlocked.
    virtual Status change_root_key(const std::filesystem::path& file) = 0;
};

// Reads and checks segments without the log that they are of: that no event of one is missing or another than its hash
// says, that they lead to its root, which is the signed head's, and that each goes on from the one before it. Calls
// `visit` for the events with seq past `after`, in order; after it returned false, the rest is checked only.
// data_loss: a segment is damaged, cut off, or no segment at all, or its head is not the key's. not_found: no such
// file. already_exists: the store is open elsewhere.
Result<std::vector<SegmentReport>> read_archive(const ReadArchiveOptions& options, Seq after,
                                                const std::function<bool(const Engine::LogEntry&)>& visit);

}  // namespace annal
