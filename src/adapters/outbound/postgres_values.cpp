#include "postgres_values.h"

#include "events/bytes.h"

#include <libpq-fe.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

namespace annal {
namespace {

constexpr std::int64_t postgres_epoch_us = 946'684'800'000'000;  // 2000-01-01
constexpr std::uint32_t text_oid = 25;                           // Of pg_type, which never change.
constexpr std::uint32_t bigint_oid = 20;
constexpr std::uint32_t real_oid = 700;
constexpr std::uint32_t double_oid = 701;
constexpr std::uint32_t uuid_oid = 2950;
constexpr std::uint32_t positions_max = 255;  // Of a lexeme in a tsvector.

template <class Number>
void put_big_endian(std::string& to, Number number) {
    for (int shift = static_cast<int>(sizeof number - 1) * 8; shift >= 0; shift -= 8)
        to += static_cast<char>((number >> shift) & 0xff);
}

// Of up to eight bytes; what is shorter keeps its sign.
std::int64_t get_big_endian(std::string_view bytes) {
    std::uint64_t number = !bytes.empty() && (static_cast<unsigned char>(bytes[0]) & 0x80) ? ~std::uint64_t{0} : 0;
    for (const char byte : bytes) number = number << 8 | static_cast<unsigned char>(byte);
    return static_cast<std::int64_t>(number);
}

float get_float(std::string_view bytes) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(get_big_endian(bytes)));
}

// Calls visit(element) for each; false: not an array of one dimension without NULL.
template <class Visit>
bool visit_array(std::string_view bytes, Visit&& visit) {
    if (bytes.size() < 12) return false;
    const auto dimensions = get_big_endian(bytes.substr(0, 4));
    if (dimensions == 0) return true;
    if (dimensions != 1 || bytes.size() < 20) return false;
    auto count = get_big_endian(bytes.substr(12, 4));
    bytes.remove_prefix(20);
    for (; count > 0; --count) {
        if (bytes.size() < 4) return false;
        const auto size = get_big_endian(bytes.substr(0, 4));
        if (size < 0 || static_cast<std::size_t>(size) > bytes.size() - 4) return false;
        if (!visit(bytes.substr(4, static_cast<std::size_t>(size)))) return false;
        bytes.remove_prefix(4 + static_cast<std::size_t>(size));
    }
    return true;
}

}  // namespace

PostgresParams& PostgresParams::null() {
    values_.push_back({bytes_.size(), -1});
    return *this;
}
void PostgresParams::end(std::size_t at) {
    values_.push_back({at, static_cast<int>(bytes_.size() - at)});
}
PostgresParams& PostgresParams::text(std::string_view value) {
    const auto at = bytes_.size();
    bytes_ += value;
    end(at);
    return *this;
}
PostgresParams& PostgresParams::json(std::string_view value) {
    const auto at = bytes_.size();
    bytes_ += '\1';  // jsonb's version.
    bytes_ += value;
    end(at);
    return *this;
}
PostgresParams& PostgresParams::boolean(bool value) {
    return text(value ? std::string_view("\1", 1) : std::string_view("\0", 1));
}
PostgresParams& PostgresParams::int16(std::int16_t value) {
    const auto at = bytes_.size();
    put_big_endian(bytes_, static_cast<std::uint16_t>(value));
    end(at);
    return *this;
}
PostgresParams& PostgresParams::int32(std::int32_t value) {
    const auto at = bytes_.size();
    put_big_endian(bytes_, static_cast<std::uint32_t>(value));
    end(at);
    return *this;
}
PostgresParams& PostgresParams::int64(std::int64_t value) {
    const auto at = bytes_.size();
    put_big_endian(bytes_, static_cast<std::uint64_t>(value));
    end(at);
    return *this;
}
PostgresParams& PostgresParams::float64(double value) {
    return int64(std::bit_cast<std::int64_t>(value));
}
PostgresParams& PostgresParams::time(Timestamp value) {
    return int64(value.us - postgres_epoch_us);
}
PostgresParams& PostgresParams::time(const std::optional<Timestamp>& value) {
    return value ? time(*value) : null();
}
PostgresParams& PostgresParams::uuid(const std::array<std::uint8_t, 16>& value) {
    return text(as_text(value));
}
void PostgresParams::array_head(std::size_t count, std::uint32_t element_oid) {
    put_big_endian(bytes_, std::uint32_t{count == 0 ? 0u : 1u});  // Dimensions
    put_big_endian(bytes_, std::uint32_t{0});                     // No NULL among them.
    put_big_endian(bytes_, element_oid);
    if (count == 0) return;
    put_big_endian(bytes_, static_cast<std::uint32_t>(count));
    put_big_endian(bytes_, std::uint32_t{1});  // The first one's number.
}
PostgresParams& PostgresParams::texts(std::span<const std::string> values) {
    const auto at = bytes_.size();
    array_head(values.size(), text_oid);
    for (const auto& value : values) {
        put_big_endian(bytes_, static_cast<std::uint32_t>(value.size()));
        bytes_ += value;
    }
    end(at);
    return *this;
}
PostgresParams& PostgresParams::uuids(std::span<const MemoryId> values) {
    const auto at = bytes_.size();
    array_head(values.size(), uuid_oid);
    for (const auto& value : values) {
        put_big_endian(bytes_, std::uint32_t{16});
        bytes_.append(as_text(value.bytes));
    }
    end(at);
    return *this;
}
PostgresParams& PostgresParams::int64s(std::span<const std::int64_t> values) {
    const auto at = bytes_.size();
    array_head(values.size(), bigint_oid);
    for (const auto value : values) {
        put_big_endian(bytes_, std::uint32_t{8});
        put_big_endian(bytes_, static_cast<std::uint64_t>(value));
    }
    end(at);
    return *this;
}
PostgresParams& PostgresParams::float64s(std::span<const double> values) {
    const auto at = bytes_.size();
    array_head(values.size(), double_oid);
    for (const auto value : values) {
        put_big_endian(bytes_, std::uint32_t{8});
        put_big_endian(bytes_, std::bit_cast<std::uint64_t>(value));
    }
    end(at);
    return *this;
}
PostgresParams& PostgresParams::lexemes(const std::map<std::string, std::uint32_t>& counts) {
    const auto at = bytes_.size();
    put_big_endian(bytes_, static_cast<std::uint32_t>(counts.size()));
    for (const auto& [lexeme, count] : counts) {
        bytes_.append(lexeme).push_back('\0');
        const auto positions = static_cast<std::uint16_t>(std::min(count, positions_max));
        put_big_endian(bytes_, positions);
        for (std::uint16_t position = 1; position <= positions; ++position) put_big_endian(bytes_, position);
    }
    end(at);
    return *this;
}
PostgresParams& PostgresParams::vector(std::span<const float> values) {
    const auto at = bytes_.size();
    put_big_endian(bytes_, static_cast<std::uint16_t>(values.size()));
    put_big_endian(bytes_, std::uint16_t{0});
    for (const float value : values) put_big_endian(bytes_, std::bit_cast<std::uint32_t>(value));
    end(at);
    return *this;
}
PostgresParams& PostgresParams::reals(std::span<const float> values) {
    const auto at = bytes_.size();
    array_head(values.size(), real_oid);
    for (const float value : values) {
        put_big_endian(bytes_, std::uint32_t{4});
        put_big_endian(bytes_, std::bit_cast<std::uint32_t>(value));
    }
    end(at);
    return *this;
}
PostgresParams::Bound PostgresParams::bound() const {
    Bound bound;
    for (const auto& value : values_) {
        bound.values.push_back(value.size < 0 ? nullptr : bytes_.data() + value.at);
        bound.sizes.push_back(value.size);
        bound.formats.push_back(1);
    }
    return bound;
}

void PostgresRows::Clear::operator()(pg_result* result) const {
    PQclear(result);
}
std::size_t PostgresRows::size() const {
    return static_cast<std::size_t>(PQntuples(result_.get()));
}
std::int64_t PostgresRows::affected() const {
    return std::strtoll(PQcmdTuples(result_.get()), nullptr, 10);
}

std::optional<std::string_view> PostgresReader::next() {
    const auto* result = rows_.result_.get();
    const int column = column_++;
    if (column >= PQnfields(result)) {
        ok_ = false;
        return std::nullopt;
    }
    if (PQgetisnull(result, row_, column)) return std::nullopt;
    return std::string_view(PQgetvalue(result, row_, column),
                            static_cast<std::size_t>(PQgetlength(result, row_, column)));
}
std::string_view PostgresReader::next_present() {
    const auto value = next();
    if (!value) ok_ = false;
    return value.value_or(std::string_view());
}
std::string PostgresReader::text() {
    return std::string(next_present());
}
std::string PostgresReader::json() {
    const auto bytes = next_present();
    if (!bytes.starts_with('\1')) ok_ = false;
    return std::string(bytes.substr(bytes.empty() ? 0 : 1));
}
bool PostgresReader::boolean() {
    const auto bytes = next_present();
    if (bytes.size() != 1) ok_ = false;
    return bytes.size() == 1 && bytes[0] != 0;
}
std::int64_t PostgresReader::int64() {
    const auto bytes = next_present();
    if (bytes.empty() || bytes.size() > 8) ok_ = false;
    return bytes.size() > 8 ? 0 : get_big_endian(bytes);
}
double PostgresReader::float64() {
    const auto bytes = next_present();
    if (bytes.size() != 8) ok_ = false;
    return bytes.size() == 8 ? std::bit_cast<double>(get_big_endian(bytes)) : 0;
}
Timestamp PostgresReader::time() {
    const auto time = optional_time();
    if (!time) ok_ = false;
    return time.value_or(Timestamp{});
}
std::optional<Timestamp> PostgresReader::optional_time() {
    const auto bytes = next();
    if (!bytes) return std::nullopt;
    if (bytes->size() != 8) {
        ok_ = false;
        return std::nullopt;
    }
    const std::int64_t since_2000_us = get_big_endian(*bytes);
    if (since_2000_us == INT64_MAX || since_2000_us == INT64_MIN) {  // "infinity"
        ok_ = false;
        return std::nullopt;
    }
    return Timestamp{since_2000_us + postgres_epoch_us};
}
std::optional<std::int64_t> PostgresReader::optional_int64() {
    const auto bytes = next();
    if (!bytes) return std::nullopt;
    if (bytes->empty() || bytes->size() > 8) {
        ok_ = false;
        return std::nullopt;
    }
    return get_big_endian(*bytes);
}
std::optional<std::string> PostgresReader::optional_text() {
    const auto bytes = next();
    return bytes ? std::optional(std::string(*bytes)) : std::nullopt;
}
std::array<std::uint8_t, 16> PostgresReader::uuid() {
    const auto uuid = optional_uuid();
    if (!uuid) ok_ = false;
    return uuid.value_or(std::array<std::uint8_t, 16>{});
}
std::optional<std::array<std::uint8_t, 16>> PostgresReader::optional_uuid() {
    const auto bytes = next();
    if (!bytes) return std::nullopt;
    std::array<std::uint8_t, 16> uuid{};
    if (bytes->size() != uuid.size()) {
        ok_ = false;
        return std::nullopt;
    }
    std::memcpy(uuid.data(), bytes->data(), uuid.size());
    return uuid;
}

std::vector<std::string> PostgresReader::texts() {
    std::vector<std::string> texts;
    const auto take = [&](std::string_view text) {
        texts.emplace_back(text);
        return true;
    };
    if (!visit_array(next_present(), take)) ok_ = false;
    return texts;
}
std::vector<float> PostgresReader::reals() {
    std::vector<float> values;
    const auto bytes = next();
    const auto take = [&](std::string_view value) {
        if (value.size() == 4) values.push_back(get_float(value));
        return value.size() == 4;
    };
    if (bytes && !visit_array(*bytes, take)) ok_ = false;
    return values;
}
std::vector<std::pair<std::string, std::uint32_t>> PostgresReader::lexemes() {
    std::vector<std::pair<std::string, std::uint32_t>> lexemes;
    const auto value = next();
    if (!value) return lexemes;
    auto bytes = *value;
    auto count = bytes.size() < 4 ? -1 : get_big_endian(bytes.substr(0, 4));
    if (count >= 0) bytes.remove_prefix(4);
    for (; count > 0; --count) {
        const auto size = bytes.find('\0');
        if (size == std::string_view::npos || bytes.size() - size < 3) break;
        const auto positions = static_cast<std::size_t>(get_big_endian(bytes.substr(size + 1, 2)) & 0xffff);
        if (bytes.size() - size - 3 < 2 * positions) break;
        lexemes.emplace_back(bytes.substr(0, size), static_cast<std::uint32_t>(positions));
        bytes.remove_prefix(size + 3 + 2 * positions);
    }
    if (count != 0) ok_ = false;
    return lexemes;
}
std::vector<float> PostgresReader::vector() {
    std::vector<float> values;
    const auto bytes = next();
    if (!bytes) return values;
    if (bytes->size() < 4 || bytes->size() % 4 != 0) {
        ok_ = false;
        return values;
    }
    for (std::size_t at = 4; at < bytes->size(); at += 4) values.push_back(get_float(bytes->substr(at, 4)));
    return values;
}

}  // namespace annal
