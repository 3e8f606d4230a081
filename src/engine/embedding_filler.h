// Asks a model for the vectors of what the log says, and puts them down where its index finds them. It reads the log
// behind the index's own checkpoint, so it needs none: what is there is not asked for again, and what was asked for and
// not put down before a crash is asked for once more. A model that is down hinders nobody; it is asked again, later
// each time. A text that the model does not take while it takes others has no vector, and is counted.
// Threads: one of its own, and one for each call under way.
#pragma once

#include "events/event_log.h"
#include "projections/embedding_store.h"

#include <annal/embedder.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace annal {

struct EmbeddingFillerOptions {
    std::size_t call_texts_max = 64;
    std::size_t calls_max = 4;  // At once.
    std::size_t read_events_max = 1'024;
    std::size_t read_bytes_max = std::size_t{4} << 20;
    std::chrono::milliseconds retry_max{30'000};  // Between two tries of a model that fails.
    bool locked = false;                          // The keystore is: what is a user's waits.
    // Held shared while vectors are put down: no user is erased meanwhile.
    std::shared_mutex* writes = nullptr;
    std::function<void()> on_progress{};  // up_to() has moved.
    std::function<void(std::string_view level, std::string_view message)> on_message{};
};

class EmbeddingFiller {
 public:
    // `embedder` null: nothing is asked for, but what is there already is found. `log` and `vectors` outlive it.
    EmbeddingFiller(EventLog& log, StoredVectors& vectors, std::shared_ptr<Embedder> embedder,
                    EmbeddingFillerOptions options);
    ~EmbeddingFiller();  // Gives up the calls under way.
    EmbeddingFiller(const EmbeddingFiller&) = delete;
    EmbeddingFiller& operator=(const EmbeddingFiller&) = delete;

    void start();

    struct State {
        bool waits = false;   // The model failed when it was last asked, or there is none to ask, or the log is sealed.
        std::string error{};  // Why it waits.
        std::uint64_t asked = 0;  // Texts that it got a vector for since the store was opened.
    };
    State state() const;
    // Until all up to `seq` is there. The error of one that waits; deadline_exceeded: it is getting on, but not there.
    Status wait_for(Seq seq, std::chrono::milliseconds wait_max);

 private:
    struct Text {
        Seq seq;
        std::string project, user, text;
    };

    void run();
    Status turn();
    Result<std::vector<Text>> missing_after(Seq after, Seq& clear_up_to, bool& sealed);
    Status ask(const std::vector<Text>& texts);
    Status ask_one_by_one(std::span<const Text> texts);
    Result<std::vector<std::vector<float>>> vectors_of(std::span<const Text> texts) const;
    Status ask_plain_text() const;
    Status put(std::span<const Text> texts, const std::vector<std::vector<float>>& vectors);
    void move_to(Seq seq);
    bool sleep(std::chrono::milliseconds time);  // False: stop.
    void tell(const Status& status);

    EventLog& log_;
    StoredVectors& vectors_;
    const std::shared_ptr<Embedder> embedder_;
    const EmbeddingFillerOptions options_;

    unsigned failures_ = 0;  // In a row.

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::stop_source stop_;
    State state_;
    std::thread thread_;
};

}  // namespace annal
