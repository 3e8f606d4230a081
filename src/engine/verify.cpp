#include "verify.h"

#include <chrono>

namespace annal {
namespace {

using std::chrono::steady_clock;

Check named(std::string name, Seq seq) {
    Check check;
    check.name = std::move(name);
    check.seq = seq;
    return check;
}

std::string text_of(const Error& error) {
    std::string text = error.message;
    for (const auto& [name, value] : error.details) text += ", " + name + " " + value;
    return text;
}

}  // namespace

VerifyReport verify(
    EventLog& log, ViewStore& views, EmbeddingStore* embeddings, ProjectionRuntime& projections,
    const VerifyOptions& options,
    const std::function<void(std::string_view check, std::uint64_t done, std::uint64_t all)>& progress) {
    VerifyReport report;
    report.seq = log.head();
    const auto tell = [&](const Check& check, std::uint64_t done, std::uint64_t all) {
        if (progress) progress(check.name, done, all);
        return true;
    };
    const auto add = [&](Check check, const auto& run) {
        const auto begun = steady_clock::now();
        tell(check, 0, 0);
        if (const Status done = run(check); !done) {
            // What could not be done says nothing of the bytes.
            check.state = done.error().code == ErrorCode::data_loss ? Check::State::failed : Check::State::skipped;
            check.found = text_of(done.error());
        }
        check.seconds = std::chrono::duration<double>(steady_clock::now() - begun).count();
        report.checks.push_back(std::move(check));
        return report.checks.back().state == Check::State::ok;
    };

    bool log_is_whole = true;
    for (std::size_t part = 0; part < log_part_names.size(); ++part) {
        const auto run = [&](Check& check) -> Status {
            const auto all = static_cast<LogPart>(part) == LogPart::events ? report.seq.value : 0;
            const auto checked = log.check(static_cast<LogPart>(part), 0, report.seq,
                                           [&](const Checked& so_far) { return tell(check, so_far.count, all); });
            if (!checked) return checked.error();
            check.count = checked->count;
            return Done{};
        };
        log_is_whole &= add(named("log." + std::string(log_part_names[part]), report.seq), run);
    }
    add(named("views.files", report.seq), [&](Check& check) -> Status {
        const auto checked = views.check_files(0, [&](const Checked& so_far) { return tell(check, so_far.count, 0); });
        if (!checked) return checked.error();
        check.count = checked->count;
        return Done{};
    });
    if (embeddings != nullptr) {
        add(named("embeddings.files", report.seq), [&](Check& check) -> Status {
            const auto checked =
                embeddings->check_files([&](const Checked& so_far) { return tell(check, so_far.count, 0); });
            if (!checked) return checked.error();
            check.count = checked->count;
            return Done{};
        });
        add(named("embeddings.rows", report.seq), [&](Check& check) -> Status {
            const auto checked = embeddings->check_rows([&](std::uint64_t so_far) { tell(check, so_far, 0); });
            if (!checked) return checked.error();
            check.count = *checked;
            return Done{};
        });
    }
    if (!options.projections) return report;
    for (const auto& each : projections.status())
        add(named("views." + each.name, each.applied_seq), [&](Check& check) -> Status {
            if (!log_is_whole)
                return Error{ErrorCode::unavailable, "the log, which it would be compared with, is not whole", {}};
            const auto compared =
                projections.check(each.name, [&](Seq applied, Seq head) { tell(check, applied.value, head.value); });
            if (!compared) return compared.error();
            check.seq = compared->seq;
            check.count = compared->rows;
            if (!compared->difference.empty()) return Error{ErrorCode::data_loss, compared->difference, {}};
            check.found = each.note;  // Damage that the open met is mended by now.
            return Done{};
        });
    return report;
}

}  // namespace annal
