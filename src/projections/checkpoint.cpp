#include "checkpoint.h"

#include "events/bytes.h"

#include <algorithm>
#include <concepts>
#include <utility>

namespace annal {
namespace {

constexpr char row_format = 1, checkpoint_format = 2;

template <std::unsigned_integral T>
void put(std::string& row, T value) {
    for (std::size_t i = 0; i < sizeof value; ++i) row += static_cast<char>(value >> (8 * i) & 0xff);
}

void put(std::string& row, std::string_view text) {
    put(row, static_cast<std::uint32_t>(text.size()));
    row += text;
}

// Takes parts from the front of a row; `good` stays false after the first that is not there.
struct PartReader {
    std::string_view rest;
    bool good = true;

    template <std::unsigned_integral T>
    T number() {
        const auto bytes = take(sizeof(T));
        T value = 0;
        for (std::size_t i = bytes.size(); i-- > 0;)
            value = static_cast<T>(value << 8 | static_cast<std::uint8_t>(bytes[i]));
        return value;
    }
    std::string text() { return std::string(take(number<std::uint32_t>())); }
    std::string_view take(std::size_t size) {
        good = good && rest.size() >= size;
        if (!good) return {};
        const auto taken = rest.substr(0, size);
        rest.remove_prefix(size);
        return taken;
    }
    bool has_format(char format = row_format) { return take(1) == std::string_view(&format, 1); }
    bool ends_well() const { return good && rest.empty(); }
};

ErrorCode to_code(std::string_view name) {
    for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code)
        if (to_string(static_cast<ErrorCode>(code)) == name) return static_cast<ErrorCode>(code);
    return ErrorCode::internal;
}

}  // namespace

std::string to_row(const Checkpoint& checkpoint) {
    std::string row(1, checkpoint_format);
    put(row, checkpoint.applied.value);
    put(row, checkpoint.generation);
    put(row, checkpoint.version);
    put(row, checkpoint.projector);
    put(row, checkpoint.settings);
    put(row, checkpoint.log);
    put(row, as_text(checkpoint.last));
    return row;
}

Result<Checkpoint> to_checkpoint(std::string_view row) {
    PartReader in{row};
    Checkpoint checkpoint;
    if (in.has_format(checkpoint_format)) {
        checkpoint.applied.value = in.number<std::uint64_t>();
        checkpoint.generation = in.number<std::uint64_t>();
        checkpoint.version = in.number<std::uint32_t>();
        checkpoint.projector = in.text();
        checkpoint.settings = in.text();
        checkpoint.log = in.text();
        const auto last = in.take(in.number<std::uint32_t>());
        if (in.ends_well() && last.size() == checkpoint.last.size()) {
            std::ranges::copy(last, checkpoint.last.begin());
            return checkpoint;
        }
    }
    return Error{ErrorCode::data_loss, "a checkpoint that cannot be read", {}};
}

std::string to_row(std::uint64_t generation) {
    std::string row(1, row_format);
    put(row, generation);
    return row;
}

Result<std::uint64_t> to_generation(std::string_view row) {
    PartReader in{row};
    if (in.has_format()) {
        const auto generation = in.number<std::uint64_t>();
        if (in.ends_well()) return generation;
    }
    return Error{ErrorCode::data_loss, "a generation's row that cannot be read", {}};
}

std::string quarantine_key(Seq seq) {
    std::string key(quarantine_prefix);
    for (int shift = 56; shift >= 0; shift -= 8) key += static_cast<char>(seq.value >> shift & 0xff);
    return key;
}

std::string to_row(const Error& error) {
    std::string row(1, row_format);
    put(row, to_string(error.code));
    put(row, std::string_view(error.message));
    return row;
}

Result<Quarantined> to_quarantined(std::string_view key, std::string_view row) {
    PartReader in{row};
    if (key.size() == quarantine_prefix.size() + 8 && key.starts_with(quarantine_prefix) && in.has_format()) {
        Quarantined quarantined;
        for (const char byte : key.substr(quarantine_prefix.size()))
            quarantined.seq.value = quarantined.seq.value << 8 | static_cast<std::uint8_t>(byte);
        quarantined.error.code = to_code(in.text());
        quarantined.error.message = in.text();
        if (in.ends_well()) return quarantined;
    }
    return Error{ErrorCode::data_loss, "a quarantined event's row that cannot be read", {}};
}

}  // namespace annal
