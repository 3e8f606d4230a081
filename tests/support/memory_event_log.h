// An EventLog in memory, with the real codec: what projectors and their runtime are tested on when disk is not the
// point. It can be cut short, as a log restored from an older backup is.
#pragma once

#include "events/event_log.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

namespace annal::testing {

class MemoryEventLog final : public EventLog {
 public:
    explicit MemoryEventLog(std::string store_id = "00000000-0000-4000-8000-000000000001")
        : store_id_(std::move(store_id)) {}

    // Takes any version; idempotency keys are not remembered.
    Result<std::vector<Receipt>> append(AppendBatch batch) override {
        std::vector<Receipt> receipts;
        {
            const std::lock_guard lock(mutex_);
            for (auto& item : batch.items) {
                auto& event = *item.event;
                const auto version = ++versions_[{std::string(batch.project), event.memory_id}];
                stamp(event.bytes, Version{version}, Timestamp{first_recorded_us + std::int64_t(events_.size())});
                events_.emplace_back(event.bytes.begin(), event.bytes.end());
                Receipt receipt;
                receipt.memory_id = event.memory_id;
                receipt.event_id = event.event_id;
                receipt.seq = Seq{events_.size()};
                receipt.version = Version{version};
                receipts.push_back(receipt);
            }
        }
        grown_.notify_all();
        return receipts;
    }

    Result<std::optional<std::vector<Receipt>>> find_receipts(std::string_view, std::string_view,
                                                              const std::array<std::uint8_t, 32>&) const override {
        return std::optional<std::vector<Receipt>>();
    }

    Seq head() const override {
        const std::lock_guard lock(mutex_);
        return Seq{events_.size()};
    }

    Seq wait_past(Seq after, std::chrono::milliseconds wait_max) override {
        std::unique_lock lock(mutex_);
        grown_.wait_for(lock, wait_max, [&] { return events_.size() > after.value; });
        return Seq{events_.size()};
    }

    Status read(Seq after, const ReadLimits& limits, EventArena& arena, std::vector<EventView>& out) const override {
        const std::lock_guard lock(mutex_);
        std::size_t bytes = 0;
        for (auto seq = after.value + 1; seq <= events_.size(); ++seq) {
            if (seq - after.value > limits.events_max || (bytes > 0 && bytes >= limits.bytes_max)) break;
            auto event = decode(Seq{seq}, events_[seq - 1], arena);
            if (!event) return event.error();
            bytes += events_[seq - 1].size();
            out.push_back(*event);
        }
        return Done{};
    }

    Status read_stream(std::string_view, const MemoryId& stream, EventArena& arena,
                       std::vector<EventView>& out) const override {
        const std::lock_guard lock(mutex_);
        for (std::uint64_t seq = 1; seq <= events_.size(); ++seq) {
            auto event = decode(Seq{seq}, events_[seq - 1], arena);
            if (!event) return event.error();
            if (event->memory_id() == stream) out.push_back(*event);
        }
        return Done{};
    }

    Result<Version> stream_version(std::string_view project, const MemoryId& stream) const override {
        const std::lock_guard lock(mutex_);
        const auto found = versions_.find({std::string(project), stream});
        return Version{found == versions_.end() ? 0 : found->second};
    }

    std::vector<Erasure> erasures() const override { return {}; }
    std::optional<Erasure> erasure(std::string_view, std::string_view) const override { return std::nullopt; }
    Status keep_that_keys_are_gone(const Erasure&, std::uint64_t) override { return not_here(); }
    Result<std::optional<TombstoneReason>> find_tombstone(const TombstoneHash&) const override {
        return std::optional<TombstoneReason>();
    }
    bool has_tombstones() const override { return false; }
    Status seal_with(Keystore&) override { return not_here(); }
    Result<bool> has_keystore() const override { return false; }

    Result<Hash> root(Seq) const override { return not_here(); }
    Result<Hash> tree_node(MerkleNodeId id) const override {  // Leaves alone.
        const std::lock_guard lock(mutex_);
        if (id.level > 0 || id.index >= events_.size()) return not_here();
        const auto& event = events_[id.index];
        return event_hash(Seq{id.index + 1}, {reinterpret_cast<const char*>(event.data()), event.size()});
    }
    void sign_with(SigningKey) override {}
    Result<std::string> signed_head() override { return not_here(); }
    Result<std::optional<std::string>> signed_head(Seq) const override { return not_here(); }

    Result<BackupInfo> backup(const std::filesystem::path&, std::size_t,
                              const std::function<void(std::uint64_t, std::uint64_t)>&) const override {
        return not_here();
    }
    Result<ArchiveReport> archive(Seq, const std::filesystem::path&,
                                  const std::function<void(std::uint64_t, std::uint64_t)>&) override {
        return not_here();
    }
    ArchiveStatus archived(bool) const override { return {}; }
    Result<Checked> check(LogPart, std::uint64_t, Seq up_to,
                          const std::function<bool(const Checked&)>&) const override {
        return Checked{up_to.value, 0, up_to.value};
    }

    std::string store_id() const override { return store_id_; }
    std::array<std::uint8_t, 16> store_uuid() const override { return {}; }
    std::uint64_t epoch() const override { return epoch_; }
    std::uint64_t bytes_on_disk() const override { return 0; }

    void restored() { ++epoch_; }
    void cut_after(Seq seq) {
        const std::lock_guard lock(mutex_);
        events_.resize(seq.value);
    }

 private:
    static Error not_here() { return {ErrorCode::unimplemented, "a log in memory seals and proves nothing", {}}; }
    static constexpr std::int64_t first_recorded_us = 1'790'000'000'000'000;

    const std::string store_id_;
    std::uint64_t epoch_ = 1;
    mutable std::mutex mutex_;
    std::condition_variable grown_;
    std::vector<std::string> events_;
    std::map<std::tuple<std::string, MemoryId>, std::uint64_t> versions_;
};

}  // namespace annal::testing
