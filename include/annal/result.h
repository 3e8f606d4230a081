// Errors are values: what every call that can fail returns.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace annal {

enum class ErrorCode {   // Spelled as on the wire; each says what the caller can do.
    invalid_argument,    // Fix the request; retrying cannot help.
    not_found,           // There is no such thing in the caller's scope.
    conflict,            // Someone wrote first: read again, decide again.
    already_exists,      // The id is taken, or another process owns the store.
    unauthenticated,     // Say who you are.
    permission_denied,   // The caller may not do this.
    resource_exhausted,  // A limit is reached (size, queue, disk): make room, then retry.
    unavailable,         // Retry later, with backoff.
    deadline_exceeded,   // Not done in the time given; it may still happen.
    data_loss,           // Stored bytes fail their checks: stop, restore.
    unimplemented,       // This build or this store cannot do it.
    internal,            // A mistake of ours.
};

// The wire spelling: "invalid_argument", ...
std::string_view to_string(ErrorCode code);

struct Error {
    ErrorCode code = ErrorCode::internal;
    std::string message;                         // For people: what was tried, why it failed. No paths, no memory text.
    std::map<std::string, std::string> details;  // For programs: memory_id, expected, actual, limit.
};

template <class T>
class [[nodiscard]] Result {  // A T, or the Error that explains why there is none.
 public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const noexcept { return state_.index() == 0; }
    const Error& error() const { return std::get<1>(state_); }

    T& operator*() & { return std::get<0>(state_); }
    const T& operator*() const& { return std::get<0>(state_); }
    T&& operator*() && { return std::get<0>(std::move(state_)); }
    T* operator->() { return &std::get<0>(state_); }
    const T* operator->() const { return &std::get<0>(state_); }

 private:
    std::variant<T, Error> state_;
};

struct Done {};
using Status = Result<Done>;  // For calls that only succeed or fail.

}  // namespace annal
