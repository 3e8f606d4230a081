// What models said of texts, once: it is paid for, and no replay can make it again, so it is kept beside log and views,
// in `embeddings/`, and survives both a rebuild and the loss of the views.
//
// One key space for each model, "m-" and 32 hex of SHA-256(model '\0' dimension), "-" and its number; it counts when it
// has the row of its model, which is written last. Its rows:
//   "e" project '\0' user '\0' hash (32)   format 1, then
//                                          0, dimension floats (little endian)    the vector
//                                          1                                      the model has none for this text
//                                          2, key id (16), nonce (24), sealed     either of them, sealed
//   "m"                                    u32 dimension (little endian), model
//   "r" and the key of an "e"              the same memory has none: counted by status
// hash: of the text. Of a text without a user SHA-256; of a user's, once there is a keystore, a hash under a key of its
// own, and the row is sealed under the user's key: nothing of it can be guessed at, and it goes with his key.
// Threads: every method may be called from any thread.
#pragma once

#include "vector_source.h"
#include "view_store.h"

#include "events/keystore.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace annal {

struct EmbeddedText {  // Borrowed.
    std::string_view project;
    std::string_view user;  // Empty: nobody's.
    std::string_view text;
};

// The vectors of one model.
class StoredVectors final : public VectorSource {
 public:
    std::string_view projection() const override { return projection_; }
    std::string_view model() const override { return model_; }
    std::size_t dimension() const override { return dimension_; }
    Seq up_to() const override { return Seq{up_to_.load(std::memory_order_acquire)}; }
    void set_up_to(Seq seq) { up_to_.store(seq.value, std::memory_order_release); }
    Result<std::optional<std::vector<float>>> find(const EventView& event, std::string_view text) override;

    // permission_denied: it is a user's, and the keystore is locked.
    Result<bool> has(const EmbeddedText& text) const;

    struct Made {
        EmbeddedText text;
        std::span<const float> vector;  // Of dimension() floats; empty: the model has none for this text.
    };
    Status put(std::span<const Made> made);  // All are on disk when it returns, or an error says that they may not be.
    bool dropped() const { return dropped_; }      // It has, takes and finds nothing any more.
    Result<std::uint64_t> without_vector() const;  // Texts that the model has none for.

 private:
    friend class EmbeddingStore;
    StoredVectors(ViewStore& store, Keystore& keystore, std::string model, std::size_t dimension);
    // The keys it may be under, the one to write first.
    Result<std::vector<std::string>> keys_of(const EmbeddedText& text) const;
    Result<std::optional<std::string>> payload_of(const EmbeddedText& text) const;  // nullopt: not there.
    Result<std::string> row_of(const EmbeddedText& text, std::string_view key, std::string payload);
    std::string bound_to(std::string_view key) const;
    Status check_row(std::string_view key, std::string_view value) const;
    Status check_rows(const std::function<void()>& one_more) const;

    ViewStore& store_;
    Keystore& keystore_;
    const std::string model_;
    const std::size_t dimension_;
    std::string projection_;
    std::atomic<std::uint64_t> up_to_{0};
    std::atomic<bool> dropped_{false};
    mutable std::shared_mutex mutex_;  // Exclusive: to write.
    std::uint64_t number_ = 0;
    std::unique_ptr<ViewSpace> space_;
};

class EmbeddingStore {
 public:
    // Bytes that fail their checks: set aside, and all models are asked again. `keystore` outlives it.
    static Result<std::unique_ptr<EmbeddingStore>> open(
        const std::filesystem::path& directory, Keystore& keystore,
        std::function<void(std::string_view level, std::string_view message)> on_message);

    // Those it has vectors of, or was asked for, dropped ones among them.
    const std::vector<std::shared_ptr<StoredVectors>>& models() const { return models_; }
    // Made when it is not there. Not while another thread asks for models().
    Result<std::shared_ptr<StoredVectors>> model(std::string_view name, std::size_t dimension);
    // No file holds a vector of the user's afterwards.
    Status erase(std::string_view project, std::string_view user);
    Status drop(StoredVectors& model);  // All that it said.
    bool made_anew() const { return !store_->recovered().empty(); }
    std::uint64_t bytes_on_disk() const { return store_->bytes_on_disk(); }
    Result<Checked> check_files(const std::function<bool(const Checked&)>& progress) {
        return store_->check_files(0, progress);
    }
    // That every row is a whole one of its model; of sealed ones, when the keystore is unlocked, that they open. Calls
    // `progress` with how many it has looked at. data_loss: the first that is not; holds no name and no text.
    Result<std::uint64_t> check_rows(const std::function<void(std::uint64_t)>& progress) const;

 private:
    explicit EmbeddingStore(std::unique_ptr<ViewStore> store, Keystore& keystore)
        : store_(std::move(store)), keystore_(keystore) {}
    Status load();
    Status copy_without(StoredVectors& model, std::string_view project, std::string_view user);

    std::unique_ptr<ViewStore> store_;
    Keystore& keystore_;
    std::vector<std::shared_ptr<StoredVectors>> models_;
};

}  // namespace annal
