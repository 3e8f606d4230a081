// The engine over a store's directory: log, keystore, views and what drives them. Its parts:
//   engine.cpp          opening, closing, the state of the whole
//   engine_writes.cpp   commands into events
//   engine_reads.cpp    answers from the views, and from the log where the views are not asked
//   engine_embed.cpp    what models make vectors of, and how far they are
//   engine_erase.cpp    erasures, and the values that are refused
//   engine_recalls.cpp  what agents were given: written down, and told again
//   engine_operate.cpp  events in and out, the archive, rebuilds and checks
#pragma once

#include "embedding_filler.h"
#include "scrubber.h"

#include "events/event_log.h"
#include "events/keystore.h"
#include "events/log_proofs.h"
#include "projections/embedding_store.h"
#include "projections/recall_view.h"
#include "projections/runtime.h"

#include <annal/engine.h>

#include <unistd.h>

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annal {

inline constexpr std::string_view memory_view = "memory_view", text_index = "text", vector_index = "vectors",
                                  recall_view = "recalls";

Error memory_not_found(const MemoryId& id);
Error memory_forgotten(const Memory& memory);
// That the options name. nullopt: they name none.
Result<std::optional<RootKey>> root_key_of(const EngineOptions& options);

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
    Result<Receipt> forget(const Target& target, bool for_good) override;
    Result<Receipt> restore(const Target& target) override;
    Result<Receipt> revert(const Target& target, Version to) override;
    Result<ErasureReceipt> erase(const EraseRequest& request,
                                 const std::function<void(std::string_view, Seq, Seq)>& progress) override;
    Result<std::vector<Receipt>> recall(const RecallRequest& request) override;

    Result<Memory> get(const Scope& scope, MemoryId id, const ReadOptions& read, bool include_forgotten) override;
    Result<std::optional<Embedding>> embedding(const Scope& scope, MemoryId id, const ReadOptions& read) override;
    Result<ListAnswer> list(const ListRequest& request) override;
    Result<std::vector<HistoryEntry>> history(const Scope& scope, MemoryId id, const ReadOptions& read) override;
    Result<SearchAnswer> search(const SearchRequest& request) override;
    Result<RecallsAnswer> recalls(const RecallsRequest& request) override;
    Result<RunAnswer> explain(const ExplainRequest& request) override;
    Status diff(const DiffRequest& request, const std::function<bool(const DiffEntry&)>& visit) override;
    Status read_log(Seq after, std::string_view project, const std::function<bool(const LogEntry&)>& visit) override;

    Status read_stored(Seq after, Seq to, const std::function<bool(const StoredEvent&)>& visit) override;
    Result<Changes> changes(const ChangesRequest& request) override;
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

    Result<ArchiveReport> archive(const AsOf& before, const std::filesystem::path& directory,
                                  const std::function<void(std::uint64_t, std::uint64_t)>& progress) override;

    Seq head() const override { return log_->head(); }
    Status use_model(std::string_view model) override;
    Status drop_model(std::string_view model, std::size_t dimension) override;
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
                                        const WriteContext& context, const RequestKey& asked,
                                        std::span<const ValueTombstone> refused = {});
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
    // The same, with writes_mutex_ held. What `complete` puts into `refused` is refused from then on.
    template <class Complete>
    Result<Receipt> write_alone(const Target& target, EventBody body, Complete complete,
                                const std::vector<ValueTombstone>& refused);

    // An erasure, from the event that asks for it to the one that ends it. Between the two it is unfinished:
    // `unfinished_` has it, reads leave its memories out, and the next open goes on with it.
    struct Subjects;
    Status find_subject(const EraseRequest& request, Seq after, Seq up_to, Subjects& found) const;
    Result<Erasure> ask_to_erase(const EraseRequest& request, const Subjects& found);
    Status destroy_keys(std::span<const Erasure> erasures);
    Status purge_views(const std::function<void(std::string_view, Seq, Seq)>& progress);
    Result<Seq> complete(const Erasure& erasure);  // Where it says so.
    Status resume_erasures();                      // At open, before the views are.
    Status complete_erasures();                    // And after.
    void load_unfinished();
    bool is_gone(const Memory& memory) const;
    Status check_not_being_erased(const Scope& scope) const;

    // By which a value is known again: with the key first, if there is one.
    Result<std::vector<TombstoneHash>> value_hashes(std::string_view project, std::string_view user,
                                                    std::string_view value) const;
    // Those that refuse a content of such a scope.
    Status add_tombstones(const Scope& scope, std::string_view content, TombstoneReason reason,
                          std::vector<ValueTombstone>& to) const;
    Status check_not_refused(const MemoryEvent& event) const;
    // Calls visit(content) for what the memory says and ever said.
    Status each_content(const Memory& memory, const std::function<Status(std::string_view)>& visit) const;
    Status check_may_be_restored(const Memory& forgotten) const;

    // One event for each, of the memory's user, in the run's stream.
    struct Given {
        RecalledMemory memory;
        std::string_view user;
        Seq created;
        Seq as_of;
    };
    Result<std::vector<Receipt>> append_recalls(const RecallRequest& run, std::span<const Given> given);
    void recall_hits(const SearchRequest& request, SearchAnswer& answer);
    // What an event in a run's stream says, as far as it can be read.
    Recall to_recall(const EventView& event) const;
    // What was given together, up to answer.seq, a page of it; what cannot be read is counted in the answer.
    Status read_run(const RecallView::Reader& reader, const ExplainRequest& request, RunAnswer& answer,
                    std::vector<std::vector<Recall>>& groups) const;
    // Puts what the same search finds beside what was given, and why it finds that.
    void search_again(RunContext& context, const ExplainRequest& request);

    // The vector that the memory's stream brought last, up to its seq.
    Result<std::optional<Embedding>> embedding_of(const Memory& memory) const;
    // Puts in what the events erased, and the states after the last of them. How many of the events to ask for instead:
    // fewer than all when the states are larger than bytes_max.
    Result<std::size_t> states_after(std::span<const EventView> events, std::size_t bytes_max, Changes& changes) const;

    // What a read sees: up to `seq`, the newest state when unset.
    struct Moment {
        std::optional<Seq> seq;
        Seq at_least(Seq min_seq) const { return std::max(min_seq, seq.value_or(Seq{})); }
    };
    Result<Moment> moment_of(const std::optional<AsOf>& as_of) const;
    Status wait_to_search(Seq seq, std::chrono::milliseconds wait_max);

    // A model whose vectors are kept: those that were given at open, and those of before, which are not asked.
    struct Model {
        std::shared_ptr<Embedder> embedder;  // Null: of before.
        std::shared_ptr<StoredVectors> vectors;
        std::unique_ptr<EmbeddingFiller> filler;
    };
    Status open_embeddings();  // Before the runtime is.
    void remove_indexes_without_model() const;
    std::vector<Projection> embedding_projections() const;
    void start_fillers();                                // And after.
    const Model* model_of(std::string_view name) const;  // That can be asked for.
    std::shared_ptr<Embedder> active_embedder() const;
    // Whether what a search needs of the model is there; waits for it while it is not far and on its way. What is
    // missing, in words.
    std::string wait_for_vectors(const Model& model, Seq seq, std::chrono::steady_clock::time_point until);
    std::vector<EmbeddingStatus> embedding_status();
    // When expiry is judged: by the clock, or at the time of the moment's event, which is read from the log if
    // something expires at all.
    Result<Timestamp> now_of(const Moment& moment, std::string_view project) const;
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
    std::unique_ptr<EmbeddingStore> embeddings_;  // Null: no model was ever asked.
    std::unique_ptr<ProjectionRuntime> runtime_;
    std::vector<Model> models_;  // Does not change after start().
    mutable std::mutex active_mutex_;
    std::shared_ptr<Embedder> active_;  // Null: none.
    std::unique_ptr<Scrubber> scrubber_;

    std::mutex erasing_mutex_;  // Held by the one erasure.
    // Shared by every write; exclusive while keys are destroyed and while values become refused, so that no write is
    // between its check and its event then.
    std::shared_mutex writes_mutex_;
    mutable std::shared_mutex unfinished_mutex_;
    std::vector<Erasure> unfinished_;
};

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

}  // namespace annal
