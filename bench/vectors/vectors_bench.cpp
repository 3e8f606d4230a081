// The vector index against bare hnswlib, in one process: search at equal recall, filters, building, opening.
// Rounds are paired and interleaved; medians of the rounds' ratios are reported. Ratios above 1: we are faster.
//   annal_bench_vectors [--vectors N] [--queries N] [--rounds N] [--threads N] [--json FILE]
#include "raw_hnswlib.h"

#include "projections/vector_partition.h"

#include <nlohmann/json.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>
#include <string>

namespace {

using namespace annal;
using annal::bench::RawHnswlib;

constexpr std::size_t dimension = 384;
constexpr std::size_t clusters = 1000;
constexpr std::size_t limit = 10;

struct Options {
    std::size_t vectors = 100'000;
    std::size_t queries = 500;
    std::size_t rounds = 7;
    std::size_t threads = 2;
    std::string json;
};

using Ids = std::vector<std::uint32_t>;
using Search = std::function<Ids(const float* query)>;

double now(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(const std::function<void()>& work, clockid_t clock = CLOCK_MONOTONIC) {
    const auto begin = now(clock);
    work();
    return now(clock) - begin;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

// Unit vectors: a cluster's centre, and noise 0.7 times as long.
class Data {
 public:
    explicit Data(const Options& options) : random_(42) {
        centres_.resize(clusters * dimension);
        for (std::size_t i = 0; i < clusters; ++i) unit_noise(centres_.data() + i * dimension, nullptr);
        fill(rows, options.vectors);
        fill(queries, options.queries);
    }
    std::vector<float> rows;
    std::vector<float> queries;

 private:
    void fill(std::vector<float>& to, std::size_t count) {
        to.resize(count * dimension);
        for (std::size_t i = 0; i < count; ++i)
            unit_noise(to.data() + i * dimension, centres_.data() + random_() % clusters * dimension);
    }
    void unit_noise(float* to, const float* centre) {
        const auto size = centre == nullptr ? 1.0F : 0.7F / std::sqrt(static_cast<float>(dimension));
        double squares = 0;
        for (std::size_t i = 0; i < dimension; ++i) {
            to[i] = normal_(random_) * size + (centre == nullptr ? 0 : centre[i]);
            squares += double{to[i]} * double{to[i]};
        }
        for (std::size_t i = 0; i < dimension; ++i) to[i] = static_cast<float>(to[i] / std::sqrt(squares));
    }
    std::mt19937_64 random_;
    std::normal_distribution<float> normal_;
    std::vector<float> centres_;
};

template <class T>
T or_stop(Result<T> result) {
    if (result) return std::move(*result);
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::exit(1);
}

class Bench {
 public:
    explicit Bench(const Options& options) : options_(options), data_(options) {
        directory_ = std::filesystem::temp_directory_path() / ("annal-bench-" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(directory_);
        std::iota(all_.begin(), all_.end(), 0U);
    }
    ~Bench() { std::filesystem::remove_all(directory_); }

    void run() {
        build();
        truth_ = truth_of(all_);
        for (const double recall : {0.97, 0.99}) equal_recall(recall);
        for (const double share : {0.01, 0.1}) filter(share);
        open();
        if (!options_.json.empty()) std::ofstream(options_.json) << json_.dump(2) << '\n';
    }

 private:
    const float* query(std::size_t i) const { return data_.queries.data() + i * dimension; }

    Ids ours(const float* vector, std::size_t breadth, const OrdinalSet* passing) {
        scratch_.probe.set({vector, dimension});
        hits_.clear();
        partition_->search({{vector, dimension}, limit, passing, breadth}, scratch_, hits_);
        Ids ids;
        for (const auto& hit : hits_) ids.push_back(static_cast<std::uint32_t>(hit.ordinal.value - 1));
        return ids;
    }

    std::vector<Ids> truth_of(const Ids& passing) const {
        std::vector<Ids> truth(options_.queries);
        WorkTeam team(options_.threads);
        team.run(options_.queries,
                 [&](std::size_t i, std::size_t) { truth[i] = raw_->scan(query(i), limit, passing); });
        return truth;
    }

    double recall(const Search& search, const std::vector<Ids>& truth, std::size_t queries) const {
        std::size_t found = 0;
        std::size_t wanted = 0;
        for (std::size_t i = 0; i < queries; ++i) {
            const auto ids = search(query(i));
            wanted += truth[i].size();
            for (const auto id : truth[i]) found += static_cast<std::size_t>(std::count(ids.begin(), ids.end(), id));
        }
        return static_cast<double>(found) / static_cast<double>(wanted);
    }

    // Microseconds of this thread's time a query.
    double time(const Search& search, std::size_t queries) const {
        const auto all = [&] {
            for (std::size_t i = 0; i < queries; ++i) search(query(i));
        };
        return 1e6 / static_cast<double>(queries) * seconds_of(all, CLOCK_THREAD_CPUTIME_ID);
    }

    struct Paired {
        double theirs_us, ours_us, ratio;
    };
    Paired paired(const Search& theirs, std::size_t their_queries, const Search& ours) const {
        std::vector<double> their_us;
        std::vector<double> our_us;
        std::vector<double> ratios;
        for (std::size_t round = 0; round < options_.rounds; ++round) {
            their_us.push_back(time(theirs, their_queries));
            our_us.push_back(time(ours, options_.queries));
            ratios.push_back(their_us.back() / our_us.back());
        }
        return {median(their_us), median(our_us), median(ratios)};
    }

    void report(const std::string& what, const Paired& times, double at_least, const std::string& note) {
        std::printf("%-44s %12.1f %12.1f %8.2f x  (bar %g x)  %s\n", what.c_str(), times.theirs_us, times.ours_us,
                    times.ratio, at_least, note.c_str());
        std::fflush(stdout);
        json_["results"].push_back({{"what", what},
                                    {"theirs", times.theirs_us},
                                    {"ours", times.ours_us},
                                    {"ratio", times.ratio},
                                    {"at_least", at_least},
                                    {"note", note}});
    }

    void build() {
        std::printf("%zu vectors of %zu, %zu threads; search times are the thread's own, in us\n%-44s %12s %12s\n",
                    options_.vectors, dimension, options_.threads, "", "hnswlib", "annal");
        const auto theirs_built = [&] { raw_ = std::make_unique<RawHnswlib>(data_.rows, dimension, options_.threads); };
        const auto ours_built = [&] {
            partition_ = or_stop(VectorPartition::create(directory_ / "1-0", 1, 0, key()));
            WorkTeam team(options_.threads);
            for (std::size_t i = 0; i < options_.vectors; ++i)
                or_stop(partition_->append(Seq{i + 1}, Seq{i + 1}, {data_.rows.data() + i * dimension, dimension}));
            or_stop(partition_->flush());
            partition_->publish();
            while (partition_->link(team)) {
            }
        };
        const auto begin = now(CLOCK_PROCESS_CPUTIME_ID);
        const double theirs = seconds_of(theirs_built);
        const auto between = now(CLOCK_PROCESS_CPUTIME_ID);
        const double ours = seconds_of(ours_built);
        const auto end = now(CLOCK_PROCESS_CPUTIME_ID);
        report("build, seconds", {theirs, ours, theirs / ours}, 1 / 0.6, "");
        report("build, seconds of CPU", {between - begin, end - between, (between - begin) / (end - between)}, 1 / 0.6,
               "");
    }

    static PartitionKey key() { return {"bench", Kind::note, "bench-1", dimension}; }

    // The smallest breadth of a 6 % grid that reaches `wanted`.
    std::size_t smallest(double wanted, const std::function<Ids(const float*, std::size_t)>& search) const {
        double breadth = 10;
        while (breadth < 2000 && recall([&](const float* q) { return search(q, static_cast<std::size_t>(breadth)); },
                                        truth_, options_.queries) < wanted)
            breadth = std::max(breadth * 1.06, breadth + 1);
        return static_cast<std::size_t>(breadth);
    }

    void equal_recall(double wanted) {
        const auto their_ef =
            smallest(wanted, [&](const float* q, std::size_t ef) { return raw_->search(q, limit, ef); });
        const auto our_ef = smallest(wanted, [&](const float* q, std::size_t ef) { return ours(q, ef, nullptr); });
        const auto times = paired([&](const float* q) { return raw_->search(q, limit, their_ef); }, options_.queries,
                                  [&](const float* q) { return ours(q, our_ef, nullptr); });
        report("search, recall@10 " + std::to_string(wanted).substr(0, 4), times, 2,
               "ef " + std::to_string(their_ef) + " and " + std::to_string(our_ef));
    }

    void filter(double share) {
        std::mt19937_64 random(7);
        OrdinalSet set;
        Ids passing;
        std::vector<bool> bits(options_.vectors);
        for (std::uint32_t id = 0; id < options_.vectors; ++id)
            if (std::uniform_real_distribution<>()(random) < share) {
                set.insert(Seq{id + 1U});
                passing.push_back(id);
                bits[id] = true;
            }
        const auto truth = truth_of(passing);
        const Search search = [&](const float* q) { return ours(q, 100, &set); };
        const auto reached = recall(search, truth, options_.queries);
        const std::size_t few = 30;  // The functor takes milliseconds.
        std::size_t ef = 10;
        const auto functor = [&](const float* q) { return raw_->filtered(q, limit, ef, bits); };
        while (ef < 160 && recall(functor, truth, few) < 0.99) ef *= 2;
        const auto name = "filter passing " + std::to_string(static_cast<int>(share * 100 + 0.5)) + " %, against ";
        const auto note = "recall " + std::to_string(reached).substr(0, 6);
        report(name + "the functor", paired(functor, few, search), share < 0.05 ? 100 : 5,
               note + ", its " + std::to_string(recall(functor, truth, few)).substr(0, 6));
        const auto scan = [&](const float* q) { return raw_->scan(q, limit, passing); };
        report(name + "an exact scan", paired(scan, options_.queries, search), share < 0.05 ? 1.5 : 3, note);
    }

    // A closed partition to its first answer, and a saved index to its first answer.
    void open() {
        const auto file = (directory_ / "raw").string();
        raw_->save(file);
        or_stop(partition_->save_graph(1));
        std::vector<double> theirs;
        std::vector<double> mine;
        std::vector<double> ratios;
        for (std::size_t round = 0; round < options_.rounds; ++round) {
            theirs.push_back(1e6 *
                             seconds_of([&] { RawHnswlib(data_.rows, dimension, file).search(query(0), limit, 100); }));
            mine.push_back(1e6 * seconds_of([&] {
                               WorkTeam team(options_.threads);
                               partition_ = or_stop(VectorPartition::open(directory_ / "1-0", 1, 0, key(),
                                                                          static_cast<Slot>(options_.vectors), team));
                               partition_->publish();
                               or_stop(partition_->load_graph());
                               ours(query(0), 100, nullptr);
                           }));
            ratios.push_back(theirs.back() / mine.back());
        }
        report("open, to the first answer", {median(theirs), median(mine), median(ratios)}, 0.5, "");
        json_["bytes"] = {{"raw_file", std::filesystem::file_size(file)},
                          {"rows", std::filesystem::file_size(directory_ / "1-0.rows")},
                          {"graph", std::filesystem::file_size(directory_ / "1-0.graph")}};
        std::printf("files: hnswlib %ju bytes; annal rows %ju, graph %ju\n", std::filesystem::file_size(file),
                    std::filesystem::file_size(directory_ / "1-0.rows"),
                    std::filesystem::file_size(directory_ / "1-0.graph"));
    }

    Options options_;
    Data data_;
    Ids all_ = Ids(options_.vectors);
    std::filesystem::path directory_;
    std::unique_ptr<RawHnswlib> raw_;
    std::shared_ptr<VectorPartition> partition_;
    std::vector<Ids> truth_;
    SearchScratch scratch_;
    std::vector<VectorHit> hits_;
    nlohmann::json json_;
};

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("The vector index against bare hnswlib, in one process");
    app.add_option("--vectors", options.vectors)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--queries", options.queries)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--rounds", options.rounds)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--threads", options.threads)->capture_default_str()->check(CLI::PositiveNumber);
    app.add_option("--json", options.json, "A file for the rows");
    CLI11_PARSE(app, argc, argv);
    Bench(options).run();
}
