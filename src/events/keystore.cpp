#include "keystore.h"

#include "bytes.h"
#include "key_cache.h"
#include "rocks_support.h"

#include <sodium.h>

#include <algorithm>
#include <unordered_map>

namespace annal {
namespace {

using StoreId = std::array<std::uint8_t, 16>;

enum Secret : std::size_t { subject_hashes, tombstones };  // Their order in the file; a third place is reserved.

template <class Integer>
std::string little_endian(Integer value) {
    std::string bytes(sizeof value, '\0');
    for (std::size_t i = 0; i < sizeof value; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
    return bytes;
}

// What a ciphertext is bound to. The uses are of one length, so that no two of these are the same bytes.
std::string bound_to(std::string_view use, const StoreId& store) {
    return std::string(use).append(as_text(store));
}
std::string bound_epoch_key(const KeystoreHeader& header) {
    return bound_to("annal epoch key.", header.store) + little_endian(header.epoch) + little_endian(header.count);
}
std::string bound_secrets(const KeystoreHeader& header) {
    return bound_to("annal secrets...", header.store) + little_endian(header.epoch);
}
std::string bound_key(const StoreId& store, std::uint64_t epoch, const KeyRecord& record) {
    return (bound_to("annal key.......", store) + little_endian(epoch))
        .append(as_text(record.id.bytes))
        .append(as_text(record.subject.bytes));
}
std::string bound_payload(const StoreId& store, const SubjectKeyId& key, std::string_view place) {
    return bound_to("annal payload...", store).append(as_text(key.bytes)).append(place);
}

// A key is sealed once in an epoch, and the epoch's key seals nothing else with a nonce that is not random: the id,
// which is, will do.
AeadNonce key_nonce(const SubjectKeyId& id) {
    AeadNonce nonce{};
    std::copy(id.bytes.begin(), id.bytes.end(), nonce.begin());
    return nonce;
}

void seal_key(KeyView with, const StoreId& store, std::uint64_t epoch, const PassingKey& key, KeyRecord& record) {
    aead_seal(with, key_nonce(record.id), bound_key(store, epoch, record), key.bytes, record.key);
}
bool open_key(KeyView with, const StoreId& store, std::uint64_t epoch, const KeyRecord& record, PassingKey& key) {
    return aead_open(with, key_nonce(record.id), bound_key(store, epoch, record), record.key, key.bytes);
}

// Of two texts: the first one's length says where it ends.
template <std::size_t n>
std::array<std::uint8_t, n> keyed_hash(KeyView key, std::string_view first, std::string_view second) {
    std::array<std::uint8_t, n> hash{};
    const std::string length = little_endian(std::uint64_t{first.size()});
    crypto_generichash_state state;
    crypto_generichash_init(&state, key.data(), key.size(), hash.size());
    for (const auto part : {std::string_view(length), first, second})
        crypto_generichash_update(&state, unsigned_bytes(part).data(), part.size());
    crypto_generichash_final(&state, hash.data(), hash.size());
    sodium_memzero(&state, sizeof state);
    return hash;
}

Error data_loss(const std::string& what) {
    return {ErrorCode::data_loss, what, {}};
}

}  // namespace

struct Keystore::Keys {
    LockedBytes epoch_key;
    KeystoreContent content;
    std::unordered_map<SubjectKeyId, std::size_t> by_id{};  // The place in content.keys.
    std::unordered_map<SubjectHash, std::size_t> by_subject{};

    // False: the id or the subject is there already.
    bool index(std::size_t place) {
        const auto& record = content.keys[place];
        return by_id.emplace(record.id, place).second && by_subject.emplace(record.subject, place).second;
    }
    bool index_all() {
        by_id.reserve(content.keys.size());
        by_subject.reserve(content.keys.size());
        for (std::size_t i = 0; i < content.keys.size(); ++i)
            if (!index(i)) return false;
        return true;
    }
};

Keystore::Keystore(KeystoreOptions options) : options_(std::move(options)) {}
Keystore::~Keystore() = default;

Result<std::unique_ptr<Keystore>> Keystore::open(KeystoreOptions options) {
    std::unique_ptr<Keystore> keystore(new Keystore(std::move(options)));
    const auto& given = keystore->options_;
    auto content = KeystoreFile::read(given.files, given.directory);
    if (!content) return content.error();
    if (!*content && !given.root_key) {
        keystore->state_reason_ = "sealing is off: there is no root key";
        return keystore;
    }
    if (!*content && !given.create_if_missing)
        return Error{ErrorCode::not_found, "there is no keystore; restore it from its own backup", {}};
    if (*content && (*content)->header.store != given.store)
        return Error{ErrorCode::invalid_argument, "the keystore is another store's", {}};
    if (auto ready = *content ? keystore->unlock(std::move(**content)) : keystore->create(); !ready)
        return ready.error();
    return keystore;
}

Status Keystore::create() {
    if (auto made = create_directories(options_.files, options_.directory); !made) return made;
    std::error_code failed;
    std::filesystem::permissions(options_.directory, std::filesystem::perms::owner_all, failed);
    if (failed) return Error{ErrorCode::unavailable, "closing the keystore's directory to others failed", {}};

    auto secrets = LockedBytes::random(keystore_secrets_bytes);
    if (!secrets) return secrets.error();
    secrets_ = std::move(*secrets);
    auto cache = KeyCache::create(options_.unwrapped_keys_max);
    if (!cache) return cache.error();
    cache_ = std::move(*cache);
    if (auto written = rewrite(*options_.root_key, {}); !written) return written;
    if (auto removed = remove_others(); !removed) return removed;
    state_ = KeystoreState::unlocked;
    return Done{};
}

Status Keystore::unlock(KeystoreContent content) {
    state_ = KeystoreState::locked;
    epoch_ = content.header.epoch;
    subject_count_ = content.keys.size();
    if (!options_.root_key) {
        state_reason_ = "the keystore is locked: there is no root key";
        return Done{};
    }
    auto epoch_key = LockedBytes::zeros(key_bytes);
    auto secrets = LockedBytes::zeros(keystore_secrets_bytes);
    auto cache = KeyCache::create(options_.unwrapped_keys_max);
    if (!epoch_key) return epoch_key.error();
    if (!secrets) return secrets.error();
    if (!cache) return cache.error();
    const auto& header = content.header;
    if (!aead_open(options_.root_key->view(), header.epoch_key_nonce, bound_epoch_key(header), header.epoch_key,
                   epoch_key->span())) {
        state_reason_ = "the keystore is locked: the root key is not the one it was made with";
        return Done{};
    }
    if (!aead_open(epoch_key->key(), header.secrets_nonce, bound_secrets(header), header.secrets, secrets->span()))
        return data_loss("the secrets of the keystore are not those that were stored");

    auto keys = std::make_unique<Keys>(Keys{std::move(*epoch_key), std::move(content)});
    if (!keys->index_all()) return data_loss("the keystore has two keys of one id or one subject");
    auto file = KeystoreFile::open(options_.files, options_.directory, keys->content);
    if (!file) return file.error();
    secrets_ = std::move(*secrets);
    cache_ = std::move(*cache);
    file_ = std::move(*file);
    keys_ = std::move(keys);
    last_epoch_ = epoch_;
    state_ = KeystoreState::unlocked;
    return Done{};
}

Error Keystore::refusal() const {
    return {ErrorCode::permission_denied, state_reason_, {{"state", state_ == KeystoreState::off ? "off" : "locked"}}};
}

Result<SealedPayload> Keystore::seal(const Subject& subject, std::string_view bound, std::string_view payload) {
    if (state_ != KeystoreState::unlocked) return refusal();
    for (;;) {
        const auto id = find_or_add(hash(subject));
        if (!id) return id.error();
        PassingKey key;
        const auto found = unwrap(*id, key);
        if (!found) return found.error();
        if (!*found) continue;  // Erased in between.
        SealedPayload sealed{*id, random_nonce(), std::string(payload.size() + aead_tag_bytes, '\0')};
        aead_seal(key.bytes, sealed.nonce, bound_payload(options_.store, *id, bound), unsigned_bytes(payload),
                  {reinterpret_cast<std::uint8_t*>(sealed.bytes.data()), sealed.bytes.size()});
        return sealed;
    }
}

Result<Unsealed> Keystore::unseal(const SealedPayload& sealed, std::string_view bound) const {
    if (state_ != KeystoreState::unlocked) return Unsealed{Payload::sealed};
    PassingKey key;
    const auto found = unwrap(sealed.key, key);
    if (!found) return found.error();
    if (!*found) return Unsealed{Payload::erased};
    Unsealed unsealed{Payload::plain};
    if (sealed.bytes.size() >= aead_tag_bytes) unsealed.payload.resize(sealed.bytes.size() - aead_tag_bytes);
    if (!aead_open(key.bytes, sealed.nonce, bound_payload(options_.store, sealed.key, bound),
                   unsigned_bytes(sealed.bytes),
                   {reinterpret_cast<std::uint8_t*>(unsealed.payload.data()), unsealed.payload.size()}))
        return data_loss("a sealed payload is not what was sealed in its place");
    return unsealed;
}

SubjectHash Keystore::hash(const Subject& subject) const {
    return {keyed_hash<sizeof(SubjectHash)>(secrets_->key(subject_hashes), subject.project, subject.name)};
}

std::optional<SubjectKeyId> Keystore::find(const SubjectHash& subject) const {
    const std::shared_lock lock(keys_mutex_);
    const auto found = keys_->by_subject.find(subject);
    if (found == keys_->by_subject.end()) return std::nullopt;
    return keys_->content.keys[found->second].id;
}

Result<SubjectKeyId> Keystore::find_or_add(const SubjectHash& subject) {
    if (const auto id = find(subject)) return *id;
    const std::lock_guard writing(write_mutex_);
    if (const auto id = find(subject)) return *id;  // Added meanwhile.
    if (file_is_in_doubt_)
        if (auto written = rewrite(*options_.root_key, {}); !written) return written.error();
    if (auto removed = remove_others(); !removed) return removed.error();

    PassingKey key;
    KeyRecord record;
    record.subject = subject;
    randombytes_buf(key.bytes.data(), key.bytes.size());
    randombytes_buf(record.id.bytes.data(), record.id.bytes.size());
    seal_key(keys_->epoch_key.key(), options_.store, epoch_, key, record);
    if (auto appended = file_->append(record); !appended) {
        file_is_in_doubt_ = true;
        return appended.error();
    }
    const std::lock_guard lock(keys_mutex_);
    keys_->content.keys.push_back(record);
    keys_->index(keys_->content.keys.size() - 1);
    subject_count_ = keys_->content.keys.size();
    return record.id;
}

Result<bool> Keystore::unwrap(const SubjectKeyId& id, PassingKey& key) const {
    const std::shared_lock lock(keys_mutex_);  // Throughout, so that no erased key enters the cache.
    if (cache_->get(id, key)) return true;
    const auto found = keys_->by_id.find(id);
    if (found == keys_->by_id.end()) return false;
    const auto& header = keys_->content.header;
    if (!open_key(keys_->epoch_key.key(), header.store, header.epoch, keys_->content.keys[found->second], key))
        return data_loss("a key of the keystore is not what was stored");
    cache_->put(id, key);
    return true;
}

Result<std::vector<SubjectKeyId>> Keystore::erase(std::span<const Subject> subjects) {
    if (state_ != KeystoreState::unlocked) return refusal();
    const std::lock_guard writing(write_mutex_);
    std::unordered_set<SubjectKeyId> erased;
    for (const auto& subject : subjects)
        if (const auto id = find(hash(subject))) erased.insert(*id);
    if (!erased.empty() || file_is_in_doubt_)
        if (auto written = rewrite(*options_.root_key, erased); !written) return written.error();
    if (auto removed = remove_others(); !removed) return removed.error();  // Of an earlier call, maybe.
    return std::vector<SubjectKeyId>(erased.begin(), erased.end());
}

Status Keystore::change_root_key(RootKey next) {
    if (state_ != KeystoreState::unlocked) return refusal();
    const std::lock_guard writing(write_mutex_);
    if (auto written = rewrite(next, {}); !written) return written;
    options_.root_key = std::move(next);
    return remove_others();
}

// Makes an epoch of the keys there are, and puts it in force.
Status Keystore::rewrite(const RootKey& root, const std::unordered_set<SubjectKeyId>& without) {
    auto epoch_key = LockedBytes::random(key_bytes);
    if (!epoch_key) return epoch_key.error();
    auto next = std::make_unique<Keys>(Keys{std::move(*epoch_key), {}});
    auto& header = next->content.header;
    header.store = options_.store;
    header.epoch = last_epoch_ + 1;
    if (keys_) {
        const auto& former = keys_->content;  // Changed by holders of write_mutex_ alone.
        next->content.keys.reserve(former.keys.size() - without.size());
        for (const auto& record : former.keys) {
            if (without.count(record.id) != 0) continue;
            PassingKey key;
            if (!open_key(keys_->epoch_key.key(), former.header.store, former.header.epoch, record, key))
                return data_loss("a key of the keystore is not what was stored");
            KeyRecord again = record;
            seal_key(next->epoch_key.key(), header.store, header.epoch, key, again);
            next->content.keys.push_back(again);
        }
    }
    header.count = next->content.keys.size();
    header.epoch_key_nonce = random_nonce();
    aead_seal(root.view(), header.epoch_key_nonce, bound_epoch_key(header), next->epoch_key.span(), header.epoch_key);
    header.secrets_nonce = random_nonce();
    aead_seal(next->epoch_key.key(), header.secrets_nonce, bound_secrets(header), secrets_->span(), header.secrets);
    next->index_all();

    last_epoch_ = header.epoch;
    auto file = KeystoreFile::create(options_.files, options_.directory, next->content);
    if (!file) {
        file_is_in_doubt_ = true;
        return file.error();
    }
    file_ = std::move(*file);
    file_is_in_doubt_ = false;
    others_are_left_ = true;
    {
        const std::lock_guard lock(keys_mutex_);
        keys_.swap(next);
        epoch_ = keys_->content.header.epoch;
        subject_count_ = keys_->content.keys.size();
        for (const auto& id : without) cache_->remove(id);
    }
    return Done{};
}

Status Keystore::remove_others() {
    if (!others_are_left_) return Done{};
    auto removed = file_->remove_others();
    others_are_left_ = !removed;
    return removed;
}

Result<Hash> Keystore::tombstone(std::string_view project, std::string_view value) const {
    if (state_ != KeystoreState::unlocked) return refusal();
    return keyed_hash<sizeof(Hash)>(secrets_->key(tombstones), project, value);
}

}  // namespace annal
