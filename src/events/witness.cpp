#include "witness.h"

#include "crc32c.h"
#include "little_endian.h"
#include "rocks_support.h"

#include <rocksdb/file_system.h>

#include <algorithm>
#include <cstring>

namespace annal {
namespace {

constexpr std::size_t slot_bytes = 120, slot_distance = 4096, file_bytes = slot_distance + slot_bytes;
constexpr std::size_t checked_bytes = slot_bytes - 4;
constexpr std::string_view magic = "ANNLWIT2";
constexpr std::string_view file_name = "witness";

using Slot = std::array<char, slot_bytes>;

struct SlotContent {
    Witness witness;
    std::uint64_t writes = 0;
};

Slot pack(const Witness& witness, std::uint64_t writes) {
    Slot slot{};
    std::copy(magic.begin(), magic.end(), slot.begin());
    std::memcpy(&slot[8], witness.store.data(), witness.store.size());
    put_little_endian(&slot[24], witness.epoch);
    put_little_endian(&slot[32], witness.seq.value);
    std::memcpy(&slot[40], witness.hash.data(), witness.hash.size());
    std::memcpy(&slot[72], witness.root.data(), witness.root.size());
    put_little_endian(&slot[104], writes);
    slot[112] = witness.clean ? 1 : 0;
    put_little_endian(&slot[checked_bytes], crc32c(slot.data(), checked_bytes));
    return slot;
}

std::optional<SlotContent> unpack(std::string_view slot) {
    if (slot.size() < slot_bytes || slot.substr(0, magic.size()) != magic) return std::nullopt;
    if (take_little_endian<std::uint32_t>(&slot[checked_bytes]) != crc32c(slot.data(), checked_bytes))
        return std::nullopt;
    SlotContent content;
    std::memcpy(content.witness.store.data(), &slot[8], content.witness.store.size());
    content.witness.epoch = take_little_endian<std::uint64_t>(&slot[24]);
    content.witness.seq = Seq{take_little_endian<std::uint64_t>(&slot[32])};
    std::memcpy(content.witness.hash.data(), &slot[40], content.witness.hash.size());
    std::memcpy(content.witness.root.data(), &slot[72], content.witness.root.size());
    content.writes = take_little_endian<std::uint64_t>(&slot[104]);
    content.witness.clean = slot[112] == 1;
    return content;
}

std::size_t slot_offset(std::uint64_t writes) {
    return writes % 2 == 0 ? 0 : slot_distance;
}

}  // namespace

WitnessFile::WitnessFile() = default;

WitnessFile::~WitnessFile() {
    if (file_) file_->Close({}, nullptr).PermitUncheckedError();
}

Result<std::optional<Witness>> WitnessFile::read(rocksdb::FileSystem& files, const std::filesystem::path& directory) {
    const std::string path = (directory / file_name).string();
    const auto exists = files.FileExists(path, {}, nullptr);
    if (exists.IsNotFound()) return std::optional<Witness>();
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    auto status = exists.ok() ? files.NewSequentialFile(path, {}, &file, nullptr) : exists;
    if (!status.ok()) return to_error(status, "reading the witness");

    std::array<char, file_bytes> bytes{};
    std::size_t size = 0;
    while (size < bytes.size()) {
        rocksdb::Slice part;
        status = file->Read(bytes.size() - size, {}, &part, &bytes[size], nullptr);
        if (!status.ok()) return to_error(status, "reading the witness");
        if (part.empty()) break;
        if (part.data() != &bytes[size]) std::memmove(&bytes[size], part.data(), part.size());
        size += part.size();
    }
    const std::string_view content(bytes.data(), size);
    const auto first = unpack(content);
    const auto second = unpack(content.substr(std::min(slot_distance, size)));
    if (!first && !second)
        return Error{
            ErrorCode::data_loss, "the witness of what was acknowledged is damaged; restore it with the log", {}};
    if (!first) return std::optional(second->witness);
    if (!second) return std::optional(first->witness);
    return std::optional(first->writes > second->writes ? first->witness : second->witness);
}

Result<std::unique_ptr<WitnessFile>> WitnessFile::create(rocksdb::FileSystem& files,
                                                         const std::filesystem::path& directory,
                                                         const Witness& witness) {
    const std::string path = (directory / file_name).string(), draft = path + ".new";
    std::string content(file_bytes, '\0');
    const auto slot = pack(witness, 0);
    std::copy(slot.begin(), slot.end(), content.begin());

    std::unique_ptr<rocksdb::FSWritableFile> out;
    auto status = files.NewWritableFile(draft, {}, &out, nullptr);
    if (status.ok()) status = out->Append(content, {}, nullptr);
    if (status.ok()) status = out->Fsync({}, nullptr);
    if (status.ok()) status = out->Close({}, nullptr);
    if (status.ok()) status = files.RenameFile(draft, path, {}, nullptr);
    if (!status.ok()) return to_error(status, "writing the witness");
    if (auto synced = sync_directory(files, directory); !synced) return synced.error();

    std::unique_ptr<WitnessFile> result(new WitnessFile);
    status = files.NewRandomRWFile(path, {}, &result->file_, nullptr);
    if (!status.ok()) return to_error(status, "opening the witness");
    return result;
}

Status WitnessFile::write(const Witness& witness) {
    ++writes_;
    const auto slot = pack(witness, writes_);
    const auto status = file_->Write(slot_offset(writes_), {slot.data(), slot.size()}, {}, nullptr);
    if (!status.ok()) return to_error(status, "writing the witness");
    return Done{};
}

Status WitnessFile::sync() {
    const auto status = file_->Fsync({}, nullptr);
    if (!status.ok()) return to_error(status, "syncing the witness");
    return Done{};
}

}  // namespace annal
