// A host that embeds the engine: writes, reads its own write, searches, forgets.
#include <annal/engine.h>

#include <cstdio>
#include <string>

int main(int argc, char** argv) {
    const std::string directory = argc > 1 ? argv[1] : "memory";
    auto engine = annal::Engine::open({.directory = directory});
    if (!engine) {
        std::fprintf(stderr, "%s\n", engine.error().message.c_str());
        return 1;
    }

    // A write returns when it is on disk, with a receipt.
    const annal::Scope qa{.project = "shop", .agent = "qa", .user = {}, .session = {}};
    annal::RecordRequest request;
    request.scope = qa;
    request.content = "checkout needs a 2 s wait";
    request.fields = annal::HeuristicFields{.condition = "the checkout test is flaky", .strategy = "wait 2 s"};
    auto receipt = (*engine)->record(request);
    if (!receipt) return 1;

    // A search that passes the receipt's seq sees that write.
    annal::SearchRequest question;
    question.scope = annal::Scope{.project = "shop", .agent = {}, .user = {}, .session = {}};
    question.text = "flaky checkout";
    question.min_seq = receipt->seq;
    auto answer = (*engine)->search(question);
    if (!answer) return 1;
    for (const auto& hit : answer->hits) std::printf("%.3f  %s\n", hit.score, hit.memory.content.c_str());

    // Forgotten: out of every search. Its history stays, with the reason.
    annal::Target target{.scope = qa, .memory_id = receipt->memory_id, .expected_version = {}, .context = {}};
    target.context.reason = "the checkout was rewritten";
    auto forgotten = (*engine)->forget(target);
    if (!forgotten) return 1;
    question.min_seq = forgotten->seq;
    answer = (*engine)->search(question);
    return answer && answer->hits.empty() ? 0 : 1;
}
