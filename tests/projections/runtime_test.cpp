#include "projections/runtime.h"

#include "ledger.h"
#include "support/seed.h"
#include "support/stopped_clock.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>
#include <semaphore>
#include <thread>

using namespace annal;
using namespace annal::testing;

namespace {

LedgerRows rows_of(Views& views, std::string_view name = "ledger") {
    const auto space = views.store->space(space_of(*views.store, std::string(name)));
    REQUIRE(space);
    const auto read = read_ledger(**space);
    REQUIRE(read);
    CHECK(read->sum == read->rows);
    CHECK(read->sum.count + read->quarantined == read->applied.value);
    return *read;
}

std::vector<std::string> spaces_of(Views& views) {
    auto names = views.store->spaces();
    std::erase(names, generations_space);
    return names;
}

ProjectionStatus status_of(const ProjectionRuntime& runtime, std::string_view name = "ledger") {
    for (const auto& each : runtime.status())
        if (each.name == name) return each;
    FAIL("no such projection");
    return {};
}

}  // namespace

TEST_CASE("a projector follows the log, and goes on from its checkpoint", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 500);
    {
        Ledger ledger;
        const auto runtime = run(log, views, {&ledger}, {.batch_events_max = 64});
        const auto reached = runtime->wait_for("ledger", Seq{500}, long_enough);
        REQUIRE(reached);
        CHECK(*reached == Seq{500});
        grow(log, 100);
        REQUIRE(runtime->wait_for({}, Seq{600}, long_enough));
        CHECK(runtime->applied("ledger") == Seq{600});
        CHECK(ledger.published() == 600);
        CHECK(ledger.resets == 1);  // Before the first event.
        CHECK(ledger.batch_max <= 64);
        const auto status = status_of(*runtime);
        CHECK(status.state == "running");
        CHECK(status.generation == 1);
        CHECK(status.lag_events == 0);
        CHECK(status.lag_seconds == 0);
        CHECK(status.note.empty());
    }
    CHECK(rows_of(views).sum == sum_up_to(Seq{600}));

    views.close();
    views.open();
    Ledger ledger;
    ledger.before_event = [](const EventView& event) -> Status {
        if (event.seq() > Seq{600}) return Done{};
        return Error{ErrorCode::internal, "this event was applied before", {}};
    };
    grow(log, 50);
    const auto runtime = run(log, views, {&ledger});
    REQUIRE(runtime->wait_for("ledger", Seq{650}, long_enough));
    CHECK(status_of(*runtime).note.empty());
    CHECK(ledger.resets == 0);
    CHECK(status_of(*runtime).quarantined == 0);
    CHECK(rows_of(views).sum == sum_up_to(Seq{650}));
}

TEST_CASE("the state does not depend on how events are cut into batches", "[runtime]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    MemoryEventLog log;
    grow(log, 700);
    std::vector<std::string> digests;
    for (int trial = 0; trial < trials(5); ++trial) {
        const TempDir temp;
        Views views(temp.path() / "views");
        Ledger ledger;
        const auto runtime = run(log, views, {&ledger},
                                 {.batch_events_max = 1 + random() % 100, .batch_bytes_max = 1 + random() % 9000});
        REQUIRE(runtime->wait_for("ledger", Seq{700}, long_enough));
        const auto digest = runtime->digest("ledger");
        REQUIRE(digest);
        digests.push_back(*digest);
        CHECK(rows_of(views).sum == sum_up_to(Seq{700}));
    }
    CHECK(std::ranges::count(digests, digests.front()) == static_cast<std::ptrdiff_t>(digests.size()));
}

TEST_CASE("projectors that read the log together go each to its own end", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 9000);
    Ledger ledger, other, third;
    other.name_ = "other";
    other.input_up_to_ = Seq{5500};
    third.name_ = "third";
    const auto runtime = run(log, views, {&ledger, &other, &third}, {.batch_events_max = 2000});
    REQUIRE(runtime->wait_for("ledger", Seq{9000}, long_enough));
    REQUIRE(runtime->wait_for("third", Seq{9000}, long_enough));
    REQUIRE(runtime->wait_for("other", Seq{5500}, long_enough));
    CHECK(rows_of(views).sum == sum_up_to(Seq{9000}));
    CHECK(rows_of(views, "third").sum == sum_up_to(Seq{9000}));
    CHECK(rows_of(views, "other").sum == sum_up_to(Seq{5500}));
}

TEST_CASE("what does not fit a batch waits in the log", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 300, 10'000);
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger}, {.batch_events_max = 1000, .batch_bytes_max = 64 << 10});
    REQUIRE(runtime->wait_for("ledger", Seq{300}, long_enough));
    CHECK(ledger.batch_max <= 7);
}

TEST_CASE("poison is retried, then quarantined with its error, and nothing else is skipped", "[runtime]") {
    const auto seed = test_seed();
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    const auto total = static_cast<std::uint64_t>(trials(4000));
    grow(log, total);
    std::map<std::uint64_t, unsigned> tries;  // Of each poison event, alone or with others.
    for (auto count = std::max<std::uint64_t>(total / 1000, 3); count > 0; --count) tries[1 + random() % total] = 0;

    Ledger ledger;
    ledger.before_event = [&](const EventView& event) -> Status {
        const auto poison = tries.find(event.seq().value);
        if (poison == tries.end()) return Done{};
        ++poison->second;
        if (event.seq().value % 2 == 0) throw std::runtime_error("it throws");
        return Error{ErrorCode::invalid_argument, "it cannot be folded", {{"why", "the test"}}};
    };
    {
        const auto runtime = run(log, views, {&ledger}, {.tries_max = 4});
        REQUIRE(runtime->wait_for("ledger", Seq{total}, long_enough));
        const auto status = status_of(*runtime);
        CHECK(status.state == "running");
        CHECK(status.quarantined == tries.size());
        CHECK_FALSE(status.error.empty());
        const auto quarantined = runtime->quarantined("ledger");
        REQUIRE(quarantined);
        REQUIRE(quarantined->size() == tries.size());
        auto expected = tries.begin();
        for (const auto& each : *quarantined) {
            CHECK(each.seq.value == expected->first);
            CHECK(expected->second >= 4);
            if (each.seq.value % 2 == 0) {
                CHECK(each.error.message == "an exception: it throws");
            } else {
                CHECK(each.error.code == ErrorCode::invalid_argument);
                CHECK(each.error.message == "it cannot be folded");
            }
            ++expected;
        }
        auto sum = sum_up_to(Seq{total});
        for (const auto& [seq, count] : tries) sum = {sum.count - 1, sum.total - amount(seq)};
        CHECK(rows_of(views).sum == sum);
    }
    // The count is kept; a cure, and a rebuild, give what a clean run gives.
    ledger.before_event = nullptr;
    const auto runtime = run(log, views, {&ledger});
    CHECK(status_of(*runtime).quarantined == tries.size());
    REQUIRE(runtime->rebuild("ledger", {}));
    CHECK(status_of(*runtime).quarantined == 0);
    CHECK(rows_of(views).sum == sum_up_to(Seq{total}));
}

TEST_CASE("a sick projector stops alone", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    Ledger sick, down, well;
    sick.name_ = "sick";
    sick.before_event = [](const EventView&) -> Status { return Error{ErrorCode::internal, "always", {}}; };
    down.name_ = "down";
    std::atomic<bool> up{false};
    down.before_event = [&](const EventView&) -> Status {
        if (up) return Done{};
        return Error{ErrorCode::unavailable, "the helper is down", {}};
    };
    const auto runtime = run(log, views, {&sick, &down, &well});
    grow(log, 300);

    REQUIRE(runtime->wait_for("ledger", Seq{300}, long_enough));
    REQUIRE(runtime->wait_for("sick", Seq{300}, long_enough));
    CHECK(rows_of(views).sum == sum_up_to(Seq{300}));
    CHECK(status_of(*runtime, "sick").quarantined == 300);
    // An outage is no event's fault: it waits, says so, and loses nothing.
    while (status_of(*runtime, "down").state != "failed") std::this_thread::yield();
    CHECK(status_of(*runtime, "down").error == "the helper is down");
    CHECK(status_of(*runtime, "down").applied_seq == Seq{0});
    up = true;
    while (runtime->applied("down") < Seq{300}) std::this_thread::yield();
    CHECK(status_of(*runtime, "down").state == "running");
    CHECK(status_of(*runtime, "down").quarantined == 0);
    CHECK(rows_of(views, "down").sum == sum_up_to(Seq{300}));
}

TEST_CASE("wait_for keeps its deadline, and says what was reached", "[runtime]") {
    using namespace std::chrono;
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 10);
    Ledger ledger, other;
    other.name_ = "other";
    const auto runtime = run(log, views, {&ledger, &other});
    REQUIRE(runtime->wait_for({}, Seq{10}, long_enough));

    const auto begun = steady_clock::now();
    const auto late = runtime->wait_for("ledger", Seq{11}, milliseconds(30));
    CHECK(steady_clock::now() - begun >= milliseconds(30));
    REQUIRE_FALSE(late);
    CHECK(late.error().code == ErrorCode::deadline_exceeded);
    CHECK(late.error().details.at("projection") == "ledger");
    CHECK(late.error().details.at("applied_seq") == "10");
    CHECK(late.error().details.at("state") == "running");
    CHECK(runtime->wait_for("nobody", Seq{1}, milliseconds(0)).error().code == ErrorCode::not_found);
    CHECK(runtime->applied("nobody") == Seq{0});

    REQUIRE(runtime->pause("other"));
    grow(log, 5);
    const auto stopped = runtime->wait_for({}, Seq{15}, long_enough);  // Would hang the test if it waited.
    REQUIRE_FALSE(stopped);
    CHECK(stopped.error().details.at("projection") == "other");
    CHECK(stopped.error().details.at("state") == "stopped");
    CHECK(stopped.error().details.at("applied_seq") == "10");
    CHECK(runtime->wait_for({}, Seq{10}, milliseconds(0)));
    REQUIRE(runtime->resume("other"));
    CHECK(runtime->wait_for({}, Seq{15}, long_enough));
}

TEST_CASE("a waiter is woken when its projector stops or fails", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger});
    for (const bool by_failure : {false, true}) {
        std::binary_semaphore waiting{0};
        std::thread other([&] {
            waiting.release();
            const auto answer = runtime->wait_for("ledger", Seq{1'000'000}, long_enough);
            CHECK_FALSE(answer);
            CHECK(answer.error().details.at("state") == (by_failure ? "failed" : "stopped"));
        });
        waiting.acquire();
        if (by_failure) {
            ledger.before_event = [](const EventView&) -> Status { return Error{ErrorCode::unavailable, "down", {}}; };
            grow(log, 1);
        } else {
            REQUIRE(runtime->pause("ledger"));
        }
        other.join();
        if (!by_failure) REQUIRE(runtime->resume("ledger"));
    }
}

TEST_CASE("who waits for its own write reads it, from many threads", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger});
    const auto space = views.store->space("ledger");
    REQUIRE(space);
    std::atomic<int> stale{0};
    std::vector<std::thread> writers;
    constexpr int count = 64;
    const int writes = trials(1'000'000) / count + 1;
    for (int writer = 0; writer < count; ++writer)
        writers.emplace_back([&, writer] {
            for (int i = 0; i < writes; ++i) {
                const auto receipts = append(log, {{memory_number(std::uint64_t(writer + 1)), "7"}});
                if (!receipts || !runtime->wait_for("ledger", receipts->front().seq, long_enough)) {
                    ++stale;
                    continue;
                }
                const auto row = (*space)->get("e" + quarantine_key(receipts->front().seq));
                if (!row || !*row || ledger.published() < receipts->front().seq.value) ++stale;
            }
        });
    for (auto& writer : writers) writer.join();
    CHECK(stale == 0);
}

TEST_CASE("a rebuild gives the same digest, tells its progress, and raises the generation", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 400);
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger}, {.batch_events_max = 50});
    REQUIRE(runtime->wait_for("ledger", Seq{400}, long_enough));
    const auto before = runtime->digest("ledger");
    REQUIRE(before);

    Seq last{0};
    bool rising = true;
    REQUIRE(runtime->rebuild("ledger", [&](Seq applied, Seq head) {
        rising = rising && applied >= last && head == Seq{400};
        last = applied;
    }));

    CHECK(rising);
    const auto after = runtime->digest("ledger");
    REQUIRE(after);
    CHECK(*after == *before);
    CHECK(status_of(*runtime).generation == 2);
    CHECK(status_of(*runtime).state == "running");
    CHECK(rows_of(views).sum == sum_up_to(Seq{400}));
    CHECK(runtime->rebuild("nobody", {}).error().code == ErrorCode::not_found);
    CHECK(runtime->digest("nobody").error().code == ErrorCode::not_found);

    // In the middle of it the one before answers and follows, and status tells of both; a failure leaves it in place.
    std::counting_semaphore<> reached{0}, go{0};
    std::atomic<bool> building{true};
    ledger.before_event = [&](const EventView& event) -> Status {
        if (event.seq() != Seq{100} || !building) return Done{};
        reached.release();
        go.acquire();
        return Error{ErrorCode::unavailable, "the helper is down", {}};
    };
    std::thread other([&] {
        const auto rebuilt = runtime->rebuild("ledger", {});
        CHECK_FALSE(rebuilt);
        CHECK(rebuilt.error().message.find("the helper is down") != std::string::npos);
    });
    reached.acquire();
    grow(log, 20);
    REQUIRE(runtime->wait_for("ledger", Seq{420}, long_enough));
    auto status = status_of(*runtime);
    CHECK(status.state == "running");
    CHECK(status.generation == 2);
    CHECK(status.lag_events == 0);
    CHECK(status.building_generation == 3);
    CHECK(status.building_seq == Seq{50});
    building = false;
    go.release();
    other.join();
    status = status_of(*runtime);
    CHECK(status.generation == 2);
    CHECK(status.building_generation == 0);
    CHECK(rows_of(views).sum == sum_up_to(Seq{420}));
    CHECK(spaces_of(views) == std::vector<std::string>{"ledger-g2"});

    REQUIRE(runtime->rebuild("ledger", {}));
    CHECK(status_of(*runtime).generation == 4);
    CHECK(spaces_of(views) == std::vector<std::string>{"ledger-g4"});
}

TEST_CASE("a rebuild under appends never shows a state behind the one before it", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 200);
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger}, {.batch_events_max = 16});
    REQUIRE(runtime->wait_for("ledger", Seq{200}, long_enough));
    std::atomic<bool> stop{false};
    std::atomic<int> failed{0}, stale{0}, asked{0};
    std::atomic<std::uint64_t> begun{0};
    std::thread writer([&] {
        while (!stop) {
            if (log.head().value >= 200 + 20 * begun) {  // So that the test's length does not depend on its speed.
                std::this_thread::yield();
                continue;
            }
            const auto seq = grow(log, 1);
            if (!runtime->wait_for("ledger", seq, long_enough)) ++failed;
            const auto view = std::static_pointer_cast<const Ledger>(runtime->view("ledger"));
            if (view->published() < seq.value) ++stale;
        }
    });
    std::vector<std::thread> readers;
    for (int reader = 0; reader < 2; ++reader)
        readers.emplace_back([&] {
            for (std::uint64_t seen = 0; !stop; ++asked) {
                const auto applied = runtime->applied("ledger").value;
                const auto view = std::static_pointer_cast<const Ledger>(runtime->view("ledger"));
                const auto rows = view->rows();
                if (!rows || rows->sum != rows->rows || rows->sum != sum_up_to(rows->applied)) ++failed;
                if (rows && (rows->applied.value < seen || rows->applied.value < applied)) ++stale;
                if (rows) seen = rows->applied.value;
            }
        });
    const auto swaps = static_cast<std::uint64_t>(trials(50));
    for (std::uint64_t swap = 0; swap < swaps; ++swap) {
        ++begun;
        CHECK(runtime->rebuild("ledger", {}));
    }
    while (asked < 10) std::this_thread::yield();
    stop = true;
    writer.join();
    for (auto& reader : readers) reader.join();
    CHECK(failed == 0);
    CHECK(stale == 0);
    CHECK(status_of(*runtime).generation == 1 + swaps);
    CHECK(rows_of(views).sum == sum_up_to(log.head()));
    CHECK(spaces_of(views).size() == 1);
}

TEST_CASE("a reader that holds the generation before a swap reads on, and then its rows go", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 100);
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger});
    REQUIRE(runtime->wait_for("ledger", Seq{100}, long_enough));
    auto held = std::static_pointer_cast<const Ledger>(runtime->view("ledger"));
    REQUIRE(runtime->rebuild("ledger", {}));
    CHECK(spaces_of(views) == std::vector<std::string>{"ledger", "ledger-g2"});
    grow(log, 10);
    REQUIRE(runtime->wait_for("ledger", Seq{110}, long_enough));
    const auto rows = held->rows();
    REQUIRE(rows);
    CHECK(rows->applied == Seq{100});
    CHECK(rows->rows == sum_up_to(Seq{100}));
    held.reset();
    CHECK(spaces_of(views) == std::vector<std::string>{"ledger-g2"});
}

TEST_CASE("the next start takes the generation that is named, and removes what others left", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 100);
    {
        Ledger ledger;
        const auto runtime = run(log, views, {&ledger});
        REQUIRE(runtime->wait_for("ledger", Seq{100}, long_enough));
        REQUIRE(runtime->rebuild("ledger", {}));
    }
    for (const char* left : {"ledger", "ledger-g3", "ledger-check"}) {  // Of crashes before and after a swap.
        REQUIRE(views.store->space(left));
        std::filesystem::create_directories(temp.path() / "views" / left);
    }
    REQUIRE(views.store->space("ledger-grown"));  // Another's.
    views.close();
    views.open();
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger});
    REQUIRE(runtime->wait_for("ledger", Seq{100}, long_enough));
    CHECK(ledger.resets == 0);
    CHECK(status_of(*runtime).generation == 2);
    CHECK(status_of(*runtime).note.empty());
    CHECK(spaces_of(views) == std::vector<std::string>{"ledger-g2", "ledger-grown"});
    for (const char* left : {"ledger", "ledger-g3", "ledger-check"})
        CHECK_FALSE(std::filesystem::exists(temp.path() / "views" / left));
    REQUIRE(runtime->rebuild("ledger", {}));
    CHECK(status_of(*runtime).generation == 3);
}

TEST_CASE("a check compares every row with a fresh fold, and names the first that differs", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 300);
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger}, {.batch_events_max = 50});
    REQUIRE(runtime->wait_for("ledger", Seq{300}, long_enough));
    const auto space = views.store->space("ledger");
    REQUIRE(space);
    const auto check = [&] {
        Seq last{0};
        auto checked = runtime->check("ledger", [&](Seq applied, Seq head) {
            CHECK(applied >= last);
            CHECK(head == Seq{300});
            last = applied;
        });
        REQUIRE(checked);
        CHECK(checked->seq == Seq{300});
        CHECK(spaces_of(views) == std::vector<std::string>{"ledger"});
        return *checked;
    };
    auto whole = check();
    CHECK(whole.difference.empty());
    CHECK(whole.rows == 301);  // One for each event, and the sum.

    const auto key = "e" + quarantine_key(Seq{77});
    const auto damage = [&](std::optional<std::string> value) {
        const auto batch = (*space)->new_batch();
        value ? batch->put(key, *value) : batch->erase(key);
        REQUIRE((*space)->write(*batch));
    };
    damage("secret");
    CHECK(check().difference.find("expected 4 bytes") != std::string::npos);
    CHECK(check().difference.find("found 6 bytes") != std::string::npos);
    CHECK(check().difference.find("secret") == std::string::npos);
    CHECK(check().rows == 76);
    damage(std::nullopt);
    CHECK(check().difference.find("found none") != std::string::npos);
    damage(std::to_string(amount(77)));
    CHECK(check().difference.empty());
    const auto batch = (*space)->new_batch();
    batch->put("shop" + std::string(1, '\0') + "rsecret", "one too many");
    REQUIRE((*space)->write(*batch));
    CHECK(check().difference.find("project shop, row r of key checksum") != std::string::npos);
    CHECK(check().difference.find("expected no such row") != std::string::npos);
    REQUIRE(runtime->rebuild("ledger", {}));
    const auto cured = runtime->check("ledger", {});
    REQUIRE(cured);
    CHECK(cured->difference.empty());

    ledger.before_event = [](const EventView&) -> Status { return Error{ErrorCode::unavailable, "down", {}}; };
    CHECK(runtime->check("ledger", {}).error().code == ErrorCode::unavailable);
    CHECK(runtime->check("nobody", {}).error().code == ErrorCode::not_found);
    CHECK(spaces_of(views) == std::vector<std::string>{"ledger-g2"});
}

TEST_CASE("state that is not this projector's, this log's or this past's is built anew", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 200);
    {
        Ledger ledger;
        REQUIRE(run(log, views, {&ledger})->wait_for("ledger", Seq{200}, long_enough));
    }
    std::string said;
    const RuntimeOptions options{.on_message = [&](auto, auto what) { said = what; }};
    const auto expect_rebuilt = [&](Ledger& ledger, EventLog& from, std::string_view why, std::uint64_t generation) {
        INFO(why);
        const auto resets = ledger.resets.load();
        const auto runtime = run(from, views, {&ledger}, options);
        REQUIRE(runtime->wait_for("ledger", from.head(), long_enough));
        CHECK(ledger.resets == resets + 1);
        const auto status = status_of(*runtime);
        CHECK(status.generation == generation);
        CHECK(status.note.find(why) != std::string::npos);
        CHECK(said.find(why) != std::string::npos);
        CHECK(status.state == "running");
        CHECK(rows_of(views).sum == sum_up_to(from.head()));
    };
    Ledger ledger;
    ledger.version_ = 2;
    expect_rebuilt(ledger, log, "version", 2);
    ledger.settings_ = "another model";
    expect_rebuilt(ledger, log, "settings", 3);
    MemoryEventLog other("00000000-0000-4000-8000-000000000002");
    grow(other, 150);
    expect_rebuilt(ledger, other, "another log", 4);
    other.cut_after(Seq{100});
    expect_rebuilt(ledger, other, "ahead of the log", 5);
    other.cut_after(Seq{90});
    grow(other, 20, 1);  // As many again as were lost, and more: other ones.
    expect_rebuilt(ledger, other, "a past that the log has lost", 6);
    other.restored();
    grow(other, 20);
    expect_rebuilt(ledger, other, "before a restore", 7);
    int opens = 0;
    ledger.on_open = [&]() -> Status {
        if (++opens > 1) return Done{};
        return Error{ErrorCode::data_loss, "a bad snapshot", {}};
    };
    expect_rebuilt(ledger, other, "a bad snapshot", 8);
    ledger.on_open = nullptr;
    {
        const auto space = views.store->space("ledger");
        REQUIRE(space);
        const auto batch = (*space)->new_batch();
        batch->put(checkpoint_key, "nonsense");
        REQUIRE((*space)->write(*batch));
    }
    expect_rebuilt(ledger, other, "cannot be read", 1);
    {
        const auto space = views.store->space("ledger");
        REQUIRE(space);
        const auto batch = (*space)->new_batch();
        batch->erase(checkpoint_key);
        REQUIRE((*space)->write(*batch));
    }
    expect_rebuilt(ledger, other, "missing", 1);

    const auto runtime = run(other, views, {&ledger}, options);  // And now nothing.
    CHECK(status_of(*runtime).note.empty());
    CHECK(status_of(*runtime).generation == 1);
}

TEST_CASE("views that were deleted come back the same", "[runtime]") {
    const TempDir temp;
    MemoryEventLog log;
    grow(log, 300);
    std::string first;
    for (int round = 0; round < 2; ++round) {
        Views views(temp.path() / "views");
        Ledger ledger;
        const auto runtime = run(log, views, {&ledger});
        REQUIRE(runtime->wait_for("ledger", Seq{300}, long_enough));
        const auto digest = runtime->digest("ledger");
        REQUIRE(digest);
        if (round == 0) first = *digest;
        CHECK(*digest == first);
        std::filesystem::remove_all(temp.path() / "views");
    }
}

TEST_CASE("lag is told in events and in seconds", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    grow(log, 4);
    StoppedClock clock({1'790'000'000'000'000});  // When the first event was recorded; the others follow by 1 us.
    Ledger ledger;
    const auto runtime = run(log, views, {&ledger}, {.clock = &clock});
    REQUIRE(runtime->wait_for("ledger", Seq{4}, long_enough));
    REQUIRE(runtime->pause("ledger"));
    grow(log, 6);
    clock.advance(2'500'004);
    const auto status = status_of(*runtime);
    CHECK(status.state == "stopped");
    CHECK(status.lag_events == 6);
    CHECK(status.lag_seconds == 2.5);
}

TEST_CASE("a pause holds between batches, and the end saves", "[runtime]") {
    const TempDir temp;
    Views views(temp.path() / "views");
    MemoryEventLog log;
    Ledger ledger;
    {
        const auto runtime = run(log, views, {&ledger});
        REQUIRE(runtime->pause("ledger"));
        grow(log, 10);
        REQUIRE(runtime->digest("ledger"));  // Answered by the thread that would apply.
        CHECK(runtime->applied("ledger") == Seq{0});
        CHECK(ledger.saves == 0);
        REQUIRE(runtime->resume("ledger"));
        REQUIRE(runtime->wait_for("ledger", Seq{10}, long_enough));
        while (ledger.idles == 0) std::this_thread::yield();
    }
    CHECK(ledger.saves == 1);
    const auto runtime = run(log, views, {&ledger});
    REQUIRE(runtime->pause("ledger"));
    CHECK(status_of(*runtime).state == "stopped");
    REQUIRE(runtime->rebuild("ledger", {}));  // Resumes it.
    CHECK(status_of(*runtime).state == "running");
    CHECK_FALSE(ProjectionRuntime::start(log, *views.store, {projection_of(ledger), projection_of(ledger)}));
}
