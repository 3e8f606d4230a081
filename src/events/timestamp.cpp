#include <annal/timestamp.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <optional>

namespace annal {
namespace {

constexpr std::int64_t us_per_second = 1'000'000;
constexpr std::int64_t us_per_day = 86'400 * us_per_second;
constexpr std::int64_t last_second = 253'402'300'799;  // 9999-12-31T23:59:59Z

class SystemClock final : public Clock {
 public:
    Timestamp now() override {
        const auto since = std::chrono::system_clock::now().time_since_epoch();
        return {std::chrono::duration_cast<std::chrono::microseconds>(since).count()};
    }
};

// `count` digits at `at`; nullopt when there are not.
std::optional<int> digits(std::string_view text, std::size_t at, std::size_t count) {
    if (text.size() < at + count) return std::nullopt;
    int value = 0;
    for (const char c : text.substr(at, count)) {
        if (c < '0' || c > '9') return std::nullopt;
        value = value * 10 + (c - '0');
    }
    return value;
}

}  // namespace

Clock& system_clock() {
    static SystemClock clock;
    return clock;
}

std::string to_string(Timestamp time) {
    using namespace std::chrono;
    // Not floor<days>: it overflows for the earliest times there are.
    std::int64_t day = time.us / us_per_day;
    std::int64_t rest = time.us % us_per_day;
    if (rest < 0) {
        rest += us_per_day;
        --day;
    }
    const year_month_day date{sys_days{days{day}}};
    const hh_mm_ss clock{microseconds{rest}};
    std::array<char, 48> text{};
    int size = std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                             static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                             static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                             static_cast<int>(clock.seconds().count()));
    std::string result(text.data(), static_cast<std::size_t>(size));
    if (const auto fraction = clock.subseconds().count(); fraction != 0) {
        size = std::snprintf(text.data(), text.size(), ".%06d", static_cast<int>(fraction));
        result.append(text.data(), static_cast<std::size_t>(size));
    }
    return result + 'Z';
}

Result<Timestamp> parse_timestamp(std::string_view text, std::string_view field) {
    using namespace std::chrono;
    const auto refuse = [&](std::string_view why) {
        return Error{ErrorCode::invalid_argument,
                     std::string(field) + " must be an RFC 3339 time such as 2026-11-20T17:23:26Z: " + std::string(why),
                     {{"field", std::string(field)}}};
    };
    const auto y = digits(text, 0, 4), mo = digits(text, 5, 2), d = digits(text, 8, 2);
    const auto h = digits(text, 11, 2), mi = digits(text, 14, 2), s = digits(text, 17, 2);
    if (!y || !mo || !d || !h || !mi || !s || text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':' ||
        (text[10] != 'T' && text[10] != 't' && text[10] != ' '))
        return refuse("it is not of that form");
    const year_month_day date{year{*y}, month{static_cast<unsigned>(*mo)}, day{static_cast<unsigned>(*d)}};
    if (!date.ok()) return refuse("there is no such day");
    if (*h > 23 || *mi > 59 || *s > 59) return refuse("there is no such time of day");

    std::size_t at = 19;
    std::int64_t fraction_us = 0;
    if (at < text.size() && text[at] == '.') {
        std::int64_t unit = us_per_second / 10;
        const std::size_t first = ++at;
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, unit /= 10)
            fraction_us += (text[at] - '0') * unit;
        if (at == first || at - first > 6) return refuse("a fraction has one to six digits");
    }
    std::int64_t offset_s = 0;
    if (at < text.size() && (text[at] == 'Z' || text[at] == 'z')) {
        ++at;
    } else {
        const auto oh = digits(text, at + 1, 2), om = digits(text, at + 4, 2);
        if (at >= text.size() || (text[at] != '+' && text[at] != '-') || !oh || !om || text[at + 3] != ':' ||
            *oh > 23 || *om > 59)
            return refuse("it needs a zone, Z or +hh:mm");
        offset_s = (*oh * 60 + *om) * 60 * (text[at] == '-' ? -1 : 1);
        at += 6;
    }
    if (at != text.size()) return refuse("something follows the zone");
    const auto day_s = sys_days{date}.time_since_epoch() / seconds{1};
    const std::int64_t total_s = day_s + *h * 3600 + *mi * 60 + *s - offset_s;
    // Of the instant, not of the spelling: only what to_string can spell is taken.
    if (total_s < 0 || total_s > last_second) return refuse("it is not of the years 1970 to 9999");
    return Timestamp{total_s * us_per_second + fraction_us};
}

}  // namespace annal
