// The keys that personal payloads are sealed with, apart from the log: erasing a key erases what it sealed, in the log,
// its archives and its backups alike, without a byte of them being rewritten.
//
//   root key    32 bytes that the host keeps (root_key.h); seals
//   epoch key   one for all that is in force, new with every erasure; seals
//   keys        one for each (project, subject), under a random id: seal payloads
//   secrets     of the store, for its life: two keys of hashes, by which a subject is found and a value is known again
// All of it is bound to the store's UUID, its use and, for keys, to id and subject.
//
// What an erasure promises: once it returns, no file of the keystore's directory holds anything from which the key can
// be had. A copy of the directory that was made before still opens with the root key it was made under, until that root
// key is destroyed, too: change_root_key(). docs/decisions/0007-sealing.md.
//
// Threads: every method may be called from any thread; unsealing goes on while a key is made or an erasure runs.
// Durability: what seals a payload is on disk before seal() returns; so is the end of an erasure before erase() does.
// After a failure an erasure either happened or not; calling it again completes it.
#pragma once

#include "aead.h"
#include "event_log_hash.h"
#include "keystore_file.h"
#include "root_key.h"

#include <annal/memory.h>
#include <annal/result.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace annal {

class KeyCache;

enum class KeystoreState {
    off,       // No root key and no keystore: nothing is sealed.
    locked,    // A keystore, and no root key or a wrong one: all that is sealed stays so, and no file is changed.
    unlocked,  // In use.
};

struct Subject {  // Whose data it is. Borrowed; any bytes, of any length.
    std::string_view project;
    std::string_view name;
};

struct SealedPayload {
    SubjectKeyId key;
    AeadNonce nonce{};
    std::string bytes;  // As many as the payload's, and the tag's 16.
};

struct Unsealed {
    Payload state{};        // Sealed: the keystore is not unlocked. Erased: there is no such key.
    std::string payload{};  // Empty, unless plain.
};

struct KeystoreOptions {
    rocksdb::FileSystem& files;  // Outlives the keystore.
    std::filesystem::path directory{};
    std::array<std::uint8_t, 16> store{};  // Its UUID.
    std::optional<RootKey> root_key{};
    bool create_if_missing = true;          // When there is a root key.
    std::size_t unwrapped_keys_max = 1024;  // In memory at once; at least 1.
};

class Keystore {
 public:
    // A wrong root key, or none, is no error: see state(). not_found: nothing there, a root key, and not to be created.
    // data_loss: the file in force fails its checks. invalid_argument: the keystore is another store's.
    static Result<std::unique_ptr<Keystore>> open(KeystoreOptions options);
    ~Keystore();

    KeystoreState state() const { return state_; }
    std::string_view state_reason() const { return state_reason_; }  // Why it is not unlocked; for people.
    // Raised by every erasure and change of the root key; 0 when off. One below that of an erasure that was recorded
    // tells of a keystore restored from before it.
    std::uint64_t epoch() const { return epoch_; }
    std::size_t subject_count() const { return subject_count_; }  // That have a key.

    // `bound`: what names the payload's place (event, type, field): the same is to be given to unseal(). A subject that
    // has no key gets one. permission_denied: not unlocked; so it is for all that follow but unseal().
    Result<SealedPayload> seal(const Subject& subject, std::string_view bound, std::string_view payload);
    // data_loss: it is not what was sealed there.
    Result<Unsealed> unseal(const SealedPayload& sealed, std::string_view bound) const;

    // Destroys the subjects' keys, with one rewrite of the keystore for all; says which they were. Subjects without a
    // key are passed over. A subject that is sealed for again gets another key.
    Result<std::vector<SubjectKeyId>> erase(std::span<const Subject> subjects);
    // From its return on, `next` opens the keystore and the former root key does not. When it fails, keep both.
    Status change_root_key(RootKey next);

    // By which a value is known again without being kept, within its project. `value` is normalised by the caller.
    Result<Hash> tombstone(std::string_view project, std::string_view value) const;

 private:
    struct Keys;
    explicit Keystore(KeystoreOptions options);

    Status create();
    Status unlock(KeystoreContent content);
    Error refusal() const;
    SubjectHash hash(const Subject& subject) const;
    std::optional<SubjectKeyId> find(const SubjectHash& subject) const;
    Result<SubjectKeyId> find_or_add(const SubjectHash& subject);
    Result<bool> unwrap(const SubjectKeyId& id, PassingKey& key) const;  // False: there is no such key.
    Status rewrite(const RootKey& root, const std::unordered_set<SubjectKeyId>& without);
    Status remove_others();

    KeystoreOptions options_;
    KeystoreState state_ = KeystoreState::off;
    std::string state_reason_;
    std::atomic<std::uint64_t> epoch_ = 0;
    std::atomic<std::size_t> subject_count_ = 0;
    // The rest is of an unlocked one.
    std::optional<LockedBytes> secrets_;
    std::unique_ptr<KeyCache> cache_;

    std::mutex write_mutex_;  // Held by whoever changes files; taken before the other.
    std::unique_ptr<KeystoreFile> file_;
    std::uint64_t last_epoch_ = 0;   // That a file may have.
    bool file_is_in_doubt_ = false;  // A write failed: the next one makes a new file.
    bool others_are_left_ = false;   // A former epoch could not be removed.

    mutable std::shared_mutex keys_mutex_;  // Exclusive for what changes in memory, not for I/O.
    std::unique_ptr<Keys> keys_;
};

}  // namespace annal
