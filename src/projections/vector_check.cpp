#include "vector_check.h"

#include "vector_records.h"

#include "events/hex.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace annal {
namespace {

class Digest {
 public:
    Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
    void add(const void* bytes, std::size_t size) { EVP_DigestUpdate(context_.get(), bytes, size); }
    void add(std::uint64_t number) { add(&number, sizeof number); }
    void add(std::string_view text) {
        add(std::uint64_t{text.size()});
        add(text.data(), text.size());
    }
    std::string hex() {
        std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
        unsigned size = 0;
        EVP_DigestFinal_ex(context_.get(), hash.data(), &size);
        return to_hex(std::span(hash).first(size));
    }

 private:
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

class FileRows final : public RowWalk {
 public:
    explicit FileRows(const VectorPartitions& partitions) {
        for (const auto& [key, partition] : partitions) partitions_[partition->number] = {partition, partition->size()};
        at_ = partitions_.begin();
        load();
    }

    void next() override {
        ++slot_;
        load();
    }
    bool valid() const override { return at_ != partitions_.end() && !damage_; }
    std::string_view key() const override { return key_; }
    std::string_view value() const override { return value_; }
    Status status() const override { return damage_ ? Status(*damage_) : Done{}; }

 private:
    struct Part {
        std::shared_ptr<const VectorPartition> partition;
        Slot count = 0;
    };

    void load() {
        for (; at_ != partitions_.end() && slot_ == at_->second.count; ++at_) slot_ = 0;
        if (at_ == partitions_.end()) return;
        const auto& partition = *at_->second.partition;
        key_ = slot_key({partition.number, partition.generation, slot_});
        if (!partition.intact(slot_)) {
            damage_ = Error{
                ErrorCode::data_loss,
                "a row of the vectors' files fails its checksum",
                {{"project", partition.key.project}, {"ordinal", std::to_string(partition.ordinal(slot_).value)}}};
            return;
        }
        const auto floats = partition.floats(slot_);
        value_ = std::to_string(partition.ordinal(slot_).value) + ' ';
        value_.append(reinterpret_cast<const char*>(floats.data()), floats.size_bytes());
    }

    std::map<std::uint32_t, Part> partitions_;  // By number, as keys sort.
    std::map<std::uint32_t, Part>::const_iterator at_;
    Slot slot_ = 0;
    std::string key_, value_;
    std::optional<Error> damage_;
};

}  // namespace

std::string digest_of(const VectorPartitions& partitions) {
    struct Row {
        const VectorPartition* of;
        Slot slot;
    };
    Digest digest;
    for (auto at = partitions.begin(); at != partitions.end();) {
        const auto& key = at->first;
        std::vector<Row> rows;  // With those of the past, which follow: which were moved there depends on when.
        auto next = at;
        for (; next != partitions.end(); ++next) {
            auto its = next->first;
            its.past = key.past;
            if (its != key) break;
            for (Slot slot = 0; slot < next->second->published(); ++slot) rows.push_back({next->second.get(), slot});
        }
        std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
            return std::pair(a.of->ordinal(a.slot), a.of->since(a.slot)) <
                   std::pair(b.of->ordinal(b.slot), b.of->since(b.slot));
        });
        digest.add(key.project);
        digest.add(static_cast<std::uint64_t>(key.kind));
        digest.add(key.model);
        digest.add(std::uint64_t{key.dimension});
        digest.add(std::uint64_t{rows.size()});
        for (const auto& [of, slot] : rows) {
            digest.add(of->ordinal(slot).value);
            digest.add(static_cast<std::uint64_t>(of->state(slot)));
            digest.add(of->since(slot).value);
            digest.add(of->until(slot).value);
            const auto row = of->floats(slot);
            digest.add(row.data(), row.size_bytes());
        }
        at = next;
    }
    return digest.hex();
}

std::unique_ptr<RowWalk> rows_of_files(const VectorPartitions& partitions) {
    return std::make_unique<FileRows>(partitions);
}

}  // namespace annal
