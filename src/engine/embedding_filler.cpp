#include "embedding_filler.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <future>
#include <unordered_set>

namespace annal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds watch_interval{20};
constexpr milliseconds retry_min{10};
// After so many failures in a row it is found out whether one text is to blame, and each is asked for by itself.
constexpr unsigned failures_to_doubt_texts = 3;
constexpr int tries_of_one_text = 3;
constexpr std::string_view plain_text = "a";  // That any model takes.

Error no_embedder() {
    return {ErrorCode::unavailable, "no embedder of this model was given: nothing is asked for", {}};
}

}  // namespace

EmbeddingFiller::EmbeddingFiller(EventLog& log, StoredVectors& vectors, std::shared_ptr<Embedder> embedder,
                                 EmbeddingFillerOptions options)
    : log_(log), vectors_(vectors), embedder_(std::move(embedder)), options_(std::move(options)) {}

EmbeddingFiller::~EmbeddingFiller() {
    stop_.request_stop();
    { const std::lock_guard lock(mutex_); }  // Nobody is between looking and waiting.
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void EmbeddingFiller::start() {
    thread_ = std::thread([this] { run(); });
}

EmbeddingFiller::State EmbeddingFiller::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

Status EmbeddingFiller::wait_for(Seq seq, milliseconds wait_max) {
    const auto until = steady_clock::now() + wait_max;
    std::unique_lock lock(mutex_);
    for (;;) {
        if (vectors_.up_to() >= seq) return Done{};
        if (state_.waits) return Error{ErrorCode::unavailable, state_.error, {}};
        if (changed_.wait_until(lock, until) == std::cv_status::timeout && vectors_.up_to() < seq)
            return Error{ErrorCode::deadline_exceeded,
                         "the vectors of a model have not reached the event asked for",
                         {{"projection", std::string(vectors_.projection())},
                          {"applied_seq", std::to_string(vectors_.up_to().value)},
                          {"min_seq", std::to_string(seq.value)}}};
    }
}

void EmbeddingFiller::run() {
    for (;;) {
        const auto after = vectors_.up_to();
        if (log_.head() <= after || vectors_.dropped()) {
            static_cast<void>(log_.wait_past(std::max(after, log_.head()), watch_interval));
            if (stop_.stop_requested()) return;
            continue;
        }
        const auto done = [&]() -> Status {
            try {
                return turn();
            } catch (const std::exception& thrown) {  // Of the host's embedder, or no thread to call it on.
                return Error{ErrorCode::internal, std::string("an exception: ") + thrown.what(), {}};
            }
        }();
        if (stop_.stop_requested()) return;  // What it was given up for is no failure of the model.
        failures_ = done ? 0 : failures_ + 1;
        tell(done);
        const auto pause =
            done ? milliseconds(0) : std::min(retry_min * (1U << std::min(failures_, 16U)), options_.retry_max);
        if (!sleep(pause)) return;
    }
}

bool EmbeddingFiller::sleep(milliseconds time) {
    std::unique_lock lock(mutex_);
    if (time > milliseconds(0)) {
        const auto until = steady_clock::now() + time;
        changed_.wait_until(lock, until, [&] { return stop_.stop_requested(); });
    }
    return !stop_.stop_requested();
}

void EmbeddingFiller::tell(const Status& status) {
    std::string message;
    {
        const std::lock_guard lock(mutex_);
        const auto error = status ? std::string() : status.error().message;
        if (!status && embedder_ != nullptr && error != state_.error) message = error;
        state_.waits = !status;
        state_.error = error;
    }
    changed_.notify_all();
    if (!message.empty() && options_.on_message)
        options_.on_message("warning", std::string(vectors_.projection()) + " waits for vectors: " + message);
}

void EmbeddingFiller::move_to(Seq seq) {
    {
        const std::lock_guard lock(mutex_);
        vectors_.set_up_to(seq);
    }
    changed_.notify_all();
    if (options_.on_progress) options_.on_progress();
}

// Goes on behind what is there: up to the next text that is not, or asks for some of those.
Status EmbeddingFiller::turn() {
    const auto after = vectors_.up_to();
    auto clear = after;
    bool sealed = false;
    const auto missing = missing_after(after, clear, sealed);
    if (!missing) return missing.error();
    if (clear > after) move_to(clear);
    if (!missing->empty()) return ask(*missing);
    if (clear > after || !sealed) return Done{};
    return Error{ErrorCode::unavailable, "the next event is sealed, and the store was opened without the root key", {}};
}

// As many as are asked for at once. `clear_up_to`: the event before the first of them.
Result<std::vector<EmbeddingFiller::Text>> EmbeddingFiller::missing_after(Seq after, Seq& clear_up_to, bool& sealed) {
    EventArena arena;
    std::vector<EventView> events;
    auto read =
        log_.read(after, {.events_max = options_.read_events_max, .bytes_max = options_.read_bytes_max}, arena, events);
    if (!read) return read.error();
    std::vector<Text> missing;
    std::unordered_set<std::string> seen;
    for (const auto& event : events) {
        sealed = event.payload() == Payload::sealed;
        if (sealed) break;
        const auto text = event.payload() == Payload::plain ? text_to_embed(vectors_, event) : std::nullopt;
        if (text) {
            sealed = options_.locked && !event.user().empty();
            if (sealed) break;
            const auto there = vectors_.has({event.project(), event.user(), *text});
            if (!there && there.error().code != ErrorCode::data_loss) return there.error();
            if (!there || !*there) {
                std::string value(event.project());
                (value += '\0').append(event.user());
                if (seen.insert((value += '\0').append(*text)).second)
                    missing.push_back(
                        {event.seq(), std::string(event.project()), std::string(event.user()), std::string(*text)});
                if (missing.size() == options_.call_texts_max * options_.calls_max) break;
            }
        }
        if (missing.empty()) clear_up_to = event.seq();
    }
    return missing;
}

Status EmbeddingFiller::ask(const std::vector<Text>& texts) {
    if (embedder_ == nullptr) return no_embedder();
    using Answer = Result<std::vector<std::vector<float>>>;
    struct Call {
        std::span<const Text> texts;
        std::future<Answer> answer;
    };
    std::vector<Call> calls;
    std::span<const Text> left(texts);
    // One that failed gets a single call until it is well again.
    const auto calls_max = failures_ == 0 ? options_.calls_max : 1;
    while (!left.empty() && calls.size() < calls_max) {
        const auto some = left.first(std::min(left.size(), options_.call_texts_max));
        left = left.subspan(some.size());
        calls.push_back({some, std::async(std::launch::async, [this, some] { return vectors_of(some); })});
    }
    Status all = Done{};
    for (auto& call : calls) {
        const auto vectors = call.answer.get();
        Status done = Done{};
        if (vectors)
            done = put(call.texts, *vectors);
        else if (vectors.error().code == ErrorCode::invalid_argument || failures_ >= failures_to_doubt_texts)
            done = ask_one_by_one(call.texts);
        else
            done = vectors.error();
        if (!done && all) all = done;
    }
    return all;
}

// Each by itself. One that fails although the model does for another text has no vector.
Status EmbeddingFiller::ask_one_by_one(std::span<const Text> texts) {
    if (auto well = ask_plain_text(); !well) return well;
    for (const auto& text : texts) {
        auto vectors = vectors_of({&text, 1});
        for (int tries = 1; !vectors; ++tries) {
            if (auto well = ask_plain_text(); !well) return well;
            if (vectors.error().code == ErrorCode::invalid_argument || tries == tries_of_one_text) break;
            vectors = vectors_of({&text, 1});
        }
        const auto done = put({&text, 1}, vectors ? *vectors : std::vector<std::vector<float>>(1));
        if (done && !vectors) {
            if (options_.on_message)
                options_.on_message("warning", std::string(vectors_.projection()) + " does without the text of event " +
                                                   std::to_string(text.seq.value) + ": " + vectors.error().message);
        }
        if (!done) return done;
    }
    return Done{};
}

Status EmbeddingFiller::ask_plain_text() const {
    if (stop_.stop_requested()) return Error{ErrorCode::unavailable, "the store is being closed", {}};
    const auto well = embedder_->embed_many_until({&plain_text, 1}, stop_.get_token());
    return well ? Status(Done{}) : Status(well.error());
}

Result<std::vector<std::vector<float>>> EmbeddingFiller::vectors_of(std::span<const Text> texts) const {
    std::vector<std::string_view> views;
    for (const auto& text : texts) views.emplace_back(text.text);
    auto vectors = embedder_->embed_many_until(views, stop_.get_token());
    if (!vectors) return vectors;
    if (vectors->size() != texts.size())
        return Error{ErrorCode::unavailable, "the embedder made another number of vectors than there were texts", {}};
    for (const auto& vector : *vectors) {
        if (vector.size() != vectors_.dimension())
            return Error{ErrorCode::unimplemented, "the embedder made a vector of another dimension than it says", {}};
        if (!std::ranges::all_of(vector, [](float value) { return std::isfinite(value); }))
            return Error{ErrorCode::unavailable, "the embedder made a vector that holds what is not a number", {}};
    }
    return vectors;
}

Status EmbeddingFiller::put(std::span<const Text> texts, const std::vector<std::vector<float>>& vectors) {
    const std::shared_lock writing(*options_.writes);
    std::vector<StoredVectors::Made> made;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto& text = texts[i];
        // What was erased while the model was asked is not put down: its key would be made anew.
        const auto erasure = log_.erasure(text.project, text.user);
        if (!text.user.empty() && erasure && text.seq <= erasure->requested_at) continue;
        const bool nothing = std::ranges::all_of(vectors[i], [](float value) { return value == 0; });
        made.push_back({{text.project, text.user, text.text},
                        nothing ? std::span<const float>() : std::span<const float>(vectors[i])});
    }
    if (auto done = vectors_.put(made); !done) return done;
    const std::lock_guard lock(mutex_);
    state_.asked += made.size();
    return Done{};
}

}  // namespace annal
