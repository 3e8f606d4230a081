#include "golden_store.h"

namespace annal::testing {
namespace {

const Scope shop{.project = "shop", .agent = "qa", .user = {}, .session = "s1"};
const Scope ann{.project = "shop", .agent = "qa", .user = "ann", .session = {}};
const Scope bob{.project = "shop", .agent = {}, .user = "bob", .session = {}};
const Scope lab{.project = "lab", .agent = {}, .user = {}, .session = {}};

MemoryId id(unsigned number) {
    MemoryId id;
    id.bytes[0] = 1;
    id.bytes[6] = 0x70;
    id.bytes[8] = 0x80;
    id.bytes[15] = static_cast<std::uint8_t>(number);
    return id;
}

RecordRequest request(unsigned number, const Scope& scope, std::string content, KindFields fields = {}) {
    RecordRequest request;
    request.scope = scope;
    request.content = std::move(content);
    request.fields = std::move(fields);
    request.memory_id = id(number);
    request.context.actor = "qa";
    request.context.source = {SourceType::message, "m" + std::to_string(number)};
    return request;
}

Target target(const Scope& scope, unsigned number, std::string reason = "golden") {
    Target target;
    target.scope = scope;
    target.memory_id = id(number);
    target.context.reason = std::move(reason);
    return target;
}

RecordRequest with_vector(RecordRequest request) {
    request.embedding = Embedding{"golden-model", {0.6F, 0.8F, 0.0F}};
    return request;
}

}  // namespace

std::vector<RecordRequest> golden_batch() {
    std::vector<RecordRequest> batch{
        request(6, lab, "the index is rebuilt at night", DomainKnowledgeFields{"search"}),
        request(7, lab, "retrying without a limit", AntiPatternFields{"it floods the queue", "back off"})};
    batch.front().context.idempotency_key = golden_key;
    return batch;
}

Status write_golden_store(Engine& engine) {
    Status failed = Done{};
    const auto done = [&](const auto& result) {
        if (failed && !result) failed = result.error();
    };
    auto tagged = with_vector(request(1, shop, "checkout needs a wait of two seconds"));
    tagged.tags = {"checkout", "slow"};
    tagged.metadata = R"({"build":{"number":42}})";
    done(engine.record(tagged));
    done(engine.record(request(2, shop, "wait for the button", HeuristicFields{"the page is slow", "wait"})));
    done(engine.record(request(3, ann, "ann's address is Tea Lane 5")));
    done(engine.record(with_vector(request(4, bob, "bob likes short answers", PreferenceFields{"style"}))));
    done(engine.record(request(5, shop, "the deploy failed", OutcomeFields{"deploy", "release 7", "blue green"})));
    done(engine.record_batch(golden_batch()));
    done(engine.record(request(8, lab, "Checkout", EntityFields{"checkout", "service"})));
    done(engine.record(request(9, lab, "checkout uses the cache", RelationFields{"checkout", "cache", "uses"})));

    ReviseRequest revise;
    revise.target = target(shop, 1);
    revise.content = "checkout needs a wait of three seconds";
    done(engine.revise(revise));
    done(engine.reinforce(target(shop, 2), true));
    done(engine.promote_claim(target(shop, 2), Claim::verified));
    done(engine.change_confidence(target(ann, 3), 0.5));
    revise.target = target(bob, 4);
    revise.content = "bob likes very short answers";
    done(engine.revise(revise));
    done(engine.revert(target(bob, 4), Version{1}));
    done(engine.forget(target(shop, 5, "it was fixed")));
    done(engine.forget(target(lab, 8, "a mistake")));
    done(engine.restore(target(lab, 8)));
    done(engine.supersede(target(lab, 6), id(7)));
    return failed;
}

std::vector<GoldenMemory> golden_memories() {
    std::vector<GoldenMemory> memories{
        {.id = id(1), .scope = shop, .content = "checkout needs a wait of three seconds"},
        {.id = id(2), .scope = shop, .content = "wait for the button", .kind = Kind::heuristic},
        {.id = id(3), .scope = ann, .content = "ann's address is Tea Lane 5"},
        {.id = id(4), .scope = bob, .content = "bob likes short answers", .kind = Kind::preference},
        {.id = id(5), .scope = shop, .content = "the deploy failed", .kind = Kind::outcome},
        {.id = id(6), .scope = lab, .content = "the index is rebuilt at night", .kind = Kind::domain_knowledge},
        {.id = id(7), .scope = lab, .content = "retrying without a limit", .kind = Kind::anti_pattern},
        {.id = id(8), .scope = lab, .content = "Checkout", .kind = Kind::entity},
        {.id = id(9), .scope = lab, .content = "checkout uses the cache", .kind = Kind::relation},
    };
    const std::uint64_t versions[] = {2, 3, 2, 3, 2, 2, 1, 3, 1};
    for (std::size_t i = 0; i < memories.size(); ++i) memories[i].version = Version{versions[i]};
    memories[0].tags = {"checkout", "slow"};
    memories[1].claim = Claim::verified;
    memories[2].confidence = 0.5;
    memories[3].has_vector = true;
    memories[4].forgotten = true;
    memories[5].superseded_by = id(7);
    return memories;
}

}  // namespace annal::testing
