#include "root_key.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace annal {
namespace {

constexpr std::size_t file_bytes_max = 1024, root_key_digits = 2 * key_bytes;

class Descriptor {
 public:
    explicit Descriptor(int value) : value_(value) {}
    ~Descriptor() {
        if (value_ >= 0) ::close(value_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int value() const { return value_; }

 private:
    const int value_;
};

Error refuse(ErrorCode code, std::string_view reason, const std::string& what) {
    return {code, "the root key: " + what, {{"reason", std::string(reason)}}};
}

Error system_error(const std::string& doing, int code) {
    if (code == ENOENT) return refuse(ErrorCode::not_found, "missing", "there is no such file");
    const auto kind = code == EEXIST                            ? ErrorCode::already_exists
                      : code == EACCES || code == EPERM         ? ErrorCode::permission_denied
                      : code == ENOSPC || code == EDQUOT        ? ErrorCode::resource_exhausted
                      : code == ENOTDIR || code == ENAMETOOLONG ? ErrorCode::invalid_argument
                                                                : ErrorCode::unavailable;
    return refuse(kind, "unreadable", doing + ": " + std::strerror(code));
}

// Links followed as far as there is something.
bool is_inside(const std::filesystem::path& file, const std::filesystem::path& directory) {
    std::error_code failed;
    const auto inner = std::filesystem::weakly_canonical(std::filesystem::absolute(file, failed), failed);
    const auto outer = std::filesystem::weakly_canonical(std::filesystem::absolute(directory, failed), failed) / "";
    if (failed) return true;  // What cannot be told apart is not let through.
    const auto parent = outer.parent_path();
    return std::mismatch(parent.begin(), parent.end(), inner.begin(), inner.end()).first == parent.end();
}

Error inside_store() {
    return refuse(ErrorCode::invalid_argument, "inside_store",
                  "its file is inside the store's directory, where every copy of the store would carry it along");
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blank = " \t\r\n";
    const auto first = text.find_first_not_of(blank);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

}  // namespace

Result<RootKey> RootKey::parse(std::string_view text) {
    auto bytes = LockedBytes::zeros(key_bytes);
    if (!bytes) return bytes.error();
    auto* to = bytes->span().data();
    std::size_t size = 0;
    const char* end = nullptr;
    const auto whole = [&](int failed) { return failed == 0 && size == key_bytes && end == text.data() + text.size(); };
    const bool read = text.size() == root_key_digits
                          ? whole(sodium_hex2bin(to, key_bytes, text.data(), text.size(), nullptr, &size, &end))
                          : whole(sodium_base642bin(to, key_bytes, text.data(), text.size(), nullptr, &size, &end,
                                                    text.ends_with('=') ? sodium_base64_VARIANT_ORIGINAL
                                                                        : sodium_base64_VARIANT_ORIGINAL_NO_PADDING));
    if (!read)
        return refuse(
            ErrorCode::invalid_argument, "malformed",
            "neither 64 hex digits nor the base64 of 32 bytes, but " + std::to_string(text.size()) + " characters");
    return RootKey(std::move(*bytes));
}

Result<RootKey> RootKey::read_file(const std::filesystem::path& file, const std::filesystem::path& store) {
    if (is_inside(file, store)) return inside_store();
    const Descriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (descriptor.value() < 0 || ::fstat(descriptor.value(), &status) != 0)
        return system_error("opening its file", errno);
    if (!S_ISREG(status.st_mode))
        return refuse(ErrorCode::invalid_argument, "malformed", "what it is to be read from is no regular file");
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return refuse(ErrorCode::permission_denied, "readable_by_others",
                      "others than its owner have access to its file; take that from them (chmod 600)");

    auto content = LockedBytes::zeros(file_bytes_max);
    if (!content) return content.error();
    std::size_t size = 0;
    while (size < file_bytes_max) {
        const auto got = ::read(descriptor.value(), content->span().data() + size, file_bytes_max - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error("reading its file", errno);
        if (got == 0) break;
        size += static_cast<std::size_t>(got);
    }
    const std::string_view text(reinterpret_cast<const char*>(content->span().data()), size);
    if (size != key_bytes) return parse(trimmed(text));
    if (std::all_of(text.begin(), text.end(), [](char c) { return c == '\0'; }))
        return refuse(ErrorCode::invalid_argument, "malformed", "its file is all zeros");
    auto bytes = LockedBytes::zeros(key_bytes);
    if (!bytes) return bytes.error();
    std::copy(text.begin(), text.end(), bytes->span().begin());
    return RootKey(std::move(*bytes));
}

Result<RootKey> RootKey::from_environment(const char* variable) {
    const char* text = std::getenv(variable);
    if (text == nullptr || *text == '\0')
        return refuse(ErrorCode::not_found, "missing", "the environment does not have it");
    return parse(trimmed(text));
}

Result<RootKey> RootKey::random() {
    auto bytes = LockedBytes::random(key_bytes);
    if (!bytes) return bytes.error();
    return RootKey(std::move(*bytes));
}

Status RootKey::write_file(const std::filesystem::path& file, const std::filesystem::path& store) const {
    if (is_inside(file, store)) return inside_store();
    auto text = LockedBytes::zeros(root_key_digits + 1);
    if (!text) return text.error();
    auto* bytes = text->span().data();
    sodium_bin2hex(reinterpret_cast<char*>(bytes), root_key_digits + 1, view().data(), key_bytes);
    bytes[root_key_digits] = '\n';

    const auto parent = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
    const Descriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.value() < 0) return system_error("opening the directory of its file", errno);
    const Descriptor out(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (out.value() < 0) return system_error("making its file", errno);
    const bool written =
        ::write(out.value(), bytes, root_key_digits + 1) == static_cast<ssize_t>(root_key_digits + 1) &&
        ::fsync(out.value()) == 0 && ::fsync(directory.value()) == 0;
    if (written) return Done{};
    const int code = errno;
    ::unlink(file.c_str());  // Ours: O_EXCL.
    return system_error("writing its file", code);
}

}  // namespace annal
