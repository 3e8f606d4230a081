// What a paired benchmark prints: for each row our figure, the peer's, their ratio and the bar it is held to.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace annal::bench {

template <class Work>
double seconds_of(Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of the calling thread.
template <class Work>
double cpu_seconds_of(Work&& work) {
    const auto now = [] {
        timespec time{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    };
    const auto start = now();
    work();
    return now() - start;
}

inline double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

struct Row {
    std::string name;
    double ours = 0;
    double peer = 0;
    std::string unit;
    double ratio = 0;
    double bar = 0;
    bool at_least = true;  // else at most

    bool holds() const { return at_least ? ratio >= bar : ratio <= bar; }
};

inline void print(const std::vector<Row>& rows) {
    std::printf("%-58s %14s %14s %-8s %7s   %s\n", "", "annal", "peer", "", "ratio", "bar");
    for (const auto& row : rows)
        std::printf("%-58s %14.1f %14.1f %-8s %7.2f   %s %.2f  %s\n", row.name.c_str(), row.ours, row.peer,
                    row.unit.c_str(), row.ratio, row.at_least ? ">=" : "<=", row.bar, row.holds() ? "held" : "MISSED");
    std::fflush(stdout);
}

inline bool write_json(const std::vector<Row>& rows, const std::string& file) {
    std::FILE* out = std::fopen(file.c_str(), "w");
    if (out == nullptr) return false;
    std::fprintf(out, "[");
    for (std::size_t i = 0; i < rows.size(); ++i)
        std::fprintf(out,
                     "%s\n {\"name\":\"%s\",\"annal\":%g,\"peer\":%g,\"unit\":\"%s\",\"ratio\":%g,\"bar\":\"%s%g\"}",
                     i ? "," : "", rows[i].name.c_str(), rows[i].ours, rows[i].peer, rows[i].unit.c_str(),
                     rows[i].ratio, rows[i].at_least ? ">=" : "<=", rows[i].bar);
    std::fprintf(out, "\n]\n");
    return std::fclose(out) == 0;
}

}  // namespace annal::bench
