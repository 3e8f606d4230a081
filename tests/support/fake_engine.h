// An engine in memory, for what stands on top of one: records, gets, lists and searches by shared words, and fails when
// told to. What no test asks for is unimplemented.
#pragma once

#include <annal/changes.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace annal::testing {

class FakeEngine : public Engine {
 public:
    std::vector<Memory> memories;          // In order of recording.
    std::vector<Durability> durabilities;  // Of each call of record.
    std::size_t calls_until_failure = SIZE_MAX;
    Error failure{ErrorCode::unavailable, "the log can no longer be written", {}};
    std::size_t pages_listed = 0;

    Result<Receipt> record(const RecordRequest& request) override {
        if (calls_until_failure-- == 0) return failure;
        if (auto ok = validate(request.scope); !ok) return ok.error();
        durabilities.push_back(request.context.durability.value_or(Durability::synced));
        const std::string key = request.scope.project + '\n' + request.context.idempotency_key;
        if (const auto known = keys_.find(key); known != keys_.end() && !request.context.idempotency_key.empty()) {
            Receipt receipt = known->second;
            receipt.replayed = true;
            return receipt;
        }
        if (request.content.empty()) return Error{ErrorCode::invalid_argument, "content is required", {}};
        Memory memory;
        if (request.memory_id) {
            if (find(request.scope, *request.memory_id)) return Error{ErrorCode::already_exists, "the id is taken", {}};
            memory.id = *request.memory_id;
        } else {
            memory.id.bytes[14] = static_cast<std::uint8_t>(memories.size() / 256 + 1);
            memory.id.bytes[15] = static_cast<std::uint8_t>(memories.size() % 256);
        }
        memory.seq = memory.created_seq = Seq{memories.size() + 1};
        memory.version = Version{1};
        memory.scope = request.scope;
        memory.fields = request.fields;
        memory.content = request.content;
        memory.tags = request.tags;
        memory.metadata = request.metadata;
        memory.claim = request.claim;
        memory.confidence = request.confidence;
        memory.occurrence_count = request.occurrence_count;
        memory.success_count = request.success_count;
        memory.actor = request.context.actor;
        memory.source = request.context.source;
        memory.recorded_at = memory.updated_at = Timestamp{1'790'000'000'000'000};
        memory.occurred_at = request.occurred_at.value_or(memory.recorded_at);
        memory.valid_from = request.valid_from;
        memory.valid_to = request.valid_to;
        memory.expires_at = request.expires_at;
        memories.push_back(memory);
        Receipt receipt;
        receipt.memory_id = memory.id;
        receipt.seq = memory.seq;
        receipt.version = memory.version;
        keys_[key] = receipt;
        return receipt;
    }
    Result<Memory> get(const Scope& scope, MemoryId id, const ReadOptions&, bool) override {
        if (const auto* memory = find(scope, id)) return *memory;
        return Error{ErrorCode::not_found, "there is no such memory in this scope", {}};
    }
    Result<std::optional<Embedding>> embedding(const Scope&, MemoryId, const ReadOptions&) override { return no(); }
    Result<ListAnswer> list(const ListRequest& request) override {
        ++pages_listed;
        ListAnswer answer;
        answer.seq = head();
        std::size_t at = request.cursor.empty() ? 0 : std::stoul(request.cursor);
        for (; at < memories.size() && answer.memories.size() < request.limit; ++at)
            if (request.scope.contains(memories[at].scope)) answer.memories.push_back(memories[at]);
        if (at < memories.size()) answer.next_cursor = std::to_string(at);
        return answer;
    }
    Result<SearchAnswer> search(const SearchRequest& request) override {
        SearchAnswer answer;
        answer.seq = head();
        for (const auto& memory : memories) {
            if (!request.scope.contains(memory.scope)) continue;
            Hit hit{.memory = memory, .score = 0, .parts = {}};
            std::istringstream words(request.text);
            for (std::string word; words >> word;) hit.score += memory.content.find(word) != std::string::npos ? 1 : 0;
            if (hit.score > 0) answer.hits.push_back(hit);
        }
        std::ranges::stable_sort(answer.hits, std::ranges::greater{}, &Hit::score);
        if (answer.hits.size() > request.limit) answer.hits.resize(request.limit);
        return answer;
    }
    Result<Changes> changes(const ChangesRequest&) override { return no(); }
    Status read_stored(Seq, Seq, const std::function<bool(const StoredEvent&)>&) override { return no(); }
    Status append_stored(std::span<const StoredEvent>) override { return no(); }
    Result<std::array<std::uint8_t, 32>> root(Seq) override { return no(); }
    Result<std::string> signed_head() override { return no(); }
    Result<BackupInfo> backup(const std::filesystem::path&, std::size_t,
                              const std::function<void(std::uint64_t, std::uint64_t)>&) override {
        return no();
    }
    Result<ArchiveReport> archive(const AsOf&, const std::filesystem::path&,
                                  const std::function<void(std::uint64_t, std::uint64_t)>&) override {
        return no();
    }
    std::string verifier_key() const override { return {}; }
    Result<std::string> prove_inclusion(Seq, Seq) override { return no(); }
    Result<std::string> prove_consistency(Seq, Seq) override { return no(); }
    Seq head() const override { return Seq{memories.size()}; }
    Status wait_for(Seq, std::chrono::milliseconds) override { return Done{}; }

    Result<std::vector<Receipt>> record_batch(std::span<const RecordRequest>) override { return no(); }
    Result<Receipt> revise(const ReviseRequest&) override { return no(); }
    Result<Receipt> reinforce(const Target&, bool) override { return no(); }
    Result<Receipt> promote_claim(const Target&, Claim) override { return no(); }
    Result<Receipt> change_confidence(const Target&, double) override { return no(); }
    Result<Receipt> supersede(const Target&, MemoryId) override { return no(); }
    Result<Receipt> forget(const Target&, bool) override { return no(); }
    Result<ErasureReceipt> erase(const EraseRequest&, const std::function<void(std::string_view, Seq, Seq)>&) override {
        return no();
    }
    Result<Receipt> restore(const Target&) override { return no(); }
    Result<Receipt> revert(const Target&, Version) override { return no(); }
    Result<std::vector<Receipt>> recall(const RecallRequest&) override { return no(); }
    Result<RecallsAnswer> recalls(const RecallsRequest&) override { return no(); }
    Result<RunAnswer> explain(const ExplainRequest&) override { return no(); }
    Status diff(const DiffRequest&, const std::function<bool(const DiffEntry&)>&) override { return no(); }
    Result<std::vector<HistoryEntry>> history(const Scope&, MemoryId, const ReadOptions&) override { return no(); }
    Status read_log(Seq, std::string_view, const std::function<bool(const LogEntry&)>&) override { return no(); }
    Result<EngineStatus> status(bool) override { return no(); }
    Status rebuild(std::string_view, const std::function<void(Seq, Seq)>&) override { return no(); }
    Result<VerifyReport> verify(const VerifyOptions&,
                                const std::function<void(std::string_view, std::uint64_t, std::uint64_t)>&) override {
        return no();
    }
    Status change_root_key(const std::filesystem::path&) override { return no(); }
    Status use_model(std::string_view) override { return no(); }
    Status drop_model(std::string_view, std::size_t) override { return no(); }

 private:
    static Error no() { return {ErrorCode::unimplemented, "not in the fake", {}}; }
    const Memory* find(const Scope& scope, MemoryId id) const {
        for (const auto& memory : memories)
            if (memory.id == id && scope.contains(memory.scope)) return &memory;
        return nullptr;
    }

    std::map<std::string, Receipt> keys_;
};

}  // namespace annal::testing
