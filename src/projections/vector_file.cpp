#include "vector_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace annal {

VectorFile::VectorFile(const std::filesystem::path& path, int flags)
    : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}

VectorFile::~VectorFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

Status VectorFile::write_at(std::size_t offset, std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
        const auto written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return error("writing", written < 0 ? errno : EIO);
        offset += static_cast<std::size_t>(written);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return Done{};
}

bool VectorFile::read_at(std::size_t offset, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
        const auto got = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        offset += static_cast<std::size_t>(got);
        bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
    return true;
}

Status VectorFile::sync() const {
    if (::fsync(descriptor_) != 0) return error("syncing", errno);
    return Done{};
}

Error VectorFile::error(std::string_view doing, int code) {
    const auto kind = code == ENOSPC || code == EDQUOT ? ErrorCode::resource_exhausted : ErrorCode::unavailable;
    return {kind, std::string(doing) + " a file of the vector index: " + std::strerror(code), {}};
}

}  // namespace annal
