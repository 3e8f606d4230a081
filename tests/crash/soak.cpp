// The crash harness for as long as one likes: see tools/soak. One store after another is written under load by a child
// process that is killed again and again; each time the store is opened, and held against what was told.
//   annal_soak --minutes M --work DIR [--seed N]
// Ends with 0 only if nothing was wrong.
#include "child_process.h"
#include "damage.h"
#include "life.h"
#include "small_disk.h"

#include "adapters/events_file.h"
#include "events/hex.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <sstream>

using namespace annal;
using namespace annal::testing;
namespace fs = std::filesystem;
using std::chrono::steady_clock;

namespace {

constexpr std::uint64_t store_events_max = 60'000;
constexpr std::uint64_t store_lives_max = 60;
constexpr std::uint64_t copied_bytes_max = std::uint64_t{512} << 20;

double seconds_since(steady_clock::time_point begun) {
    return std::chrono::duration<double>(steady_clock::now() - begun).count();
}

double quantile(std::vector<std::uint32_t>& values, double at) {
    if (values.empty()) return 0;
    const auto place = static_cast<std::ptrdiff_t>(at * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + place, values.end());
    return values[static_cast<std::size_t>(place)];
}

// Of values a unit of time, by least squares.
double slope(const std::vector<std::pair<double, double>>& points) {
    const auto n = static_cast<double>(points.size());
    double t = 0, v = 0, tt = 0, tv = 0;
    for (const auto& [time, value] : points) {
        t += time;
        v += value;
        tt += time * time;
        tv += time * value;
    }
    const double below = n * tt - t * t;
    return below == 0 ? 0 : (n * tv - t * v) / below;
}

std::string number(double value, int digits = 1) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

class Soak {
 public:
    Soak(fs::path work, double minutes, std::uint64_t seed)
        : work_(std::move(work)), seed_(seed), random_(seed), length_s_(minutes * 60) {}

    int run();

 private:
    bool over() const { return seconds_since(begun_) >= length_s_; }
    void count(const std::string& what, double by = 1) { figures_[what] += by; }
    void most(const std::string& what, double value) { figures_[what] = std::max(figures_[what], value); }
    void note(const std::string& what, const std::vector<std::string>& complaints);
    void progress();

    void one_store();
    void one_life(bool long_one);
    void check_store();
    std::unique_ptr<Engine> open(const fs::path& store);
    void check_backups(Engine& engine, const Life& life);
    void restore_one(Engine& engine);
    void copy_for_damage();
    void damage_copy(Engine& engine);
    void fill_a_disk();
    void end_store();
    std::string digests(Engine& engine);
    void verify(Engine& engine, const std::string& when);
    int report();

    const fs::path work_;
    const std::uint64_t seed_;
    std::mt19937_64 random_;
    const double length_s_;
    const steady_clock::time_point begun_ = steady_clock::now();

    // Of the store at hand.
    fs::path store_, key_, backups_dir_, copy_;
    std::unique_ptr<Workload> workload_;
    std::unique_ptr<Oracle> oracle_;
    std::vector<BackedUp> backups_;
    std::uint64_t lives_ = 0;  // Of this store.
    std::uint64_t stores_ = 0;
    std::size_t complaints_seen_ = 0;

    std::map<std::string, double> figures_;
    std::vector<std::string> wrong_;
    std::string disk_full_skipped_;
    struct Window {  // A minute.
        std::vector<std::uint32_t> micros;
    };
    std::map<int, Window> windows_;
    int told_minutes_ = 0;
    std::vector<std::pair<double, double>> own_rss_;  // Hours, MB: of this process, with no store open.
    std::vector<double> own_descriptors_;             //
    std::vector<std::vector<Resources>> long_lives_;
};

void Soak::note(const std::string& what, const std::vector<std::string>& complaints) {
    for (const auto& complaint : complaints) {
        wrong_.push_back(what + ": " + complaint);
        std::printf("WRONG (seed %llu, store %llu, life %llu) %s\n", static_cast<unsigned long long>(seed_),
                    static_cast<unsigned long long>(stores_), static_cast<unsigned long long>(lives_),
                    wrong_.back().c_str());
    }
    std::fflush(stdout);
}

void Soak::progress() {
    const int minutes = static_cast<int>(seconds_since(begun_) / 60);
    if (minutes <= told_minutes_) return;
    auto& micros = windows_[minutes - 1].micros;
    const auto resources = resources_of(getpid());
    std::printf("%d min: %.0f stores, %.0f kills, %.0f acknowledged, p99 append %.1f ms, RSS %.0f MB, %zu wrong\n",
                minutes, static_cast<double>(stores_), figures_["kills"], figures_["steps acknowledged"],
                quantile(micros, 0.99) / 1000, resources ? static_cast<double>(resources->rss_bytes) / 1e6 : 0,
                wrong_.size());
    std::fflush(stdout);
    told_minutes_ = minutes;
}

std::unique_ptr<Engine> Soak::open(const fs::path& store) {
    EngineOptions options;
    options.directory = store;
    options.root_key_file = key_;
    auto engine = Engine::open(std::move(options));
    if (!engine) {
        note("open", {engine.error().message});
        return nullptr;
    }
    return *std::move(engine);
}

void Soak::one_life(bool long_one) {
    LifeOptions options{.program = ANNAL_ENGINE_CHILD, .store = store_, .key = key_, .backups = backups_dir_};
    const auto draw = random_() % 100;
    if (long_one)
        options.length = std::chrono::milliseconds(static_cast<int>(std::clamp(length_s_ / 30, 5.0, 120.0) * 1000));
    else if (draw < 15)
        options.length = std::chrono::milliseconds(3000 + random_() % 5000);
    else
        options.length = std::chrono::milliseconds(random_() % (draw < 30 ? 300 : 1500));
    options.from_open = long_one || draw < 15 || draw >= 30;
    const auto life = live(options, *workload_, *oracle_, random_);
    count("kills");
    if (!life.opened) count("of them while the store was being opened");
    count("steps acknowledged", static_cast<double>(life.acknowledged));
    count("of them asked again", static_cast<double>(life.repeated));
    count("clock steps of an hour", static_cast<double>(life.clock_steps));
    count("backups made under load", static_cast<double>(life.backups.size()));
    auto& window = windows_[static_cast<int>(seconds_since(begun_) / 60)].micros;
    window.insert(window.end(), life.micros.begin(), life.micros.end());
    if (long_one) long_lives_.push_back(life.resources);
    ++lives_;

    if (lives_ % 3 == 0) copy_for_damage();
    const auto opening = steady_clock::now();
    const auto engine = open(store_);
    if (!engine) return;
    SearchRequest first;
    first.scope.project = "p0";
    first.text = "checkout";
    if (const auto answer = engine->search(first); !answer) note("first answer", {answer.error().message});
    most("slowest open after a kill to the first answer, s", seconds_since(opening));
    oracle_->check(*engine, random_);
    const auto& complaints = oracle_->complaints();
    note("check", {complaints.begin() + static_cast<std::ptrdiff_t>(complaints_seen_), complaints.end()});
    complaints_seen_ = complaints.size();
    count("opens held against what was told");
    check_backups(*engine, life);
    if (lives_ % 5 == 0) verify(*engine, "after a kill");
    damage_copy(*engine);
    if (lives_ % 8 == 0) restore_one(*engine);
}

void Soak::verify(Engine& engine, const std::string& when) {
    const auto report = engine.verify();
    if (!report) return note("verify " + when, {report.error().message});
    for (const auto& check : report->checks)
        if (check.state != Check::State::ok) note("verify " + when, {check.name + ": " + check.found});
    count("full verifies (log, indexes, each projection against a fold)");
}

void Soak::check_backups(Engine& engine, const Life& life) {
    for (const auto& backup : life.backups) {
        const auto root = engine.root(backup.seq);
        if (!root || to_hex(*root) != backup.root)
            note("backup", {"number " + std::to_string(backup.id) + " is not of this log"});
    }
    if (!life.backups.empty()) backups_ = {life.backups.back()};
}

// The newest backup that was called good makes a store with the same root; a damaged one makes that or none.
void Soak::restore_one(Engine& engine) {
    if (backups_.empty()) return;
    const auto& backup = backups_.back();
    const auto target = work_ / "restored", damaged = work_ / "damaged-backups";
    const auto whole = restore_backup(backups_dir_, backup.id, target);
    if (!whole) return note("restore", {whole.error().message});
    if (whole->seq != backup.seq || to_hex(whole->root) != backup.root) note("restore", {"it is another one"});
    if (!key_.empty()) fs::copy(store_ / "keys", target / "keys", fs::copy_options::recursive);
    if (const auto restored = open(target)) {
        const auto root = restored->root(backup.seq);
        if (restored->head() != backup.seq || !root || to_hex(*root) != backup.root)
            note("restore", {"the store it makes is another one"});
        if (const auto epoch = restored->status(); epoch && epoch->epoch <= engine.status()->epoch)
            note("restore", {"the epoch is not raised"});
        verify(*restored, "of a restored store");
        count("backups restored, opened and verified");
    }
    fs::remove_all(target);
    for (int i = 0; i < 3; ++i) {
        fs::remove_all(damaged);
        fs::copy(backups_dir_, damaged, fs::copy_options::recursive);
        std::vector<fs::path> files;
        for (const auto& entry : fs::recursive_directory_iterator(damaged))
            if (entry.is_regular_file() && entry.file_size() > 0) files.push_back(entry.path());
        std::sort(files.begin(), files.end());
        flip_bit(files[random_() % files.size()], random_);
        const auto restored = restore_backup(damaged, backup.id, target);
        count("damaged backups: tried");
        if (!restored) {
            count("damaged backups: refused (the others had the flipped bit where that backup does not look)");
            if (fs::exists(target) && !fs::is_empty(target))
                note("restore", {"a refused backup left something behind"});
        } else if (restored->seq != backup.seq || to_hex(restored->root) != backup.root) {
            note("restore", {"a damaged backup was taken for a good one"});
        }
        fs::remove_all(target);
    }
    fs::remove_all(damaged);
}

// The log as the crash left it, before anything is mended.
void Soak::copy_for_damage() {
    copy_.clear();
    std::uint64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(store_ / "log")) bytes += entry.file_size();
    if (bytes > copied_bytes_max) return;
    copy_ = work_ / "damaged";
    fs::remove_all(copy_);
    fs::create_directories(copy_);
    fs::copy(store_ / "log", copy_ / "log");
    if (fs::exists(store_ / "keys")) fs::copy(store_ / "keys", copy_ / "keys", fs::copy_options::recursive);
}

// A damaged log is refused at the open, or has all that was promised; a damaged table is found by a read of all.
void Soak::damage_copy(Engine& engine) {
    if (copy_.empty()) return;
    const auto journal = journal_of(copy_ / "log");
    const auto tables = tables_of(copy_ / "log");
    const bool in_journal = tables.empty() || random_() % 3 != 0;
    if (in_journal && journal.path.empty()) return;
    if (in_journal)
        damage(journal, static_cast<JournalHarm>(random_() % 4), random_);
    else
        flip_bit(tables[random_() % tables.size()], random_, 64);  // In its last bytes not every bit says something.
    const auto promised = oracle_->synced();
    const auto root = engine.root(promised);
    ChildProcess child(
        {ANNAL_ENGINE_CHILD, "check", copy_, key_.empty() ? "-" : key_.string(), std::to_string(promised.value)});
    const auto line = child.read_line().value_or("nothing");
    const int ended = child.wait();
    const std::string what = in_journal ? "damaged journals" : "damaged tables";
    count(what + " opened by another process");
    if (ended >= 1000) note(what, {"the process that opened one ended with " + std::to_string(ended)});
    unsigned long long head = 0;
    char opened_root[65] = "";
    if (std::sscanf(line.c_str(), "ok %llu %64s", &head, opened_root) == 2) {
        if (head < promised.value || !root || opened_root != to_hex(*root))
            note(what, {"opened, and all was said to be well: " + line});
        else if (in_journal)
            count(what + ": nothing promised was hit, opened whole");
        else
            note(what, {"not found"});
    } else if (line.rfind("error data_loss", 0) == 0) {
        count(what + ": refused");
    } else if (line.rfind("found ", 0) == 0 && !in_journal) {
        count(what + ": found by verify");
    } else {
        note(what, {line});
    }
    fs::remove_all(copy_);
    copy_.clear();
}

void Soak::fill_a_disk() {
    SmallDisk disk;
    if (!disk.mounted()) {
        if (disk_full_skipped_.empty()) {
            disk_full_skipped_ = disk.why_not();
            std::printf("SKIPPED: full disks; a small file system cannot be mounted here: %s\n",
                        disk_full_skipped_.c_str());
        }
        return;
    }
    const auto wrong = fill_and_go_on(disk, ANNAL_LOG_CHILD);
    if (!wrong.empty()) note("full disk", {wrong});
    count("disks filled, three times each, and gone on");
}

std::string Soak::digests(Engine& engine) {
    if (auto waited = engine.wait_for(engine.head(), std::chrono::minutes(10)); !waited)
        note("projections", {waited.error().message});
    const auto status = engine.status(true);
    std::string all;
    if (!status) return all;
    for (const auto& projection : status->projections) all += projection.name + "=" + projection.digest + " ";
    return all;
}

// Views come out the same from the log, whoever makes them; and so does a log from its export.
void Soak::end_store() {
    auto engine = open(store_);
    if (!engine) return;
    verify(*engine, "of a store's end");
    const auto before = digests(*engine);
    const auto same = [&](const std::string& after) {
        count("views made anew and compared by digest");
        if (before != after) note("rebuild", {before + "became " + after});
    };
    engine.reset();
    fs::remove_all(store_ / "views");
    const auto begun = steady_clock::now();
    if (!(engine = open(store_))) return;
    same(digests(*engine));
    most("slowest replay of all views, s", seconds_since(begun));
    for (int i = 0; i < 2; ++i) {
        if (auto rebuilt = engine->rebuild({}); !rebuilt) note("rebuild", {rebuilt.error().message});
        same(digests(*engine));
    }
    std::stringstream lines;
    const auto exported = export_events(*engine, Seq{0}, [&](std::string_view line) -> Status {
        lines << line;
        return Done{};
    });
    if (!exported) return note("export", {exported.error().message});
    const auto other = work_ / "imported";
    fs::remove_all(other);
    if (const auto imported = open(other)) {
        const auto taken = import_events(*imported, lines);
        if (!taken)
            note("import", {taken.error().message});
        else if (taken->root != exported->root || taken->seq != exported->seq)
            note("import", {"another root than the export's"});
        else
            count("logs exported and imported to the same root");
    }
    fs::remove_all(other);
}

void Soak::one_store() {
    ++stores_;
    lives_ = 0;
    complaints_seen_ = 0;
    backups_.clear();
    store_ = work_ / "store";
    fs::remove_all(store_);
    backups_dir_ = random_() % 2 == 0 ? work_ / "backups" : fs::path();
    fs::remove_all(work_ / "backups");
    key_.clear();
    if (random_() % 2 == 0) {
        key_ = work_ / "root-key";
        write_file(key_, std::string(64, 'c'));
        fs::permissions(key_, fs::perms::owner_read | fs::perms::owner_write);
    }
    workload_ = std::make_unique<Workload>(random_(), random_() % 3 != 0);
    oracle_ = std::make_unique<Oracle>(*workload_, 1 + random_() % 8);
    count("stores");
    count(key_.empty() ? "of them without a root key" : "of them with a root key");
    while (!over() && lives_ < store_lives_max && oracle_->acknowledged().value < store_events_max) {
        one_life(false);
        progress();
    }
    if (!over() && stores_ % 3 == 1) one_life(true);
    progress();
    fill_a_disk();
    end_store();
    count("events", static_cast<double>(oracle_->acknowledged().value));
    fs::remove_all(store_);
    oracle_.reset();
    workload_.reset();
    if (const auto own = resources_of(getpid())) {
        own_rss_.emplace_back(seconds_since(begun_) / 3600, static_cast<double>(own->rss_bytes) / 1e6);
        own_descriptors_.push_back(static_cast<double>(own->descriptors));
    }
    progress();
}

int Soak::run() {
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed_));
    std::fflush(stdout);
    while (!over()) one_store();
    return report();
}

int Soak::report() {
    if (own_descriptors_.size() > 1 && own_descriptors_.back() > own_descriptors_.front())
        note("descriptors", {"opens and closes leave some open: " + number(own_descriptors_.front(), 0) + " became " +
                             number(own_descriptors_.back(), 0)});
    std::printf("\n| figure | |\n|---|---|\n");
    const auto row = [](const std::string& what, const std::string& value) {
        std::printf("| %s | %s |\n", what.c_str(), value.c_str());
    };
    row("seed", std::to_string(seed_));
    row("minutes", number(seconds_since(begun_) / 60));
    for (const char* const what : {"stores", "of them with a root key", "of them without a root key", "events", "kills",
                                   "of them while the store was being opened", "steps acknowledged",
                                   "of them asked again", "clock steps of an hour"}) {
        row(what, number(figures_[what], 0));
        figures_.erase(what);
    }
    for (const auto& [what, value] : figures_) row(what, number(value, what.find(", s") == std::string::npos ? 0 : 2));
    if (!disk_full_skipped_.empty()) row("disks filled", "skipped: " + disk_full_skipped_);

    std::vector<double> p99;
    std::vector<std::uint32_t> all;
    for (auto& [minute, window] : windows_) {
        if (window.micros.size() >= 100) p99.push_back(quantile(window.micros, 0.99) / 1000);
        all.insert(all.end(), window.micros.begin(), window.micros.end());
    }
    row("append, p50 and p99 of all, ms",
        number(quantile(all, 0.5) / 1000, 2) + ", " + number(quantile(all, 0.99) / 1000, 2));
    if (!p99.empty()) {
        const auto quarter = std::max<std::size_t>(1, p99.size() / 4);
        const auto mean = [](auto from, auto to) {
            double sum = 0;
            for (auto at = from; at != to; ++at) sum += *at;
            return sum / static_cast<double>(to - from);
        };
        const auto n = static_cast<std::ptrdiff_t>(quarter);
        row("p99 append of a minute, ms: mean of the first and of the last quarter",
            number(mean(p99.begin(), p99.begin() + n), 2) + ", " + number(mean(p99.end() - n, p99.end()), 2));
    }
    if (own_rss_.size() > 1)
        row("RSS of the process that opens and closes them all, MB: after the first store, after the last, slope an "
            "hour",
            number(own_rss_.front().second) + ", " + number(own_rss_.back().second) + ", " + number(slope(own_rss_)));
    if (own_descriptors_.size() > 1)
        row("its open descriptors, after the first store and the last",
            number(own_descriptors_.front(), 0) + ", " + number(own_descriptors_.back(), 0));
    for (const auto& life : long_lives_) {
        if (life.size() < 4) continue;
        std::vector<std::pair<double, double>> second_half;
        for (std::size_t i = life.size() / 2; i < life.size(); ++i)
            second_half.emplace_back(life[i].second / 60, static_cast<double>(life[i].rss_bytes) / 1e6);
        row("a long life, " + number(life.back().second, 0) +
                " s: RSS at a quarter, at the end, MB; slope of the second half, MB a minute; descriptors likewise",
            number(static_cast<double>(life[life.size() / 4].rss_bytes) / 1e6) + ", " +
                number(static_cast<double>(life.back().rss_bytes) / 1e6) + "; " + number(slope(second_half), 2) + "; " +
                std::to_string(life[life.size() / 4].descriptors) + ", " + std::to_string(life.back().descriptors));
    }
    row("**violations** (lost, twice, a gap, another event, wrong answers, an abort)", std::to_string(wrong_.size()));
    for (const auto& each : wrong_) std::printf("\nWRONG %s", each.c_str());
    std::printf("\n");
    return wrong_.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    double minutes = 0;
    std::uint64_t seed = std::random_device{}();
    fs::path work;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view option = argv[i];
        if (option == "--minutes") minutes = std::strtod(argv[i + 1], nullptr);
        if (option == "--seed") seed = std::strtoull(argv[i + 1], nullptr, 10);
        if (option == "--work") work = argv[i + 1];
    }
    if (minutes <= 0 || work.empty()) {
        std::fprintf(stderr, "usage: annal_soak --minutes M --work DIR [--seed N]\n");
        return 2;
    }
    fs::create_directories(work);
    return Soak(work, minutes, seed).run();
}
