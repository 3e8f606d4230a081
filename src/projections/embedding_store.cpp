#include "embedding_store.h"

#include "events/bytes.h"
#include "events/event_log_hash.h"
#include "events/hex.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>

namespace annal {
namespace {

constexpr char format = 1;
constexpr char tag_vector = 0, tag_none = 1, tag_sealed = 2;
constexpr std::string_view model_key = "m";
constexpr std::string_view hash_use = "embedding";
constexpr std::size_t copy_bytes_max = std::size_t{4} << 20;
constexpr std::uint64_t rows_told_every = 1'024;

static_assert(std::endian::native == std::endian::little);

std::string prefix_of(std::string_view project, std::string_view user) {
    std::string prefix("e");
    prefix.append(project).push_back('\0');
    prefix.append(user).push_back('\0');
    return prefix;
}

std::string encode_model(std::string_view name, std::size_t dimension) {
    const auto number = static_cast<std::uint32_t>(dimension);
    std::string row(reinterpret_cast<const char*>(&number), sizeof number);
    return row.append(name);
}

std::string space_stem(std::string_view name, std::size_t dimension) {
    std::string text(name);
    text.push_back('\0');
    text += std::to_string(dimension);
    return to_hex(sha256(text)).substr(0, 32);
}

// Of what follows a row's format: key id, nonce and the sealed bytes. nullopt: it is cut off.
std::optional<SealedPayload> sealed_of(std::string_view rest) {
    SealedPayload sealed;
    const auto head = 1 + sealed.key.bytes.size() + sealed.nonce.size();
    if (rest.size() < head) return std::nullopt;
    std::memcpy(sealed.key.bytes.data(), rest.data() + 1, sealed.key.bytes.size());
    std::memcpy(sealed.nonce.data(), rest.data() + 1 + sealed.key.bytes.size(), sealed.nonce.size());
    sealed.bytes = rest.substr(head);
    return sealed;
}

Error damaged_row() {
    return {ErrorCode::data_loss, "a row of the stored embeddings is damaged", {}};
}

}  // namespace

StoredVectors::StoredVectors(ViewStore& store, Keystore& keystore, std::string model, std::size_t dimension)
    : store_(store),
      keystore_(keystore),
      model_(std::move(model)),
      dimension_(dimension),
      projection_("embedded-" + space_stem(model_, dimension_).substr(0, 16)) {}

Result<std::vector<std::string>> StoredVectors::keys_of(const EmbeddedText& text) const {
    std::vector<std::string> keys;
    const auto add = [&](const Hash& hash) {
        keys.push_back(prefix_of(text.project, text.user).append(as_text(hash)));
    };
    if (!text.user.empty() && keystore_.state() != KeystoreState::off) {
        std::string named(hash_use);
        named.push_back('\0');
        named.append(text.user).push_back('\0');
        const auto keyed = keystore_.tombstone(text.project, named.append(text.text));
        if (!keyed) return keyed.error();
        add(*keyed);
    }
    add(sha256(text.text));  // Of a user's: from before there was a keystore.
    return keys;
}

// What a row is bound to: its place and its model.
std::string StoredVectors::bound_to(std::string_view key) const {
    std::string bound(hash_use);
    bound.push_back('\0');
    bound.append(key);
    return bound.append(encode_model(model_, dimension_));
}

Result<std::string> StoredVectors::row_of(const EmbeddedText& text, std::string_view key, std::string payload) {
    std::string row(1, format);
    if (text.user.empty() || keystore_.state() == KeystoreState::off) return row.append(payload);
    const auto sealed = keystore_.seal({text.project, text.user}, bound_to(key), payload);
    if (!sealed) return sealed.error();
    row.push_back(tag_sealed);
    row.append(as_text(sealed->key.bytes));
    row.append(as_text(sealed->nonce));
    return row.append(sealed->bytes);
}

Result<std::optional<std::string>> StoredVectors::payload_of(const EmbeddedText& text) const {
    const auto keys = keys_of(text);
    if (!keys) return keys.error();
    const std::shared_lock lock(mutex_);
    if (dropped_) return std::optional<std::string>();
    for (const auto& key : *keys) {
        const auto row = space_->get(key);
        if (!row) return row.error();
        if (!*row) continue;
        if ((*row)->size() < 2 || (*row)->front() != format) return damaged_row();
        const std::string_view rest = std::string_view(**row).substr(1);
        if (rest.front() != tag_sealed) return std::optional(std::string(rest));
        const auto sealed = sealed_of(rest);
        if (!sealed) return damaged_row();
        auto opened = keystore_.unseal(*sealed, bound_to(key));
        if (!opened) return opened.error();
        if (opened->state == Payload::plain) return std::optional(std::move(opened->payload));
        // Its key is gone, and the user writes again with another: asked for anew.
    }
    return std::optional<std::string>();
}

Result<bool> StoredVectors::has(const EmbeddedText& text) const {
    const auto payload = payload_of(text);
    if (!payload) return payload.error();
    return payload->has_value();
}

Result<std::optional<std::vector<float>>> StoredVectors::find(const EventView& event, std::string_view text) {
    const auto payload = payload_of({event.project(), event.user(), text});
    const bool lost = payload ? !*payload : payload.error().code == ErrorCode::data_loss;
    if (lost) {
        set_up_to(std::min(up_to(), Seq{event.seq().value - 1}));
        return Error{
            ErrorCode::unavailable, "a vector that the model made is not there any more; it is asked again", {}};
    }
    if (!payload) return payload.error();
    const auto& bytes = **payload;
    if (bytes == std::string(1, tag_none)) return std::optional<std::vector<float>>();
    if (bytes.empty() || bytes.front() != tag_vector || bytes.size() != 1 + dimension_ * sizeof(float))
        return damaged_row();
    std::vector<float> vector(dimension_);
    std::memcpy(vector.data(), bytes.data() + 1, dimension_ * sizeof(float));
    return std::optional(std::move(vector));
}

Status StoredVectors::put(std::span<const Made> made) {
    const std::unique_lock lock(mutex_);
    if (dropped_) return Error{ErrorCode::unavailable, "the model was dropped", {}};
    const auto batch = space_->new_batch();
    for (const auto& [text, vector] : made) {
        if (!vector.empty() && vector.size() != dimension_)
            return Error{ErrorCode::internal, "a vector of another dimension than its model's", {}};
        const auto keys = keys_of(text);
        if (!keys) return keys.error();
        std::string payload(1, vector.empty() ? tag_none : tag_vector);
        payload.append(reinterpret_cast<const char*>(vector.data()), vector.size_bytes());
        const auto row = row_of(text, keys->front(), std::move(payload));
        if (!row) return row.error();
        batch->put(keys->front(), *row);
        if (vector.empty()) batch->put("r" + keys->front(), {});
    }
    if (auto written = space_->write(*batch); !written) return written;
    return store_.sync();
}

Result<std::uint64_t> StoredVectors::without_vector() const {
    const std::shared_lock lock(mutex_);
    std::uint64_t count = 0;
    if (dropped_) return count;
    const auto rows = space_->iterate();
    for (rows->seek("r"); rows->valid() && rows->key().starts_with('r'); rows->next()) ++count;
    if (auto walked = rows->status(); !walked) return walked.error();
    return count;
}

Status StoredVectors::check_row(std::string_view key, std::string_view value) const {
    const auto wrong = [](std::string_view what) { return Error{ErrorCode::data_loss, std::string(what), {}}; };
    if (key == model_key)
        return value == encode_model(model_, dimension_) ? Status(Done{}) : wrong("it names another model");
    if (key.starts_with('r')) {
        const auto of = space_->get(key.substr(1));
        if (!of) return of.error();
        return *of ? Status(Done{}) : wrong("a text without a vector is counted, and not there");
    }
    if (!key.starts_with('e')) return wrong("a row of no kind that there is");
    if (value.size() < 2 || value.front() != format) return wrong("a row of another format");
    auto payload = std::string(value.substr(1));
    if (payload.front() == tag_sealed) {
        auto sealed = sealed_of(payload);
        if (!sealed) return wrong("a sealed row is cut off");
        if (keystore_.state() != KeystoreState::unlocked) return Done{};
        auto opened = keystore_.unseal(*sealed, bound_to(key));
        if (!opened)
            return opened.error().code == ErrorCode::data_loss ? wrong("a sealed row does not open") : opened.error();
        if (opened->state != Payload::plain) return Done{};
        payload = std::move(opened->payload);
    }
    if (payload == std::string(1, tag_none)) return Done{};
    if (payload.empty() || payload.front() != tag_vector || payload.size() != 1 + dimension_ * sizeof(float))
        return wrong("a vector of another length");
    for (std::size_t i = 0; i < dimension_; ++i) {
        float number = 0;
        std::memcpy(&number, payload.data() + 1 + i * sizeof number, sizeof number);
        if (!std::isfinite(number)) return wrong("a vector holds what is not a number");
    }
    return Done{};
}

Status StoredVectors::check_rows(const std::function<void()>& one_more) const {
    const std::shared_lock lock(mutex_);
    if (dropped_) return Done{};
    const auto rows = space_->iterate();
    for (rows->seek({}); rows->valid(); rows->next()) {
        if (auto whole = check_row(rows->key(), rows->value()); !whole)
            return Error{
                whole.error().code, "of the vectors of a model: " + whole.error().message, {{"model", model_}}};
        one_more();
    }
    return rows->status();
}

// --- The store of all models.

Result<std::unique_ptr<EmbeddingStore>> EmbeddingStore::open(
    const std::filesystem::path& directory, Keystore& keystore,
    std::function<void(std::string_view level, std::string_view message)> on_message) {
    auto store = ViewStore::open({.directory = directory, .on_message = std::move(on_message)});
    if (!store) return store.error();
    std::unique_ptr<EmbeddingStore> embeddings(new EmbeddingStore(std::move(*store), keystore));
    if (auto loaded = embeddings->load(); !loaded) return loaded.error();
    return embeddings;
}

// Of each model the newest space that is whole; what a crash left of others goes.
Status EmbeddingStore::load() {
    std::map<std::string, std::shared_ptr<StoredVectors>> found;
    for (const auto& name : store_->spaces()) {
        const auto dash = name.rfind('-');
        std::uint64_t number = 0;
        if (!name.starts_with("m-") || dash < 2) continue;
        std::from_chars(name.data() + dash + 1, name.data() + name.size(), number);
        auto space = store_->space(name);
        if (!space) return space.error();
        const auto row = (*space)->get(model_key);
        if (!row) return row.error();
        const auto stem = name.substr(0, dash);
        const auto before = found.find(stem);
        if (!*row || (*row)->size() <= sizeof(std::uint32_t) ||
            (before != found.end() && before->second->number_ > number)) {
            space->reset();
            if (auto dropped = store_->drop(name); !dropped) return dropped;
            continue;
        }
        if (before != found.end()) {
            before->second->space_.reset();
            auto dropped = store_->drop(stem + "-" + std::to_string(before->second->number_));
            if (!dropped) return dropped;
        }
        std::uint32_t dimension = 0;
        std::memcpy(&dimension, (*row)->data(), sizeof dimension);
        std::shared_ptr<StoredVectors> model(
            new StoredVectors(*store_, keystore_, (*row)->substr(sizeof dimension), dimension));
        model->number_ = number;
        model->space_ = std::move(*space);
        found[stem] = std::move(model);
    }
    for (auto& [stem, model] : found) models_.push_back(std::move(model));
    return Done{};
}

Result<std::shared_ptr<StoredVectors>> EmbeddingStore::model(std::string_view name, std::size_t dimension) {
    const auto known = std::ranges::find_if(
        models_, [&](const auto& each) { return each->model() == name && each->dimension() == dimension; });
    if (known != models_.end()) return *known;
    std::shared_ptr<StoredVectors> model(new StoredVectors(*store_, keystore_, std::string(name), dimension));
    auto space = store_->space("m-" + space_stem(name, dimension) + "-0");
    if (!space) return space.error();
    const auto batch = (*space)->new_batch();
    batch->put(model_key, encode_model(name, dimension));
    if (auto written = (*space)->write(*batch); !written) return written.error();
    if (auto synced = store_->sync(); !synced) return synced.error();
    model->space_ = std::move(*space);
    models_.push_back(model);
    return model;
}

Status EmbeddingStore::erase(std::string_view project, std::string_view user) {
    for (const auto& model : models_)
        if (auto copied = copy_without(*model, project, user); !copied) return copied;
    return store_->purge();
}

// Into a space of its own: what is deleted row by row stays in files for as long as RocksDB likes.
Status EmbeddingStore::copy_without(StoredVectors& model, std::string_view project, std::string_view user) {
    const std::unique_lock lock(model.mutex_);
    if (model.dropped_) return Done{};
    const auto without = prefix_of(project, user);
    const auto stem = "m-" + space_stem(model.model_, model.dimension_) + "-";
    const auto number = model.number_ + 1;
    auto next = store_->space(stem + std::to_string(number));
    if (!next) return next.error();
    if (auto cleared = (*next)->clear(); !cleared) return cleared;  // Of a copy that failed before.
    {
        const auto rows = model.space_->iterate();
        auto batch = (*next)->new_batch();
        std::size_t bytes = 0;
        for (rows->seek({}); rows->valid(); rows->next()) {
            auto key = rows->key();
            if (key == model_key) continue;
            if (key.starts_with('r')) key.remove_prefix(1);
            if (key.starts_with(without)) continue;
            batch->put(rows->key(), rows->value());
            bytes += rows->key().size() + rows->value().size();
            if (bytes < copy_bytes_max) continue;
            if (auto written = (*next)->write(*batch); !written) return written;
            batch = (*next)->new_batch();
            bytes = 0;
        }
        if (auto walked = rows->status(); !walked) return walked;
        if (auto written = (*next)->write(*batch); !written) return written;
    }
    const auto last = (*next)->new_batch();
    last->put(model_key, encode_model(model.model_, model.dimension_));
    if (auto written = (*next)->write(*last); !written) return written;
    if (auto synced = store_->sync(); !synced) return synced;
    const auto before = stem + std::to_string(model.number_);
    model.space_ = std::move(*next);
    model.number_ = number;
    return store_->drop(before);
}

Result<std::uint64_t> EmbeddingStore::check_rows(const std::function<void(std::uint64_t)>& progress) const {
    std::uint64_t count = 0;
    for (const auto& model : models_) {
        const auto checked = model->check_rows([&] {
            if (++count % rows_told_every == 0) progress(count);
        });
        if (!checked) return checked.error();
    }
    return count;
}

Status EmbeddingStore::drop(StoredVectors& model) {
    const std::unique_lock lock(model.mutex_);
    const auto name = "m-" + space_stem(model.model_, model.dimension_) + "-" + std::to_string(model.number_);
    if (auto dropped = store_->drop(name); !dropped) return dropped;
    model.dropped_ = true;
    model.set_up_to(Seq{0});
    model.space_.reset();
    return store_->purge();
}

}  // namespace annal
