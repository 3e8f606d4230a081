// A ViewSpace in memory: what projectors are tested on. A snapshot shares the map; the next write copies it.
// Threads: as the real one: reads from any, one writer.
#pragma once

#include "projections/view_store.h"

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

namespace annal::testing {

class MemorySpace final : public ViewSpace {
 public:
    using Map = std::map<std::string, std::string, std::less<>>;

    // By snapshots and iterators: gets, and places where an iterator came to stand; and the values there.
    std::uint64_t keys_read() const { return read_->keys; }
    std::uint64_t bytes_read() const { return read_->bytes; }

    Result<std::optional<std::string>> get(std::string_view key) const override { return find(*map(), key); }
    std::shared_ptr<const ViewSnapshot> snapshot() const override { return std::make_shared<Snapshot>(map(), read_); }
    std::unique_ptr<ViewIterator> iterate() const override { return std::make_unique<Iterator>(map(), read_); }
    std::unique_ptr<ViewBatch> new_batch() override { return std::make_unique<Batch>(*this); }
    Status write(ViewBatch& batch) override {
        auto& changes = static_cast<Batch&>(batch).changes;
        const std::lock_guard lock(mutex_);
        if (map_.use_count() > 1) map_ = std::make_shared<Map>(*map_);
        for (auto& [key, value] : changes) {
            if (value)
                (*map_)[key] = std::move(*value);
            else
                map_->erase(key);
        }
        changes.clear();
        return Done{};
    }
    Status clear() override {
        const std::lock_guard lock(mutex_);
        map_ = std::make_shared<Map>();
        return Done{};
    }
    std::uint64_t bytes_on_disk() const override {
        std::uint64_t bytes = 0;
        for (const auto& [key, value] : *map()) bytes += key.size() + value.size();
        return bytes;
    }

    std::shared_ptr<const Map> map() const {  // All keys and values, for tests that look at them.
        const std::lock_guard lock(mutex_);
        return map_;
    }

 private:
    struct Read {
        std::atomic<std::uint64_t> keys{0};
        std::atomic<std::uint64_t> bytes{0};
        void count(std::size_t size) {
            ++keys;
            bytes += size;
        }
    };
    using Counter = std::shared_ptr<Read>;

    static std::optional<std::string> find(const Map& map, std::string_view key) {
        const auto at = map.find(key);
        return at == map.end() ? std::nullopt : std::optional(at->second);
    }

    struct Batch final : ViewBatch {
        explicit Batch(const MemorySpace& owner) : space(&owner) {}
        void put(std::string_view key, std::string_view value) override {
            changes[std::string(key)] = std::string(value);
        }
        void erase(std::string_view key) override { changes[std::string(key)] = std::nullopt; }
        Result<std::optional<std::string>> get(std::string_view key) const override {
            const auto at = changes.find(key);
            return at == changes.end() ? space->get(key) : at->second;
        }
        const MemorySpace* space;
        std::map<std::string, std::optional<std::string>, std::less<>> changes;
    };

    class Iterator final : public ViewIterator {
     public:
        Iterator(std::shared_ptr<const Map> map, Counter counter)
            : map_(std::move(map)), read_(std::move(counter)), at_(map_->end()) {}
        void seek(std::string_view key) override { stand(map_->lower_bound(key)); }
        void seek_for_prev(std::string_view key) override {
            at_ = map_->upper_bound(key);
            prev();
        }
        void next() override { stand(std::next(at_)); }
        void prev() override { stand(at_ == map_->begin() ? map_->end() : std::prev(at_)); }
        bool valid() const override { return at_ != map_->end(); }
        std::string_view key() const override { return at_->first; }
        std::string_view value() const override { return at_->second; }
        Status status() const override { return Done{}; }

     private:
        void stand(Map::const_iterator at) {
            at_ = at;
            read_->count(valid() ? at_->second.size() : 0);
        }

        std::shared_ptr<const Map> map_;
        Counter read_;
        Map::const_iterator at_;
    };

    struct Snapshot final : ViewSnapshot {
        Snapshot(std::shared_ptr<const Map> all, Counter counter) : map(std::move(all)), read(std::move(counter)) {}
        Result<std::optional<std::string>> get(std::string_view key) const override {
            auto value = find(*map, key);
            read->count(value ? value->size() : 0);
            return value;
        }
        Result<std::vector<std::optional<std::string>>> get_many(std::span<const std::string> keys) const override {
            std::vector<std::optional<std::string>> values;
            for (const auto& key : keys) values.push_back(*get(key));
            return values;
        }
        std::unique_ptr<ViewIterator> iterate() const override { return std::make_unique<Iterator>(map, read); }
        std::shared_ptr<const Map> map;
        Counter read;
    };

    mutable std::mutex mutex_;
    std::shared_ptr<Map> map_ = std::make_shared<Map>();
    Counter read_ = std::make_shared<Read>();
};

}  // namespace annal::testing
