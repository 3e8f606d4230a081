#include "signing_key.h"

#include "events/base64.h"
#include "events/bytes.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace annal {
namespace {

Error failed(const char* doing) {
    const bool full = errno == ENOSPC || errno == EDQUOT;
    return {full ? ErrorCode::resource_exhausted : ErrorCode::unavailable,
            std::string(doing) + " the key that signs the log's heads: " + std::strerror(errno),
            {}};
}

class File {
 public:
    File(const std::filesystem::path& path, int flags, mode_t mode = 0) : fd_(::open(path.c_str(), flags, mode)) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    explicit operator bool() const { return fd_ >= 0; }
    int fd() const { return fd_; }

 private:
    int fd_;
};

// Wiped when it goes.
struct Secret {
    SigningKey::Seed seed{};
    std::string text;
    ~Secret() {
        OPENSSL_cleanse(seed.data(), seed.size());
        OPENSSL_cleanse(text.data(), text.size());
    }
};

Status read_seed(const File& file, Secret& secret) {
    struct stat about {};
    if (fstat(file.fd(), &about) != 0) return failed("reading");
    if ((about.st_mode & 077) != 0)
        return Error{ErrorCode::permission_denied,
                     "the key that signs the log's heads may be read by others: chmod 600 keys/log_signing_key",
                     {}};
    const Error damaged{
        ErrorCode::data_loss,
        "the key that signs the log's heads is damaged: put it back, or remove it and tell auditors the "
        "new one",
        {}};
    secret.text.resize(128);
    const auto size = ::read(file.fd(), secret.text.data(), secret.text.size());
    if (size < 0) return failed("reading");
    const auto text = std::string_view(secret.text).substr(0, static_cast<std::size_t>(size));
    if (text.empty() || text.back() != '\n') return damaged;
    auto seed = from_base64(text.substr(0, text.size() - 1));
    if (!seed || seed->size() != secret.seed.size()) return damaged;
    std::copy(seed->begin(), seed->end(), secret.seed.begin());
    OPENSSL_cleanse(seed->data(), seed->size());
    return Done{};
}

Status write_seed(const std::filesystem::path& path, Secret& secret) {
    auto seed = SigningKey::new_seed();
    if (!seed) return seed.error();
    secret.seed = *seed;
    OPENSSL_cleanse(seed->data(), seed->size());
    secret.text = to_base64(as_text(secret.seed)) + '\n';
    const std::filesystem::path directory = path.parent_path(), draft = path.string() + ".new";
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return failed("writing");
    {
        const File file(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (!file || ::write(file.fd(), secret.text.data(), secret.text.size()) != ssize_t(secret.text.size()) ||
            ::fsync(file.fd()) != 0)
            return failed("writing");
    }
    if (::rename(draft.c_str(), path.c_str()) != 0) return failed("writing");
    for (const auto& each : {directory, directory.parent_path()}) {
        const File made(each, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (!made || ::fsync(made.fd()) != 0) return failed("writing");
    }
    return Done{};
}

}  // namespace

Result<SigningKey> open_signing_key(const std::filesystem::path& file, std::string_view name) {
    Secret secret;
    const File there(file, O_RDONLY | O_CLOEXEC);
    if (!there && errno != ENOENT) return failed("opening");
    if (auto done = there ? read_seed(there, secret) : write_seed(file, secret); !done) return done.error();
    return SigningKey::from_seed(name, secret.seed);
}

}  // namespace annal
