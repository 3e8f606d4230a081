#include "keystore_file.h"

#include "crc32c.h"
#include "little_endian.h"
#include "rocks_support.h"

#include <rocksdb/file_system.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace annal {
namespace {

constexpr std::string_view keystore_magic = "ANNLKEY1", prefix = "epoch.", draft_name = "epoch.new";
constexpr std::size_t block_bytes = 512, header_checked_bytes = block_bytes - 4;
constexpr std::size_t record_bytes = 84, record_checked_bytes = record_bytes - 4, records_per_block = 6;
constexpr std::size_t epoch_digits = 16, wipe_chunk_bytes = std::size_t{1} << 20;
constexpr const char* reading = "reading the keystore";
constexpr const char* writing = "writing the keystore";

std::size_t record_offset(std::size_t index) {
    return block_bytes * (1 + index / records_per_block) + record_bytes * (index % records_per_block);
}

// Where the CRC is that seeds that of the record.
std::size_t seed_offset(std::size_t index) {
    return index == 0 ? header_checked_bytes : record_offset(index - 1) + record_checked_bytes;
}

// With the zeros behind the last of a block, so that a file has no holes.
std::size_t written_bytes(std::size_t index) {
    return record_offset(index + 1) - record_offset(index);
}

template <std::size_t n>
void put_bytes(char* to, const std::array<std::uint8_t, n>& bytes) {
    std::memcpy(to, bytes.data(), n);
}

template <std::size_t n>
void take_bytes(const char* from, std::array<std::uint8_t, n>& bytes) {
    std::memcpy(bytes.data(), from, n);
}

std::string encode_header(const KeystoreHeader& header) {
    std::string bytes(block_bytes, '\0');
    std::copy(keystore_magic.begin(), keystore_magic.end(), bytes.begin());
    put_bytes(&bytes[8], header.store);
    put_little_endian(&bytes[24], header.epoch);
    put_little_endian(&bytes[32], header.count);
    put_bytes(&bytes[40], header.epoch_key_nonce);
    put_bytes(&bytes[64], header.epoch_key);
    put_bytes(&bytes[112], header.secrets_nonce);
    put_bytes(&bytes[136], header.secrets);
    put_little_endian(&bytes[header_checked_bytes], crc32c(bytes.data(), header_checked_bytes));
    return bytes;
}

KeystoreHeader decode_header(const char* bytes) {
    KeystoreHeader header;
    take_bytes(bytes + 8, header.store);
    header.epoch = take_little_endian<std::uint64_t>(bytes + 24);
    header.count = take_little_endian<std::uint64_t>(bytes + 32);
    take_bytes(bytes + 40, header.epoch_key_nonce);
    take_bytes(bytes + 64, header.epoch_key);
    take_bytes(bytes + 112, header.secrets_nonce);
    take_bytes(bytes + 136, header.secrets);
    return header;
}

// Returns its CRC.
std::uint32_t encode_record(const KeyRecord& record, std::uint32_t seed, char* to) {
    put_bytes(to, record.id.bytes);
    put_bytes(to + 16, record.subject.bytes);
    put_bytes(to + 32, record.key);
    const auto crc = crc32c(to, record_checked_bytes, seed);
    put_little_endian(to + record_checked_bytes, crc);
    return crc;
}

KeyRecord decode_record(const char* bytes) {
    KeyRecord record;
    take_bytes(bytes, record.id.bytes);
    take_bytes(bytes + 16, record.subject.bytes);
    take_bytes(bytes + 32, record.key);
    return record;
}

Error damaged(const std::string& what) {
    return {ErrorCode::data_loss, "the keystore is damaged: " + what + "; restore it from its own backup", {}};
}

std::string file_name(std::uint64_t epoch) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string name(prefix);
    for (std::size_t i = epoch_digits; i-- > 0;) name += digits[(epoch >> (4 * i)) & 15];
    return name;
}

std::optional<std::uint64_t> epoch_of(std::string_view name) {
    if (!name.starts_with(prefix)) return std::nullopt;
    std::uint64_t epoch = 0;
    std::from_chars(name.data() + prefix.size(), name.data() + name.size(), epoch, 16);
    if (file_name(epoch) != name) return std::nullopt;
    return epoch;
}

Result<std::vector<std::string>> list(rocksdb::FileSystem& files, const std::filesystem::path& directory) {
    std::vector<std::string> names;
    const auto status = files.GetChildren(directory.string(), {}, &names, nullptr);
    if (!status.ok() && !status.IsNotFound()) return to_error(status, reading);
    return names;
}

Result<std::string> read_whole(rocksdb::FileSystem& files, const std::filesystem::path& path) {
    std::uint64_t size = 0;
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    auto status = files.GetFileSize(path.string(), {}, &size, nullptr);
    if (status.ok()) status = files.NewSequentialFile(path.string(), {}, &file, nullptr);
    if (!status.ok()) return to_error(status, reading);
    std::string bytes(size, '\0');
    std::size_t got = 0;
    while (got < bytes.size()) {
        rocksdb::Slice part;
        status = file->Read(bytes.size() - got, {}, &part, &bytes[got], nullptr);
        if (!status.ok()) return to_error(status, reading);
        if (part.empty()) break;
        if (part.data() != &bytes[got]) std::memmove(&bytes[got], part.data(), part.size());
        got += part.size();
    }
    bytes.resize(got);
    return bytes;
}

Status wipe(rocksdb::FileSystem& files, const std::filesystem::path& path) {
    std::uint64_t size = 0;
    std::unique_ptr<rocksdb::FSRandomRWFile> file;
    auto status = files.GetFileSize(path.string(), {}, &size, nullptr);
    if (status.ok()) status = files.NewRandomRWFile(path.string(), {}, &file, nullptr);
    const std::string zeros(std::min<std::uint64_t>(size, wipe_chunk_bytes), '\0');
    for (std::uint64_t at = 0; status.ok() && at < size; at += zeros.size())
        status = file->Write(at, {zeros.data(), std::min<std::uint64_t>(zeros.size(), size - at)}, {}, nullptr);
    if (status.ok()) status = file->Fsync({}, nullptr);
    if (status.ok()) status = file->Close({}, nullptr);
    if (status.ok()) status = files.DeleteFile(path.string(), {}, nullptr);
    if (!status.ok()) return to_error(status, "removing a former epoch of the keystore");
    return Done{};
}

}  // namespace

std::string encode_keystore(const KeystoreContent& content) {
    std::string bytes = encode_header(content.header);
    bytes.resize(record_offset(content.keys.size()), '\0');
    auto crc = take_little_endian<std::uint32_t>(&bytes[header_checked_bytes]);
    for (std::size_t i = 0; i < content.keys.size(); ++i)
        crc = encode_record(content.keys[i], crc, &bytes[record_offset(i)]);
    return bytes;
}

Result<KeystoreContent> decode_keystore(std::string_view bytes) {
    if (bytes.size() < block_bytes || !bytes.starts_with(keystore_magic))
        return damaged("it has no header of this version");
    auto crc = take_little_endian<std::uint32_t>(&bytes[header_checked_bytes]);
    if (crc != crc32c(bytes.data(), header_checked_bytes)) return damaged("its header");
    KeystoreContent content{decode_header(bytes.data()), {}};
    content.keys.reserve((bytes.size() - block_bytes) / record_bytes);
    for (std::size_t i = 0; record_offset(i) < bytes.size(); ++i) {
        const bool whole = record_offset(i) + record_bytes <= bytes.size();
        const char* record = &bytes[record_offset(i)];
        const auto stored = whole ? take_little_endian<std::uint32_t>(record + record_checked_bytes) : 0;
        if (!whole || stored != crc32c(record, record_checked_bytes, crc)) {
            if (stored != 0 || record_offset(i + 1) < bytes.size()) return damaged("key " + std::to_string(i + 1));
            break;
        }
        content.keys.push_back(decode_record(record));
        crc = stored;
    }
    if (content.keys.size() < content.header.count)
        return damaged("it has " + std::to_string(content.keys.size()) + " keys, and was written with " +
                       std::to_string(content.header.count));
    return content;
}

KeystoreFile::KeystoreFile(rocksdb::FileSystem& files, std::filesystem::path directory, std::uint64_t epoch)
    : files_(files), directory_(std::move(directory)), epoch_(epoch) {}

KeystoreFile::~KeystoreFile() {
    if (file_) file_->Close({}, nullptr).PermitUncheckedError();
}

Result<std::optional<KeystoreContent>> KeystoreFile::read(rocksdb::FileSystem& files,
                                                          const std::filesystem::path& directory) {
    const auto names = list(files, directory);
    if (!names) return names.error();
    std::optional<std::uint64_t> newest;
    for (const auto& name : *names) newest = std::max(newest, epoch_of(name));
    if (!newest) return std::optional<KeystoreContent>();
    const auto bytes = read_whole(files, directory / file_name(*newest));
    if (!bytes) return bytes.error();
    auto content = decode_keystore(*bytes);
    if (!content) return content.error();
    if (content->header.epoch != *newest) return damaged("its file has the name of another epoch");
    return std::optional(std::move(*content));
}

Result<std::unique_ptr<KeystoreFile>> KeystoreFile::open(rocksdb::FileSystem& files,
                                                         const std::filesystem::path& directory,
                                                         const KeystoreContent& content) {
    std::unique_ptr<KeystoreFile> opened(new KeystoreFile(files, directory, content.header.epoch));
    opened->count_ = content.keys.size();
    const auto path = directory / file_name(content.header.epoch);
    auto status = files.NewRandomRWFile(path.string(), {}, &opened->file_, nullptr);
    if (!status.ok()) return to_error(status, reading);

    // What another process appended and could not sync was read from the system's memory. After a failed sync, the
    // system takes it for written: the last key is written anew.
    std::array<char, record_bytes> bytes{};
    rocksdb::Slice last;
    const std::size_t tail = seed_offset(opened->count_) - (opened->count_ == 0 ? 0 : record_checked_bytes);
    const std::size_t size = opened->count_ == 0 ? sizeof(std::uint32_t) : record_bytes;
    status = opened->file_->Read(tail, size, {}, &last, bytes.data(), nullptr);
    if (!status.ok()) return to_error(status, reading);
    if (last.size() != size) return damaged("it changed while it was read");
    opened->last_crc_ = take_little_endian<std::uint32_t>(last.data() + size - sizeof(std::uint32_t));
    if (opened->count_ > 0) {
        std::string record = last.ToString();
        record.resize(written_bytes(opened->count_ - 1), '\0');
        status = opened->file_->Write(tail, record, {}, nullptr);
    }
    if (status.ok()) status = opened->file_->Fsync({}, nullptr);
    if (!status.ok()) return to_error(status, writing);
    if (auto synced = sync_directory(files, directory); !synced) return synced.error();
    if (auto removed = opened->remove_others(); !removed) return removed.error();
    return opened;
}

Result<std::unique_ptr<KeystoreFile>> KeystoreFile::create(rocksdb::FileSystem& files,
                                                           const std::filesystem::path& directory,
                                                           const KeystoreContent& content) {
    std::unique_ptr<KeystoreFile> created(new KeystoreFile(files, directory, content.header.epoch));
    const std::string bytes = encode_keystore(content);
    created->count_ = content.keys.size();
    created->last_crc_ = take_little_endian<std::uint32_t>(&bytes[seed_offset(created->count_)]);

    const auto draft = (directory / draft_name).string(), path = (directory / file_name(created->epoch_)).string();
    if (files.FileExists(draft, {}, nullptr)
            .ok())  // Of an attempt that failed: opening it would free its bytes as they are.
        if (auto wiped = wipe(files, draft); !wiped) return wiped.error();
    std::unique_ptr<rocksdb::FSWritableFile> out;
    auto status = files.NewWritableFile(draft, {}, &out, nullptr);
    if (status.ok()) status = out->Append(bytes, {}, nullptr);
    if (status.ok()) status = out->Fsync({}, nullptr);
    if (status.ok()) status = out->Close({}, nullptr);
    if (status.ok()) status = files.NewRandomRWFile(draft, {}, &created->file_, nullptr);
    if (status.ok()) status = files.RenameFile(draft, path, {}, nullptr);
    if (!status.ok()) return to_error(status, writing);
    if (auto synced = sync_directory(files, directory); !synced) return synced.error();
    return created;
}

Status KeystoreFile::append(const KeyRecord& record) {
    std::string bytes(written_bytes(count_), '\0');
    const auto crc = encode_record(record, last_crc_, bytes.data());
    auto status = file_->Write(record_offset(count_), bytes, {}, nullptr);
    if (status.ok()) status = file_->Fsync({}, nullptr);
    if (!status.ok()) return to_error(status, writing);
    ++count_;
    last_crc_ = crc;
    return Done{};
}

Status KeystoreFile::remove_others() {
    const auto names = list(files_, directory_);
    if (!names) return names.error();
    for (const auto& name : *names) {
        const auto epoch = epoch_of(name);
        if (name != draft_name && (!epoch || *epoch == epoch_)) continue;
        if (auto wiped = wipe(files_, directory_ / name); !wiped) return wiped;
    }
    return Done{};  // The directory need not be synced: what a crash brings back is all zeros, and goes again.
}

}  // namespace annal
