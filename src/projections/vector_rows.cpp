#include "vector_rows.h"

#include "events/crc32c.h"
#include "vector_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace annal {
namespace {

constexpr std::string_view magic = "ANNLROWS";
constexpr std::uint32_t format = 1;

Error damaged_rows(std::string_view what) {
    return {ErrorCode::data_loss, "the vector rows " + std::string(what), {}};
}

template <class T>
void store(std::byte* to, T value) {
    std::memcpy(to, &value, sizeof value);
}
template <class T>
T load(const std::byte* from) {
    T value{};
    std::memcpy(&value, from, sizeof value);
    return value;
}

using Header = std::array<std::byte, VectorRows::header_bytes>;

Header make_header(std::string_view model, std::size_t dimension) {
    Header header{};
    std::memcpy(header.data(), magic.data(), magic.size());
    store(header.data() + 8, format);
    store(header.data() + 12, static_cast<std::uint32_t>(dimension));
    store(header.data() + 16, static_cast<std::uint32_t>(VectorRows::row_bytes(dimension)));
    store(header.data() + 20, static_cast<std::uint32_t>(model.size()));
    std::memcpy(header.data() + 24, model.data(), std::min(model.size(), header.size() - 28));
    store(header.data() + header.size() - 4, crc32c(header.data(), header.size() - 4));
    return header;
}

std::uint32_t row_checksum(const std::byte* row, std::size_t dimension) {
    const auto crc = crc32c(row, sizeof(std::uint64_t));
    return crc32c(row + VectorRows::row_head_bytes, dimension * sizeof(float), crc);
}

}  // namespace

VectorRows::VectorRows(std::filesystem::path path, std::size_t dimension)
    : path_(std::move(path)), dimension_(dimension), row_bytes_(row_bytes(dimension)) {}

VectorRows::~VectorRows() {
    for (std::size_t chunk = 0; chunk < chunks_; ++chunk) munmap(mapped_[chunk].begin, mapped_[chunk].bytes);
}

Result<std::unique_ptr<VectorRows>> VectorRows::create(const std::filesystem::path& path, std::string_view model,
                                                       std::size_t dimension) {
    const VectorFile file(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file.is_open()) return VectorFile::error("making", errno);
    const auto header = make_header(model, dimension);
    if (auto written = file.write_at(0, header); !written) return written.error();
    return std::unique_ptr<VectorRows>(new VectorRows(path, dimension));
}

Result<std::unique_ptr<VectorRows>> VectorRows::open(const std::filesystem::path& path, std::string_view model,
                                                     std::size_t dimension, std::size_t count) {
    const VectorFile file(path, O_RDWR);
    if (!file.is_open()) return errno == ENOENT ? damaged_rows("are gone") : VectorFile::error("opening", errno);
    const auto expected = make_header(model, dimension);
    Header header{};
    if (!file.read_at(0, header) || header != expected) return damaged_rows("begin with another header");
    struct stat status {};
    if (::fstat(file.descriptor(), &status) != 0) return VectorFile::error("opening", errno);
    const auto bytes = header_bytes + count * row_bytes(dimension);
    if (static_cast<std::size_t>(status.st_size) < bytes) return damaged_rows("are shorter than their count");
    if (static_cast<std::size_t>(status.st_size) > bytes &&
        ::ftruncate(file.descriptor(), static_cast<off_t>(bytes)) != 0)
        return VectorFile::error("cutting", errno);
    auto rows = std::unique_ptr<VectorRows>(new VectorRows(path, dimension));
    if (auto mapped = rows->map(count); !mapped) return mapped.error();
    return rows;
}

void VectorRows::encode(Seq ordinal, std::span<const float> vector, std::vector<std::byte>& out) const {
    const auto begin = out.size();
    out.resize(begin + row_bytes_);
    auto* row = out.data() + begin;
    store(row, ordinal.value);
    std::memcpy(row + row_head_bytes, vector.data(), dimension_ * sizeof(float));
    store(row + 8, row_checksum(row, dimension_));
}

Status VectorRows::write(Slot first, std::span<const std::byte> rows) {
    const VectorFile file(path_, O_WRONLY);
    if (!file.is_open()) return VectorFile::error("opening", errno);
    if (auto written = file.write_at(header_bytes + first * row_bytes_, rows); !written) return written;
    return map(first + rows.size() / row_bytes_);
}

Status VectorRows::sync() {
    const VectorFile file(path_, O_WRONLY);
    if (!file.is_open()) return VectorFile::error("opening", errno);
    return file.sync();
}

// Whole chunks at a time, also beyond the end of the file: only rows that were written are read.
Status VectorRows::map(std::size_t slots) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (slots > slots_max) return Error{ErrorCode::resource_exhausted, "too many vectors in one partition", {}};
    while (chunks_ < mapped_.size() && chunk_begin(chunks_) < slots) {
        const VectorFile file(path_, O_RDONLY);
        if (!file.is_open()) return VectorFile::error("opening", errno);
        const auto offset = header_bytes + chunk_begin(chunks_) * row_bytes_;
        const auto begin = offset / page * page;
        const auto bytes = offset - begin + chunk_slots(chunks_) * row_bytes_;
        void* mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.descriptor(), static_cast<off_t>(begin));
        if (mapped == MAP_FAILED) return VectorFile::error("mapping", errno);
        mapped_[chunks_] = {mapped, bytes};
        origin_[chunks_] =
            reinterpret_cast<std::uintptr_t>(mapped) + (offset - begin) - chunk_begin(chunks_) * row_bytes_;
        ++chunks_;
    }
    return Done{};
}

Seq VectorRows::ordinal(Slot slot) const {
    return Seq{load<std::uint64_t>(at(slot))};
}
std::uint32_t VectorRows::checksum(Slot slot) const {
    return load<std::uint32_t>(at(slot) + 8);
}
bool VectorRows::intact(Slot slot) const {
    return checksum(slot) == row_checksum(at(slot), dimension_) && load<std::uint32_t>(at(slot) + 12) == 0;
}
std::span<const float> VectorRows::floats(Slot slot) const {
    return {reinterpret_cast<const float*>(at(slot) + row_head_bytes), dimension_};
}

void VectorRows::read_ahead(std::size_t count) const {
    for (std::size_t chunk = 0; chunk < chunks_ && chunk_begin(chunk) < count; ++chunk) {
        const auto rows = std::min(chunk_slots(chunk), count - chunk_begin(chunk));
        ::madvise(mapped_[chunk].begin, std::min(mapped_[chunk].bytes, rows * row_bytes_), MADV_POPULATE_READ);
    }
}

}  // namespace annal
