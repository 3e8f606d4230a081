// Any bytes as what a reader may ask of a store: answered or refused with a reason, and never with a memory outside the
// scope. A line each, in this order, the rest being left out: text, cursor, metadata path, metadata value, tag,
// agent, user, session; the first byte chooses numbers and modes.
#include <annal/engine.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

namespace {

void expect(bool held) {
    if (!held) std::abort();
}

annal::Engine& engine() {
    static annal::Engine* const made = [] {
        std::string directory = (std::filesystem::temp_directory_path() / "annal-fuzz-query-XXXXXX").string();
        expect(mkdtemp(directory.data()) != nullptr);
        annal::EngineOptions options;
        options.directory = directory;
        options.scrub_bytes_per_second = 0;
        auto opened = annal::Engine::open(std::move(options));
        expect(static_cast<bool>(opened));
        for (int i = 0; i < 40; ++i) {
            annal::RecordRequest request;
            request.scope = {.project = "shop", .agent = i % 2 == 0 ? "qa" : "dev", .user = {}, .session = "s1"};
            request.content = "checkout number " + std::to_string(i) + " is slow";
            request.tags = {i % 3 == 0 ? "slow" : "fast"};
            request.metadata = R"({"build":{"number":)" + std::to_string(i) + R"(},"green":true})";
            request.embedding = annal::Embedding{"m", {1.0F, static_cast<float>(i)}};
            expect(static_cast<bool>((*opened)->record(request)));
        }
        expect(static_cast<bool>((*opened)->wait_for((*opened)->head(), std::chrono::minutes(1))));
        static annal::Engine* const kept = opened->release();
        static const std::string to_remove = directory;
        // Before OpenSSL is gone; and on a thread of its own, since this one's thread_local objects are gone already.
        std::atexit([] {
            std::thread([] { delete kept; }).join();
            std::error_code ignored;
            std::filesystem::remove_all(to_remove, ignored);
        });
        return kept;
    }();
    return *made;
}

template <class Answer>
bool is_told(const annal::Result<Answer>& answer) {
    if (!answer) expect(!answer.error().message.empty());
    return static_cast<bool>(answer);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const unsigned how = data[0];
    std::array<std::string, 8> lines;
    std::size_t line = 0;
    for (std::size_t i = 1; i < size && line < lines.size(); ++i) {
        if (data[i] == '\n')
            ++line;
        else
            lines[line] += static_cast<char>(data[i]);
    }
    const auto& [text, cursor, path, value, tag, agent, user, session] = lines;

    annal::Filter filter;
    if (!tag.empty()) filter.tags = {tag};
    if (!path.empty()) {
        annal::Filter::Metadata condition;
        condition.path = path;
        if (!value.empty()) condition.equals = value;
        if (how % 5 == 1) condition.at_least = static_cast<double>(how) / 8;
        filter.metadata.push_back(condition);
    }
    const annal::Scope scope{.project = "shop", .agent = agent, .user = user, .session = session};

    annal::SearchRequest search;
    search.scope = scope;
    search.text = text;
    search.mode = static_cast<annal::SearchMode>(how % 3);
    search.limit = how % 40;
    search.filter = filter;
    if (how % 4 == 0) search.vector = annal::Embedding{"m", {0.5F, 1.0F}};
    if (how % 7 == 0) search.as_of = annal::AsOf(annal::Seq{how});
    if (const auto answer = engine().search(search); is_told(answer)) {
        expect(answer->hits.size() <= search.limit);
        for (const auto& hit : answer->hits) expect(scope.contains(hit.memory.scope));
    }
    annal::ListRequest list;
    list.scope = scope;
    list.filter = filter;
    list.order = static_cast<annal::ListOrder>(how % 3);
    list.limit = how % 40;
    list.cursor = cursor;
    list.include_forgotten = how % 2 == 0;
    if (const auto answer = engine().list(list); is_told(answer)) {
        expect(answer->memories.size() <= list.limit);
        for (const auto& memory : answer->memories) expect(scope.contains(memory.scope));
        if (!answer->next_cursor.empty()) {
            list.cursor = answer->next_cursor;
            expect(static_cast<bool>(engine().list(list)));
        }
    }
    if (const auto id = annal::parse_memory_id(text); id) is_told(engine().get(scope, *id));
    return 0;
}
