#include "workload.h"

#include <array>

namespace annal::testing {
namespace {

constexpr std::array<std::string_view, 16> words{"deploy",  "checkout", "cache",   "index",   "timeout", "retry",
                                                 "invoice", "login",    "schema",  "queue",   "backup",  "alert",
                                                 "release", "customer", "rollout", "incident"};

// The steps of a round.
enum Kind : std::uint64_t {
    record_some,  // One to three memories in one batch.
    revise_first,
    record_heuristic,
    reinforce,
    forget_first,
    restore_or_doubt,  // The first memory comes back, or the heuristic loses confidence.
    promote,
    revise_heuristic,
};
static_assert(revise_heuristic + 1 == Workload::round_steps);

std::uint64_t mixed(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15U;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

std::string word_of(Step step, std::size_t part) {
    return "op" + std::to_string(step.writer) + "x" + std::to_string(step.number) + "x" + std::to_string(part);
}

Step in_round(Step step, Kind kind) {
    return {step.writer, step.number / Workload::round_steps * Workload::round_steps + kind};
}

}  // namespace

std::uint64_t Workload::random(Step step, std::uint64_t salt) const {
    return mixed(mixed(mixed(seed_ ^ salt) ^ step.writer) ^ step.number);
}

std::string Workload::name(Step step, std::size_t part) {
    return "w" + std::to_string(step.writer) + "." + std::to_string(step.number) + "." + std::to_string(part);
}

std::size_t Workload::events_of(Step step) const {
    return step.number % round_steps == record_some ? 1 + random(step, 1) % 3 : 1;
}

bool Workload::is_synced(Step step) const {
    return random(step, 2) % 4 != 0;
}

std::optional<std::int64_t> Workload::clock_after(Step step) const {
    if (step.writer != 0 || random(step, 8) % 32 != 0) return std::nullopt;
    return static_cast<std::int64_t>(random(step, 9) % 3 * 3600) - 3600;
}

Scope Workload::scope(std::uint64_t writer, std::uint64_t round) const {
    const std::string session = "s" + std::to_string(round / 8);
    std::string user;
    if (with_users_ && writer % 2 == 1) user = "user" + std::to_string(round % 5);
    return {.project = "p" + std::to_string(writer % 3), .agent = "qa", .user = user, .session = session};
}

MemoryId Workload::memory(Step recorded, std::size_t part) {
    MemoryId id;
    for (unsigned i = 0; i < 6; ++i) id.bytes[i] = static_cast<std::uint8_t>(recorded.number >> (40 - 8 * i));
    id.bytes[6] = 0x70;
    id.bytes[8] = 0x80;
    id.bytes[14] = static_cast<std::uint8_t>(recorded.writer + 1);
    id.bytes[15] = static_cast<std::uint8_t>(part);
    return id;
}

std::string Workload::content(Step step, std::size_t part) const {
    std::string text = word_of(step, part);
    std::uint64_t draw = random(step, 100 + part);
    for (std::uint64_t left = 4 + draw % (draw % 7 == 0 ? 300 : 30); left > 0; --left) {
        draw = mixed(draw);
        text += ' ';
        text += words[draw % words.size()];
    }
    return text;
}

std::optional<Embedding> Workload::vector(Step step, std::size_t part) const {
    if (random(step, 200 + part) % 3 == 0) return std::nullopt;
    Embedding embedding{"m", {}};
    for (std::uint64_t i = 0; i < 16; ++i)
        embedding.values.push_back(static_cast<float>(random(step, 300 + part * 16 + i) % 2001) / 1000.0F - 1.0F);
    return embedding;
}

WriteContext Workload::context(Step step) const {
    WriteContext context;
    context.actor = "writer" + std::to_string(step.writer);
    context.reason = "step " + name(step, 0);
    context.correlation_id = name(step, 0);
    context.idempotency_key = name(step, 0);
    if (!is_synced(step)) context.durability = Durability::buffered;
    return context;
}

RecordRequest Workload::record(Step step, std::size_t part) const {
    RecordRequest request;
    request.scope = scope(step.writer, step.number / round_steps);
    request.content = content(step, part);
    request.memory_id = memory(step, part);
    request.embedding = vector(step, part);
    request.tags = {"round" + std::to_string(step.number / round_steps % 10)};
    request.context = context(step);
    request.context.correlation_id = name(step, part);
    return request;
}

Result<std::vector<Receipt>> Workload::write(Engine& engine, Step step) const {
    const auto kind = static_cast<Kind>(step.number % round_steps);
    const auto as_list = [](const Result<Receipt>& receipt) -> Result<std::vector<Receipt>> {
        if (!receipt) return receipt.error();
        return std::vector<Receipt>{*receipt};
    };
    Target target;
    target.scope.project = scope(step.writer, 0).project;
    target.context = context(step);
    const auto first = memory(in_round(step, record_some), 0), heuristic = memory(in_round(step, record_heuristic), 0);
    switch (kind) {
        case record_some: {
            std::vector<RecordRequest> requests;
            for (std::size_t part = 0; part < events_of(step); ++part) requests.push_back(record(step, part));
            return engine.record_batch(requests);
        }
        case record_heuristic: {
            auto request = record(step, 0);
            request.fields = HeuristicFields{.condition = "the checkout is slow", .strategy = "wait"};
            return as_list(engine.record(request));
        }
        case revise_first:
        case revise_heuristic: {
            target.memory_id = kind == revise_first ? first : heuristic;
            ReviseRequest request;
            request.target = target;
            request.content = content(step, 0);
            request.embedding = vector(step, 0);
            request.tags = std::vector<std::string>{"revised"};
            return as_list(engine.revise(request));
        }
        case reinforce:
            target.memory_id = heuristic;
            return as_list(engine.reinforce(target, random(step, 3) % 2 == 0));
        case forget_first:
            target.memory_id = first;
            return as_list(engine.forget(target));
        case restore_or_doubt:
            target.memory_id = random(step, 4) % 2 == 0 ? first : heuristic;
            return as_list(target.memory_id == first ? engine.restore(target) : engine.change_confidence(target, 0.25));
        case promote:
            target.memory_id = heuristic;
            return as_list(engine.promote_claim(target, Claim::inference));
    }
    return Error{ErrorCode::internal, "there is no such step", {}};
}

std::vector<Workload::Expected> Workload::memories(std::uint64_t writer, std::uint64_t round,
                                                   std::uint64_t steps_done) const {
    std::vector<Expected> result;
    const auto at = [&](Kind kind) { return Step{writer, round * round_steps + kind}; };
    const auto done = [&](Kind kind) { return at(kind).number < steps_done; };
    if (!done(record_some)) return result;
    for (std::size_t part = 0; part < events_of(at(record_some)); ++part)
        result.push_back({scope(writer, round), memory(at(record_some), part), word_of(at(record_some), part), false,
                          vector(at(record_some), part).has_value()});
    if (done(revise_first)) {
        result[0].word = word_of(at(revise_first), 0);
        result[0].has_vector = vector(at(revise_first), 0).has_value();
    }
    result[0].forgotten = done(forget_first) && !(done(restore_or_doubt) && random(at(restore_or_doubt), 4) % 2 == 0);
    if (!done(record_heuristic)) return result;
    const Step heuristic = done(revise_heuristic) ? at(revise_heuristic) : at(record_heuristic);
    result.push_back({scope(writer, round), memory(at(record_heuristic), 0), word_of(heuristic, 0), false,
                      vector(heuristic, 0).has_value()});
    return result;
}

std::optional<Workload::Expected> Workload::written(Step step) const {
    const auto all = memories(step.writer, step.number / round_steps, step.number + 1);
    switch (static_cast<Kind>(step.number % round_steps)) {
        case record_some:
        case revise_first:
        case forget_first:
            return all.front();
        case record_heuristic:
        case revise_heuristic:
            return all.back();
        default:
            return std::nullopt;
    }
}

}  // namespace annal::testing
