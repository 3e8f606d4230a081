#include "store_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

namespace annal {
namespace {

Error store_failure(std::string_view doing, const std::string& name) {
    const int reason = errno;
    const bool full = reason == ENOSPC || reason == EDQUOT;
    return {full ? ErrorCode::resource_exhausted : ErrorCode::unavailable,
            std::string(doing) + " the store's " + name + ": " + std::strerror(reason),
            {}};
}

bool write_durably(int fd, std::string_view text) {
    while (!text.empty()) {
        const auto count = ::write(fd, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return false;
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return fsync(fd) == 0;
}

}  // namespace

Result<std::optional<std::string>> read_store_file(const std::filesystem::path& store, const std::string& name,
                                                   unsigned forbidden, std::string_view why) {
    const auto path = store / name;
    struct stat about {};
    if (stat(path.c_str(), &about) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return std::optional<std::string>();
        return store_failure("reading", name);
    }
    if ((about.st_mode & forbidden) != 0)
        return Error{
            ErrorCode::permission_denied, "the store's " + name + ", " + std::string(why) + ": chmod 600 it", {}};
    std::ifstream in(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    if (!in) return store_failure("reading", name);
    return std::optional(std::move(text));
}

Status replace_store_file(const std::filesystem::path& store, const std::string& name, std::string_view text) {
    const auto path = store / name;
    const auto draft = path.string() + ".draft";
    const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return store_failure("writing", name);
    const auto written = write_durably(fd, text) ? Status(Done{}) : Status(store_failure("writing", name));
    ::close(fd);
    if (!written) return written;
    if (rename(draft.c_str(), path.c_str()) != 0) return store_failure("replacing", name);
    const int directory = ::open(store.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return store_failure("replacing", name);
    const bool synced = fsync(directory) == 0;
    const auto done = synced ? Status(Done{}) : Status(store_failure("replacing", name));
    ::close(directory);
    return done;
}

}  // namespace annal
